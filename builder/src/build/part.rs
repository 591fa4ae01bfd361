//! One layer of what a step lays out: its files, each with the place of its content, and how they are made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use shiplap_cache::holes::{self, Span};
use shiplap_cache::{ContentHash, Entry, IndexBuilder, Kind, LayerId, LayerIndex, TreePath};

use super::layout::LayoutError;

type Result<T, E = LayoutError> = std::result::Result<T, E>;

/// Where a file's bytes come from.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// No bytes: a directory, a link, a device.
    None,
    /// A file that stays as it is: it may be hard-linked when mode and owner fit.
    Frozen {
        at: PathBuf,
        linkable: bool,
        /// The layer of the store that it is in, if it is in one.
        holder: Option<LayerId>,
    },
    /// A file that somebody may be writing to: copied, and checked against its hash.
    Live { at: PathBuf },
    /// These bytes.
    Inline(Vec<u8>),
}

/// A path of a layer, and what is to be there.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) entry: Entry,
    pub(super) content: Content,
    /// Which file it is another name of, if any: equal for all its names.
    pub(super) same: Option<(usize, usize, TreePath)>,
    /// Only on the way to something: it is in the tree below already.
    pub(super) way: bool,
    /// The part that it belongs to, where the layout is split; none for a folder that comes from nowhere.
    pub(super) part: Option<usize>,
    /// How a folder is seen from each of the parts below its own.
    pub(super) lower: Vec<Entry>,
}

impl Piece {
    pub(super) fn new(entry: Entry, content: Content) -> Self {
        Self { entry, content, same: None, way: false, part: None, lower: Vec::new() }
    }
}

/// One layer that is laid out.
#[derive(Debug)]
pub(crate) struct Part {
    pieces: BTreeMap<TreePath, Piece>,
}

impl Part {
    pub(super) fn new(pieces: BTreeMap<TreePath, Piece>) -> Self {
        Self { pieces }
    }

    /// The index of the layer. Nothing is made.
    pub(crate) fn index(&self) -> Result<LayerIndex> {
        let mut builder = IndexBuilder::default();
        self.pieces.values().for_each(|piece| builder.push(piece.entry.clone()));
        Ok(builder.finish()?)
    }

    /// Where the contents of its files are.
    pub(crate) fn places(&self) -> HashMap<TreePath, PathBuf> {
        let place = |(path, piece): (&TreePath, &Piece)| match &piece.content {
            Content::Frozen { at, .. } | Content::Live { at } => Some((path.clone(), at.clone())),
            Content::None | Content::Inline(_) => None,
        };
        self.pieces.iter().filter_map(place).collect()
    }

    /// The layers of the store that its files are taken from.
    pub(crate) fn holders(&self) -> HashSet<LayerId> {
        let holder = |piece: &Piece| match &piece.content {
            Content::Frozen { holder, .. } => *holder,
            _ => None,
        };
        self.pieces.values().filter_map(holder).collect()
    }

    /// Makes its files in an upper directory.
    pub(crate) fn make(&self, upper: &Path) -> Result<()> {
        // Folders come before what is in them, for the map is in that order.
        for piece in self.pieces.values().filter(|p| p.entry.is_dir() && !p.entry.path.is_root()) {
            let at = piece.entry.path.below(upper);
            std::fs::create_dir(&at).map_err(|e| io("make", &at, e))?;
        }
        self.pieces.values().collect::<Vec<_>>().into_par_iter().try_for_each(|piece| piece.make(upper))?;
        for piece in self.pieces.values() {
            if let Kind::File { link: Some(first), .. } = &piece.entry.kind {
                let at = piece.entry.path.below(upper);
                std::fs::hard_link(first.below(upper), &at).map_err(|e| io("link", &at, e))?;
            }
        }
        for piece in self.pieces.values().rev().filter(|p| p.entry.is_dir()) {
            let at = piece.entry.path.below(upper);
            attributes(&at, &piece.entry)?;
        }
        Ok(())
    }
}

fn io(what: &'static str, path: &Path, source: impl Into<std::io::Error>) -> LayoutError {
    LayoutError::Io { what, path: path.to_owned(), source: source.into() }
}

