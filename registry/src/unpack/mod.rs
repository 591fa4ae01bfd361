//! A tar from anywhere becomes a layer directory.
//!
//! The rules are image-spec's (layer.md, *Applying Changesets*) and Docker's where that is silent:
//!
//! - Nothing is ever written outside of the directory: each folder is opened with `openat2(RESOLVE_IN_ROOT)`, the last component never
//!   follows a link. A name that climbs out by `..` is an error; a leading slash is dropped.
//! - Of two entries with one name the last wins.
//! - `.wh.x` becomes overlayfs's whiteout, `.wh..wh..opq` its opaque mark; other `.wh..wh.*` names are AUFS's and left out.
//! - A parent directory that has no entry is made, and noted: it must look as it does in the layers below.
//! - Extended attributes are set, except overlayfs's own, which would let an archive play tricks with the mount.
//! - Device nodes cannot be made in a user namespace: they are left out there, as rootless Docker does. A container has its own `/dev` anyway.

mod attributes;
mod root;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use shiplap_cache::{Overlay, TreePath};

use crate::tarball::{Head, Kind, OPAQUE, Reader, WHITEOUT};
use root::{Root, in_the_way};

pub use crate::tarball::TarProblem;
pub(crate) use attributes::adopt_parents;

/// What a tar was.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Directories that had no entry of their own.
    pub implied: BTreeSet<TreePath>,
    /// Device nodes that were left out.
    pub skipped_devices: u64,
    /// Whether the end marker was there.
    pub ended: bool,
}

/// Unpacks a tar file into a directory that is empty; it may be compressed with gzip or zstd.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_file(file: &Path, dir: &Path, overlay: Overlay) -> Result<Unpacked, TarProblem> {
    let at = || file.display().to_string();
    let opened = std::fs::File::open(file).map_err(|e| TarProblem::reading(e, &at()))?;
    let (reader, _) = crate::compress::decompress(opened).map_err(|e| TarProblem::reading(e, &at()))?;
    unpack(reader, dir, overlay)
}

/// Unpacks a plain tar into a directory that is empty. Reads the stream to its end, for what stands behind the end marker belongs to
/// the digest too. After an error the directory is worth nothing.
///
/// # Errors
/// What is wrong with the tar, or with the disk.
pub fn unpack(mut reader: impl Read, dir: &Path, overlay: Overlay) -> Result<Unpacked, TarProblem> {
    let mut unpacker = Unpacker {
        root: Root::open(dir)?,
        overlay,
        times: BTreeMap::new(),
        done: Unpacked::default(),
        devices: overlay == Overlay::Trusted,
    };
    let mut tar = Reader::new(&mut reader);
    while let Some(head) = tar.next()? {
        unpacker.entry(&head, &mut tar)?;
    }
    unpacker.done.ended = tar.ended();
    io::copy(&mut reader, &mut io::sink()).map_err(|e| TarProblem::reading(e, "the end of the archive"))?;
    unpacker.finish()
}

struct Unpacker {
    root: Root,
    overlay: Overlay,
    /// Times of directories, which are set last: each new entry changes them.
    times: BTreeMap<TreePath, (i64, u32)>,
    done: Unpacked,
    devices: bool,
}

/// An error of one entry.
pub(crate) fn failed(name: &TreePath, why: impl ToString) -> TarProblem {
    TarProblem::Entry { name: name.to_string(), why: why.to_string() }
}

