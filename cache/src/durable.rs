//! The one way in which a file is written that must survive a crash.
//!
//! Temporary file in the same folder, write, check, `fsync`, rename, `fsync` of the folder. A reader sees the old
//! file or the new one, whole, whatever happens when. `rename(2)` is atomic; that its folder needs an `fsync` of its own
//! is in `fsync(2)`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

/// How the names of files begin that are not yet in their place.
const TEMPORARY: &str = ".tmp-";

/// No process takes so long between making a temporary file and locking it.
const YOUNG: Duration = Duration::from_secs(60);

/// A file that is being written beside the place where it will stand.
#[derive(Debug)]
pub struct DurableFile {
    file: NamedTempFile,
}

impl DurableFile {
    /// Opens a temporary file in `folder`, which exists.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new_in(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).map_err(without_path)?;
        // Held until the file is closed, so that `sweep` knows the files of the living; a file system without locks has no sweep.
        let _ = flock(file.as_file(), FlockOperation::NonBlockingLockExclusive);
        Ok(Self { file })
    }

    /// The open file.
    pub fn as_file(&self) -> &File {
        self.file.as_file()
    }

    /// Gives the file the mode of a file that a user makes, `0644` less the umask; until then only its owner reads it.
    ///
    /// # Errors
    /// The file system knows no modes.
    pub fn for_people(self) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        self.file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644 & !umask()))?;
        Ok(self)
    }

    /// Puts the file in its place, replacing what is there. On failure nothing changed.
    ///
    /// # Errors
    /// The disk is full, the folder cannot be written, ...
    pub fn persist(self, path: &Path) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(path).map_err(|e| e.error)?;
        sync_parent(path)
    }

    /// Puts the file in its place unless something is there already; says whether it did.
    ///
    /// # Errors
    /// As [`DurableFile::persist`]; that something is there is no error.
    pub fn persist_new(self, path: &Path) -> io::Result<bool> {
        self.file.as_file().sync_all()?;
        match self.file.persist_noclobber(path) {
            Ok(_) => sync_parent(path).map(|()| true),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e.error),
        }
    }
}

impl Write for DurableFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `contents` to `path`, whole or not at all. An existing file keeps its mode; a new one gets `0644` less the umask.
///
/// # Errors
/// The disk is full, the folder is missing or cannot be written, ...
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = parent(path);
    let mut file = DurableFile::new_in(folder)?;
    file.write_all(contents)?;
    let mode = match std::fs::metadata(path) {
        Ok(old) => old.permissions().mode() & 0o7777,
        Err(_) => 0o644 & !umask(),
    };
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.persist(path)
}

/// Makes the folder's list of names durable.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what writers left in `folder` that were killed: temporary files that nobody holds.
///
/// # Errors
/// The folder cannot be read.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        if !item.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        // Another process may sweep, or put its file in its place, at the same time: a file that is gone is as good.
        let Ok(file) = File::open(item.path()) else { continue };
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > YOUNG && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(item.path());
        }
    }
    Ok(())
}

/// Whether nobody holds a temporary file any more: its writer is dead. A file that is gone is nobody's to remove.
///
/// # Errors
/// The file cannot be read.
pub fn is_abandoned(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// `tempfile` adds the temporary name to its errors; who reads them has never heard of that file.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((why, _)) => io::Error::new(error.kind(), why.to_owned()),
        None => error,
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The process's umask, read where reading it does not change it.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| s.lines().find_map(|l| l.strip_prefix("Umask:")).map(|v| v.trim().to_owned()))
        .and_then(|v| u32::from_str_radix(&v, 8).ok())
        .unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"first, and longer").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_of_killed_writers_are_swept_and_those_of_the_living_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - 2 * YOUNG;
        let age =
            |name: &str| File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(old).unwrap();
        for name in [".tmp-dead", ".tmp-young", "whole"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let living = DurableFile::new_in(dir.path()).unwrap();
        living.as_file().set_modified(old).unwrap();
        [".tmp-dead", "whole"].into_iter().for_each(age);
        sweep(dir.path()).unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        assert_eq!([".tmp-dead", ".tmp-young", "whole"].map(left), [false, true, true]);
        living.persist(&dir.path().join("living")).unwrap();
    }

    #[test]
    fn an_error_does_not_name_the_temporary_file() {
        let error = DurableFile::new_in(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains(TEMPORARY), "{error}");
    }

    #[test]
    fn an_existing_file_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, b"y").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn the_second_writer_of_a_new_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for (contents, first) in [(&b"one"[..], true), (b"two", false)] {
            let mut file = DurableFile::new_in(dir.path()).unwrap();
            file.write_all(contents).unwrap();
            assert_eq!(file.persist_new(&path).unwrap(), first);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
