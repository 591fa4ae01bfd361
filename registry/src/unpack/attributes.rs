//! Owner, mode, extended attributes, time: in this order, for a change of owner takes setuid and capabilities away (`chown(2)`).

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use shiplap_cache::{Kind as Layered, Overlay, Tree, TreePath};

use super::root::{Root, proc_path};
use super::{TarProblem, Unpacked, failed};
use crate::tarball::{Head, Kind};

fn owner(head: &Head, path: &TreePath) -> Result<(Option<Uid>, Option<Gid>), TarProblem> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let bad = || TarProblem::Owner { name: path.to_string(), uid: head.uid, gid: head.gid };
    Ok((Some(Uid::from_raw(id(head.uid).ok_or_else(bad)?)), Some(Gid::from_raw(id(head.gid).ok_or_else(bad)?))))
}

fn owner_failed(e: Errno, head: &Head, path: &TreePath) -> TarProblem {
    match e {
        // EINVAL: the id has no meaning in this user namespace (`user_namespaces(7)`).
        Errno::INVAL | Errno::PERM => TarProblem::Owner { name: path.to_string(), uid: head.uid, gid: head.gid },
        e => failed(path, e),
    }
}

pub(super) fn set_on_dir(dir: &OwnedFd, head: &Head, path: &TreePath) -> Result<(), TarProblem> {
    set_on_fd(dir, head, path)
}

pub(super) fn set_on_file(file: &File, head: &Head, path: &TreePath) -> Result<(), TarProblem> {
    set_on_fd(file, head, path)?;
    set_time(file, (head.mtime, head.nanos)).map_err(|e| failed(path, e))
}

fn set_on_fd(fd: impl AsFd, head: &Head, path: &TreePath) -> Result<(), TarProblem> {
    let (uid, gid) = owner(head, path)?;
    rustix::fs::fchown(&fd, uid, gid).map_err(|e| owner_failed(e, head, path))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(head.mode)).map_err(|e| failed(path, e))?;
    for (name, value) in wanted(&head.xattrs) {
        passed_over(rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()), name, path)?;
    }
    Ok(())
}

/// For what cannot be opened: links, devices, pipes.
pub(super) fn set_on_name(folder: &OwnedFd, head: &Head, path: &TreePath) -> Result<(), TarProblem> {
    let (uid, gid) = owner(head, path)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(folder, path.name(), uid, gid, flags).map_err(|e| owner_failed(e, head, path))?;
    if head.kind != Kind::Symlink {
        let mode = Mode::from_raw_mode(head.mode);
        rustix::fs::chmodat(folder, path.name(), mode, AtFlags::empty()).map_err(|e| failed(path, e))?;
    }
    for (name, value) in wanted(&head.xattrs) {
        let at = proc_path(folder, path);
        passed_over(rustix::fs::lsetxattr(&at, name, value, XattrFlags::empty()), name, path)?;
    }
    let times = timestamps((head.mtime, head.nanos));
    rustix::fs::utimensat(folder, path.name(), &times, flags).map_err(|e| failed(path, e))
}

/// Without overlayfs's own attributes, of either kind, which an image has no business to bring.
fn wanted(xattrs: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let own = |name: &[u8]| [Overlay::Trusted, Overlay::User].iter().any(|o| name.starts_with(o.prefix().as_bytes()));
    xattrs.iter().filter(move |(name, _)| !own(name)).map(|(name, value)| (&name[..], &value[..]))
}

/// What the file system or this user cannot set is passed over, as Docker does: SELinux labels, `trusted.*` without root.
fn passed_over(result: Result<(), Errno>, name: &[u8], path: &TreePath) -> Result<(), TarProblem> {
    match result {
        Err(Errno::NOTSUP | Errno::PERM) => {
            tracing::warn!(%path, attribute = %String::from_utf8_lossy(name), "an extended attribute cannot be set here");
            Ok(())
        }
        other => other.map_err(|e| failed(path, format!("attribute {}: {e}", String::from_utf8_lossy(name)))),
    }
}

fn timestamps((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn set_time(fd: impl AsFd, time: (i64, u32)) -> Result<(), Errno> {
    rustix::fs::futimens(fd, &timestamps(time))
}

pub(super) fn mark_opaque(dir: &OwnedFd, path: &TreePath, overlay: Overlay) -> Result<(), TarProblem> {
    rustix::fs::fsetxattr(dir, overlay.opaque(), b"y", XattrFlags::empty()).map_err(|e| failed(path, e))
}

/// Gives directories without an entry of their own the look that they have in the layers below.
pub(crate) fn adopt_parents(dir: &Path, unpacked: &Unpacked, lower: &Tree) -> Result<(), TarProblem> {
    let root = Root::open(dir)?;
    for path in &unpacked.implied {
        let Some(below) = lower.get(path).filter(|e| matches!(e.kind, Layered::Dir { .. })) else { continue };
        let Ok(opened) = root.open_dir(path) else { continue };
        let head = Head {
            kind: Kind::Dir,
            mode: below.mode,
            uid: below.uid.into(),
            gid: below.gid.into(),
            xattrs: below.xattrs,
            ..Head::default()
        };
        set_on_dir(&opened, &head, path)?;
        set_time(&opened, (below.mtime, 0)).map_err(|e| failed(path, e))?;
    }
    Ok(())
}
