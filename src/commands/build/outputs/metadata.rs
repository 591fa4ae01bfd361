//! `--metadata-file`, with the keys that buildx has for an image (docs.docker.com, *docker buildx build*). There is no record of the build
//! to name, so `buildx.build.ref` is not among them.

use std::path::Path;

use serde_json::{Map, Value};
use shiplap_registry::{Packed, Reference};

use crate::failure::{Failure, Kind, Result};

/// Writes the file; it is there whole or not at all.
pub fn write(path: &Path, packed: Option<&Packed>, names: &[Reference]) -> Result<()> {
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = serde_json::to_vec_pretty(&describe(packed, names)?)?;
    let mut file = shiplap_cache::durable::DurableFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut file, &text).map_err(failed)?;
    file.for_people().and_then(|file| file.persist(path)).map_err(failed)
}

/// Without a manifest, as for `type=local`, there is nothing to say.
fn describe(packed: Option<&Packed>, names: &[Reference]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    let Some(packed) = packed else { return Ok(all) };
    let mut put = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
    put("containerimage.config.digest", packed.config.digest.to_string().into());
    put("containerimage.descriptor", serde_json::to_value(&packed.manifest)?);
    put("containerimage.digest", packed.manifest.digest.to_string().into());
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        put("image.name", names.join(",").into());
    }
    Ok(all)
}
