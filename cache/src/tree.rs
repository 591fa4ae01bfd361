//! A stack of layers seen as one file system, from indices alone.
//!
//! The rules are overlayfs's (Linux `Documentation/filesystems/overlayfs.rst`): the topmost entry of a path wins,
//! directories merge, a whiteout, an opaque directory or anything that is no directory hides what is below.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::index::{DIRECTORY, OPAQUE, SYMLINK, WHITEOUT};
use crate::{Entry, Kind, LayerId, LayerIndex, TreeId, TreePath};

/// How many symbolic links one path may lead through, as in Linux (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// The names of a stack of layers, bottom first. As good as a [`Tree`] for whoever only needs its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    id: TreeId,
    layers: Vec<LayerId>,
}

impl Default for Stack {
    fn default() -> Self {
        Self { id: TreeId::empty(), layers: Vec::new() }
    }
}

impl Stack {
    /// The tree's name.
    pub fn id(&self) -> TreeId {
        self.id
    }

    /// The layers' names, bottom first.
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    /// Puts a layer on top.
    pub fn push(&mut self, layer: LayerId) {
        self.id = self.id.with(layer);
        self.layers.push(layer);
    }
}

impl FromIterator<LayerId> for Stack {
    fn from_iter<I: IntoIterator<Item = LayerId>>(layers: I) -> Self {
        layers.into_iter().fold(Self::default(), |mut stack, layer| {
            stack.push(layer);
            stack
        })
    }
}

/// A stack of layers seen as one file system, bottom first.
#[derive(Debug, Default)]
pub struct Tree {
    layers: Vec<Arc<LayerIndex>>,
    /// The same tree without its top layer. What it knows of a directory holds here too, unless the top layer has a say in it.
    below: Option<Arc<Tree>>,
    views: Mutex<HashMap<TreePath, View>>,
}

/// The layers that have a say in a directory, topmost first; none when it is no directory.
#[derive(Debug, Clone, Default)]
struct View {
    layers: Arc<Vec<usize>>,
    /// Whether the top layer hides what the layers below have here.
    cut: bool,
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The path without links. When nothing is there, the place where it would be.
    pub path: TreePath,
    /// What is there.
    pub found: Option<Found>,
    /// The symbolic links followed on the way, in order.
    pub links: Vec<TreePath>,
}

/// An entry and the layer that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which layer, counted from the bottom.
    pub layer: usize,
    /// Which entry of that layer's index.
    pub entry: usize,
}

impl Tree {
    /// A tree of these layers, bottom first.
    pub fn new(layers: impl IntoIterator<Item = Arc<LayerIndex>>) -> Arc<Self> {
        layers.into_iter().fold(Arc::default(), |tree: Arc<Self>, layer| tree.with(layer))
    }

    /// This tree with one more layer on top.
    #[must_use]
    pub fn with(self: &Arc<Self>, layer: Arc<LayerIndex>) -> Arc<Self> {
        let mut layers = self.layers.clone();
        layers.push(layer);
        Arc::new(Self { layers, below: Some(self.clone()), views: Mutex::default() })
    }

    /// The tree's name.
    pub fn id(&self) -> TreeId {
        self.layers.iter().fold(TreeId::empty(), |id, layer| id.with(layer.id()))
    }

    /// The names of its layers.
    pub fn stack(&self) -> Stack {
        self.layers.iter().map(|l| l.id()).collect()
    }

    /// The layers' indices, bottom first.
    pub fn layers(&self) -> &[Arc<LayerIndex>] {
        &self.layers
    }

    /// Looks a path up without following links. Something below a link or a file is not there.
    pub fn find(&self, path: &TreePath) -> Option<Found> {
        let Some(parent) = path.parent() else {
            // The root is there even when no layer has an entry for it; the topmost one that has, speaks for it.
            return self.top(&(0..self.layers.len()).rev().collect::<Vec<_>>(), path);
        };
        self.top(&self.view(&parent), path)
    }

    /// The entry of something found.
    pub fn entry(&self, found: Found) -> Entry {
        self.layers[found.layer].entry(found.entry)
    }

    /// Attributes and content of something found, as bytes: equal bytes, equal file.
    pub fn attributes(&self, found: Found) -> &[u8] {
        self.layers[found.layer].attributes(found.entry)
    }

    /// Looks a path up without following links and decodes it.
    pub fn get(&self, path: &TreePath) -> Option<Entry> {
        self.find(path).map(|found| self.entry(found))
    }

