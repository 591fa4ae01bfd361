//! `/dev` of a step, as Docker builds have it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::error::{Doing, Failure};
use super::mounts::{STRICT, Tree, attach, clone_of_path, file_system};
use super::resolve::{Kind, mount_point};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
const DEFAULT_SHM_SIZE: u64 = 64 << 20;

pub(super) fn furnish(tree: &mut Tree<'_>, shm_size: Option<u64>) -> Result<(), Failure> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    // `nodev`, for the devices are mounts of the host's own: a node that the step makes is of no use.
    let dev = file_system("tmpfs", &[("mode", "755"), ("size", "65536k")], nosuid | MountAttrFlags::MOUNT_ATTR_NODEV)
        .doing(|| "making /dev".to_owned())?;
    let at = mount_point(tree.root, "/dev", Kind::Directory, &mut tree.stubs).doing(|| "mounting /dev".to_owned())?;
    attach(&dev, &at).doing(|| "mounting /dev".to_owned())?;

    for name in DEVICES {
        let path = at.join(name);
        fs::write(&path, "")
            .and_then(|()| clone_of_path(&Path::new("/dev").join(name), nosuid))
            .and_then(|device| attach(&device, &path))
            .doing(|| format!("mounting /dev/{name}"))?;
    }
    // A kernel may be without it.
    let core = Path::new("/proc/kcore").exists().then_some(("core", "/proc/kcore"));
    for (name, target) in LINKS.into_iter().chain(core) {
        symlink(target, at.join(name)).doing(|| format!("making /dev/{name}"))?;
    }

    let make = |name: &str| {
        let path = at.join(name);
        DirBuilder::new().mode(0o755).create(&path).doing(|| format!("making /dev/{name}"))?;
        Ok(path)
    };
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let no_exec = nosuid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    file_system("devpts", &options, no_exec)
        // Group 5, tty, may be outside the ids of a user namespace.
        .or_else(|_| file_system("devpts", &options[..2], no_exec))
        .doing(|| "making /dev/pts".to_owned())
        .and_then(|pts| {
            let at = make("pts")?;
            attach(&pts, &at).doing(|| "mounting /dev/pts".to_owned())
        })?;
    let size = shm_size.unwrap_or(DEFAULT_SHM_SIZE).to_string();
    file_system("tmpfs", &[("mode", "1777"), ("size", &size)], STRICT)
        .doing(|| "making /dev/shm".to_owned())
        .and_then(|shm| {
            let at = make("shm")?;
            attach(&shm, &at).doing(|| "mounting /dev/shm".to_owned())
        })?;
    let queues = make("mqueue")?;
    file_system("mqueue", &[], STRICT)
        .and_then(|mqueue| attach(&mqueue, &queues))
        .doing(|| "mounting /dev/mqueue".to_owned())
}
