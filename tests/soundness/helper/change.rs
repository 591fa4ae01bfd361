//! Operations that change the tree.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::Saw;
use crate::look::{escape, number};
use crate::sys::{self, AT_FDCWD, c, check};

pub fn run(op: &str, args: &[&Path]) -> Option<Saw> {
    let io = |result: std::io::Result<()>| result.map(|()| "done".to_owned()).map_err(number);
    let did = |result: Result<i64, i32>| result.map(|_| "done".to_owned());
    Some(match (op, args) {
        ("write", [path, text]) => io(fs::write(path, text.as_os_str().as_bytes())),
        ("append", [path, text]) => io(OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_os_str().as_bytes()))),
        ("append-or-create", [path, text]) => io(OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_os_str().as_bytes()))),
        ("patch", [path, text]) => io(patch(path, text)),
        ("create-new", [path, text]) => io(OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_os_str().as_bytes()))),
        ("replace", [path, text]) => replace(path, text),
        ("truncate", [path, length]) => {
            did(check(unsafe { sys::truncate(c(path).as_ptr(), length.to_str().unwrap().parse().unwrap()) }))
        }
        ("copy", [from, to]) => fs::read(from)
            .and_then(|bytes| fs::write(to, &bytes).map(|()| format!("copied {}", bytes.len())))
            .map_err(number),
        ("chmod", [path, mode]) => {
            let mode = u32::from_str_radix(mode.to_str().unwrap(), 8).unwrap();
            io(fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        }
        ("fchmodat2", [path, mode]) => {
            let (path, mode) = (c(path), i64::from_str_radix(mode.to_str().unwrap(), 8).unwrap());
            did(sys::call(sys::FCHMODAT2, [AT_FDCWD.into(), sys::at(path.as_ptr()), mode, 0, 0]))
        }
        ("chown", [path, owner]) => {
            let owner: u32 = owner.to_str().unwrap().parse().unwrap();
            io(std::os::unix::fs::chown(path, Some(owner), Some(owner)))
        }
        ("lchown", [path, owner]) => {
            let owner: u32 = owner.to_str().unwrap().parse().unwrap();
            io(std::os::unix::fs::lchown(path, Some(owner), None))
        }
        // Only times change, which are nobody's input; but the file is copied up with all that is in it.
        ("touch", [path]) => {
            let times = [86400_i64, 0, 86400, 0];
            did(check(unsafe { sys::utimensat(AT_FDCWD, c(path).as_ptr(), &times, 0) }))
        }
        ("setxattr", [path, name, value]) => {
            let (path, name, value) = (c(path), c(name), value.as_os_str().as_bytes());
            did(check(unsafe { sys::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }))
        }
        ("removexattr", [path, name]) => did(check(unsafe { sys::removexattr(c(path).as_ptr(), c(name).as_ptr()) })),
        ("mkdir", [path]) => io(fs::create_dir(path)),
        ("mkdir-p", [path]) => io(fs::create_dir_all(path)),
        ("rmdir", [path]) => io(fs::remove_dir(path)),
        ("unlink", [path]) => io(fs::remove_file(path)),
        ("rmtree", [path]) => io(remove_tree(path)),
        ("remake", [path]) => io(remove_tree(path).and_then(|()| fs::create_dir(path))),
        ("rename", [from, to]) => io(fs::rename(from, to)),
        ("exchange", [from, to]) => did(rename(from, to, 2)),
        ("rename-new", [from, to]) => did(rename(from, to, 1)),
        ("link", [from, to]) => io(fs::hard_link(from, to)),
        ("symlink", [target, path]) => io(symlink(target, path)),
        ("symlink-read", [target, path, rest]) => {
            symlink(target, path).and_then(|()| fs::read(path.join(rest))).map(|bytes| escape(&bytes)).map_err(number)
        }
        ("mkfifo", [path]) => did(check(unsafe { sys::mkfifo(c(path).as_ptr(), 0o644) })),
        ("delete-probe", [path]) => match fs::remove_file(path) {
            Err(error) if error.raw_os_error() == Some(2) => Ok("was not there".into()),
            result => io(result),
        },
        // No path says what is changed, only the call before.
        ("fchmod", [path, mode]) => sys::open(AT_FDCWD, path, 0).and_then(|fd| {
            let mode = u32::from_str_radix(mode.to_str().unwrap(), 8).unwrap();
            let changed = check(unsafe { sys::fchmod(fd, mode) });
            unsafe { sys::close(fd) };
            did(changed)
        }),
        ("tmpfile", [folder, name, text]) => tmpfile(folder, name, text),
        ("lock", [path]) => lock(path),
        _ => return None,
    })
}

/// Overwrites the beginning and leaves the rest, then tells all of it.
fn patch(path: &Path, text: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all(text.as_os_str().as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut Vec::new()).map(drop)
}

/// In the order of names: where it ends with an error, it has always done the same. Never more than the part of the tree that
/// is for random steps.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let real = fs::canonicalize(path)?;
    if !["/t", "/w", "/opt"].iter().any(|root| real.starts_with(root) && real != Path::new(root)) {
        return Err(std::io::Error::from_raw_os_error(1));
    }
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    let mut names = fs::read_dir(path)?.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    names.iter().try_for_each(|name| {
        let inside = path.join(name);
        match fs::symlink_metadata(&inside)?.is_dir() {
            true => remove_tree(&inside),
            false => fs::remove_file(inside),
        }
    })?;
    fs::remove_dir(path)
}

/// A temporary file beside the path, renamed into its place.
fn replace(path: &Path, text: &Path) -> Saw {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    fs::write(&aside, text.as_os_str().as_bytes()).map_err(number)?;
    fs::rename(&aside, path).map(|()| "done".into()).map_err(number)
}

fn rename(from: &Path, to: &Path, flags: u32) -> Result<i64, i32> {
    check(unsafe { sys::renameat2(AT_FDCWD, c(from).as_ptr(), AT_FDCWD, c(to).as_ptr(), flags) })
}

/// A file without a name, which gets one when it is whole (open(2), *O_TMPFILE*).
fn tmpfile(folder: &Path, name: &Path, text: &Path) -> Saw {
    use std::os::unix::fs::OpenOptionsExt;
    // O_TMPFILE
    let flags = 0o20000000 | sys::O_DIRECTORY;
    let opened = OpenOptions::new().write(true).mode(0o640).custom_flags(flags).open(folder);
    let mut file = opened.map_err(number)?;
    file.write_all(text.as_os_str().as_bytes()).map_err(number)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let (from, to) = (c(Path::new(&format!("/proc/self/fd/{fd}"))), c(&folder.join(name)));
    // AT_SYMLINK_FOLLOW
    let linked = check(unsafe { sys::linkat(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), 0x400) });
    linked.map(|_| "done".into())
}

/// A lock file: made if it is not there, and gone again.
fn lock(path: &Path) -> Saw {
    let fd = sys::open(AT_FDCWD, path, sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL)?;
    unsafe { sys::close(fd) };
    fs::remove_file(path).map(|()| "was free".into()).map_err(number)
}
