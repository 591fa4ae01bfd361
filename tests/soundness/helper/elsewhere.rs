//! Operations that look from another place than `/`: a directory of their own, a file descriptor, `/proc`, a changed root.
//!
//! What changes the process is done in a child, so that the operations behind it are what they say.

use std::fs;
use std::os::raw::c_int;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Saw;
use crate::look::{self, number};
use crate::sys::{self, AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, c, check};

pub fn run(op: &str, args: &[&Path]) -> Option<Saw> {
    Some(match (op, args) {
        ("chdir-read", [dir, path]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            look::read(AT_FDCWD, path, 0)
        }),
        ("chdir-list", [dir]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            look::list(Path::new("."))
        }),
        ("chdir-stat", [dir, path]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            fs::metadata(path).map(|m| look::show(&m)).map_err(number)
        }),
        ("fchdir-read", [dir, path]) => child(|| {
            let fd = sys::open(AT_FDCWD, dir, O_PATH)?;
            check(unsafe { sys::fchdir(fd) })?;
            look::read(AT_FDCWD, path, 0)
        }),
        ("getcwd", [dir]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            std::env::current_dir().map(|d| d.display().to_string()).map_err(number)
        }),
        ("openat", [dir, path]) => with_dir(dir, O_DIRECTORY, |fd| look::read(fd, path, 0)),
        ("openat-path", [dir, path]) => with_dir(dir, O_PATH, |fd| look::read(fd, path, 0)),
        ("openat-dup", [dir, path]) => with_dir(dir, O_DIRECTORY, |fd| {
            let copy = unsafe { sys::dup(fd) };
            let saw = look::read(copy, path, 0);
            unsafe { sys::close(copy) };
            saw
        }),
        // The descriptor is opened here and used by a child.
        ("openat-inherited", [dir, path]) => with_dir(dir, O_PATH, |fd| child(|| look::read(fd, path, 0))),
        ("readlinkat", [dir, path]) => with_dir(dir, O_PATH, |fd| look::readlink(fd, path)),
        ("openat2", [dir, path, resolve]) => with_dir(dir, O_PATH, |fd| {
            // IN_ROOT, BENEATH, NO_SYMLINKS, NO_MAGICLINKS
            let resolve = match resolve.to_str() {
                Some("in-root") => 0x10,
                Some("beneath") => 0x08,
                Some("no-symlinks") => 0x04,
                _ => 0x02,
            };
            let how = [(O_RDONLY | 0o4000) as u64, 0, resolve];
            let path = c(path);
            let open = || sys::call(sys::OPENAT2, [fd.into(), sys::at(path.as_ptr()), sys::at(&how), 24, 0]);
            // EAGAIN: something was renamed anywhere on the machine while a `..` was walked (openat2(2)).
            let found = std::iter::repeat_with(open).find(|found| *found != Err(11)).unwrap_or(Err(11))?;
            sys::slurp(found as c_int).map(|bytes| look::escape(&bytes))
        }),
        ("open-tree", [path]) => {
            let from = c(path);
            let fd = sys::call(sys::OPEN_TREE, [AT_FDCWD.into(), sys::at(from.as_ptr()), 0, 0, 0]);
            fd.and_then(|fd| reopen(fd as c_int))
        }
        ("opath-reopen", [path]) => sys::open(AT_FDCWD, path, O_PATH).and_then(reopen),
        ("opath-stat", [path]) => with_dir(path, O_PATH | sys::O_NOFOLLOW, |fd| {
            fs::metadata(format!("/proc/self/fd/{fd}")).map(|m| look::show(&m)).map_err(number)
        }),
        ("proc-fd", [dir, path]) => {
            with_dir(dir, O_RDONLY, |fd| look::read(AT_FDCWD, &Path::new(&format!("/proc/self/fd/{fd}")).join(path), 0))
        }
        ("dev-fd", [dir, path]) => {
            with_dir(dir, O_PATH, |fd| look::read(AT_FDCWD, &Path::new(&format!("/dev/fd/{fd}")).join(path), 0))
        }
        ("proc-cwd", [dir, path]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            look::read(AT_FDCWD, &Path::new("/proc/self/cwd").join(path), 0)
        }),
        ("proc-parent-cwd", [dir, path]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            let at = format!("/proc/{}/cwd", std::process::id());
            child(|| look::read(AT_FDCWD, &Path::new(&at).join(path), 0))
        }),
        ("proc-root", [path]) => look::read(AT_FDCWD, &below("/proc/self/root", path), 0),
        ("proc-thread-root", [path]) => look::list(&below("/proc/thread-self/root", path)),
        ("proc-init-root", [path]) => look::read(AT_FDCWD, &below("/proc/1/root", path), 0),
        ("chroot-read", [dir, path]) => child(|| {
            check(unsafe { sys::chroot(c(dir).as_ptr()) })?;
            std::env::set_current_dir("/").map_err(number)?;
            look::read(AT_FDCWD, path, 0)
        }),
        // The working directory stays outside of the new root, and `..` does not stop there.
        ("chroot-outside", [dir, path]) => child(|| {
            let outside = std::env::set_current_dir("/t").map_err(number);
            check(unsafe { sys::chroot(c(dir).as_ptr()) })?;
            outside?;
            look::read(AT_FDCWD, path, 0)
        }),
        ("chroot-list", [dir]) => child(|| {
            check(unsafe { sys::chroot(c(dir).as_ptr()) })?;
            look::list(Path::new("/"))
        }),
        ("threads", [dir1, path1, dir2, path2]) => threads([(dir1, path1), (dir2, path2)]),
        ("own-link-dir", [own, target, rest]) => own_link_dir(own, target, rest),
        ("moved-fd", [own, to, path]) => child(|| {
            fs::create_dir(own).map_err(number)?;
            let fd = sys::open(AT_FDCWD, own, O_PATH)?;
            fs::rename(own, to).map_err(number)?;
            look::read(fd, path, 0)
        }),
        ("moved-cwd", [own, to, path]) => child(|| {
            fs::create_dir(own).map_err(number)?;
            std::env::set_current_dir(own).map_err(number)?;
            fs::rename(own, to).map_err(number)?;
            look::read(AT_FDCWD, path, 0)
        }),
        ("removed-cwd", [dir, path]) => child(|| {
            std::env::set_current_dir(dir).map_err(number)?;
            let _ = fs::remove_dir(dir);
            look::read(AT_FDCWD, path, 0)
        }),
        _ => return None,
    })
}

