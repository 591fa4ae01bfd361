//! Which parts of a cache mount are here.
//!
//! In the folder of a mount, beside `data`, `parts` says it where not all of it came here: the set of parts, in 32 hex digits. Without that file all that there is was made
//! here, or came at once.

use std::path::Path;

use shiplap_cache::durable;

use super::parts::Parts;
use crate::Result;
use crate::error::At;

/// The contents of a mount, in its folder.
pub(super) const DATA: &str = "data";

const FILE: &str = "parts";

/// The parts that are here. What cannot be read is not counted on: then they come again, and nothing of ours is lost by that.
pub(super) fn read(folder: &Path) -> Parts {
    match std::fs::read_to_string(folder.join(FILE)) {
        Ok(text) => text.trim_end().parse().unwrap_or(Parts::NONE),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Parts::ALL,
        Err(_) => Parts::NONE,
    }
}

/// Says which parts are here.
pub(super) fn write(folder: &Path, parts: Parts) -> Result<()> {
    let path = folder.join(FILE);
    durable::write(&path, format!("{parts}\n").as_bytes()).at("write", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_word_all_is_here_and_with_a_broken_one_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Parts::ALL);
        let some = Parts::NONE.with(3).with(63);
        write(folder.path(), some).unwrap();
        assert_eq!(read(folder.path()), some);
        std::fs::write(folder.path().join(FILE), "torn").unwrap();
        assert_eq!(read(folder.path()), Parts::NONE);
    }
}
