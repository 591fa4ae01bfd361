//! An image's files in a folder, as `docker build --output type=local` leaves them.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev};
use shiplap_cache::{Entry, Kind, LayerId, Store};

use crate::error::At;
use crate::tarball::{Checked, each_entry};
use crate::{Image, Result};

/// Writes an image's files into a folder. As in BuildKit they belong to whoever writes them, what the folder has besides stays, and what
/// stands in the way is replaced.
///
/// # Errors
/// A layer is missing or damaged, or writing fails.
pub fn export_folder(store: &Store, image: &Image, clamp: Option<i64>, folder: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).at("make", folder)?;
    // Modes and times of directories come last: until then files are made in them.
    let mut dirs = Vec::new();
    each_entry(store, &*store.tree(&image.layers)?, |layer_dir, layer, entry| {
        if entry.path.is_root() {
            return Ok(());
        }
        let to = entry.path.below(folder);
        make(layer_dir, layer, entry, folder, &to).and_then(|()| match entry.kind {
            Kind::Dir { .. } => {
                dirs.push(entry.clone());
                Ok(())
            }
            _ => finish(entry, clamp, &to),
        })
    })?;
    dirs.iter().rev().try_for_each(|entry| finish(entry, clamp, &entry.path.below(folder)))
}

fn make(layer_dir: &Path, layer: LayerId, entry: &Entry, folder: &Path, to: &Path) -> Result<()> {
    if clear(to, entry.is_dir()).at("replace", to)? {
        return Ok(());
    }
    match &entry.kind {
        Kind::Dir { .. } => DirBuilder::new().mode(0o700).create(to).at("make", to),
        Kind::File { link: Some(first), .. } => std::fs::hard_link(first.below(folder), to).at("link", to),
        Kind::File { size, hash, link: None } => {
            let mut contents = Checked::open(&entry.path.below(layer_dir), layer, entry, *size)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).at("write", to)?;
            io::copy(&mut contents, &mut file).at("write", to)?;
            contents.end(layer, entry, *hash)
        }
        Kind::Symlink { target } => {
            use std::os::unix::ffi::OsStrExt;
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), to).at("link", to)
        }
        Kind::CharDevice { major, minor } => node(to, FileType::CharacterDevice, makedev(*major, *minor)),
        Kind::BlockDevice { major, minor } => node(to, FileType::BlockDevice, makedev(*major, *minor)),
        Kind::Fifo => node(to, FileType::Fifo, 0),
        Kind::Whiteout => Ok(()),
    }
}

/// Makes room; says whether a directory is there that will do.
fn clear(path: &Path, for_dir: bool) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
        Ok(there) if there.is_dir() && for_dir => {
            // It may be one that nobody may write to, from an earlier time.
            std::fs::set_permissions(path, Permissions::from_mode(0o700)).map(|()| true)
        }
        Ok(there) if there.is_dir() => std::fs::remove_dir_all(path).map(|()| false),
        Ok(_) => std::fs::remove_file(path).map(|()| false),
    }
}

fn node(to: &Path, kind: FileType, device: u64) -> Result<()> {
    rustix::fs::mknodat(CWD, to, kind, Mode::RUSR | Mode::WUSR, device).at("make the device", to)
}

fn finish(entry: &Entry, clamp: Option<i64>, to: &Path) -> Result<()> {
    // A further name of a file that has all this.
    if matches!(entry.kind, Kind::File { link: Some(_), .. }) {
        return Ok(());
    }
    if !matches!(entry.kind, Kind::Symlink { .. }) {
        std::fs::set_permissions(to, Permissions::from_mode(entry.mode)).at("change the mode of", to)?;
    }
    for (name, value) in &entry.xattrs {
        // As BuildKit: not every file system and not every user can have them.
        let _ = rustix::fs::lsetxattr(to, &name[..], value, XattrFlags::empty());
    }
    let time = Timespec { tv_sec: clamp.map_or(entry.mtime, |latest| entry.mtime.min(latest)), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).at("set the time of", to)
}
