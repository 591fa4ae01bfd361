//! Files that exist in memory for the time of a step: secrets, heredocs, `/etc/hosts`, `/etc/resolv.conf`.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::error::{Doing, Failure};
use super::mounts::{READ_ONLY, attach, clone_of_path, file_system};
use super::spec::{Network, RunSpec};

/// A file system in memory with one file a mount.
pub(super) struct Files<'a> {
    dir: &'a Path,
    next: usize,
}

impl<'a> Files<'a> {
    /// Mounts it at `dir`, which the step never sees.
    pub(super) fn new(dir: &'a Path) -> Result<Self, Failure> {
        file_system("tmpfs", &[("mode", "700")], MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
            .and_then(|mount| attach(&mount, dir))
            .doing(|| "making a file system for generated files".to_owned())?;
        Ok(Self { dir, next: 0 })
    }

    /// Makes a file and returns it as a read-only mount. It may be executed: a heredoc can be a script.
    pub(super) fn add(&mut self, contents: &[u8], mode: u32, uid: u32, gid: u32) -> Result<OwnedFd, Failure> {
        let path = self.dir.join(self.next.to_string());
        self.next += 1;
        self.write(&path, contents, mode, uid, gid)
            .and_then(|()| clone_of_path(&path, READ_ONLY))
            .doing(|| "making a generated file".to_owned())
    }

    fn write(&self, path: &Path, contents: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(contents)?;
        chown(path, Some(uid), Some(gid))?;
        // After the owner, for a change of owner clears setuid bits.
        file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))
    }

    /// The host's resolvers as they are: with the host's network a loopback resolver works too.
    pub(super) fn resolv_conf(&self, network: Network) -> Result<Vec<u8>, Failure> {
        if network == Network::None {
            return Ok(Vec::new());
        }
        match fs::read("/etc/resolv.conf") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            contents => contents.doing(|| "reading the host's /etc/resolv.conf".to_owned()),
        }
    }

    /// The names that BuildKit gives a step, then the builder's own.
    pub(super) fn hosts(&self, spec: &RunSpec) -> Vec<u8> {
        let mut text = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", spec.hostname);
        for (host, address) in &spec.extra_hosts {
            let _ = writeln!(text, "{address}\t{host}");
        }
        text.into_bytes()
    }
}
