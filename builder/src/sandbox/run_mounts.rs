//! The mounts that a step asks for (`RUN --mount`).

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::child::Workspace;
use super::error::{Doing, Failure};
use super::etc_files::Files;
use super::mounts::{READ_ONLY, Tree, clone_of, clone_of_path, file_system};
use super::overlay::{Overlay, open_layers};
use super::resolve::{Kind, open_inside};
use super::spec::{BindSource, Mount};

/// Mounts one of the step's mounts. `number` tells it from the others of the step.
pub(super) fn add(
    tree: &mut Tree<'_>,
    files: &mut Files<'_>,
    space: &Workspace,
    number: usize,
    mount: &Mount,
) -> Result<(), Failure> {
    let target = mount.target();
    if !target.starts_with('/') || Path::new(target) == Path::new("/") {
        return Err(Failure::new(
            format!("mounting {target:?}"),
            "the target of a mount is an absolute path other than /",
        ));
    }
    let mut kind = Kind::File;
    let source = match mount {
        Mount::Bind { source, subpath, read_only, .. } => {
            let scratch = space.mounts.join(number.to_string());
            fs::create_dir(&scratch).doing(|| format!("creating {}", scratch.display()))?;
            let (mount, is) = bind(source, subpath, *read_only, &scratch, space)?;
            kind = is;
            mount
        }
        Mount::Cache { dir, read_only, .. } => {
            kind = Kind::Directory;
            clone_of_path(dir, guest(*read_only)).doing(|| format!("sharing the cache {}", dir.display()))?
        }
        Mount::Tmpfs { size, .. } => {
            kind = Kind::Directory;
            let size = size.map(|size| size.to_string());
            let options: Vec<_> = size.iter().map(|size| ("size", size.as_str())).collect();
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | guest(false);
            file_system("tmpfs", &options, attributes).doing(|| format!("making a tmpfs for {target}"))?
        }
        Mount::Secret { contents, mode, uid, gid, .. } => files.add(contents, *mode, *uid, *gid)?,
        Mount::File { contents, mode, .. } => files.add(contents, *mode, 0, 0)?,
        Mount::Ssh { socket, .. } => {
            clone_of_path(socket, guest(false)).doing(|| format!("sharing the socket {}", socket.display()))?
        }
    };
    tree.place(&source, target, kind)
}

fn guest(read_only: bool) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if read_only {
        attributes |= READ_ONLY;
    }
    attributes
}

fn bind(
    source: &BindSource,
    subpath: &str,
    read_only: bool,
    scratch: &Path,
    space: &Workspace,
) -> Result<(OwnedFd, Kind), Failure> {
    let empty = &space.empty;
    let open = |root: &Path| -> io::Result<(OwnedFd, Kind)> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let opened = match kind_of(&root)? {
            Kind::File if Path::new(subpath).components().count() <= 1 => root,
            _ => open_inside(&root, subpath)?,
        };
        let kind = kind_of(&opened)?;
        Ok((opened, kind))
    };
    match source {
        BindSource::Layers(layers) => {
            let merged = overlay_on(&open_layers(layers, &space.served)?, !read_only, scratch, empty)
                .doing(|| format!("mounting an overlay of {} layers", layers.len()))?;
            let (opened, kind) = open(&merged).doing(|| format!("finding {subpath} in the source of a mount"))?;
            let mount = clone_of(opened, guest(read_only)).doing(|| format!("sharing {subpath} of a stage"))?;
            Ok((mount, kind))
        }
        BindSource::Host(path) => {
            let action = || format!("sharing {subpath} of {}", path.display());
            let (opened, kind) = open(path).doing(action)?;
            if read_only {
                return Ok((clone_of(opened, guest(true)).doing(action)?, kind));
            }
            // What the step writes must not reach the host: it goes over or into a copy.
            let writable = match kind {
                Kind::Directory => overlay_on(&[opened], true, scratch, empty),
                Kind::File => copy_of(&opened, scratch),
            };
            let mount = writable.and_then(|path| clone_of_path(&path, guest(false))).doing(action)?;
            Ok((mount, kind))
        }
    }
}

fn kind_of(opened: &OwnedFd) -> io::Result<Kind> {
    let mode = rustix::fs::fstat(opened)?.st_mode;
    Ok(match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    })
}

fn overlay_on(lower: &[OwnedFd], writable: bool, scratch: &Path, empty: &Path) -> io::Result<PathBuf> {
    let merged = scratch.join("merged");
    let upper = scratch.join("upper");
    let work = scratch.join("work");
    fs::create_dir(&merged)?;
    if writable {
        fs::create_dir(&upper)?;
        if let Some(top) = lower.first() {
            let top = rustix::fs::fstat(top)?;
            chown(&upper, Some(top.st_uid), Some(top.st_gid))?;
            rustix::fs::chmod(&upper, Mode::from_raw_mode(top.st_mode))?;
        }
    }
    Overlay { lower, empty, upper: writable.then_some((&*upper, &*work)), target: &merged }.mount()?;
    Ok(merged)
}

fn copy_of(file: &OwnedFd, scratch: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    let copy = scratch.join("file");
    let status = rustix::fs::fstat(file.as_fd())?;
    fs::copy(format!("/proc/self/fd/{}", file.as_raw_fd()), &copy)?;
    chown(&copy, Some(status.st_uid), Some(status.st_gid))?;
    rustix::fs::chmod(&copy, Mode::from_raw_mode(status.st_mode))?;
    Ok(copy)
}
