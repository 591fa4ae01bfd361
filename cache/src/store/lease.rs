//! Leases: who uses the store now.
//!
//! A lease is a folder `tmp/s-*` with a lock on it (`flock(2)`), held for as long as its process lives or the guard does. What its holder has seen in
//! the store stays on disk meanwhile: [`Store::collect`](super::Store::collect) writes down which leases there were when it took the last
//! reference away, and unlinks nothing before all of them are gone. Temporary files of the holder are in the folder.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Result;
use crate::error::At;

/// How the folders begin.
const PREFIX: &str = "s-";
/// How they begin before they have their lock.
const NEW: &str = ".new-";

/// A lease, given back when it is dropped or its process ends.
#[derive(Debug)]
pub struct Lease {
    folder: PathBuf,
    _lock: File,
}

impl Lease {
    pub(super) fn take(tmp: &Path) -> Result<Self> {
        loop {
            // Made under another name, locked, then given its own: as a lease it is never there without its lock.
            let new = tempfile::Builder::new().prefix(NEW).tempdir_in(tmp).at("write", tmp)?.keep();
            match Self::of_new(tmp, &new) {
                // A sweep took it for that of a process that died before it had its lock.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => {}
                taken => return taken.at("lock", &new),
            }
        }
    }

    fn of_new(tmp: &Path, new: &Path) -> std::io::Result<Self> {
        let lock = File::open(new)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let name = new.file_name().map(|n| n.to_string_lossy().replace(NEW, PREFIX)).unwrap_or_default();
        let folder = tmp.join(name);
        std::fs::rename(new, &folder)?;
        Ok(Self { folder, _lock: lock })
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
    for name in folders(tmp, &[PREFIX, NEW])? {
        if !is_held(tmp, &name) {
            let _ = std::fs::remove_dir_all(tmp.join(name));
        }
    }
    Ok(())
}

/// The names of all leases that are held.
pub(super) fn held(tmp: &Path) -> Result<Vec<String>> {
    let mut names = folders(tmp, &[PREFIX])?;
    names.retain(|name| is_held(tmp, name));
    Ok(names)
}

/// Whether a lease is held still.
pub(super) fn is_held(tmp: &Path, name: &str) -> bool {
    match File::open(tmp.join(name)) {
        Ok(folder) => flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err(),
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        // Who cannot look, believes that it is.
        Err(_) => true,
    }
}

fn folders(tmp: &Path, beginnings: &[&str]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in std::fs::read_dir(tmp).at("read", tmp)? {
        let name = item.at("read", tmp)?.file_name().to_string_lossy().into_owned();
        if beginnings.iter().any(|beginning| name.starts_with(beginning)) {
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
        // One that died before it had its lock.
        std::fs::create_dir(tmp.path().join(".new-dead")).unwrap();
        assert_eq!(held(tmp.path()).unwrap(), [living.name()]);
        sweep(tmp.path()).unwrap();
        assert!(living.folder().exists());
        assert!(!tmp.path().join("s-dead").exists());
        assert!(!tmp.path().join(".new-dead").exists());
        let name = living.name();
        assert!(is_held(tmp.path(), &name));
        drop(living);
        assert!(!is_held(tmp.path(), &name));
    }

    #[test]
    fn a_lease_is_taken_whatever_a_sweep_takes_for_dead() {
        let tmp = tempfile::tempdir().unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep(tmp.path()).unwrap();
                }
            });
            for _ in 0..500 {
                let lease = Lease::take(tmp.path()).unwrap();
                assert!(lease.folder().exists());
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        sweep(tmp.path()).unwrap();
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
