//! Whether two images have the same files.

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use crate::command::Result;

// The end-to-end tests compare images too, and know what differs between any two builds.
#[path = "../../tests/e2e/docker/campus_noise.rs"]
mod campus_noise;
#[path = "../../tests/e2e/docker/tree.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod tree;

/// The result of a comparison.
#[derive(Debug, Serialize)]
pub struct Equality {
    /// Paths that were compared: kind, mode, owner, extended attributes, target of a link, content.
    pub paths: usize,
    /// Paths that differ from build to build and so were not compared.
    pub left_out: usize,
    /// A line for each that differs, with `-` as it is after the edit and `+` as an empty store makes it.
    pub differences: Vec<String>,
}

/// Compares two images, each as one tar.
pub fn compare(edited: &Path, cold: &Path) -> Result<Equality> {
    let read = |tar: &Path| -> Result<tree::Files> {
        let tar = File::open(tar).map_err(|e| format!("{}: {e}", tar.display()))?;
        Ok(tree::read_with(tar, campus_noise::without_times))
    };
    let (edited, cold) = (read(edited)?, read(cold)?);
    let left_out = edited.keys().filter(|path| campus_noise::differs(path)).count();
    let differences = tree::differences(&edited, &cold, campus_noise::differs);
    Ok(Equality { paths: edited.len() - left_out, left_out, differences })
}