fn below(root: &str, path: &Path) -> std::path::PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

fn with_dir(dir: &Path, flags: c_int, look: impl FnOnce(c_int) -> Saw) -> Saw {
    let fd = sys::open(AT_FDCWD, dir, flags)?;
    let saw = look(fd);
    unsafe { sys::close(fd) };
    saw
}

/// Opens for reading what a descriptor of `O_PATH` stands for.
fn reopen(fd: c_int) -> Saw {
    let saw = look::read(AT_FDCWD, Path::new(&format!("/proc/self/fd/{fd}")), 0);
    unsafe { sys::close(fd) };
    saw
}

/// Two threads, each with a working directory of its own, at the same time.
fn threads(what: [(&Path, &Path); 2]) -> Saw {
    let saw = std::thread::scope(|scope| {
        what.map(|(dir, path)| {
            scope.spawn(move || {
                check(unsafe { sys::unshare(sys::CLONE_FS) })?;
                std::env::set_current_dir(dir).map_err(number)?;
                look::read(AT_FDCWD, path, 0)
            })
        })
        .map(|thread| thread.join().expect("a thread that ends"))
    });
    Ok(saw.map(|s| s.unwrap_or_else(|errno| format!("errno {errno}"))).join(" | "))
}

/// Makes a directory with a link in it, moves the directory, and reads through the link at the new place.
fn own_link_dir(own: &Path, target: &Path, rest: &Path) -> Saw {
    fs::create_dir(own).map_err(number)?;
    symlink(target, own.join("link")).map_err(number)?;
    let mut moved = own.as_os_str().to_owned();
    moved.push("-moved");
    fs::rename(own, &moved).map_err(number)?;
    look::read(AT_FDCWD, &Path::new(&moved).join("link").join(rest), 0)
}

/// Does something in a child process.
pub fn child(work: impl FnOnce() -> Saw) -> Saw {
    let mut ends = [0_i32; 2];
    check(unsafe { sys::pipe(ends.as_mut_ptr()) })?;
    match unsafe { sys::fork() } {
        -1 => Err(sys::errno()),
        0 => {
            let text = work().unwrap_or_else(|errno| format!("errno {errno}"));
            let mut end = unsafe { <fs::File as std::os::fd::FromRawFd>::from_raw_fd(ends[1]) };
            let _ = std::io::Write::write_all(&mut end, text.as_bytes());
            unsafe { sys::_exit(0) }
        }
        pid => {
            unsafe { sys::close(ends[1]) };
            let text = sys::slurp(ends[0])?;
            unsafe { sys::waitpid(pid, std::ptr::null_mut(), 0) };
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
    }
}
