//! Tar archives as sources.

use std::path::Path;

use shiplap_cache::Store;

use super::error::StepError;
use super::files::Files;

/// Unpacks an archive; it may be compressed with gzip or zstd.
pub(crate) fn unpack(store: &Store, archive: &Path, what: &str) -> Result<Files, StepError> {
    let folder = store.temporary()?;
    let root = folder.path().join("tree");
    std::fs::create_dir(&root).map_err(|source| StepError::Io { what: "make", path: root.clone(), source })?;
    shiplap_registry::unpack::unpack_file(archive, &root, store.overlay())
        .map_err(|e| StepError::Archive { what: what.to_owned(), why: e.to_string() })?;
    Ok(Files::of_temporary(folder, root, store.overlay())?)
}