impl Unpacker {
    fn entry<R: Read>(&mut self, head: &Head, tar: &mut Reader<R>) -> Result<(), TarProblem> {
        let name = || String::from_utf8_lossy(&head.path).into_owned();
        let path = TreePath::new(&head.path).map_err(|_| TarProblem::Name(name()))?;
        if path.is_root() {
            if head.kind != Kind::Dir {
                return Err(TarProblem::Entry { name: name(), why: "the root must be a directory".into() });
            }
            let root = self.root.open_dir(&path).map_err(|e| failed(&path, e))?;
            attributes::set_on_dir(&root, head, &path)?;
            self.times.insert(path, (head.mtime, head.nanos));
            return Ok(());
        }
        if path.name() == OPAQUE {
            return self.opaque(&path.parent().unwrap_or_default());
        }
        if path.name().starts_with(b".wh..wh.") {
            return Ok(());
        }
        if let Some(hidden) = path.name().strip_prefix(WHITEOUT) {
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(TarProblem::Name(name()));
            }
            return self.whiteout(&path.parent().unwrap_or_default().join(hidden));
        }
        self.done.implied.remove(&path);
        match head.kind {
            Kind::Dir => self.dir(&path, head),
            Kind::File => self.file(&path, head, tar),
            Kind::HardLink => self.hard_link(&path, head),
            _ => self.node(&path, head),
        }
    }

    fn folder(&mut self, path: &TreePath) -> Result<&rustix::fd::OwnedFd, TarProblem> {
        self.root.parent(path, self.overlay, &mut self.done.implied)
    }

    fn dir(&mut self, path: &TreePath, head: &Head) -> Result<(), TarProblem> {
        let overlay = self.overlay;
        let folder = self.folder(path)?;
        let (mut replaced, mut opaque) = (false, false);
        match in_the_way(folder, path)? {
            Some(there) if there.is_dir => {}
            Some(there) => {
                rustix::fs::unlinkat(folder, path.name(), rustix::fs::AtFlags::empty()).map_err(|e| failed(path, e))?;
                (replaced, opaque) = (true, there.is_whiteout);
                rustix::fs::mkdirat(folder, path.name(), Mode::RWXU).map_err(|e| failed(path, e))?;
            }
            None => rustix::fs::mkdirat(folder, path.name(), Mode::RWXU).map_err(|e| failed(path, e))?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(folder, path.name(), flags, Mode::empty()).map_err(|e| failed(path, e))?;
        attributes::set_on_dir(&dir, head, path)?;
        if opaque {
            attributes::mark_opaque(&dir, path, overlay)?;
        }
        if replaced {
            self.root.forget();
        }
        self.times.insert(path.clone(), (head.mtime, head.nanos));
        Ok(())
    }

    /// Makes room for something that is no directory.
    fn clear(&mut self, path: &TreePath) -> Result<(), TarProblem> {
        let folder = self.folder(path)?;
        let Some(there) = in_the_way(folder, path)? else { return Ok(()) };
        if there.is_dir {
            // The standard library's removal follows no links either, and goes by descriptors.
            std::fs::remove_dir_all(root::proc_path(folder, path)).map_err(|e| failed(path, e))?;
            self.times.retain(|p, _| !p.starts_with(path));
            self.done.implied.retain(|p| !p.starts_with(path));
        } else {
            rustix::fs::unlinkat(folder, path.name(), rustix::fs::AtFlags::empty()).map_err(|e| failed(path, e))?;
        }
        self.root.forget();
        Ok(())
    }

    fn file<R: Read>(&mut self, path: &TreePath, head: &Head, tar: &mut Reader<R>) -> Result<(), TarProblem> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let open = |folder: &rustix::fd::OwnedFd| rustix::fs::openat(folder, path.name(), flags, mode);
        let opened = match open(self.folder(path)?) {
            Err(rustix::io::Errno::EXIST) => {
                self.clear(path)?;
                open(self.folder(path)?)
            }
            opened => opened,
        };
        let mut file = std::fs::File::from(opened.map_err(|e| failed(path, e))?);
        let full = |source| TarProblem::Io { what: format!("{path} cannot be written"), source };
        let pieces = tar.pieces().to_vec();
        let sparse = pieces != [(0, head.size)];
        for (offset, length) in pieces {
            if sparse {
                file.seek(SeekFrom::Start(offset)).map_err(full)?;
            }
            copy(tar, &mut file, length, path)?;
        }
        if sparse {
            // A hole at the end is no piece.
            file.set_len(head.size).map_err(full)?;
        }
        attributes::set_on_file(&file, head, path)
    }

    fn hard_link(&mut self, path: &TreePath, head: &Head) -> Result<(), TarProblem> {
        let text = String::from_utf8_lossy(&head.link).into_owned();
        let target = TreePath::new(&head.link).map_err(|_| TarProblem::Name(text.clone()))?;
        if target == *path {
            return Ok(());
        }
        let missing = || failed(path, format!("it is a hard link to `{text}`, which is not in the archive before it"));
        if target.is_root() {
            return Err(missing());
        }
        let from = self.root.open_parent(&target).map_err(|_| missing())?;
        match in_the_way(&from, &target)? {
            None => return Err(missing()),
            Some(there) if there.is_dir || there.is_whiteout => return Err(missing()),
            Some(_) => {}
        }
        self.clear(path)?;
        let folder = self.folder(path)?;
        rustix::fs::linkat(&from, target.name(), folder, path.name(), rustix::fs::AtFlags::empty())
            .map_err(|e| failed(path, e))
    }

    fn node(&mut self, path: &TreePath, head: &Head) -> Result<(), TarProblem> {
        let device = rustix::fs::makedev(head.device.0, head.device.1);
        let kind = match head.kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind != FileType::Fifo && head.kind != Kind::Symlink && device != 0 && !self.devices {
            tracing::debug!(%path, "a device node was left out: this user cannot make one");
            self.done.skipped_devices += 1;
            return Ok(());
        }
        self.clear(path)?;
        let folder = self.folder(path)?;
        if head.kind == Kind::Symlink {
            rustix::fs::symlinkat(&head.link[..], folder, path.name()).map_err(|e| failed(path, e))?;
        } else {
            rustix::fs::mknodat(folder, path.name(), kind, Mode::RUSR | Mode::WUSR, device)
                .map_err(|e| failed(path, e))?;
        }
        attributes::set_on_name(folder, head, path)
    }

    fn whiteout(&mut self, path: &TreePath) -> Result<(), TarProblem> {
        let overlay = self.overlay;
        let folder = self.folder(path)?;
        // A whiteout is for the layers below: what this layer has under the same name stays, and hides all that is below it.
        match in_the_way(folder, path)? {
            Some(there) if there.is_dir => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let dir = rustix::fs::openat(folder, path.name(), flags, Mode::empty()).map_err(|e| failed(path, e))?;
                attributes::mark_opaque(&dir, path, overlay)
            }
            Some(_) => Ok(()),
            None => rustix::fs::mknodat(folder, path.name(), FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|e| failed(path, e)),
        }
    }

    fn opaque(&mut self, path: &TreePath) -> Result<(), TarProblem> {
        let overlay = self.overlay;
        if !path.is_root() {
            // Any name in the directory makes the directory.
            self.folder(&path.join(OPAQUE))?;
        }
        let dir = self.root.open_dir(path).map_err(|e| failed(path, e))?;
        attributes::mark_opaque(&dir, path, overlay)
    }

    fn finish(mut self) -> Result<Unpacked, TarProblem> {
        for path in &self.done.implied {
            // Nobody said when; the same on all machines.
            self.times.insert(path.clone(), (0, 0));
        }
        for (path, time) in &self.times {
            match self.root.open_dir(path) {
                Ok(dir) => attributes::set_time(&dir, *time).map_err(|e| failed(path, e))?,
                // Replaced by something else since.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
                Err(e) => return Err(failed(path, e)),
            }
        }
        Ok(self.done)
    }
}

/// Copies exactly `length` bytes of the current entry; tells a broken archive from a full disk.
fn copy<R: Read>(
    tar: &mut Reader<R>,
    file: &mut std::fs::File,
    length: u64,
    path: &TreePath,
) -> Result<(), TarProblem> {
    let mut buf = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(1 << 17)];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let n = match tar.read(&mut buf[..most]) {
            Ok(0) => return Err(TarProblem::Truncated(path.to_string())),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(TarProblem::reading(e, &path.to_string())),
        };
        let full = |source| TarProblem::Io { what: format!("{path} cannot be written"), source };
        file.write_all(&buf[..n]).map_err(full)?;
        left -= n as u64;
    }
    Ok(())
}
