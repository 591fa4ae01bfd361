//! Temporary folders that do not outlive their process.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Result;
use crate::error::At;

/// A folder of this process under `tmp/`, with a lock on it for as long as the process lives.
#[derive(Debug)]
pub(super) struct Session {
    folder: PathBuf,
    _lock: File,
}

impl Session {
    pub(super) fn begin(tmp: &Path) -> Result<Self> {
        // Made under a name that the sweep passes over, locked, then given its name: it is never there without its lock.
        let folder = tempfile::Builder::new().prefix(".new-").tempdir_in(tmp).at("write", tmp)?.keep();
        let lock = File::open(&folder).at("read", &folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).at("lock", &folder)?;
        let name = folder.file_name().map(|n| n.to_string_lossy().replace(".new-", "s-")).unwrap_or_default();
        let named = tmp.join(name);
        std::fs::rename(&folder, &named).at("rename", &folder)?;
        Ok(Self { folder: named, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be removed now, the next process sweeps.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of processes that are gone: their lock is free.
pub(super) fn sweep(tmp: &Path) -> Result<()> {
    for item in std::fs::read_dir(tmp).at("read", tmp)? {
        let item = item.at("read", tmp)?;
        if !item.file_name().to_string_lossy().starts_with("s-") {
            continue;
        }
        // Another process may sweep at the same time: a folder that is gone already is as good.
        let Ok(folder) = File::open(item.path()) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_dir_all(item.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_session_is_left_alone_and_a_dead_one_is_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Session::begin(tmp.path()).unwrap();
        std::fs::create_dir_all(tmp.path().join("s-dead/upper/x")).unwrap();
        sweep(tmp.path()).unwrap();
        assert!(living.folder().exists());
        assert!(!tmp.path().join("s-dead").exists());
    }
}
