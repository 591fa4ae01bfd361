//! Layer indices: what a layer holds, sorted, in one flat file.
//!
//! ```text
//! magic   8 bytes  "SLINDEX1"
//! count   u32      entries
//! starts  u32 * count, where each record begins, from the end of this table
//! length  u32      bytes of all records
//! records          path, kind, mode, owner, xattrs, and what the kind has (see `encode`)
//! times   i64 * count, modification times in seconds since 1970
//! ```
//!
//! All numbers are little endian. The layer's name, [`LayerId`], is BLAKE3 of everything before `times`: times are no
//! part of what a layer is. Records are sorted by folder, then name, so that a look-up is a binary search and a listing a
//! range.

use std::collections::HashMap;
use std::ops::Range;

use crate::path::{compare, split};
use crate::{ContentHash, Error, LayerId, Result, TreePath};

const MAGIC: &[u8; 8] = b"SLINDEX1";

// The first byte of an entry's attributes says what it is.
const FILE: u8 = b'f';
pub(crate) const DIRECTORY: u8 = b'd';
pub(crate) const OPAQUE: u8 = b'o';
pub(crate) const SYMLINK: u8 = b'l';
const CHAR_DEVICE: u8 = b'c';
const BLOCK_DEVICE: u8 = b'b';
const FIFO: u8 = b'p';
pub(crate) const WHITEOUT: u8 = b'w';

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// BLAKE3 of the bytes.
        hash: ContentHash,
        /// The first name of this file in the layer, when this is a further hard link to it.
        link: Option<TreePath>,
    },
    /// A directory.
    Dir {
        /// Hides what the layers below have in this directory.
        opaque: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Removes the path from the layers below.
    Whiteout,
}

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes, sorted by name, without overlayfs's own.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir { .. })
    }

    /// A whiteout of a path.
    pub fn whiteout(path: TreePath) -> Self {
        Self { path, kind: Kind::Whiteout, mode: 0, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
    }
}

/// Collects entries in any order.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    entries: Vec<Entry>,
}

impl IndexBuilder {
    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Sorts and encodes.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when a path is there twice.
    pub fn finish(mut self) -> Result<LayerIndex> {
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(Error::Duplicate(pair[0].path.clone()));
        }
        let count = self.entries.len();
        let mut records = Vec::with_capacity(count * 96);
        let mut starts = Vec::with_capacity(count);
        for entry in &mut self.entries {
            entry.xattrs.sort();
            starts.push(to_u32(records.len()));
            encode(entry, &mut records);
        }
        let mut bytes = Vec::with_capacity(16 + count * 12 + records.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&to_u32(count).to_le_bytes());
        starts.iter().for_each(|s| bytes.extend_from_slice(&s.to_le_bytes()));
        bytes.extend_from_slice(&to_u32(records.len()).to_le_bytes());
        bytes.extend_from_slice(&records);
        let id = LayerId::of(&bytes);
        self.entries.iter().for_each(|e| bytes.extend_from_slice(&e.mtime.to_le_bytes()));
        Ok(LayerIndex { bytes, count, id })
    }
}

