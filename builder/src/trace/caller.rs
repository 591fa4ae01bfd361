//! What we have to know of the caller of a call: bytes of its memory, and the directories that it stands in, from `/proc`.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use nix::libc::{self, c_int};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::path::Arg;

/// What Linux takes as a path at most (limits.h), and the size of a page.
const LONGEST: usize = 4096;

/// What the longest path of /proc that we ask for has room in.
const MOST: usize = 2 * LONGEST;

/// One thread of the step, by the number that it has outside of its pid namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub(super) u32);

impl Caller {
    /// The string at an address. None when there is none: the call fails then, too.
    pub(super) fn string(self, address: u64) -> io::Result<Option<Vec<u8>>> {
        // Most paths are short, and a page may be the last one that can be read.
        let mut bytes = Vec::new();
        while bytes.len() < LONGEST {
            let at = address + bytes.len() as u64;
            let to_page_end = LONGEST - at as usize % LONGEST;
            let Some(more) = self.bytes(at, to_page_end.min(if bytes.is_empty() { 256 } else { LONGEST }))? else {
                return Ok(None);
            };
            match more.iter().position(|&b| b == 0) {
                Some(end) => {
                    bytes.extend_from_slice(&more[..end]);
                    return Ok(Some(bytes));
                }
                None => bytes.extend_from_slice(&more),
            }
        }
        // The kernel refuses it, too (ENAMETOOLONG).
        Ok(None)
    }

    /// So many bytes at an address, within one page. None when the caller has nothing there, or is gone.
    pub(super) fn bytes(self, address: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; length];
        let remote = [RemoteIoVec { base: address as usize, len: length }];
        match process_vm_readv(Pid::from_raw(self.0 as i32), &mut [IoSliceMut::new(&mut bytes)], &remote) {
            Ok(read) => {
                bytes.truncate(read);
                Ok((read > 0).then_some(bytes))
            }
            Err(nix::errno::Errno::EFAULT | nix::errno::Errno::ESRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory that a descriptor or `AT_FDCWD` stands for, as the path that it has now in the step's tree. None when it is no file.
    pub(super) fn directory(self, dir: c_int) -> io::Result<Option<Vec<u8>>> {
        match dir {
            libc::AT_FDCWD => self.link("cwd"),
            dir => self.link(&format!("fd/{dir}")),
        }
    }

    /// The caller's root directory; not `/` after a `chroot`.
    pub(super) fn root(self) -> io::Result<Option<Vec<u8>>> {
        self.link("root")
    }

    /// Opens the step's root, for looking at what is there now.
    pub(super) fn open_root(self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(format!("/proc/{}/root", self.0), flags, Mode::empty())?)
    }

    /// A file that it has open; none when that is no regular file.
    pub(super) fn open(self, descriptor: c_int) -> Option<File> {
        let path = format!("/proc/{}/fd/{descriptor}", self.0);
        let is_file = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file());
        is_file.then(|| File::open(path).ok()).flatten()
    }

    /// What it calls itself in the step's pid namespace: process and thread, the last numbers of proc_pid_status(5)'s lines.
    pub(super) fn own_numbers(self) -> io::Result<Option<(String, String)>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next_back().map(str::to_owned)
        };
        Ok(number("NStgid:").zip(number("NSpid:")))
    }

    fn link(self, what: &str) -> io::Result<Option<Vec<u8>>> {
        // On the stack: this is done for every call.
        let mut path = [0u8; 48];
        let length = {
            use io::Write;
            let mut rest = &mut path[..];
            write!(rest, "/proc/{}/{what}", self.0)?;
            48 - rest.len()
        };
        read_link(CWD, &path[..length])
    }
}

/// A link of `/proc` that leads to a file of the tree: its path there. None when it leads elsewhere or nowhere.
pub(super) fn read_link(dir: impl AsFd, path: impl Arg) -> io::Result<Option<Vec<u8>>> {
    let mut target = [std::mem::MaybeUninit::uninit(); MOST];
    match rustix::fs::readlinkat_raw(dir, path, &mut target[..]) {
        Ok((target, _)) => Ok(target.starts_with(b"/").then(|| target.to_vec())),
        Err(
            rustix::io::Errno::NOENT | rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOTDIR,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a link points to, as it is written; none when it is no link, or not there.
pub(super) fn link_target(root: impl AsFd, path: &[u8]) -> Option<Vec<u8>> {
    rustix::fs::readlinkat(root, path, Vec::new()).ok().map(CString::into_bytes)
}
