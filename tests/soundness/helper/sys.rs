//! System calls that the standard library does not offer.

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub const AT_FDCWD: c_int = -100;
pub const AT_EMPTY_PATH: c_int = 0x1000;
pub const O_RDONLY: c_int = 0;
pub const O_WRONLY: c_int = 1;
pub const O_RDWR: c_int = 2;
pub const O_CREAT: c_int = 0o100;
pub const O_EXCL: c_int = 0o200;
pub const O_PATH: c_int = 0o10000000;
pub const O_CLOEXEC: c_int = 0o2000000;
// These two differ between architectures.
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: c_int = 0o200000;
#[cfg(not(target_arch = "x86_64"))]
pub const O_DIRECTORY: c_int = 0o40000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: c_int = 0o400000;
#[cfg(not(target_arch = "x86_64"))]
pub const O_NOFOLLOW: c_int = 0o100000;
pub const CLONE_FS: c_int = 0x200;

// The same numbers on every architecture (Linux, asm-generic/unistd.h, from 424 on).
pub const OPEN_TREE: c_long = 428;
pub const OPENAT2: c_long = 437;
pub const FACCESSAT2: c_long = 439;
pub const FCHMODAT2: c_long = 452;

unsafe extern "C" {
    pub fn fchmod(fd: c_int, mode: u32) -> c_int;
    pub fn linkat(old: c_int, from: *const c_char, new: c_int, to: *const c_char, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    pub fn openat(dir: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn close(fd: c_int) -> c_int;
    pub fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    pub fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;
    pub fn memfd_create(name: *const c_char, flags: u32) -> c_int;
    pub fn dup(fd: c_int) -> c_int;
    pub fn access(path: *const c_char, mode: c_int) -> c_int;
    pub fn readlinkat(dir: c_int, path: *const c_char, buffer: *mut c_char, length: usize) -> isize;
    pub fn fchdir(fd: c_int) -> c_int;
    pub fn fork() -> c_int;
    pub fn unshare(flags: c_int) -> c_int;
    pub fn chroot(path: *const c_char) -> c_int;
    pub fn renameat2(old: c_int, from: *const c_char, new: c_int, to: *const c_char, flags: u32) -> c_int;
    pub fn mkfifo(path: *const c_char, mode: u32) -> c_int;
    pub fn truncate(path: *const c_char, length: i64) -> c_int;
    pub fn utimensat(dir: c_int, path: *const c_char, times: *const [i64; 4], flags: c_int) -> c_int;
    pub fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    pub fn getxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    pub fn listxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize;
    pub fn setxattr(p: *const c_char, n: *const c_char, v: *const c_void, size: usize, flags: c_int) -> c_int;
    pub fn removexattr(path: *const c_char, name: *const c_char) -> c_int;
    pub fn statfs(path: *const c_char, buffer: *mut c_void) -> c_int;
    pub fn mmap(at: *mut c_void, length: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    pub fn inotify_init() -> c_int;
    pub fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int;
    pub fn name_to_handle_at(
        dir: c_int,
        path: *const c_char,
        handle: *mut c_void,
        id: *mut c_int,
        flags: c_int,
    ) -> c_int;
    pub fn execveat(
        dir: c_int,
        path: *const c_char,
        argv: *const *const c_char,
        env: *const *const c_char,
        f: c_int,
    ) -> c_int;
    pub fn mount(from: *const c_char, to: *const c_char, kind: *const c_char, flags: u64, data: *const c_void)
    -> c_int;
    pub fn umount2(path: *const c_char, flags: c_int) -> c_int;
    pub fn dup2(from: c_int, to: c_int) -> c_int;
    pub fn _exit(code: c_int) -> !;
    pub fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    pub fn pipe(fds: *mut c_int) -> c_int;
}

/// A path as C wants it.
pub fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path")
}

/// The error number of the call before.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(-1)
}

/// A C function's return value, or the error number.
pub fn check<N: Into<i64>>(returned: N) -> Result<i64, i32> {
    match returned.into() {
        -1 => Err(errno()),
        value => Ok(value),
    }
}

/// A call by its number.
pub fn call(number: c_long, args: [i64; 5]) -> Result<i64, i32> {
    check(unsafe { syscall(number, args[0], args[1], args[2], args[3], args[4]) })
}

/// A pointer as an argument of [`call`].
pub fn at<T>(pointer: *const T) -> i64 {
    pointer as i64
}

/// Opens a path.
pub fn open(dir: c_int, path: &Path, flags: c_int) -> Result<c_int, i32> {
    let fd = check(unsafe { openat(dir, c(path).as_ptr(), flags | O_CLOEXEC, 0o644) })?;
    Ok(fd as c_int)
}

/// Reads an open file to its end and closes it.
pub fn slurp(fd: c_int) -> Result<Vec<u8>, i32> {
    let mut all = Vec::new();
    let mut buffer = [0_u8; 4096];
    let result = loop {
        match unsafe { read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } {
            -1 => break Err(errno()),
            0 => break Ok(all),
            n => all.extend_from_slice(&buffer[..n as usize]),
        }
    };
    unsafe { close(fd) };
    result
}
