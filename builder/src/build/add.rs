//! What `ADD` takes beyond `COPY`: archives, files of the web, git repositories.

use std::collections::BTreeSet;
use std::sync::Arc;

use shiplap_cache::{Kind, TreePath};

use super::archive;
use super::copy::{self, Picked};
use super::error::{FetchError, StepError};
use super::files::Files;
use super::sources::{Sources, blocking};
use super::{Builder, git, http};
use crate::plan::{AddOp, AddSource, ContextName, CopySource, Destination, Source};

/// Finds and fetches the sources of an `ADD`.
pub(crate) async fn pick(builder: &Arc<Builder>, sources: &Arc<Sources>, op: &AddOp) -> Result<Vec<Picked>, StepError> {
    let mut picked = Vec::new();
    for source in &op.sources {
        match source {
            AddSource::Path { pattern, unpack } => {
                let context = Source::Context(ContextName::MAIN);
                let files = sources.files(builder, &context).await?;
                let plain = CopySource::Path { base: String::new(), pattern: pattern.clone() };
                for one in copy::pick(&files, &sources.describe(&context), &plain, &op.to, false)? {
                    picked.push(if *unpack { unpacked(builder, one).await? } else { one });
                }
            }
            AddSource::Inline(file) => {
                let (name, bytes) = (file.name.clone().into_bytes(), file.data.clone().into_bytes());
                picked.push(Picked::Bytes { name, bytes, mode: 0o644, mtime: 0 });
            }
            AddSource::Http { url, file_name, checksum, unpack } => {
                let store = builder.store();
                let fetched = sources.fetch(builder, url).await?;
                let at = fetched.path(store);
                if let Some(expected) = checksum.clone() {
                    let actual = http::digest(&fetched, &at, &expected)?;
                    if expected != actual {
                        let what = git::without_credentials(url);
                        return Err(FetchError::Checksum { what, expected, actual }.into());
                    }
                }
                if *unpack {
                    let (store, url) = (store.clone(), url.clone());
                    picked.push(all_of(blocking(move || archive::unpack_to(&store, &at, &url)).await?));
                } else {
                    let bytes = store.blobs().read(&fetched.digest)?;
                    let name = file_name.clone().into_bytes();
                    picked.push(Picked::Bytes { name, bytes, mode: 0o600, mtime: fetched.mtime });
                }
            }
            AddSource::Git(source) => picked.push(pick_git(builder, sources, source.clone(), &op.to).await?),
        }
    }
    Ok(picked)
}

async fn pick_git(
    builder: &Arc<Builder>,
    sources: &Arc<Sources>,
    source: crate::plan::GitSource,
    to: &Destination,
) -> Result<Picked, StepError> {
    let files = sources.files(builder, &Source::Git(source)).await?;
    let everything = CopySource::Path { base: String::new(), pattern: String::new() };
    let mut picked = copy::pick(&files, "the repository", &everything, to, false)?;
    picked.pop().ok_or_else(|| StepError::Pattern {
        pattern: String::new(),
        why: "nothing is left of the repository".to_owned(),
    })
}

/// An archive of the context becomes its content; anything else stays what it is.
async fn unpacked(builder: &Arc<Builder>, picked: Picked) -> Result<Picked, StepError> {
    let Picked::Tree { items, is_dir: false, .. } = &picked else { return Ok(picked) };
    let [item] = items.as_slice() else { return Ok(picked) };
    let at = item.at.clone();
    if !matches!(item.entry.kind, Kind::File { .. }) || !archive::is_archive(&at)? {
        return Ok(picked);
    }
    let (store, what) = (builder.store().clone(), at.display().to_string());
    Ok(all_of(blocking(move || archive::unpack_to(&store, &at, &what)).await?))
}

fn all_of((files, implied): (Files, BTreeSet<TreePath>)) -> Picked {
    Picked::Archive { items: files.below(&TreePath::root()), implied, _files: files }
}
