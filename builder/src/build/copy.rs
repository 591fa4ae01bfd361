//! `COPY`, `ADD` and `WORKDIR`: from the instruction to a [`Layout`], as BuildKit's file operations do it
//! (tonistiigi/fsutil `copy.go`).

use std::collections::{BTreeSet, HashSet};

use shiplap_cache::{ContentHash, LayerId, Store, Tree, TreePath};

use super::chmod::ModeChange;
use super::error::StepError;
use super::files::{Files, Item, digest_items};
use super::layout::{Imposed, Layout, Made};
use super::split::Split;
use super::{owner, parents};
use crate::glob::Glob;
use crate::ignore::IgnoreRules;
use crate::plan::{Chmod, CopySource, Destination};

/// Something to copy, found.
#[derive(Debug)]
pub(crate) enum Picked {
    /// Files of a tree: what was named, with all that is below it.
    Tree {
        /// The name that it gets in a directory; empty when its content is what is copied.
        name: Vec<u8>,
        /// Whether it is a directory. Then the items are what is in it, for its own mode and owner are not copied.
        is_dir: bool,
        items: Vec<Item>,
        /// Where the items are from: kept, for a fetched tree is gone with its last user.
        files: Files,
    },
    /// With `--parents`: parts of a directory, with the directories on the way to them.
    Parts { items: Vec<Item>, files: Files },
    /// The content of an archive.
    Archive {
        items: Vec<Item>,
        /// Directories that have no entry in it.
        implied: BTreeSet<TreePath>,
        _files: Files,
    },
    /// Bytes of the Dockerfile or of a download.
    Bytes { name: Vec<u8>, bytes: Vec<u8>, mode: u32, mtime: i64 },
}

impl Picked {
    fn is_dir(&self) -> bool {
        matches!(self, Self::Tree { is_dir: true, .. })
    }

    /// Its files.
    pub(crate) fn items(&self) -> &[Item] {
        match self {
            Self::Tree { items, .. } | Self::Parts { items, .. } | Self::Archive { items, .. } => items,
            Self::Bytes { .. } => &[],
        }
    }

    /// What of it decides the result.
    pub(crate) fn digest(&self) -> ContentHash {
        match self {
            Self::Tree { name, items, .. } => {
                let mut bytes = name.clone();
                bytes.extend([u8::from(self.is_dir()), 0]);
                bytes.extend_from_slice(digest_items(items).as_bytes());
                ContentHash::of(&bytes)
            }
            Self::Parts { items, .. } => {
                ContentHash::of(&[b"parts", digest_items(items).as_bytes().as_slice()].concat())
            }
            Self::Archive { items, implied, .. } => {
                let mut bytes = b"archive".to_vec();
                bytes.extend_from_slice(digest_items(items).as_bytes());
                for path in implied {
                    bytes.extend_from_slice(path.as_bytes());
                    bytes.push(0);
                }
                ContentHash::of(&bytes)
            }
            Self::Bytes { name, bytes, mode, .. } => {
                let all = [name.as_slice(), &mode.to_le_bytes(), ContentHash::of(bytes).as_bytes()].concat();
                ContentHash::of(&all)
            }
        }
    }

    fn newest(&self) -> i64 {
        match self {
            Self::Bytes { mtime, .. } => *mtime,
            _ => self.items().iter().map(|i| i.entry.mtime).max().unwrap_or(0),
        }
    }
}

/// All that a `COPY` or `ADD` takes.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) picked: Vec<Picked>,
    /// How it is shared out among layers; none when it is one.
    pub(super) split: Option<Split>,
}

impl Copied {
    /// `is_room` says whether it may be several layers.
    pub(crate) fn new(picked: Vec<Picked>, is_room: bool) -> Self {
        let split = if is_room { Split::of(&picked) } else { None };
        Self { picked, split }
    }