/// An index holds at most 4 GiB of records: some 40 million files, where a layer has 50,000.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("an index stays below 4 GiB")
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&to_u32(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn encode(entry: &Entry, out: &mut Vec<u8>) {
    put_bytes(out, entry.path.as_bytes());
    let tag = match &entry.kind {
        Kind::File { .. } => FILE,
        Kind::Dir { opaque: false } => DIRECTORY,
        Kind::Dir { opaque: true } => OPAQUE,
        Kind::Symlink { .. } => SYMLINK,
        Kind::CharDevice { .. } => CHAR_DEVICE,
        Kind::BlockDevice { .. } => BLOCK_DEVICE,
        Kind::Fifo => FIFO,
        Kind::Whiteout => WHITEOUT,
    };
    out.push(tag);
    for n in [entry.mode, entry.uid, entry.gid, to_u32(entry.xattrs.len())] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
    match &entry.kind {
        Kind::File { size, hash, link } => {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(hash.as_bytes());
            // The empty path is the root, which is no file: it says "no link".
            put_bytes(out, link.as_ref().map_or(&[][..], TreePath::as_bytes));
        }
        Kind::Symlink { target } => put_bytes(out, target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            out.extend_from_slice(&major.to_le_bytes());
            out.extend_from_slice(&minor.to_le_bytes());
        }
        Kind::Dir { .. } | Kind::Fifo | Kind::Whiteout => {}
    }
}

/// The part of an entry's attributes that is not its content: kind, mode, owner, group and extended attributes.
pub(crate) fn identity(attributes: &[u8]) -> &[u8] {
    let number = |at: usize| {
        let bytes = attributes.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    let mut end = 17;
    for _ in 0..2 * number(13) {
        end += 4 + number(end);
    }
    &attributes[..end.min(attributes.len())]
}

/// A layer's index, as it is on disk.
#[derive(Debug, Clone)]
pub struct LayerIndex {
    bytes: Vec<u8>,
    count: usize,
    id: LayerId,
}

impl LayerIndex {
    /// Reads an index and checks that it is the one of `expected`.
    ///
    /// # Errors
    /// [`Error::DamagedIndex`].
    pub fn parse(bytes: Vec<u8>, expected: LayerId) -> Result<Self> {
        let damaged = |why| Error::DamagedIndex { layer: expected, why };
        if bytes.get(..8) != Some(MAGIC) {
            return Err(damaged("it does not begin as an index does"));
        }
        let read = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let count = read(8).ok_or_else(|| damaged("it is cut short"))?;
        let table_end =
            count.checked_mul(4).and_then(|n| n.checked_add(12)).ok_or_else(|| damaged("its count is absurd"))?;
        let length = read(table_end).ok_or_else(|| damaged("it is cut short"))?;
        let named = table_end + 4 + length;
        if bytes.len() != named + count * 8 {
            return Err(damaged("it has the wrong length"));
        }
        let id = LayerId::of(&bytes[..named]);
        if id != expected {
            return Err(damaged("its bytes belong to another layer"));
        }
        Ok(Self { bytes, count, id })
    }

    /// The bytes, for a file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The layer's name.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the layer changes nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all regular files, each once however many names it has.
    pub fn content_size(&self) -> u64 {
        self.iter()
            .map(|e| match e.kind {
                Kind::File { size, link: None, .. } => size,
                _ => 0,
            })
            .sum()
    }

    /// The entries of regular files that have several names in this layer, by the first name's, and how many these are.
    pub fn hard_links(&self) -> HashMap<usize, u32> {
        let mut links = HashMap::new();
        for i in 0..self.count {
            let attributes = self.attributes(i);
            // A file's record ends with its first name's length and bytes: four zeroes where it is that name itself.
            if attributes[0] == FILE
                && !attributes.ends_with(&[0; 4])
                && let Kind::File { link: Some(first), .. } = self.entry(i).kind
                && let Some(first) = self.find(first.as_bytes())
            {
                *links.entry(first).or_insert(1) += 1;
            }
        }
        links
    }

    /// Whether any entry has an extended attribute whose name begins so.
    pub fn has_xattr(&self, beginning: &[u8]) -> bool {
        // The number of attributes comes after kind, mode, owner and group: see `encode`.
        let some = (0..self.count).filter(|&i| self.attributes(i)[13..17] != [0; 4]);
        some.flat_map(|i| self.entry(i).xattrs).any(|(name, _)| name.starts_with(beginning))
    }

    fn u32_at(&self, at: usize) -> usize {
        let b = &self.bytes[at..at + 4];
        u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize
    }

    fn records(&self) -> usize {
        16 + self.count * 4
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = self.u32_at(12 + i * 4);
        let end = if i + 1 < self.count { self.u32_at(16 + i * 4) } else { self.u32_at(12 + self.count * 4) };
        self.records() + start..self.records() + end
    }

    /// The path of entry `i`, clean bytes.
    pub fn path(&self, i: usize) -> &[u8] {
        let start = self.records() + self.u32_at(12 + i * 4);
        let length = self.u32_at(start);
        &self.bytes[start + 4..start + 4 + length]
    }

    /// Everything of entry `i` but its path and time: equal bytes, equal attributes and content.
    pub fn attributes(&self, i: usize) -> &[u8] {
        let range = self.range(i);
        let path = self.u32_at(range.start);
        &self.bytes[range.start + 4 + path..range.end]
    }

    /// Entry `i`, decoded.
    pub fn entry(&self, i: usize) -> Entry {
        let mut cursor = Cursor(&self.bytes[self.range(i)]);
        let path = TreePath::from_clean(cursor.bytes());
        let tag = cursor.take(1)[0];
        let (mode, uid, gid) = (cursor.u32(), cursor.u32(), cursor.u32());
        let xattrs = (0..cursor.u32()).map(|_| (cursor.bytes().to_vec(), cursor.bytes().to_vec())).collect();
        let kind = match tag {
            FILE => {
                let size = cursor.u64();
                let hash = ContentHash::from_bytes(cursor.take(32).try_into().expect("32 bytes"));
                let link = cursor.bytes();
                Kind::File { size, hash, link: (!link.is_empty()).then(|| TreePath::from_clean(link)) }
            }
            DIRECTORY => Kind::Dir { opaque: false },
            OPAQUE => Kind::Dir { opaque: true },
            SYMLINK => Kind::Symlink { target: cursor.bytes().to_vec() },
            CHAR_DEVICE => Kind::CharDevice { major: cursor.u32(), minor: cursor.u32() },
            BLOCK_DEVICE => Kind::BlockDevice { major: cursor.u32(), minor: cursor.u32() },
            FIFO => Kind::Fifo,
            _ => Kind::Whiteout,
        };
        let at = self.bytes.len() - (self.count - i) * 8;
        let mtime = i64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("8 bytes"));
        Entry { path, kind, mode, uid, gid, mtime, xattrs }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        (0..self.count).map(|i| self.entry(i))
    }

    /// The entry of a path.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        self.find_in(0..self.count, path)
    }

    /// The entry of a path, if it is one of these.
    pub(crate) fn find_in(&self, range: Range<usize>, path: &[u8]) -> Option<usize> {
        let i = self.lower_bound(range.clone(), |p| compare(p, path).is_lt());
        (i < range.end && self.path(i) == path).then_some(i)
    }

    /// The entries directly in a folder.
    pub fn children(&self, folder: &[u8]) -> Range<usize> {
        let start = self.lower_bound(0..self.count, |p| {
            let (dir, name) = split(p);
            // The root's own entry has an empty folder and an empty name: it is in no folder.
            dir < folder || (dir == folder && name.is_empty())
        });
        let end = self.lower_bound(start..self.count, |p| split(p).0 <= folder);
        start..end
    }

    fn lower_bound(&self, range: Range<usize>, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.path(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Reads a record. The bytes were written by [`encode`] and checked against the layer's name, so they are whole.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("8 bytes"))
    }

    fn bytes(&mut self) -> &'a [u8] {
        let n = self.u32() as usize;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        let path = TreePath::new(path).unwrap();
        Entry { path, kind, mode: 0o755, uid: 1, gid: 2, mtime: 3, xattrs: vec![(b"user.a".into(), b"b".into())] }
    }

    fn file(path: &str, content: &[u8]) -> Entry {
        entry(path, Kind::File { size: content.len() as u64, hash: ContentHash::of(content), link: None })
    }

    fn index(entries: impl IntoIterator<Item = Entry>) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        entries.into_iter().for_each(|e| builder.push(e));
        builder.finish().unwrap()
    }

    fn every_kind() -> Vec<Entry> {
        vec![
            entry("", Kind::Dir { opaque: false }),
            entry("d", Kind::Dir { opaque: true }),
            file("d/f", b"hello"),
            entry(
                "d/g",
                Kind::File { size: 5, hash: ContentHash::of(b"hello"), link: Some(TreePath::new("d/f").unwrap()) },
            ),
            entry("d/l", Kind::Symlink { target: b"../x".into() }),
            entry("d/n", Kind::CharDevice { major: 1, minor: 3 }),
            entry("d/b", Kind::BlockDevice { major: 7, minor: 0 }),
            entry("d/p", Kind::Fifo),
            Entry::whiteout(TreePath::new("gone").unwrap()),
        ]
    }

    #[test]
    fn every_kind_comes_back_as_it_went_in() {
        let mut entries = every_kind();
        let index = index(entries.clone());
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(index.iter().collect::<Vec<_>>(), entries);
        let read = LayerIndex::parse(index.as_bytes().to_vec(), index.id()).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn names_of_one_file_and_attributes_are_counted() {
        let index = index(every_kind());
        let first = index.find(b"d/f").unwrap();
        assert_eq!(index.hard_links(), HashMap::from([(first, 2)]));
        assert!(index.has_xattr(b"user.") && !index.has_xattr(b"system."));
    }

    #[test]
    fn times_do_not_name_a_layer_and_everything_else_does() {
        let base = index(every_kind()).id();
        let changed = |change: fn(&mut Entry)| {
            let mut entries = every_kind();
            change(&mut entries[2]);
            index(entries).id()
        };
        assert_eq!(changed(|e| e.mtime = 99), base);
        assert_ne!(changed(|e| e.mode = 0o700), base);
        assert_ne!(changed(|e| e.uid = 9), base);
        assert_ne!(changed(|e| e.gid = 9), base);
        assert_ne!(changed(|e| e.xattrs.clear()), base);
        assert_ne!(changed(|e| e.kind = Kind::Fifo), base);
        assert_ne!(changed(|e| e.kind = file("x", b"other").kind), base);
    }

    #[test]
    fn children_are_the_direct_ones() {
        let index = index(["", "a", "a/x", "a/y", "a/x/z", "a-b", "b"].map(|p| entry(p, Kind::Dir { opaque: false })));
        let children =
            |folder: &str| index.children(folder.as_bytes()).map(|i| index.path(i).to_vec()).collect::<Vec<_>>();
        assert_eq!(children(""), [&b"a"[..], b"a-b", b"b"]);
        assert_eq!(children("a"), [&b"a/x"[..], b"a/y"]);
        assert_eq!(children("a/y"), Vec::<Vec<u8>>::new());
        assert_eq!(children("zz"), Vec::<Vec<u8>>::new());
        assert!(index.find(b"a/x/z").is_some() && index.find(b"a/q").is_none());
    }

    #[test]
    fn a_damaged_index_is_refused_wherever_the_damage_is() {
        let index = index(every_kind());
        let named = index.as_bytes().len() - index.len() * 8;
        for at in 0..named {
            let mut bytes = index.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(LayerIndex::parse(bytes, index.id()).is_err(), "byte {at}");
        }
        for cut in 0..index.as_bytes().len() {
            assert!(LayerIndex::parse(index.as_bytes()[..cut].to_vec(), index.id()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_path_cannot_be_twice_in_a_layer() {
        let mut builder = IndexBuilder::default();
        builder.push(file("a", b"1"));
        builder.push(file("a", b"2"));
        assert!(matches!(builder.finish(), Err(Error::Duplicate(_))));
    }
}
