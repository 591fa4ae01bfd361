//! Small steps of which every mount is made: a detached mount first, with its attributes, then its place.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};

use super::error::{Doing, Failure};
use super::etc_files::Files;
use super::resolve::{Kind, mount_point};
use super::spec::RunSpec;
use super::stubs::Stubs;
use super::{dev, sys};

/// What Docker mounts kernel file systems with.
pub(super) const STRICT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
pub(super) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The tree of a step while it is being furnished.
pub(super) struct Tree<'a> {
    pub root: &'a Path,
    pub stubs: Stubs,
}

impl Tree<'_> {
    /// Puts a detached mount at `target`.
    pub(super) fn place(&mut self, mount: &OwnedFd, target: &str, kind: Kind) -> Result<(), Failure> {
        mount_point(self.root, target, kind, &mut self.stubs)
            .and_then(|at| attach(mount, &at))
            .doing(|| format!("mounting {target}"))
    }
}

/// A new file system.
pub(super) fn file_system(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A second mount of an opened file or directory, with all that is mounted below it: in a user
/// namespace the kernel gives out a directory only together with what covers parts of it.
pub(super) fn clone_of(from: impl AsFd, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let mount = open_tree(
        from.as_fd(),
        "",
        OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )?;
    sys::mount_setattr(&mount, true, attributes)?;
    Ok(mount)
}

/// As [`clone_of`], of a path.
pub(super) fn clone_of_path(path: &Path, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let opened =
        rustix::fs::open(path, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    clone_of(opened, attributes)
}

/// Puts a detached mount at a path.
pub(super) fn attach(mount: &OwnedFd, at: &Path) -> io::Result<()> {
    Ok(move_mount(mount.as_fd(), "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Mounts what every step of a Docker build sees beside its layers.
pub(super) fn furnish(tree: &mut Tree<'_>, spec: &RunSpec, files: &mut Files<'_>) -> Result<(), Failure> {
    let proc = file_system("proc", &[], STRICT).doing(|| "making /proc".to_owned())?;
    tree.place(&proc, "/proc", Kind::Directory)?;
    dev::furnish(tree, spec.shm_size)?;
    tree.place(&sysfs()?, "/sys", Kind::Directory)?;
    for (target, contents) in
        [("/etc/resolv.conf", files.resolv_conf(spec.network)?), ("/etc/hosts", files.hosts(spec))]
    {
        let file = files.add(&contents, 0o644, 0, 0)?;
        tree.place(&file, target, Kind::File)?;
    }
    Ok(())
}

fn sysfs() -> Result<OwnedFd, Failure> {
    let attributes = STRICT | READ_ONLY;
    match file_system("sysfs", &[], attributes) {
        Ok(mount) => Ok(mount),
        // A user namespace that does not own the network namespace cannot have one of its own.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            clone_of_path(Path::new("/sys"), attributes).doing(|| "sharing /sys".to_owned())
        }
        Err(error) => Err(error).doing(|| "making /sys".to_owned()),
    }
}

/// Mounts the control groups where the machine uses version 2 alone, for programs that read their
/// limits there. `/sys` has the empty directory for it.
pub(super) fn control_groups(root: &Path) {
    let at = root.join("sys/fs/cgroup");
    if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
        // A convenience: a step without it sees an empty directory.
        let _ = file_system("cgroup2", &[], STRICT | READ_ONLY).and_then(|mount| attach(&mount, &at));
    }
}
