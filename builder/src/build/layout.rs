//! What a `COPY`, `ADD` or `WORKDIR` puts where, decided on indices alone, and then made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use shiplap_cache::{ContentHash, Entry, IndexBuilder, Kind, LayerIndex, PathSet, Question, Tree, TreePath, Watcher};

use super::files::Item;
use super::part::{Content, Part, Piece};
use super::split::Split;

/// Why something cannot be put where it should go.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A directory is needed where something else is.
    #[error("{0} is not a directory in the image")]
    NotADirectory(TreePath),
    /// A file would replace a directory.
    #[error("{0} is a directory in the image: a file cannot replace it")]
    IsADirectory(TreePath),
    /// The destination leaves the image.
    #[error(transparent)]
    Path(#[from] shiplap_cache::PathError),
    /// Making the files failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the context is no longer what it was when the build began.
    #[error("{} changed while the build ran; run it again", .0.display())]
    Changed(PathBuf),
    /// The store.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
}

type Result<T, E = LayoutError> = std::result::Result<T, E>;

/// Owner, group and mode that a destination imposes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Imposed {
    /// `--chown`, resolved.
    pub(crate) owner: Option<(u32, u32)>,
    /// `--chmod`, from the mode and whether it is a directory.
    pub(crate) chmod: Option<super::chmod::ModeChange>,
}

impl Imposed {
    fn apply(&self, entry: &mut Entry) {
        if let Some((uid, gid)) = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let (Some(change), false) = (&self.chmod, matches!(entry.kind, Kind::Symlink { .. })) {
            entry.mode = change.apply(entry.mode, entry.is_dir());
        }
    }
}

/// A layer that is being put together on top of a tree.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    parent: &'a Tree,
    detached: bool,
    pieces: BTreeMap<TreePath, Piece>,
    watcher: Watcher<'a>,
    groups: usize,
    /// Where something of another kind may be in the tree below.
    replaced: BTreeSet<TreePath>,
    /// How it is shared out among several layers, if it is.
    split: Option<&'a Split>,
}

/// How directories look that a step needs and that are not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// `--chown`, or the user in force.
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: u32,
}

impl Made {
    /// By root, for everybody to read.
    pub(crate) const PLAIN: Self = Self { owner: None, mode: 0o755 };

    fn entry(self, path: TreePath, set_group: Option<u32>, mtime: i64) -> Entry {
        let (uid, gid) = self.owner.unwrap_or((0, set_group.unwrap_or(0)));
        let mode = self.mode | if set_group.is_some() { 0o2000 } else { 0 };
        Entry { path, kind: Kind::Dir { opaque: false }, mode, uid, gid, mtime, xattrs: Vec::new() }
    }
}

impl<'a> Layout<'a> {
    pub(crate) fn new(parent: &'a Tree) -> Self {
        let (pieces, watcher, replaced) = (BTreeMap::new(), Watcher::new(parent), BTreeSet::new());
        Self { parent, detached: false, pieces, watcher, groups: 0, replaced, split: None }
    }

    /// A layer that is the same whatever it is put on (`COPY --link`): it is laid out on nothing, and what that nothing lacks is no
    /// input.
    pub(crate) fn detached(nothing: &'a Tree, parent: &'a Tree) -> Self {
        Self { detached: true, watcher: Watcher::new(parent), ..Self::new(nothing) }
    }

    /// Shares out what is put from now on among several layers.
    pub(crate) fn split(&mut self, split: Option<&'a Split>) {
        self.split = split;
    }

    /// Notes what the place of a file depends on.
    fn saw(&mut self, path: &TreePath, question: Question) {
        if !self.detached {
            self.watcher.note(path, question);
        }
    }

    /// Follows the links of a destination in the tree below.
    pub(crate) fn resolve(&mut self, path: &TreePath) -> TreePath {
        match self.detached {
            true => self.parent.resolve(path, true).path,
            false => self.watcher.ask(path, true, Question::Exists).path,
        }
    }

