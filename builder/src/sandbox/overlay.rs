//! Mounts a stack of layers as one tree.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

use super::error::{Doing, Failure};
use super::spec::Lower;
use super::{serve, userns};

/// One overlay mount.
pub(super) struct Overlay<'a> {
    /// The layers, topmost first.
    pub lower: &'a [OwnedFd],
    /// An empty directory that stands in where overlayfs wants more layers than there are.
    pub empty: &'a Path,
    /// Where changes go, and a directory to be made on the same file system; read only when `None`.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// An absolute path to mount at.
    pub target: &'a Path,
}

impl Overlay<'_> {
    /// Mounts it, with every option that could change the form of the layer pinned: each change is a
    /// whole copy, a whiteout or an opaque directory, wherever the kernel's defaults stand.
    pub(super) fn mount(&self) -> io::Result<()> {
        let mut options = String::from("lowerdir=");
        let mut opened = Vec::new();
        let mut add = |options: &mut String, path: &Path| -> io::Result<()> {
            let fd = open_directory(path)?;
            options.push_str(&fd.as_raw_fd().to_string());
            opened.push(fd);
            Ok(())
        };
        for fd in self.lower {
            if !options.ends_with('=') {
                options.push(':');
            }
            options.push_str(&fd.as_raw_fd().to_string());
        }
        // Without an upper directory overlayfs wants two lower ones at least.
        let wanted = if self.upper.is_some() { 1 } else { 2 };
        for missing in self.lower.len()..wanted {
            if missing > 0 {
                options.push(':');
            }
            add(&mut options, self.empty)?;
        }
        if let Some((upper, work)) = self.upper {
            fs::create_dir(work)?;
            options.push_str(",upperdir=");
            add(&mut options, upper)?;
            options.push_str(",workdir=");
            add(&mut options, work)?;
            // A build writes no step down before it is whole, so nothing has to reach the disk when
            // the step calls fsync (dpkg does for every file) or when the tree is unmounted.
            options.push_str(",volatile");
        }
        // `nofollow` rather than `off`: `off` may still follow redirects that a foreign layer brings,
        // and the kernel refuses it in a user namespace.
        // `xino=off`: where a layer is served, files have its device number and small inode numbers of their own. Otherwise they would have bit
        // 63 set, and a program that keeps them as doubles (`fs.stat` of Node) could not tell two files apart.
        options.push_str(",redirect_dir=nofollow,metacopy=off,index=off,xino=off");
        if userns::inside() {
            options.push_str(",userxattr");
        }
        // mount(2) takes one page of options; the new mount API takes 256 bytes an option before
        // Linux 6.5. File descriptors as names, relative to where they are listed, fit hundreds of
        // layers in, need no escapes and show a step nothing of the host's paths.
        let back = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::chdir("/proc/self/fd")?;
        let data = std::ffi::CString::new(options)?;
        let mounted = rustix::mount::mount(
            "overlay",
            self.target,
            "overlay",
            // Device nodes of a layer or a step stay files: see the module's head.
            MountFlags::NODEV,
            Some(&*data),
        );
        rustix::process::fchdir(&back)?;
        Ok(mounted?)
    }
}

/// Opens the layers of a stack, topmost first. `served` is where served trees are mounted. A layer that is in it twice (a `chmod` that changes nothing leaves the layer of
/// the `COPY` before it) is opened once: overlayfs refuses a directory twice, with `ELOOP`, and what the upper one says is all
/// that the lower one could.
pub(super) fn open_layers(layers: &[Lower], served: &Path) -> Result<Vec<OwnedFd>, Failure> {
    let mut seen = HashSet::new();
    layers
        .iter()
        .filter(|layer| seen.insert(*layer))
        .map(|layer| {
            let path = match layer {
                Lower::Directory(path) => path.clone(),
                Lower::Served(number) => serve::place(served, *number),
            };
            open_directory(&path).doing(|| format!("opening the layer {}", path.display()))
        })
        .collect()
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
