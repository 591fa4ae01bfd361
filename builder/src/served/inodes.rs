//! The numbers of a tree's files, and the attributes that stat(2) shows of them: those that the unpacked layers would show.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use shiplap_cache::{Entry, Found, Kind, LayerId, Tree, TreePath};

/// The blocks of a file system, in bytes.
pub(super) const BLOCK: u32 = 4096;

/// A tree whose entries have numbers: the root is 1, and those of the layers follow, bottom first, in the order of their indices. Names
/// of one file have the number of the first of them, which may be hidden by a layer above, and is a name of the file all the same.
#[derive(Debug)]
pub(super) struct Inodes {
    tree: Arc<Tree>,
    /// The number of each layer's first entry.
    first: Vec<u64>,
    /// The files of each layer that have several names.
    links: Vec<OnceLock<HashMap<usize, u32>>>,
}

impl Inodes {
    pub(super) fn new(tree: Arc<Tree>) -> Self {
        let mut next = INodeNo::ROOT.0 + 1;
        let first = tree
            .layers()
            .iter()
            .map(|layer| {
                let first = next;
                next += layer.len() as u64;
                first
            })
            .collect();
        let links = tree.layers().iter().map(|_| OnceLock::new()).collect();
        Self { tree, first, links }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The number of what was found, and its entry.
    pub(super) fn number(&self, found: Found) -> (u64, Entry) {
        let entry = self.tree.entry(found);
        let named = match &entry.kind {
            Kind::File { link: Some(first), .. } => self.tree.layers()[found.layer].find(first.as_bytes()),
            _ if entry.path.is_root() => return (INodeNo::ROOT.0, entry),
            _ => None,
        };
        (self.first[found.layer] + named.unwrap_or(found.entry) as u64, entry)
    }

    /// The entry with a number.
    pub(super) fn find(&self, number: u64) -> Option<Found> {
        if number == INodeNo::ROOT.0 {
            return self.tree.find(&TreePath::root());
        }
        let layer = self.first.partition_point(|first| *first <= number).checked_sub(1)?;
        let entry = usize::try_from(number - self.first[layer]).ok()?;
        (entry < self.tree.layers()[layer].len()).then_some(Found { layer, entry })
    }

    /// The path of a directory.
    pub(super) fn path(&self, number: u64) -> Option<TreePath> {
        if number == INodeNo::ROOT.0 {
            return Some(TreePath::root());
        }
        self.find(number).map(|found| self.tree.entry(found).path)
    }

    /// The layer and the path that the contents of a regular file are asked by, and their size.
    pub(super) fn file(&self, number: u64) -> Option<(LayerId, TreePath, u64)> {
        let found = self.find(number)?;
        match self.tree.entry(found) {
            Entry { kind: Kind::File { size, .. }, path, .. } => {
                Some((self.tree.layers()[found.layer].id(), path, size))
            }
            _ => None,
        }
    }

    /// The attributes of the file with a number.
    pub(super) fn attributes(&self, number: u64) -> Option<FileAttr> {
        match self.find(number) {
            Some(found) => Some(self.attributes_of(found)),
            // Layers that say nothing of the root have one nonetheless.
            None if number == INodeNo::ROOT.0 => Some(root()),
            None => None,
        }
    }

    pub(super) fn attributes_of(&self, found: Found) -> FileAttr {
        let (number, entry) = self.number(found);
        let (kind, size, links, device) = match &entry.kind {
            Kind::Dir { .. } => (FileType::Directory, u64::from(BLOCK), self.tree.folder_links(&entry.path), (0, 0)),
            Kind::File { size, .. } => (FileType::RegularFile, *size, self.links(found.layer, number), (0, 0)),
            Kind::Symlink { target } => (FileType::Symlink, target.len() as u64, 1, (0, 0)),
            Kind::CharDevice { major, minor } => (FileType::CharDevice, 0, 1, (*major, *minor)),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, 0, 1, (*major, *minor)),
            // A tree has no whiteouts.
            Kind::Fifo | Kind::Whiteout => (FileType::NamedPipe, 0, 1, (0, 0)),
        };
        let blocks = match kind {
            // A short link is kept in its inode.
            FileType::Symlink => 0,
            _ => size.div_ceil(u64::from(BLOCK)) * u64::from(BLOCK / 512),
        };
        let time = time(entry.mtime);
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: (entry.mode & 0o7777) as u16,
            nlink: links,
            uid: entry.uid,
            gid: entry.gid,
            rdev: device_number(device),
            blksize: BLOCK,
            flags: 0,
        }
    }

    /// How many names a regular file has.
    fn links(&self, layer: usize, number: u64) -> u32 {
        let links = self.links[layer].get_or_init(|| self.tree.layers()[layer].hard_links());
        usize::try_from(number - self.first[layer]).ok().and_then(|entry| links.get(&entry)).copied().unwrap_or(1)
    }
}