    /// Whether something found is a directory.
    pub fn is_folder(&self, found: Found) -> bool {
        matches!(self.attributes(found)[0], DIRECTORY | OPAQUE)
    }

    /// Whether something found is a symbolic link.
    pub fn is_link(&self, found: Found) -> bool {
        self.attributes(found)[0] == SYMLINK
    }

    /// Whether a path is a directory; the root always is.
    pub fn is_dir(&self, path: &TreePath) -> bool {
        path.is_root() || self.get(path).is_some_and(|e| e.is_dir())
    }

    /// How many links overlayfs shows of a directory: one where several layers have a say in it, else what a file system would say, one
    /// for its name, one for itself, one for each directory in it.
    pub fn folder_links(&self, path: &TreePath) -> u32 {
        let [layer] = self.view(path)[..] else { return 1 };
        let index = &self.layers[layer];
        let folders =
            index.children(path.as_bytes()).filter(|&i| matches!(index.attributes(i)[0], DIRECTORY | OPAQUE)).count();
        2 + u32::try_from(folders).unwrap_or_default()
    }

    /// Follows links as the kernel would, inside the tree; the last component's too if `follow`.
    ///
    /// A path through a file, through nothing, or round in circles is found nowhere; `path` then says where it stopped,
    /// with the rest behind it.
    pub fn resolve(&self, path: &TreePath, follow: bool) -> Resolved {
        let mut rest: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = TreePath::root();
        let mut links = Vec::new();
        let mut found = None;
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    // Links may climb; at the root they stay there, as in a chroot.
                    at = at.parent().unwrap_or_default();
                    found = None;
                    continue;
                }
                _ => {}
            }
            let next = at.join(&name);
            let Some(here) = self.find(&next) else {
                return Resolved { path: append(next, rest), found: None, links };
            };
            match self.entry(here).kind {
                Kind::Symlink { target } if follow || !rest.is_empty() => {
                    links.push(next.clone());
                    if links.len() > MAX_LINKS {
                        return Resolved { path: append(next, rest), found: None, links };
                    }
                    if target.first() == Some(&b'/') {
                        at = TreePath::root();
                    }
                    found = None;
                    rest.extend(target.split(|&b| b == b'/').rev().filter(|p| !p.is_empty()).map(<[u8]>::to_vec));
                }
                Kind::Dir { .. } => {
                    at = next;
                    found = Some(here);
                }
                _ if rest.is_empty() => return Resolved { path: next, found: Some(here), links },
                _ => return Resolved { path: append(next, rest), found: None, links },
            }
        }
        let found = found.or_else(|| self.find(&at));
        Resolved { path: at, found, links }
    }

    /// The names in a directory, with what they are.
    pub fn list(&self, path: &TreePath) -> BTreeMap<Vec<u8>, Found> {
        let mut names = BTreeMap::new();
        let mut gone = std::collections::HashSet::new();
        for &layer in self.view(path).iter() {
            let index = &self.layers[layer];
            for entry in index.children(path.as_bytes()) {
                let name = crate::path::split(index.path(entry)).1;
                if names.contains_key(name) || gone.contains(name) {
                    continue;
                }
                if index.attributes(entry)[0] == WHITEOUT {
                    gone.insert(name);
                } else {
                    names.insert(name.to_vec(), Found { layer, entry });
                }
            }
        }
        names
    }

    /// Everything below a directory, parents before children, names in order. The directory itself is not in it.
    pub fn walk(&self, path: &TreePath) -> Vec<Found> {
        let mut all = Vec::new();
        self.walk_into(path, &mut all);
        all
    }

    /// Everything that is in the tree, whiteouts and what is hidden left out, layer by layer from the bottom and each in the order of its index.
    ///
    /// This is faster than [`Tree::walk`]: no listing is made, and paths of one folder are looked up in a row.
    pub fn visible(&self) -> Vec<Found> {
        let mut finder = Finder::new(self);
        let mut all = Vec::new();
        for (layer, index) in self.layers.iter().enumerate() {
            for entry in 0..index.len() {
                let found = Found { layer, entry };
                if finder.find(index.path(entry)) == Some(found) {
                    all.push(found);
                }
            }
        }
        all
    }

    fn walk_into(&self, path: &TreePath, all: &mut Vec<Found>) {
        for (name, found) in self.list(path) {
            all.push(found);
            if self.entry(found).is_dir() {
                self.walk_into(&path.join(&name), all);
            }
        }
    }

    /// The layers that have a say in a directory, topmost first; none when it is no directory.
    fn view(&self, path: &TreePath) -> Arc<Vec<usize>> {
        self.full_view(path).layers
    }

    fn full_view(&self, path: &TreePath) -> View {
        if let Some(view) = self.views.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return view.clone();
        }
        let view = match path.parent() {
            None => View { layers: Arc::new((0..self.layers.len()).rev().collect()), cut: false },
            Some(parent) => self.look(path, self.full_view(&parent).cut),
        };
        self.views.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), view.clone());
        view
    }

    /// The view of a directory: the one of the tree below, and what the top layer says. `cut`: whether that hides the directory
    /// above in the layers below.
    fn look(&self, path: &TreePath, cut: bool) -> View {
        let (Some(top), Some(below)) = (self.layers.last(), &self.below) else { return View::default() };
        let number = self.layers.len() - 1;
        let lower = || if cut { Arc::default() } else { below.view(path) };
        match top.find(path.as_bytes()).map(|i| top.attributes(i)[0]) {
            None => View { layers: lower(), cut },
            Some(DIRECTORY) => {
                let lower = lower();
                View { layers: Arc::new([&[number], &lower[..]].concat()), cut }
            }
            Some(OPAQUE) => View { layers: Arc::new(vec![number]), cut: true },
            Some(_) => View { layers: Arc::default(), cut: true },
        }
    }

    fn top(&self, candidates: &[usize], path: &TreePath) -> Option<Found> {
        let (layer, entry) = candidates.iter().find_map(|&l| Some((l, self.layers[l].find(path.as_bytes())?)))?;
        (self.layers[layer].attributes(entry)[0] != WHITEOUT).then_some(Found { layer, entry })
    }
}