    /// The layers of the store that its files are in.
    pub(crate) fn holders(&self) -> HashSet<LayerId> {
        let items = self.picked.iter().flat_map(Picked::items).filter(|item| !item.entry.is_dir());
        items.filter_map(|item| item.holder).collect()
    }

    /// What of it decides the result.
    pub(crate) fn digests(&self) -> Vec<ContentHash> {
        let split = self.split.as_ref().map(|split| split.digest(&self.picked));
        self.picked.iter().map(Picked::digest).chain(split).collect()
    }
}

/// Finds the sources of a `COPY`.
pub(crate) fn pick(
    files: &Files,
    place: &str,
    source: &CopySource,
    to: &Destination,
    parents: bool,
) -> Result<Vec<Picked>, StepError> {
    match source {
        CopySource::Inline(file) => {
            let (name, bytes) = (file.name.clone().into_bytes(), file.data.clone().into_bytes());
            Ok(vec![Picked::Bytes { name, bytes, mode: 0o644, mtime: 0 }])
        }
        CopySource::Path { base, pattern } => {
            let missing = || StepError::Missing {
                path: pattern.clone(),
                place: place.to_owned(),
                hint: if files.is_live() { " (is it left out by .dockerignore?)".to_owned() } else { String::new() },
            };
            let exclude = IgnoreRules::from_patterns(to.exclude.iter().map(String::as_str))?;
            if parents {
                return parents::pick(files, base, pattern, &exclude, &missing);
            }
            let mut picked = Vec::new();
            for named in expand(files.tree(), pattern)? {
                let resolved = files.tree().resolve(&named, true);
                if resolved.found.is_none() && !resolved.path.is_root() {
                    return Err(missing());
                }
                let mut items = files.below(&resolved.path);
                let is_dir = files.tree().is_dir(&resolved.path);
                if is_dir {
                    items.retain(|item| !item.path.is_root());
                }
                if !exclude.is_empty() {
                    // What is named itself is always taken.
                    items.retain(|item| {
                        item.path.is_root() || !exclude.matches(&String::from_utf8_lossy(item.path.as_bytes()))
                    });
                }
                let name = if is_dir { Vec::new() } else { named.name().to_vec() };
                picked.push(Picked::Tree { name, is_dir, items, files: files.clone() });
            }
            // A name without wildcards must be there; a pattern may match nothing.
            let named = !Glob::has_wildcards(pattern) && exclude.is_empty();
            if picked.is_empty() && named { Err(missing()) } else { Ok(picked) }
        }
    }
}

/// The paths that a pattern matches; a plain path is itself.
pub(super) fn expand(tree: &Tree, pattern: &str) -> Result<Vec<TreePath>, StepError> {
    let (plain, rest) = Glob::split(pattern);
    let start = TreePath::new(plain.as_bytes())?;
    if rest.is_empty() {
        return Ok(vec![start]);
    }
    let glob = Glob::parse(&rest)?;
    let at = tree.resolve(&start, true).path;
    let mut found = Vec::new();
    for item in tree.walk(&at) {
        let path = tree.entry(item).path;
        let Some(below) = path.strip_prefix(&at) else { continue };
        if glob.matches(&String::from_utf8_lossy(below.as_bytes())) {
            found.push(start.join_path(&below));
        }
    }
    Ok(found)
}

