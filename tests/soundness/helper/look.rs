//! Operations that only look.

use std::fs::{self, FileType, Metadata};
use std::os::raw::c_int;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::Saw;
use crate::sys::{self, AT_FDCWD, c, check};

pub fn run(op: &str, args: &[&Path]) -> Option<Saw> {
    Some(match (op, args) {
        ("read", [path]) | ("fail-if", [path]) => read(AT_FDCWD, path, 0),
        ("read-nofollow", [path]) => read(AT_FDCWD, path, sys::O_NOFOLLOW),
        ("open-rdwr", [path]) => read(AT_FDCWD, path, sys::O_RDWR),
        ("stat", [path]) => fs::metadata(path).map(|m| show(&m)).map_err(number),
        ("lstat", [path]) => fs::symlink_metadata(path).map(|m| show(&m)).map_err(number),
        ("access", [path, mode]) => {
            let mode: c_int = mode.to_str().and_then(|m| m.parse().ok()).expect("a mode");
            check(unsafe { sys::access(c(path).as_ptr(), mode) }).map(|_| "yes".into())
        }
        ("faccessat2", [path]) => {
            let path = c(path);
            // AT_SYMLINK_NOFOLLOW
            sys::call(sys::FACCESSAT2, [AT_FDCWD.into(), sys::at(path.as_ptr()), 4, 0x100, 0]).map(|_| "yes".into())
        }
        ("readlink", [path]) => readlink(AT_FDCWD, path),
        ("list", [path]) => list(path),
        ("mmap", [path]) => mmap(path),
        ("getxattr", [path, name]) => xattr(path, name, true),
        ("lgetxattr", [path, name]) => xattr(path, name, false),
        ("listxattr", [path]) => {
            let mut list = [0_u8; 1024];
            let n = check(unsafe { sys::listxattr(c(path).as_ptr(), list.as_mut_ptr().cast(), list.len()) } as i64);
            n.map(|n| {
                let names = list[..n as usize].split(|&b| b == 0);
                // What the kernel's own security modules add is no part of the image.
                let mut names: Vec<_> = names.filter(|n| n.starts_with(b"user.")).map(escape).collect();
                names.sort();
                names.join(",")
            })
        }
        ("statfs", [path]) => {
            let mut buffer = [0_u64; 64];
            check(unsafe { sys::statfs(c(path).as_ptr(), buffer.as_mut_ptr().cast()) }).map(|_| "there".into())
        }
        ("canonicalize", [path]) => fs::canonicalize(path).map(|p| escape(p.as_os_str().as_bytes())).map_err(number),
        ("read-all-in", [path]) => read_all_in(path),
        _ => return None,
    })
}

/// The error number of an error.
pub fn number(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

/// Bytes as printable text.
pub fn escape(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_default().to_string()
        + &(if std::str::from_utf8(bytes).is_err() { format!("{bytes:?}") } else { String::new() })
}

pub fn read(dir: c_int, path: &Path, flags: c_int) -> Saw {
    // O_NONBLOCK: a pipe that nobody writes to is not waited for.
    let fd = sys::open(dir, path, flags | 0o4000)?;
    sys::slurp(fd).map(|bytes| format!("\"{}\"", escape(&bytes)))
}

fn kind(of: FileType) -> &'static str {
    match of {
        t if t.is_dir() => "dir",
        t if t.is_symlink() => "link",
        t if t.is_file() => "file",
        t if t.is_fifo() => "fifo",
        _ => "other",
    }
}

/// What is the file's own: of a directory, its size and link count are the file system's affair.
pub fn show(meta: &Metadata) -> String {
    let size = if meta.is_file() { format!(" size {}", meta.len()) } else { String::new() };
    format!("{} {:o} {}:{}{size}", kind(meta.file_type()), meta.mode() & 0o7777, meta.uid(), meta.gid())
}

pub fn readlink(dir: c_int, path: &Path) -> Saw {
    let mut target = [0_u8; 4096];
    let n = unsafe { sys::readlinkat(dir, c(path).as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    check(n as i64).map(|n| escape(&target[..n as usize]))
}

/// Names and kinds, as the directory itself has them.
pub fn list(path: &Path) -> Saw {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(number)? {
        let entry = entry.map_err(number)?;
        let what = entry.file_type().map(kind).unwrap_or("?");
        names.push(format!("{}:{what}", escape(entry.file_name().as_bytes())));
    }
    names.sort();
    Ok(format!("[{}]", names.join(" ")))
}

/// Lists a directory and reads what it finds there by names relative to it.
fn read_all_in(path: &Path) -> Saw {
    let dir = sys::open(AT_FDCWD, path, sys::O_DIRECTORY)?;
    let mut names: Vec<_> = fs::read_dir(path).map_err(number)?.filter_map(|e| e.ok().map(|e| e.file_name())).collect();
    names.sort();
    let saw = names.iter().map(|name| {
        let content = read(dir, Path::new(name), 0).unwrap_or_else(|errno| format!("errno {errno}"));
        format!("{}={content}", escape(name.as_bytes()))
    });
    let saw = saw.collect::<Vec<_>>().join(" ");
    unsafe { sys::close(dir) };
    Ok(saw)
}

fn mmap(path: &Path) -> Saw {
    let length = fs::metadata(path).map_err(number)?.len() as usize;
    let fd = sys::open(AT_FDCWD, path, 0)?;
    // PROT_READ, MAP_PRIVATE
    let at = unsafe { sys::mmap(std::ptr::null_mut(), length.max(1), 1, 2, fd, 0) };
    if at as isize == -1 {
        return Err(sys::errno());
    }
    let saw = escape(unsafe { std::slice::from_raw_parts(at.cast::<u8>(), length) });
    unsafe { sys::close(fd) };
    Ok(saw)
}

fn xattr(path: &Path, name: &Path, follow: bool) -> Saw {
    let (path, name, mut value) = (c(path), c(name), [0_u8; 1024]);
    let call = if follow { sys::getxattr } else { sys::lgetxattr };
    let n = unsafe { call(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    check(n as i64).map(|n| escape(&value[..n as usize]))
}