/// Looks many paths up, fastest when those of one directory come one after the other.
#[derive(Debug)]
pub(crate) struct Finder<'a> {
    tree: &'a Tree,
    folder: Vec<u8>,
    /// Where the folder's entries are in each layer that has a say in it, topmost first.
    ranges: Vec<(usize, Range<usize>)>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        let mut finder = Self { tree, folder: Vec::new(), ranges: Vec::new() };
        finder.enter(b"");
        finder
    }

    /// As [`Tree::find`], of clean bytes.
    pub(crate) fn find(&mut self, path: &[u8]) -> Option<Found> {
        if path.is_empty() {
            return self.tree.find(&TreePath::root());
        }
        let folder = crate::path::split(path).0;
        if folder != self.folder {
            self.enter(folder);
        }
        let found = self.ranges.iter().find_map(|(layer, range)| {
            let entry = self.tree.layers[*layer].find_in(range.clone(), path)?;
            Some(Found { layer: *layer, entry })
        })?;
        (self.tree.attributes(found)[0] != WHITEOUT).then_some(found)
    }

    fn enter(&mut self, folder: &[u8]) {
        self.folder = folder.to_vec();
        let view = self.tree.view(&TreePath::from_clean(folder));
        self.ranges = view.iter().map(|&layer| (layer, self.tree.layers[layer].children(folder))).collect();
    }
}

