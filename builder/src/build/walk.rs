//! The files of a build context, for whoever takes them elsewhere.

use std::path::Path;

use shiplap_cache::SourceTree;

use super::error::BuildError;
use super::{ignore_rules, sources};

/// What a build can see of a folder: all but what the ignore file of the Dockerfile, or that of the folder, leaves out. `memory` is what
/// [`SourceTree::memory`] gave the last time.
///
/// # Errors
/// The folder or an ignore file cannot be read.
pub fn context_files(folder: &Path, dockerfile: Option<&Path>, memory: &[u8]) -> Result<SourceTree, BuildError> {
    let ignore = ignore_rules(dockerfile, folder)?;
    Ok(SourceTree::scan(folder, memory, |path, is_dir| sources::ask(&ignore, path, is_dir))?)
}