impl Piece {
    /// Makes what is no folder and no further name of a file.
    fn make(&self, upper: &Path) -> Result<()> {
        let at = &self.entry.path.below(upper);
        match &self.entry.kind {
            Kind::Dir { .. } | Kind::Whiteout => return Ok(()),
            Kind::File { link: Some(_), .. } => return Ok(()),
            Kind::File { size, hash, .. } => match &self.content {
                Content::Frozen { at: from, linkable: true, .. } if std::fs::hard_link(from, at).is_ok() => {
                    return Ok(());
                }
                Content::Frozen { at: from, .. } => copy(from, at, *size).map_err(|e| io("copy", from, e))?,
                Content::Live { at: from } => copy_checked(from, at, *size, hash)?,
                Content::Inline(bytes) => std::fs::write(at, bytes).map_err(|e| io("write", at, e))?,
                Content::None => {}
            },
            Kind::Symlink { target } => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), at)
                .map_err(|e| io("make the link", at, e))?,
            Kind::CharDevice { major, minor } => {
                self.node(at, rustix::fs::FileType::CharacterDevice, *major, *minor)?;
            }
            Kind::BlockDevice { major, minor } => self.node(at, rustix::fs::FileType::BlockDevice, *major, *minor)?,
            Kind::Fifo => self.node(at, rustix::fs::FileType::Fifo, 0, 0)?,
        }
        attributes(at, &self.entry)
    }

    fn node(&self, at: &Path, kind: rustix::fs::FileType, major: u32, minor: u32) -> Result<()> {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, at, kind, Mode::from_raw_mode(self.entry.mode), device)
            .map_err(|e| io("make the device", at, e))
    }
}

/// Copies a file that nobody writes to.
fn copy(from: &Path, to: &Path, size: u64) -> std::io::Result<()> {
    let source = File::open(from)?;
    if !holes::has_holes(&source.metadata()?) {
        return std::fs::copy(from, to).map(drop);
    }
    let mut target = File::create_new(to)?;
    holes::read(&source, |span| write(&mut target, span))?;
    target.set_len(size)
}

/// Copies a file that somebody may be writing to, and makes sure that what was copied is what was hashed.
fn copy_checked(from: &Path, to: &Path, size: u64, hash: &ContentHash) -> Result<()> {
    let mut source = File::open(from).map_err(|e| io("read", from, e))?;
    let mut target = File::create_new(to).map_err(|e| io("write", to, e))?;
    let mut hasher = blake3::Hasher::new();
    if holes::has_holes(&source.metadata().map_err(|e| io("read", from, e))?) {
        let copied = holes::read(&source, |span| {
            hasher.update_rayon(span.bytes());
            write(&mut target, span)
        });
        copied.and_then(|()| target.set_len(size)).map_err(|e| io("copy", from, e))?;
    } else {
        let mut buffer = vec![0; (size.clamp(1, 1 << 18)) as usize];
        loop {
            let read = source.read(&mut buffer).map_err(|e| io("read", from, e))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            target.write_all(&buffer[..read]).map_err(|e| io("write", to, e))?;
        }
    }
    if hasher.finalize().as_bytes() == hash.as_bytes() { Ok(()) } else { Err(LayoutError::Changed(from.to_owned())) }
}

/// Writes a part of a file; a hole stays one.
fn write(target: &mut File, span: Span<'_>) -> std::io::Result<()> {
    match span {
        Span::Data(bytes) => target.write_all(bytes),
        Span::Hole(zeros) => target.seek_relative(zeros.len() as i64),
    }
}

/// Owner first, for a change of owner takes setuid bits away; times last.
fn attributes(at: &Path, entry: &Entry) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(CWD, at, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| io("change the owner of", at, e))?;
    if !matches!(entry.kind, Kind::Symlink { .. }) {
        rustix::fs::chmod(at, Mode::from_raw_mode(entry.mode)).map_err(|e| io("change the mode of", at, e))?;
    }
    for (name, value) in &entry.xattrs {
        rustix::fs::lsetxattr(at, name.as_slice(), value, XattrFlags::empty())
            .map_err(|e| io("set an extended attribute of", at, e))?;
    }
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| io("set the time of", at, e))
}
