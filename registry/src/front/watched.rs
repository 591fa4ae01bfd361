//! Files that are read again when they change: passwords, grants, tokens, certificates.
//!
//! A change is seen by device, inode, size and time, as by `make`. A file that cannot be read any more leaves what was read before in force, and
//! says so in the log: a mistake in an editor must neither lock everybody out nor let anybody in.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::error::Result;

type Stamp = Vec<Option<(u64, u64, u64, i64, i64)>>;

type Load<T> = Box<dyn Fn() -> Result<T> + Send + Sync>;

/// What one or several files say.
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    load: Load<T>,
    stamp: Mutex<Stamp>,
    value: RwLock<Arc<T>>,
}

impl<T> Watched<T> {
    /// Reads it for the first time.
    pub fn new(paths: Vec<PathBuf>, load: impl Fn() -> Result<T> + Send + Sync + 'static) -> Result<Self> {
        // Before the reading: a change in between is seen the next time.
        let stamp = stamp(&paths);
        let value = Arc::new(load()?);
        Ok(Self { paths, load: Box::new(load), stamp: Mutex::new(stamp), value: RwLock::new(value) })
    }

    /// What it says.
    pub fn get(&self) -> Arc<T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads it again if a file changed.
    pub fn refresh(&self) {
        let mut known = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&self.paths);
        if *known == found {
            return;
        }
        *known = found;
        match (self.load)() {
            Ok(value) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(file = %self.paths[0].display(), "read again");
            }
            Err(error) => tracing::error!("{error}; what it said before stays in force"),
        }
    }
}

fn stamp(paths: &[PathBuf]) -> Stamp {
    let one = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    };
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::error::{At, FrontError};
    use super::*;

    #[test]
    fn a_change_is_read_and_a_mistake_leaves_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        std::fs::write(&path, "1").unwrap();
        let at = path.clone();
        let watched = Watched::new(vec![path.clone()], move || {
            let text = std::fs::read_to_string(&at).at("read", &at)?;
            text.parse::<u32>().map_err(|e| FrontError::File { path: at.clone(), why: e.to_string() })
        })
        .unwrap();
        // Another size, so that no clock decides.
        for (text, expected) in [("22", 22), ("not a number", 22), ("333", 333)] {
            std::fs::write(&path, text).unwrap();
            watched.refresh();
            assert_eq!(*watched.get(), expected);
        }
        std::fs::remove_file(&path).unwrap();
        watched.refresh();
        assert_eq!(*watched.get(), 333);
    }
}