/// Puts what was not walked behind a path; `..` takes one off again, for nothing is there to be followed.
fn append(mut path: TreePath, mut rest: Vec<Vec<u8>>) -> TreePath {
    while let Some(name) = rest.pop() {
        path = match name.as_slice() {
            b"." => path,
            b".." => path.parent().unwrap_or_default(),
            name => path.join(name),
        };
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentHash, IndexBuilder};

    fn path(s: &str) -> TreePath {
        TreePath::new(s).unwrap()
    }

    /// `d` directory, `o` opaque directory, `w` whiteout, `l` link, `f` file with its path as content.
    fn layer(entries: &[(char, &str)]) -> Arc<LayerIndex> {
        let mut builder = IndexBuilder::default();
        for &(kind, at) in entries {
            let (at, target) = at.split_once("->").unwrap_or((at, ""));
            let kind = match kind {
                'd' => Kind::Dir { opaque: false },
                'o' => Kind::Dir { opaque: true },
                'w' => Kind::Whiteout,
                'l' => Kind::Symlink { target: target.into() },
                _ => Kind::File { size: 1, hash: ContentHash::of(at.as_bytes()), link: None },
            };
            builder.push(Entry { path: path(at), kind, mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() });
        }
        Arc::new(builder.finish().unwrap())
    }

    fn tree(layers: &[&[(char, &str)]]) -> Arc<Tree> {
        Tree::new(layers.iter().map(|l| layer(l)))
    }

    fn names(tree: &Tree, at: &str) -> Vec<String> {
        tree.list(&path(at)).into_keys().map(|n| String::from_utf8(n).unwrap()).collect()
    }

    #[test]
    fn directories_merge_and_the_topmost_file_wins() {
        let tree = tree(&[&[('d', "a"), ('f', "a/x"), ('f', "a/y")], &[('d', "a"), ('f', "a/y"), ('f', "a/z")]]);
        assert_eq!(names(&tree, "a"), ["x", "y", "z"]);
        assert_eq!(tree.find(&path("a/x")).unwrap().layer, 0);
        assert_eq!(tree.find(&path("a/y")).unwrap().layer, 1);
    }

    #[test]
    fn what_is_visible_is_what_a_walk_finds() {
        let tree = tree(&[
            &[('d', "a"), ('f', "a/x"), ('d', "b"), ('f', "b/x"), ('d', "c"), ('f', "c/x"), ('f', "d")],
            &[('d', "a"), ('w', "a/x"), ('o', "b"), ('f', "b/y"), ('w', "c"), ('f', "d")],
            &[('d', "c"), ('f', "c/z"), ('l', "e->b")],
        ]);
        let paths = |found: Vec<Found>| {
            let mut paths: Vec<TreePath> = found.into_iter().map(|found| tree.entry(found).path).collect();
            paths.sort();
            paths
        };
        let all = paths(tree.visible());
        assert_eq!(all, paths(tree.walk(&TreePath::root())));
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide_what_is_below_and_only_that() {
        let tree = tree(&[
            &[('d', "a"), ('f', "a/x"), ('d', "b"), ('f', "b/x"), ('d', "c"), ('f', "c/x")],
            &[('d', "a"), ('w', "a/x"), ('o', "b"), ('f', "b/y"), ('w', "c")],
            &[('d', "c"), ('f', "c/z"), ('d', "a"), ('f', "a/x")],
        ]);
        assert_eq!(names(&tree, "a"), ["x"]);
        assert_eq!(tree.find(&path("a/x")).unwrap().layer, 2);
        assert_eq!(names(&tree, "b"), ["y"]);
        assert_eq!(names(&tree, "c"), ["z"]);
        assert!(tree.find(&path("c/x")).is_none());
    }

    #[test]
    fn a_file_over_a_directory_hides_all_of_it() {
        let tree = tree(&[&[('d', "a"), ('d', "a/b"), ('f', "a/b/c")], &[('f', "a")], &[('d', "a")]]);
        assert!(tree.find(&path("a/b")).is_none());
        assert_eq!(names(&tree, "a"), Vec::<String>::new());
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let tree = tree(&[&[
            ('d', "usr"),
            ('d', "usr/lib"),
            ('f', "usr/lib/x"),
            ('l', "lib->usr/lib"),
            ('l', "up->../../../usr"),
            ('l', "abs->/lib/x"),
        ]]);
        let resolved = tree.resolve(&path("up/lib/x"), true);
        assert_eq!(
            (resolved.path, resolved.found.is_some(), resolved.links),
            (path("usr/lib/x"), true, vec![path("up")])
        );
        let resolved = tree.resolve(&path("abs"), true);
        assert_eq!((resolved.path, resolved.links), (path("usr/lib/x"), vec![path("abs"), path("lib")]));
        assert_eq!(tree.resolve(&path("abs"), false).path, path("abs"));
        let resolved = tree.resolve(&path("lib/none/deep"), true);
        assert_eq!((resolved.path, resolved.found), (path("usr/lib/none/deep"), None));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let tree = tree(&[&[('l', "a->b"), ('l', "b->a")]]);
        assert!(tree.resolve(&path("a/x"), true).found.is_none());
    }

    #[test]
    fn a_walk_meets_parents_first() {
        let tree = tree(&[&[('d', "a"), ('d', "a/b"), ('f', "a/b/c"), ('f', "a-b"), ('f', "a/a")]]);
        let walked: Vec<_> = tree.walk(&TreePath::root()).into_iter().map(|f| tree.entry(f).path.to_string()).collect();
        assert_eq!(walked, ["/a", "/a/a", "/a/b", "/a/b/c", "/a-b"]);
    }
}
