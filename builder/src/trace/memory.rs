//! What was asked already and where folders lead, so that the same question again costs one look.
//!
//! An answer holds until something is changed on its way; then all is forgotten, for that is rare.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use shiplap_cache::{Question, TreePath};

/// The part of a path in front of its last component, resolved.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) at: TreePath,
    /// Whether the way there leads over something that is not in the index.
    pub(super) missing: bool,
    /// How many links were followed.
    pub(super) links: usize,
}

/// Answers for callers whose root is the tree's. Without a slash in front of a path, `base` is where it starts from.
#[derive(Debug, Default)]
pub(super) struct Memory {
    asked: HashSet<Box<[u8]>, RandomState>,
    folders: HashMap<Box<[u8]>, Folder, RandomState>,
    /// All that the answers' ways lead over.
    ways: HashSet<TreePath, RandomState>,
    key: Vec<u8>,
}

impl Memory {
    /// Whether just this was asked and still has the same answer.
    pub(super) fn has_asked(&mut self, base: &[u8], path: &[u8], follow: bool, question: Question) -> bool {
        self.asking(base, path, follow, question);
        self.asked.contains(self.key.as_slice())
    }

    pub(super) fn ask(&mut self, base: &[u8], path: &[u8], follow: bool, question: Question, way: Vec<TreePath>) {
        self.asking(base, path, follow, question);
        self.asked.insert(self.key.as_slice().into());
        self.ways.extend(way);
    }

    pub(super) fn folder(&mut self, base: &[u8], folder: &[u8]) -> Option<Folder> {
        self.name(base, folder);
        self.folders.get(self.key.as_slice()).cloned()
    }

    pub(super) fn keep_folder(&mut self, base: &[u8], folder: &[u8], leads: Folder, way: &[TreePath]) {
        self.name(base, folder);
        self.folders.insert(self.key.as_slice().into(), leads);
        self.ways.extend(way.iter().cloned());
    }

    /// Something else may be at this path now.
    pub(super) fn change(&mut self, path: &TreePath) {
        if self.ways.contains(path) {
            *self = Self::default();
        }
    }

    fn asking(&mut self, base: &[u8], path: &[u8], follow: bool, question: Question) {
        self.name(base, path);
        // No path has a zero byte.
        self.key.extend([0, u8::from(follow), question as u8]);
    }

    fn name(&mut self, base: &[u8], path: &[u8]) {
        self.key.clear();
        if !path.starts_with(b"/") {
            self.key.extend_from_slice(base);
        }
        self.key.push(0);
        self.key.extend_from_slice(path);
    }
}