/// Puts what was picked where the destination says, in several layers where that is big.
pub(crate) fn lay_out<'a>(
    store: &Store,
    parent: &'a Tree,
    empty: &'a Tree,
    copied: &'a Copied,
    to: &Destination,
) -> Result<Layout<'a>, StepError> {
    let mut layout = if to.link { Layout::detached(empty, parent) } else { Layout::new(parent) };
    layout.split(copied.split.as_ref());
    let owner = match &to.chown {
        None => None,
        // Names are looked up in the image even when nothing else of it matters.
        Some(chown) => Some(owner::resolve(store, parent, chown, &mut |file| layout.reads(file))?),
    };
    let chmod = match &to.chmod {
        None => None,
        Some(Chmod::Octal(bits)) => Some(ModeChange::Octal(*bits)),
        Some(Chmod::Symbolic(text)) => Some(ModeChange::parse(text).ok_or_else(|| StepError::Mode(text.clone()))?),
    };
    let imposed = Imposed { owner, chmod };
    // An octal mode is for the directories on the way too, without its special bits; a symbolic one is not.
    let mode = match &imposed.chmod {
        Some(ModeChange::Octal(bits)) => bits & 0o777,
        _ => 0o755,
    };
    let made = Made { owner, mode };
    let dest = layout.resolve(&TreePath::new(to.path.as_bytes())?);
    for one in &copied.picked {
        // Each source is copied for itself, in order: it finds what those before it made, and shares no hard links with them.
        let into_dir = to.path.ends_with('/') || layout.is_dir(&dest) || dest.is_root();
        let group = layout.group();
        let mtime = one.newest();
        match one {
            Picked::Archive { items, implied, .. } => {
                layout.make_dirs(&dest, Made { mode: 0o755, ..made }, mtime)?;
                // Modes are the archive's, and folders that it does not name are root's.
                let imposed = Imposed { owner, chmod: None };
                for item in items.iter().filter(|i| !i.path.is_root()) {
                    let path = dest.join_path(&item.path);
                    if implied.contains(&item.path) {
                        layout.make_dirs(&path, Made::PLAIN, mtime)?;
                        continue;
                    }
                    layout.replace(&path, item.entry.is_dir());
                    layout.put(group, path, item, false, &imposed)?;
                }
            }
            Picked::Tree { items, files, .. } if one.is_dir() => {
                layout.make_dirs(&dest, made, mtime)?;
                for item in items.iter().filter(|i| !i.path.is_root()) {
                    let path = dest.join_path(&item.path);
                    make_parent(&mut layout, &path, made, mtime)?;
                    layout.put(group, path, item, files.is_live(), &imposed)?;
                }
            }
            Picked::Parts { items, files } => {
                layout.make_dirs(&dest, made, mtime)?;
                for item in items {
                    let path = dest.join_path(&item.path);
                    if item.entry.is_dir() && layout.is_dir(&path) {
                        layout.take_mode(&path, item.entry.mode)?;
                    } else {
                        layout.put(group, path, item, files.is_live(), &imposed)?;
                    }
                }
            }
            Picked::Tree { name, items, files, .. } => {
                let target = if into_dir { dest.join(name) } else { dest.clone() };
                make_parent(&mut layout, &target, made, mtime)?;
                for item in items {
                    layout.put(group, target.clone(), item, files.is_live(), &imposed)?;
                }
            }
            Picked::Bytes { name, bytes, mode, mtime } => {
                let target = if into_dir { dest.join(name) } else { dest.clone() };
                make_parent(&mut layout, &target, made, *mtime)?;
                layout.put_bytes(target, bytes, *mode, *mtime, &imposed)?;
            }
        }
    }
    Ok(layout)
}

fn make_parent(layout: &mut Layout<'_>, path: &TreePath, made: Made, mtime: i64) -> Result<(), StepError> {
    match path.parent() {
        Some(parent) => Ok(layout.make_dirs(&parent, made, mtime)?),
        None => Ok(()),
    }
}

/// A `WORKDIR`: the directory with its parents, owned by the user in force.
pub(crate) fn work_dir<'a>(
    store: &Store,
    parent: &'a Tree,
    path: &str,
    user: Option<&str>,
) -> Result<Layout<'a>, StepError> {
    let mut layout = Layout::new(parent);
    let owner = match user {
        None => None,
        Some(user) => Some(owner::resolve(store, parent, user, &mut |file| layout.reads(file))?),
    };
    let path = layout.resolve(&TreePath::new(path.as_bytes())?);
    layout.make_dirs(&path, Made { owner, ..Made::PLAIN }, 0)?;
    Ok(layout)
}
