//! The directory that nothing may leave.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use shiplap_cache::{Overlay, TreePath};

use super::attributes::mark_opaque;
use super::{TarProblem, failed};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory, and the folder in it that was used last.
pub(super) struct Root {
    fd: OwnedFd,
    last: Option<(TreePath, OwnedFd)>,
}

/// What already stands where something is to be made.
pub(super) struct InTheWay {
    pub is_dir: bool,
    pub is_whiteout: bool,
}

/// Looks without following links.
pub(super) fn in_the_way(folder: &OwnedFd, path: &TreePath) -> Result<Option<InTheWay>, TarProblem> {
    match rustix::fs::statat(folder, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
            Ok(Some(InTheWay { is_dir: kind == FileType::Directory, is_whiteout }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(failed(path, e)),
    }
}

/// A path to something in an open folder, for calls that take no descriptor.
pub(super) fn proc_path(folder: &OwnedFd, path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(path.name());
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)
}

impl Root {
    pub(super) fn open(dir: &Path) -> Result<Self, TarProblem> {
        let fd = rustix::fs::open(dir, DIRECTORY, Mode::empty())
            .map_err(|e| TarProblem::Io { what: format!("{} cannot be opened", dir.display()), source: e.into() })?;
        Ok(Self { fd, last: None })
    }

    /// Opens a directory. Links on the way are followed as in a chroot (`openat2(2)`, `RESOLVE_IN_ROOT`).
    pub(super) fn open_dir(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let path = if path.is_root() { Path::new(".") } else { path.as_path() };
        loop {
            // EAGAIN: something was renamed anywhere on the machine while a `..` was walked.
            match rustix::fs::openat2(&self.fd, path, DIRECTORY, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    /// Opens the folder that holds a path, which must be there.
    pub(super) fn open_parent(&self, path: &TreePath) -> Result<OwnedFd, Errno> {
        self.open_dir(&path.parent().unwrap_or_default())
    }

    /// Something was replaced: a folder opened earlier may be another now.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Opens the folder that holds a path and makes it if it is missing; what was made goes into `implied`.
    pub(super) fn parent(
        &mut self,
        path: &TreePath,
        overlay: Overlay,
        implied: &mut BTreeSet<TreePath>,
    ) -> Result<&OwnedFd, TarProblem> {
        let parent = path.parent().unwrap_or_default();
        if self.last.as_ref().is_none_or(|(last, _)| *last != parent) {
            let fd = match self.open_dir(&parent) {
                Err(Errno::NOENT | Errno::NOTDIR) => self.make(&parent, overlay, implied)?,
                opened => opened.map_err(|e| failed(path, e))?,
            };
            self.last = Some((parent, fd));
        }
        match &self.last {
            Some((_, fd)) => Ok(fd),
            None => Err(failed(path, Errno::NOENT)),
        }
    }

    fn make(&self, path: &TreePath, overlay: Overlay, implied: &mut BTreeSet<TreePath>) -> Result<OwnedFd, TarProblem> {
        let mut at = TreePath::root();
        let mut folder = self.open_dir(&at).map_err(|e| failed(path, e))?;
        for name in path.components() {
            at = at.join(name);
            folder = match self.open_dir(&at) {
                Ok(opened) => opened,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    let mut opaque = false;
                    match in_the_way(&folder, &at)? {
                        None => {}
                        Some(there) if there.is_whiteout => {
                            opaque = true;
                            rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(|e| failed(&at, e))?;
                        }
                        Some(_) => {
                            return Err(failed(path, format!("{at} is no directory, or a link that leads nowhere")));
                        }
                    }
                    rustix::fs::mkdirat(&folder, name, Mode::RWXU).map_err(|e| failed(&at, e))?;
                    let flags = DIRECTORY | OFlags::NOFOLLOW;
                    let made = rustix::fs::openat(&folder, name, flags, Mode::empty()).map_err(|e| failed(&at, e))?;
                    // Not by the umask.
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755)).map_err(|e| failed(&at, e))?;
                    if opaque {
                        mark_opaque(&made, &at, overlay)?;
                    }
                    implied.insert(at.clone());
                    made
                }
                Err(e) => return Err(failed(&at, e)),
            };
        }
        Ok(folder)
    }
}
