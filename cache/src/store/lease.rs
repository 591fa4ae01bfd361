//! Leases: who uses the store now.
//!
//! A lease is a folder `tmp/s-*` with a lock on it (`flock(2)`), held for as long as its process lives or the guard does. What its holder has seen in
//! the store stays on disk meanwhile: [`Store::collect`](super::Store::collect) writes down which leases there were when it took the last
//! reference away, and unlinks nothing before all of them are gone. Temporary files of the holder are in the folder.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Result;
use crate::error::At;

/// How the folders begin.
const PREFIX: &str = "s-";

/// A lease, given back when it is dropped or its process ends.
#[derive(Debug)]
pub struct Lease {
    folder: PathBuf,
    _lock: File,
}

impl Lease {
    pub(super) fn take(tmp: &Path) -> Result<Self> {
        // Made under a name that the sweep passes over, locked, then given its name: it is never there without its lock.
        let folder = tempfile::Builder::new().prefix(".new-").tempdir_in(tmp).at("write", tmp)?.keep();
        let lock = File::open(&folder).at("read", &folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).at("lock", &folder)?;
        let name = folder.file_name().map(|n| n.to_string_lossy().replace(".new-", PREFIX)).unwrap_or_default();
        let named = tmp.join(name);
        std::fs::rename(&folder, &named).at("rename", &folder)?;
        Ok(Self { folder: named, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its name among the leases of the store.
    pub(super) fn name(&self) -> String {
        self.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed now, the next process sweeps.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of processes that are gone: their lock is free.
pub(super) fn sweep(tmp: &Path) -> Result<()> {
    for name in folders(tmp)? {
        if !is_held(tmp, &name) {
            let _ = std::fs::remove_dir_all(tmp.join(name));
        }
    }
    Ok(())
}

/// The names of all leases that are held.
pub(super) fn held(tmp: &Path) -> Result<Vec<String>> {
    let mut names = folders(tmp)?;
    names.retain(|name| is_held(tmp, name));
    Ok(names)
}

/// Whether a lease is held still.
pub(super) fn is_held(tmp: &Path, name: &str) -> bool {
    match File::open(tmp.join(name)) {
        Ok(folder) => flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        // Who cannot look, believes that it is.
        Err(_) => true,
    }
}

fn folders(tmp: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in std::fs::read_dir(tmp).at("read", tmp)? {
        let name = item.at("read", tmp)?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_lease_is_left_alone_and_a_dead_one_is_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Lease::take(tmp.path()).unwrap();
        std::fs::create_dir_all(tmp.path().join("s-dead/upper/x")).unwrap();
        assert_eq!(held(tmp.path()).unwrap(), [living.name()]);
        sweep(tmp.path()).unwrap();
        assert!(living.folder().exists());
        assert!(!tmp.path().join("s-dead").exists());
        let name = living.name();
        assert!(is_held(tmp.path(), &name));
        drop(living);
        assert!(!is_held(tmp.path(), &name));
    }
}
