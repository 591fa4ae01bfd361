//! Mounts served trees, and hands their devices to whoever answers for them.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::error::{Doing, Failure};
use super::wire::{self, Report};

/// Opens the device by which a FUSE file system is answered for: fuse(4).
fn open_fuse() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Where the served tree of a number is mounted.
pub(super) fn place(served: &Path, number: usize) -> PathBuf {
    served.join(number.to_string())
}

/// Mounts as many trees. Each is reported with its device, of which nothing stays here: with the builder the tree ends, and whoever waits for it.
pub(super) fn mount_all(served: &Path, count: usize, control: &UnixStream) -> Result<(), Failure> {
    for number in 0..count {
        let at = place(served, number);
        fs::create_dir(&at).doing(|| format!("creating {}", at.display()))?;
        let device = open_fuse().doing(|| "opening /dev/fuse".to_owned())?;
        mount_one(&at, &device).doing(|| "mounting a served tree".to_owned())?;
        wire::report_with(control, &Report::Served(number), &device);
    }
    Ok(())
}

fn mount_one(at: &Path, device: &OwnedFd) -> io::Result<()> {
    // The kernel checks permissions, by what the tree says of each file. `suid` stays: setuid programs of the layers work.
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", device.as_raw_fd());
    let options = std::ffi::CString::new(options)?;
    Ok(mount("shiplap", at, "fuse", MountFlags::RDONLY | MountFlags::NODEV, Some(&*options))?)
}

/// Takes the mounts away again. What still waits for an answer of one gets an error.
pub(super) fn unmount_all(served: &Path, count: usize) {
    for number in 0..count {
        // Nobody else has this mount namespace, so at worst the mount ends with it.
        let _ = unmount(place(served, number), UnmountFlags::DETACH);
    }
}
