//! Layers and trees as tars.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use shiplap_cache::{ContentHash, Entry, Kind as Layered, LayerId, LayerIndex, Piece, Store, Tree, TreePath};

use super::{Head, Kind, Writer};
use crate::error::At;
use crate::{Error, Result};

/// The beginning of a whiteout's name (image-spec, layer.md, *Whiteouts*).
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The name of the entry that marks a directory opaque.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes a layer as a tar: entries in the order of the index (folder by folder, parents first), times in whole seconds, no later
/// than `clamp` if that is given. Files are checked against the index while they are read.
///
/// # Errors
/// [`Error::DamagedLayer`], [`Error::ReservedName`], or reading or writing fails.
pub fn write_layer(out: impl Write, dir: &Path, index: &LayerIndex, clamp: Option<i64>) -> Result<()> {
    write_marked(out, dir, index, clamp, |_, _| Ok(()))
}

/// What comes next in a tar.
pub(crate) enum Mark<'a> {
    /// An entry.
    Entry,
    /// The contents of a file, with their hash and size.
    Contents(&'a ContentHash, u64),
}

/// As [`write_layer`], and tells `out` what it gets.
pub(crate) fn write_marked<W: Write>(
    out: W,
    dir: &Path,
    index: &LayerIndex,
    clamp: Option<i64>,
    mark: impl FnMut(&mut W, Mark<'_>) -> io::Result<()>,
) -> Result<()> {
    let open = |at: &Path, entry: &Entry, _: &_, size| Checked::open(at, index.id(), entry, size);
    write_from(out, dir, index, clamp, mark, open)
}

/// As [`write_layer`], of files whose contents `piece` gives.
pub(crate) fn write_contents(
    out: impl Write,
    index: &LayerIndex,
    piece: impl Fn(&ContentHash) -> Option<Piece>,
) -> Result<()> {
    let open = |_: &Path, entry: &Entry, hash: &_, _| {
        let gone = || damaged(index.id(), entry, "it is gone");
        Ok(Checked::of(piece(hash).ok_or_else(gone)?.reader()))
    };
    write_from(out, Path::new("/"), index, None, |_, _| Ok(()), open)
}

fn write_from<W: Write>(
    out: W,
    dir: &Path,
    index: &LayerIndex,
    clamp: Option<i64>,
    mut mark: impl FnMut(&mut W, Mark<'_>) -> io::Result<()>,
    open: impl Fn(&Path, &Entry, &ContentHash, u64) -> Result<Checked>,
) -> Result<()> {
    let mut writer = Writer::new(out);
    for entry in index.iter() {
        check_name(&entry.path)?;
        mark(writer.out(), Mark::Entry).at("pack", dir)?;
        let opaque = matches!(entry.kind, Layered::Dir { opaque: true });
        write_entry(&mut writer, &entry.path.below(dir), index.id(), &entry, clamp, &mut mark, &open)?;
        if opaque {
            let path = entry.path.join(OPAQUE).as_bytes().to_vec();
            let marker = Head { path, mtime: clamped(entry.mtime, clamp), ..Head::default() };
            writer.entry(&marker, io::empty()).at("pack", dir)?;
        }
    }
    writer.finish().at("pack", dir)?;
    Ok(())
}

/// Writes a whole tree as one tar, as `docker export` does: whiteouts applied, hard links kept as far as the layers have them.
///
/// # Errors
/// As [`write_layer`].
pub fn write_tree(out: impl Write, store: &Store, tree: &Tree, clamp: Option<i64>) -> Result<()> {
    let mut writer = Writer::new(out);
    each_entry(store, tree, |dir, layer, entry| {
        let open = |at: &Path, entry: &Entry, _: &_, size| Checked::open(at, layer, entry, size);
        write_entry(&mut writer, &entry.path.below(dir), layer, entry, clamp, &mut |_, _| Ok(()), &open)
    })?;
    writer.finish().at("write", Path::new("the tar"))?;
    Ok(())
}

/// Goes through a whole tree, parents first: the directory of the layer that has an entry, the layer, the entry. The `link` of a file names
/// the first of its names that came by.
pub(crate) fn each_entry(
    store: &Store,
    tree: &Tree,
    mut take: impl FnMut(&Path, LayerId, &Entry) -> Result<()>,
) -> Result<()> {
    let root = tree.find(&TreePath::root());
    // Several names of one file in one layer; the first that is still to be seen becomes the file.
    let mut first: HashMap<(usize, TreePath), TreePath> = HashMap::new();
    for found in root.into_iter().chain(tree.walk(&TreePath::root())) {
        let mut entry = tree.entry(found);
        let id = tree.layers()[found.layer].id();
        if let Layered::File { link, .. } = &mut entry.kind {
            let file = link.take().unwrap_or_else(|| entry.path.clone());
            match first.entry((found.layer, file)) {
                std::collections::hash_map::Entry::Occupied(seen) => *link = Some(seen.get().clone()),
                std::collections::hash_map::Entry::Vacant(new) => drop(new.insert(entry.path.clone())),
            }
        }
        take(&store.layer_dir(&id), id, &entry)?;
    }
    Ok(())
}

fn check_name(path: &TreePath) -> Result<()> {
    if path.name().starts_with(WHITEOUT) { Err(Error::ReservedName(path.clone())) } else { Ok(()) }
}

fn clamped(mtime: i64, clamp: Option<i64>) -> i64 {
    clamp.map_or(mtime, |latest| mtime.min(latest))
}

fn write_entry<W: Write>(
    writer: &mut Writer<W>,
    at: &Path,
    layer: LayerId,
    entry: &Entry,
    clamp: Option<i64>,
    mark: &mut impl FnMut(&mut W, Mark<'_>) -> io::Result<()>,
    open: &impl Fn(&Path, &Entry, &ContentHash, u64) -> Result<Checked>,
) -> Result<()> {
    let mut head = Head {
        path: entry.path.as_bytes().to_vec(),
        mode: entry.mode,
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        mtime: clamped(entry.mtime, clamp),
        xattrs: entry.xattrs.clone(),
        ..Head::default()
    };
    match &entry.kind {
        Layered::File { link: Some(first), .. } => {
            head.kind = Kind::HardLink;
            head.link = first.as_bytes().to_vec();
            // The attributes are the file's, which has them already.
            head.xattrs.clear();
        }
        Layered::File { size, hash, link: None } => {
            head.size = *size;
            let mut contents = open(at, entry, hash, *size)?;
            match writer.entry_marked(&head, &mut contents, |out| mark(out, Mark::Contents(hash, *size))) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(damaged(layer, entry, "it became shorter"));
                }
                written => written.at("pack", at)?,
            }
            return contents.end(layer, entry, *hash);
        }
        Layered::Dir { .. } => {
            head.kind = Kind::Dir;
            head.path = if entry.path.is_root() { b"./".to_vec() } else { [&head.path[..], b"/"].concat() };
        }
        Layered::Symlink { target } => {
            head.kind = Kind::Symlink;
            head.link = target.clone();
        }
        Layered::CharDevice { major, minor } => (head.kind, head.device) = (Kind::Char, (*major, *minor)),
        Layered::BlockDevice { major, minor } => (head.kind, head.device) = (Kind::Block, (*major, *minor)),
        Layered::Fifo => head.kind = Kind::Fifo,
        Layered::Whiteout => {
            let name = [WHITEOUT, entry.path.name()].concat();
            head.path = entry.path.parent().unwrap_or_default().join(&name).as_bytes().to_vec();
        }
    }
    writer.entry(&head, io::empty()).at("pack", at)
}

fn damaged(layer: LayerId, entry: &Entry, why: &'static str) -> Error {
    Error::DamagedLayer { layer, path: entry.path.clone(), why }
}

/// A file of a layer, compared with the index while it is read.
pub(crate) struct Checked {
    bytes: Box<dyn Read>,
    hasher: blake3::Hasher,
}

impl Checked {
    pub(crate) fn open(at: &Path, layer: LayerId, entry: &Entry, size: u64) -> Result<Self> {
        let file = match File::open(at) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(layer, entry, "it is gone")),
            Err(e) => return Err(e).at("read", at),
        };
        // The length decides what is said of it first; a file that has another is found before anything of it is written.
        if file.metadata().at("read", at)?.len() != size {
            return Err(damaged(layer, entry, "it has another size"));
        }
        Ok(Self::of(file))
    }

    fn of(bytes: impl Read + 'static) -> Self {
        Self { bytes: Box::new(bytes), hasher: blake3::Hasher::new() }
    }

    /// After the last byte.
    pub(crate) fn end(self, layer: LayerId, entry: &Entry, hash: ContentHash) -> Result<()> {
        let same = self.hasher.finalize().as_bytes() == hash.as_bytes();
        if same { Ok(()) } else { Err(damaged(layer, entry, "its contents changed")) }
    }
}

impl Read for Checked {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}
