//! Operations that tell something of a path by ways that are easily forgotten.

use std::os::raw::{c_char, c_int};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Saw;
use crate::elsewhere::child;
use crate::look::{escape, number};
use crate::sys::{self, AT_EMPTY_PATH, AT_FDCWD, c, check};

pub fn run(op: &str, args: &[&Path]) -> Option<Saw> {
    let did = |result: Result<i64, i32>| result.map(|_| "done".to_owned());
    Some(match (op, args) {
        ("exec", [path]) => exec(path),
        ("exec-in", [dir, name]) => exec_in(dir, name),
        ("exec-fd", [path]) => exec_fd(path),
        ("memfd-exec", [dir, interpreter]) => memfd_exec(dir, interpreter),
        ("script-exec", [dir, interpreter, script]) => script_exec(dir, interpreter, script),
        ("connect", [path]) => UnixStream::connect(path).map(|_| "connected".into()).map_err(number),
        ("bind", [path]) => {
            let bound = UnixListener::bind(path).map(|_| "bound".to_owned()).map_err(number);
            if bound.is_ok() {
                let _ = std::fs::remove_file(path);
            }
            bound
        }
        ("inotify", [path]) => {
            let fd = unsafe { sys::inotify_init() };
            // IN_MODIFY
            let watch = check(unsafe { sys::inotify_add_watch(fd, c(path).as_ptr(), 2) });
            unsafe { sys::close(fd) };
            watch.map(|_| "watched".into())
        }
        ("handle", [path]) => {
            let mut handle = [0_u32; 64];
            handle[0] = 128;
            let (path, mut id) = (c(path), 0);
            did(check(unsafe {
                sys::name_to_handle_at(AT_FDCWD, path.as_ptr(), handle.as_mut_ptr().cast(), &mut id, 0)
            }))
        }
        // Without the capability for it, it fails; how it fails tells whether the path is there.
        ("mount", [path]) => {
            let path = c(path);
            let none: *const c_char = std::ptr::null();
            // MS_BIND
            did(check(unsafe { sys::mount(path.as_ptr(), path.as_ptr(), none, 4096, std::ptr::null()) }))
        }
        ("umount", [path]) => did(check(unsafe { sys::umount2(c(path).as_ptr(), 0) })),
        (op, [path]) if op.starts_with("old-") => return old(&op[4..], path),
        _ => return None,
    })
}

fn exec(path: &Path) -> Saw {
    let output = Command::new(path).arg("word").stdin(Stdio::null()).output().map_err(number)?;
    Ok(format!("{} {}", output.status.code().unwrap_or(-1), escape(&output.stdout)))
}

fn exec_in(dir: &Path, name: &Path) -> Saw {
    let output = Command::new(name).current_dir(dir).stdin(Stdio::null()).output().map_err(number)?;
    Ok(format!("{} {}", output.status.code().unwrap_or(-1), escape(&output.stdout)))
}

/// A script of our own whose interpreter is named by a path relative to a folder.
fn script_exec(dir: &Path, interpreter: &Path, script: &Path) -> Saw {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(script, first_line(interpreter)).map_err(number)?;
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).map_err(number)?;
    exec_in(dir, script)
}

/// The same in a file that has no name.
fn memfd_exec(dir: &Path, interpreter: &Path) -> Saw {
    child(|| {
        let fd = check(unsafe { sys::memfd_create(c"script".as_ptr(), 0) })? as c_int;
        let text = first_line(interpreter);
        check(unsafe { sys::write(fd, text.as_ptr().cast(), text.len()) } as i64)?;
        std::env::set_current_dir(dir).map_err(number)?;
        exec_descriptor(fd)
    })
}

fn first_line(interpreter: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    [b"#!", interpreter.as_os_str().as_bytes(), b" of a script\n"].concat()
}

/// `execveat` of a descriptor, as `fexecve` does.
fn exec_fd(path: &Path) -> Saw {
    // Without O_CLOEXEC: the interpreter of a script opens /dev/fd/N.
    child(|| exec_descriptor(check(unsafe { sys::openat(AT_FDCWD, c(path).as_ptr(), sys::O_PATH) })? as c_int))
}

