//! From what is asked of a tree to the observations that stand for it.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::tree::Finder;
use crate::{Asked, Found, Kind, Observation, PathSet, Resolved, Tree, TreePath};

/// What somebody wants to know of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Is it there, what is it, whose.
    Exists,
    /// What `stat` tells. Of a file that counts as its content: `make` and its like decide by times without reading, and content is
    /// our stand-in for times. Of a directory it is kind, mode and owner, never its size, times or link count.
    Stat,
    /// Everything, extended attributes too.
    Content,
    /// The names in a directory.
    Listing,
}

/// Notes what is asked of a tree, so that the same answers can be looked for in another one.
///
/// Each directory on the way to something is noted with it, and when one is missing it is all that is noted: what is below a
/// missing directory is missing as well.
#[derive(Debug)]
pub struct Watcher<'a> {
    tree: &'a Tree,
    finder: Finder<'a>,
    seen: HashSet<Observation, RandomState>,
    /// Whether a path that was met is a directory.
    folders: HashMap<TreePath, bool, RandomState>,
}

impl<'a> Watcher<'a> {
    /// Watches a tree.
    pub fn new(tree: &'a Tree) -> Self {
        Self { tree, finder: Finder::new(tree), seen: HashSet::default(), folders: HashMap::default() }
    }

    /// The tree.
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Notes a question about a path that leads through no link.
    pub fn note(&mut self, path: &TreePath, question: Question) {
        match path.parent() {
            Some(parent) if !self.is_folder(&parent) => return,
            _ => {}
        }
        let found = self.find(path);
        let is_folder = path.is_root() || found.is_some_and(|f| self.tree.is_folder(f));
        let asked = match question {
            _ if found.is_none() && !is_folder => Asked::Exists,
            Question::Content => Asked::Content,
            Question::Stat if !is_folder => Asked::Content,
            Question::Listing if is_folder => {
                self.insert(path, Asked::Exists);
                Asked::Listing
            }
            Question::Exists | Question::Stat | Question::Listing => Asked::Exists,
        };
        self.insert(path, asked);
    }

    /// Follows the links of a path, the last component's too if `follow`, and notes the way and the question.
    pub fn ask(&mut self, path: &TreePath, follow: bool, question: Question) -> Resolved {
        let resolved = self.tree.resolve(path, follow);
        for link in &resolved.links {
            self.note(link, Question::Content);
        }
        self.note(&resolved.path, question);
        resolved
    }

    /// Notes everything below a directory: all names, all the way down.
    pub fn note_below(&mut self, path: &TreePath) {
        self.note(path, Question::Listing);
        for (name, found) in self.tree.list(path) {
            if self.tree.is_folder(found) {
                self.note_below(&path.join(&name));
            }
        }
    }

    /// Whether a path is a directory, noted.
    pub fn is_folder(&mut self, path: &TreePath) -> bool {
        if let Some(&known) = self.folders.get(path) {
            return known;
        }
        let is = match path.parent() {
            None => true,
            Some(parent) if !self.is_folder(&parent) => false,
            Some(_) => self.find(path).is_some_and(|found| self.tree.is_folder(found)),
        };
        if path.parent().is_none_or(|parent| self.is_folder(&parent)) {
            self.insert(path, Asked::Exists);
        }
        self.folders.insert(path.clone(), is);
        is
    }

    /// Whether a path is known to be a directory, and noted.
    pub fn knows_folder(&self, path: &TreePath) -> bool {
        self.folders.get(path) == Some(&true)
    }

    /// What is at a path that leads through no link. Nothing is noted.
    pub fn find(&mut self, path: &TreePath) -> Option<Found> {
        self.finder.find(path.as_bytes())
    }

    /// Where a link points, if there is one at a path that leads through no other.
    pub fn link(&mut self, path: &TreePath) -> Option<Vec<u8>> {
        let found = self.find(path)?;
        if !self.tree.is_link(found) {
            return None;
        }
        match self.tree.entry(found).kind {
            Kind::Symlink { target } => Some(target),
            _ => None,
        }
    }

    /// How many observations there are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// All that was noted.
    pub fn path_set(&self) -> PathSet {
        // Content says all that existence says.
        let needed = |o: &&Observation| {
            o.asked != Asked::Exists
                || !self.seen.contains(&Observation { path: o.path.clone(), asked: Asked::Content })
        };
        PathSet::new(self.seen.iter().filter(needed).cloned())
    }

    fn insert(&mut self, path: &TreePath, asked: Asked) {
        self.seen.insert(Observation { path: path.clone(), asked });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{ContentHash, Entry, IndexBuilder};

    fn path(s: &str) -> TreePath {
        TreePath::new(s).unwrap()
    }

    fn tree() -> Arc<Tree> {
        let mut builder = IndexBuilder::default();
        let mut push = |at: &str, kind| {
            builder.push(Entry { path: path(at), kind, mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() });
        };
        for at in ["", "usr", "usr/lib", "etc"] {
            push(at, Kind::Dir { opaque: false });
        }
        push("usr/lib/x", Kind::File { size: 1, hash: ContentHash::of(b"x"), link: None });
        push("lib", Kind::Symlink { target: b"usr/lib".into() });
        Tree::new([Arc::new(builder.finish().unwrap())])
    }

    fn noted(f: impl FnOnce(&mut Watcher<'_>)) -> Vec<String> {
        let tree = tree();
        let mut watcher = Watcher::new(&tree);
        f(&mut watcher);
        let text = |o: &Observation| format!("{} {:?}", o.path, o.asked);
        watcher.path_set().observations().iter().map(text).collect()
    }

    #[test]
    fn the_way_to_something_is_part_of_it() {
        assert_eq!(
            noted(|w| drop(w.ask(&path("lib/x"), true, Question::Stat))),
            ["/ Exists", "/lib Content", "/usr Exists", "/usr/lib Exists", "/usr/lib/x Content"]
        );
    }

    #[test]
    fn below_a_missing_directory_only_that_it_is_missing_is_noted() {
        assert_eq!(noted(|w| drop(w.ask(&path("opt/a/b"), true, Question::Content))), ["/ Exists", "/opt Exists"]);
        assert_eq!(
            noted(|w| w.note(&path("usr/lib/x/y"), Question::Exists)),
            ["/ Exists", "/usr Exists", "/usr/lib Exists", "/usr/lib/x Exists"]
        );
    }

    #[test]
    fn the_stat_of_a_directory_is_not_its_content() {
        assert_eq!(noted(|w| w.note(&path("usr"), Question::Stat)), ["/ Exists", "/usr Exists"]);
        assert_eq!(noted(|w| w.note(&path("usr"), Question::Listing)), ["/ Exists", "/usr Exists", "/usr Listing"]);
        assert_eq!(
            noted(|w| w.note_below(&path("usr"))),
            ["/ Exists", "/usr Exists", "/usr Listing", "/usr/lib Exists", "/usr/lib Listing"]
        );
    }
}