    /// Whether there is a directory at a resolved path, below or made here.
    pub(crate) fn is_dir(&self, path: &TreePath) -> bool {
        match self.pieces.get(path) {
            Some(piece) => piece.entry.is_dir(),
            None => self.parent.is_dir(path),
        }
    }

    /// Notes that the step reads a file of the tree below.
    pub(crate) fn reads(&mut self, path: &TreePath) {
        self.watcher.ask(path, true, Question::Content);
    }

    /// Makes a directory with its parents; those that are there stay as they are.
    pub(crate) fn make_dirs(&mut self, path: &TreePath, made: Made, mtime: i64) -> Result<()> {
        let mut at = TreePath::root();
        for name in path.components() {
            at = at.join(name);
            if let Some(piece) = self.pieces.get(&at) {
                if !piece.entry.is_dir() {
                    return Err(LayoutError::NotADirectory(at));
                }
                continue;
            }
            // All of its attributes go into the layer, for overlayfs takes them from the topmost one.
            self.saw(&at, Question::Content);
            let (entry, way) = match self.parent.get(&at) {
                Some(entry) if entry.is_dir() => (Entry { kind: Kind::Dir { opaque: false }, ..entry }, true),
                Some(_) => return Err(LayoutError::NotADirectory(at)),
                None => (made.entry(at.clone(), self.set_group(&at), mtime), false),
            };
            self.pieces.insert(at.clone(), Piece { way, ..Piece::new(entry, Content::None) });
        }
        Ok(())
    }

    /// Gives a directory that is there the mode of the one that is copied onto it, and nothing else of it: what Docker does with
    /// `--parents` (fsutil `copyDirectoryOnly`).
    pub(crate) fn take_mode(&mut self, path: &TreePath, mode: u32) -> Result<()> {
        self.make_dirs(path, Made::PLAIN, 0)?;
        if let Some(piece) = self.pieces.get_mut(path).filter(|piece| piece.entry.mode != mode) {
            piece.entry.mode = mode;
            piece.way = false;
        }
        Ok(())
    }

    /// The group that the set-group-ID bit of the directory above hands down: Docker makes its directories with mkdir(2).
    fn set_group(&self, path: &TreePath) -> Option<u32> {
        let above = path.parent()?;
        let entry = self.pieces.get(&above).map(|p| p.entry.clone()).or_else(|| self.parent.get(&above))?;
        (entry.mode & 0o2000 != 0).then_some(entry.gid)
    }

    /// Makes room for something of another kind, as unpacking an archive does: what was there goes away whole.
    pub(crate) fn replace(&mut self, path: &TreePath, is_dir: bool) {
        match self.pieces.get(path) {
            Some(piece) if !(piece.entry.is_dir() && is_dir) => self.pieces.retain(|p, _| !p.starts_with(path)),
            _ => {}
        }
        self.replaced.insert(path.clone());
    }

    /// Starts a group of items: hard links are kept among the items of one group.
    pub(crate) fn group(&mut self) -> usize {
        self.groups += 1;
        self.groups
    }

    /// Puts an item at a path whose parent was made.
    pub(crate) fn put(
        &mut self,
        group: usize,
        path: TreePath,
        item: &Item,
        live: bool,
        imposed: &Imposed,
    ) -> Result<()> {
        let place = |entry: Entry| {
            let mut entry = Entry { path: path.clone(), ..entry };
            imposed.apply(&mut entry);
            if let Kind::Dir { opaque } = &mut entry.kind {
                *opaque = false;
            }
            entry
        };
        let entry = place(item.entry.clone());
        let content = match entry.kind {
            Kind::File { .. } if live => Content::Live { at: item.at.clone() },
            Kind::File { .. } => Content::Frozen {
                at: item.at.clone(),
                linkable: (entry.mode, entry.uid, entry.gid) == (item.entry.mode, item.entry.uid, item.entry.gid),
                holder: item.holder,
            },
            _ => Content::None,
        };
        let same = item.same.clone().map(|(layer, name)| (group, layer, name));
        let part = self.split.map(|split| split.part(item.layer));
        let lower = match self.split {
            Some(split) if entry.is_dir() => split.lower(item).into_iter().map(place).collect(),
            _ => Vec::new(),
        };
        self.place(path.clone(), Piece { same, part, lower, ..Piece::new(entry, content) })
    }

