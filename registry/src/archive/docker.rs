//! Importing what `docker save` wrote before Docker 25, and what podman and skopeo write as `docker-archive`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;

use super::source::Source;
use super::{Choice, Format, ImportOptions, Imported, choose, json};
use crate::compress::decompress;
use crate::image::ConfigFile;
use crate::{Error, Images, Result, adopt, origin};

/// An entry of `manifest.json` (moby, image/tarexport).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item {
    /// The config file.
    pub config: String,
    /// Names; `null` when there is none.
    pub repo_tags: Option<Vec<String>>,
    /// The layers' tars, bottom first.
    pub layers: Vec<String>,
}

/// Whether `manifest.json` is Docker's: a root file system may have a file of that name.
pub(super) fn is_archive(source: &Source) -> Result<bool> {
    Ok(serde_json::from_slice::<Vec<Item>>(&source.read("manifest.json")?).is_ok())
}

pub(super) fn import(images: &Images, source: &Source, options: &ImportOptions) -> Result<Imported> {
    let store = images.store();
    let items: Vec<Item> = json(source, "manifest.json")?;
    let all = items.into_iter().map(|item| {
        let names = item.repo_tags.iter().flatten().filter_map(|n| n.parse().ok()).collect();
        Choice { item, names }
    });
    let chosen = choose(source.path(), all.collect(), options.name.as_ref())?;
    let bytes = source.read(&chosen.item.config)?;
    let digest = Digest::of(&bytes);
    let config = ConfigFile::parse(&bytes, digest)?;
    let names = &chosen.item.layers;
    if names.len() != config.diff_ids.len() {
        let why = format!("it has {} layers and its config {} DiffIDs", names.len(), config.diff_ids.len());
        return Err(source.bad(why));
    }
    let chain = origin::chain(&config.diff_ids);
    let layers: Vec<_> = names
        .par_iter()
        .zip(&config.diff_ids)
        .zip(&chain)
        .map(|((name, diff_id), chain)| {
            let tar = decompress(source.open_file(name)?).map_err(Error::from_read(source.path()))?.0;
            adopt::take_tar(store, tar, &format!("{name} in {}", source.path().display()), diff_id, chain)
        })
        .collect::<Result<_>>()?;
    store.blobs().put(&bytes)?;
    let image = adopt::assemble(images, config, Some(digest), layers, None)?;
    Ok(Imported { image, format: Format::DockerArchive, names: chosen.names, manifest: None })
}