fn exec_descriptor(fd: c_int) -> Saw {
    let mut ends = [0_i32; 2];
    check(unsafe { sys::pipe(ends.as_mut_ptr()) })?;
    let pid = unsafe { sys::fork() };
    if pid == 0 {
        let (empty, name, env) = (c"", c"program", c"PATH=/bin");
        let (argv, env) = ([name.as_ptr(), std::ptr::null()], [env.as_ptr(), std::ptr::null()]);
        unsafe {
            sys::dup2(ends[1], 1);
            sys::close(ends[0]);
            sys::execveat(fd, empty.as_ptr(), argv.as_ptr(), env.as_ptr(), AT_EMPTY_PATH);
            sys::_exit(sys::errno().min(120));
        }
    }
    unsafe { sys::close(ends[1]) };
    let text = sys::slurp(ends[0])?;
    let mut status = 0;
    unsafe { sys::waitpid(pid, &mut status, 0) };
    Ok(format!("{} {}", status >> 8, escape(&text)))
}

/// System calls of older times, which C libraries no longer make.
#[cfg(target_arch = "x86_64")]
fn old(call: &str, path: &Path) -> Option<Saw> {
    let path = c(path);
    let at = sys::at(path.as_ptr());
    let mut buffer = [0_u8; 4096];
    let into = sys::at(buffer.as_mut_ptr());
    let done = |result: Result<i64, i32>| result.map(|_| "done".to_owned());
    Some(match call {
        "open" => sys::call(2, [at, 0o4000, 0, 0, 0]).and_then(|fd| sys::slurp(fd as c_int)).map(|b| escape(&b)),
        // st_mode, at byte 24 of the kernel's struct stat
        "stat" => sys::call(4, [at, into, 0, 0, 0]).map(|_| format!("{:?}", &buffer[24..28])),
        "lstat" => sys::call(6, [at, into, 0, 0, 0]).map(|_| format!("{:?}", &buffer[24..28])),
        "access" => done(sys::call(21, [at, 4, 0, 0, 0])),
        "mkdir" => done(sys::call(83, [at, 0o755, 0, 0, 0])),
        "rmdir" => done(sys::call(84, [at, 0, 0, 0, 0])),
        "creat" => sys::call(85, [at, 0o644, 0, 0, 0]).map(|fd| {
            unsafe { sys::close(fd as c_int) };
            "done".to_owned()
        }),
        "unlink" => done(sys::call(87, [at, 0, 0, 0, 0])),
        "readlink" => sys::call(89, [at, into, 4096, 0, 0]).map(|n| escape(&buffer[..n as usize])),
        "chmod" => done(sys::call(90, [at, 0o711, 0, 0, 0])),
        "statfs" => done(sys::call(137, [at, into, 0, 0, 0])),
        "utimes" => {
            let times = [86400_i64, 0, 86400, 0];
            done(sys::call(235, [at, sys::at(&times), 0, 0, 0]))
        }
        "getdents" => sys::call(2, [at, sys::O_DIRECTORY.into(), 0, 0, 0]).and_then(|fd| {
            let n = sys::call(78, [fd, into, 4096, 0, 0]);
            unsafe { sys::close(fd as c_int) };
            n.map(|n| names(&buffer[..n as usize]))
        }),
        _ => return None,
    })
}

/// The names in what `getdents` gave: inode, offset, length of the record, name.
#[cfg(target_arch = "x86_64")]
fn names(mut buffer: &[u8]) -> String {
    let mut names = Vec::new();
    while buffer.len() > 18 {
        let length = usize::from(u16::from_ne_bytes([buffer[16], buffer[17]]));
        let name = buffer[18..length].split(|&b| b == 0).next().unwrap_or_default();
        names.push(escape(name));
        buffer = &buffer[length..];
    }
    names.sort();
    names.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn old(_: &str, path: &Path) -> Option<Saw> {
    Some(std::fs::metadata(path).map(|m| crate::look::show(&m)).map_err(number))
}