    /// Puts a file with these bytes at a path whose parent was made.
    pub(crate) fn put_bytes(
        &mut self,
        path: TreePath,
        bytes: &[u8],
        mode: u32,
        mtime: i64,
        imposed: &Imposed,
    ) -> Result<()> {
        let kind = Kind::File { size: bytes.len() as u64, hash: ContentHash::of(bytes), link: None };
        let mut entry = Entry { path: path.clone(), kind, mode, uid: 0, gid: 0, mtime, xattrs: Vec::new() };
        imposed.apply(&mut entry);
        self.place(path, Piece::new(entry, Content::Inline(bytes.to_vec())))
    }

    fn place(&mut self, path: TreePath, piece: Piece) -> Result<()> {
        let below = if path.parent().is_some_and(|p| self.parent.is_dir(&p)) {
            self.saw(&path, Question::Exists);
            self.parent.get(&path)
        } else {
            None
        };
        let there = self.pieces.get(&path).map(|p| p.entry.is_dir()).or(below.map(|e| e.is_dir()));
        match (there, piece.entry.is_dir()) {
            _ if self.replaced.contains(&path) => {
                self.pieces.insert(path, piece);
                Ok(())
            }
            (Some(true), false) => Err(LayoutError::IsADirectory(path)),
            (Some(false), true) => Err(LayoutError::NotADirectory(path)),
            _ => {
                self.pieces.insert(path, piece);
                Ok(())
            }
        }
    }

    /// What the layer depends on in the tree below.
    pub(crate) fn path_set(&self) -> PathSet {
        self.watcher.path_set()
    }

    /// Gives files that are as they were in the layer that this step made before the times that they had there. A fresh checkout has new
    /// times throughout, and what was compiled from a file knows it by its time (`.pyc`).
    pub(crate) fn keep_times(&mut self, before: &LayerIndex) {
        for (path, piece) in &mut self.pieces {
            if !matches!(piece.content, Content::Live { .. } | Content::Inline(_)) {
                continue;
            }
            let Some(old) = before.find(path.as_bytes()).map(|i| before.entry(i)) else { continue };
            if (Entry { mtime: piece.entry.mtime, ..old.clone() }) == piece.entry {
                piece.entry.mtime = old.mtime;
            }
        }
    }

    /// The layers, bottom first; none when nothing is new. Each depends on its own part of the files alone, so they can be made one without the
    /// others. All but a big tree of several layers are one.
    pub(crate) fn parts(mut self) -> Vec<Part> {
        if self.pieces.values().all(|piece| piece.way) {
            return Vec::new();
        }
        self.link();
        match self.split {
            Some(split) => split.distribute(self.pieces),
            None => vec![Part::new(self.pieces)],
        }
    }

    /// Makes the files of a layout that is not split in an upper directory and returns their index; an empty one when nothing is new.
    pub(crate) fn make(self, upper: &Path) -> Result<LayerIndex> {
        let Some(part) = self.parts().pop() else { return Ok(IndexBuilder::default().finish()?) };
        part.make(upper)?;
        part.index()
    }

    /// Of the names of one file, the first is the file and the others are links to it.
    fn link(&mut self) {
        let mut first = HashMap::new();
        for (path, piece) in &mut self.pieces {
            let Kind::File { link, .. } = &mut piece.entry.kind else { continue };
            *link = None;
            let Some(same) = piece.same.clone() else { continue };
            match first.entry(same) {
                std::collections::hash_map::Entry::Occupied(name) => *link = Some(TreePath::clone(name.get())),
                std::collections::hash_map::Entry::Vacant(name) => drop(name.insert(path.clone())),
            }
        }
    }
}