/// What the kernel is told of a name that is not there.
pub(super) fn nothing() -> FileAttr {
    FileAttr { ino: INodeNo(0), ..root() }
}

fn root() -> FileAttr {
    FileAttr {
        ino: INodeNo::ROOT,
        size: u64::from(BLOCK),
        blocks: u64::from(BLOCK / 512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn time(seconds: i64) -> SystemTime {
    let away = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) };
    time.unwrap_or(UNIX_EPOCH)
}

/// As the kernel's `new_encode_dev` has it.
fn device_number((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use shiplap_cache::{ContentHash, IndexBuilder};

    use super::*;

    fn tree(layers: &[&[(&str, Kind)]]) -> Inodes {
        let layers = layers.iter().map(|entries| {
            let mut builder = IndexBuilder::default();
            for (path, kind) in *entries {
                let path = TreePath::new(path).unwrap();
                let kind = kind.clone();
                builder.push(Entry { path, kind, mode: 0o4755, uid: 1, gid: 2, mtime: -3, xattrs: Vec::new() });
            }
            Arc::new(builder.finish().unwrap())
        });
        Inodes::new(Tree::new(layers))
    }

    fn folder() -> Kind {
        Kind::Dir { opaque: false }
    }

    fn file(link: Option<&str>) -> Kind {
        Kind::File { size: 5000, hash: ContentHash::of(b"x"), link: link.map(|l| TreePath::new(l).unwrap()) }
    }

    fn look(inodes: &Inodes, path: &str) -> FileAttr {
        inodes.attributes_of(inodes.tree().find(&TreePath::new(path).unwrap()).unwrap())
    }

    #[test]
    fn every_number_leads_back() {
        let inodes = tree(&[&[("a", folder()), ("a/f", file(None))], &[], &[("a", folder()), ("a/g", file(None))]]);
        for path in ["a", "a/f", "a/g"] {
            let number = look(&inodes, path).ino.0;
            let found = inodes.find(number).unwrap();
            assert_eq!(inodes.tree().entry(found).path, TreePath::new(path).unwrap());
        }
        assert_eq!(inodes.find(100), None);
        assert_eq!(inodes.attributes(0), None);
        assert_eq!(inodes.attributes(1).unwrap().kind, FileType::Directory);
    }

    #[test]
    fn names_of_one_file_share_a_number_and_their_count() {
        let names = [("a", file(None)), ("b", file(Some("a"))), ("c", file(None))];
        let inodes = tree(&[&names, &[("a", Kind::Whiteout)]]);
        let (b, c) = (look(&inodes, "b"), look(&inodes, "c"));
        assert_eq!((b.nlink, c.nlink), (2, 1));
        assert_ne!(b.ino, c.ino);
        // The first name is hidden, and its contents are the ones asked for.
        assert_eq!(inodes.file(b.ino.0).unwrap().1, TreePath::new("a").unwrap());
    }

    #[test]
    fn attributes_are_those_of_the_index() {
        let inodes = tree(&[&[
            ("d", folder()),
            ("d/d", folder()),
            ("d/f", file(None)),
            ("d/l", Kind::Symlink { target: b"f".into() }),
            ("n", Kind::CharDevice { major: 1, minor: 300 }),
        ]]);
        let file = look(&inodes, "d/f");
        assert_eq!((file.perm, file.uid, file.gid, file.size, file.blocks), (0o4755, 1, 2, 5000, 16));
        assert_eq!(file.mtime, UNIX_EPOCH - Duration::from_secs(3));
        assert_eq!(look(&inodes, "d").nlink, 3);
        assert_eq!((look(&inodes, "d/l").size, look(&inodes, "d/l").kind), (1, FileType::Symlink));
        assert_eq!(look(&inodes, "n").rdev, 44 | 1 << 8 | 256 << 12);
    }
}
