//! What a step asked of the tree below it, and the key that the answers make.
//!
//! A set is kept as it is stored: the observations in order of their paths, each path by what it shares with the one before.
//!
//! ```text
//! whole    u8              1 when the whole parent is the input; then nothing follows
//! then, for each observation:
//! asked    u8              'e' exists, 'c' content, 'l' listing
//! shared   LEB128          bytes that the path has in common with the path before
//! rest     LEB128 + bytes  the other bytes of the path
//! ```

use std::ops::ControlFlow;

use crate::between::Between;
use crate::index::{DIRECTORY, OPAQUE, identity};
use crate::tree::Finder;
use crate::{Found, InputKey, PathSetId, StepKey, Tree, TreePath};

/// What a step asked of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// Is it there, what is it, whose: kind, mode, owner and extended attributes, among which access control lists are.
    Exists,
    /// All of it: kind, mode, owner, extended attributes, size and content, or a link's target.
    Content,
    /// The names in it and what each is.
    Listing,
}

/// A path and what a step asked of it. No link is followed: each link on the way to something is an observation of its own, and so
/// is each directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observation {
    /// Where.
    pub path: TreePath,
    /// What.
    pub asked: Asked,
}

/// All observations of one run of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSet {
    bytes: Vec<u8>,
}

impl PathSet {
    /// The set of a step that was not watched: everything below it is its input, as in other builders.
    pub fn whole_parent() -> Self {
        Self { bytes: vec![1] }
    }

    /// The set of these observations.
    pub fn new(observations: impl IntoIterator<Item = Observation>) -> Self {
        let mut sorted: Vec<_> = observations.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut bytes = vec![0];
        let mut before: &[u8] = b"";
        for Observation { path, asked } in &sorted {
            let path = path.as_bytes();
            let shared = before.iter().zip(path).take_while(|(a, b)| a == b).count();
            bytes.push(match asked {
                Asked::Exists => b'e',
                Asked::Content => b'c',
                Asked::Listing => b'l',
            });
            put_number(&mut bytes, shared);
            put_number(&mut bytes, path.len() - shared);
            bytes.extend_from_slice(&path[shared..]);
            before = path;
        }
        Self { bytes }
    }

    /// Whether the whole parent is the input.
    pub fn is_whole_parent(&self) -> bool {
        self.bytes[0] == 1
    }

    /// The observations, sorted.
    pub fn observations(&self) -> Vec<Observation> {
        let mut all = Vec::new();
        // What is in a set was put there by `new`, or read to its end by `decode`.
        let _ = read(&self.bytes, |path, asked| {
            all.push(Observation { path: TreePath::from_clean(path), asked });
            ControlFlow::Continue(())
        });
        all
    }

    /// The set's name.
    pub fn id(&self) -> PathSetId {
        PathSetId::of(&self.bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a stored set; none when it is not whole.
    pub(crate) fn decode(bytes: Vec<u8>) -> Option<Self> {
        let mut clean = true;
        read(&bytes, |path, _| {
            clean &= crate::path::is_clean(path);
            ControlFlow::Continue(())
        })?;
        clean.then_some(Self { bytes })
    }

    /// The strong fingerprint: the step, this set, and what the set's paths are in `tree`.
    pub fn input_key(&self, step: &StepKey, tree: &Tree) -> InputKey {
        let mut values = Vec::with_capacity(self.bytes.len() * 4);
        values.extend_from_slice(b"shiplap.input/2");
        values.extend_from_slice(step.as_bytes());
        values.extend_from_slice(self.id().as_bytes());
        if self.is_whole_parent() {
            values.extend_from_slice(tree.id().as_bytes());
        }
        let mut finder = Finder::new(tree);
        let _ = read(&self.bytes, |path, asked| {
            put_value(tree, finder.find(path), path, asked, &mut values);
            ControlFlow::Continue(())
        });
        InputKey::of(&values)
    }

    /// The observations that have another value in one tree than in the other.
    pub fn differing(&self, a: &Tree, b: &Tree) -> Vec<Observation> {
        let mut differ = Vec::new();
        self.compare(a, b, |path, asked| {
            differ.push(Observation { path: TreePath::from_clean(path), asked });
            ControlFlow::Continue(())
        });
        differ
    }

    /// Whether all observations have the same values in both trees.
    pub fn is_same(&self, a: &Tree, b: &Tree) -> bool {
        let mut same = true;
        self.compare(a, b, |_, _| {
            same = false;
            ControlFlow::Break(())
        });
        same
    }

    /// Calls back with each observation that differs. Only what is in layers that the trees do not share is looked at.
    fn compare(&self, a: &Tree, b: &Tree, mut each: impl FnMut(&[u8], Asked) -> ControlFlow<()>) {
        let mut between = Between::new(a, b);
        let (mut in_a, mut in_b) = (Finder::new(a), Finder::new(b));
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let _ = read(&self.bytes, |path, asked| {
            if !between.touches(path, asked == Asked::Listing) {
                return ControlFlow::Continue(());
            }
            left.clear();
            right.clear();
            put_value(a, in_a.find(path), path, asked, &mut left);
            put_value(b, in_b.find(path), path, asked, &mut right);
            if left == right { ControlFlow::Continue(()) } else { each(path, asked) }
        });
    }
}

/// Adds what an observed path is in a tree. Directories have no size, times or link count here, and that one is opaque is the
/// layer's affair.
fn put_value(tree: &Tree, found: Option<Found>, path: &[u8], asked: Asked, values: &mut Vec<u8>) {
    // The root is there, and a directory, even when no layer says how it is.
    let seen = match found {
        Some(found) => tree.attributes(found),
        None if path.is_empty() => &[DIRECTORY],
        None => {
            values.push(b'-');
            return;
        }
    };
    let kind = if seen[0] == OPAQUE { DIRECTORY } else { seen[0] };
    match asked {
        Asked::Exists => {
            let seen = identity(seen);
            values.extend_from_slice(b"e");
            put_number(values, seen.len());
            values.push(kind);
            values.extend_from_slice(&seen[1..]);
        }
        Asked::Content => {
            values.extend_from_slice(b"c");
            put_number(values, seen.len());
            values.push(kind);
            values.extend_from_slice(&seen[1..]);
        }
        Asked::Listing => {
            values.extend_from_slice(b"l");
            let names = if kind == DIRECTORY { tree.list(&TreePath::from_clean(path)) } else { Default::default() };
            put_number(values, names.len());
            for (name, found) in names {
                put_number(values, name.len());
                values.extend_from_slice(&name);
                let kind = tree.attributes(found)[0];
                values.push(if kind == OPAQUE { DIRECTORY } else { kind });
            }
        }
    }
}

/// Calls back with each observation of an encoded set, until it is told to stop; none when its bytes are not whole.
fn read(bytes: &[u8], mut each: impl FnMut(&[u8], Asked) -> ControlFlow<()>) -> Option<()> {
    let (_, mut rest) = bytes.split_first()?;
    let mut path = Vec::new();
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        let asked = match tag {
            b'e' => Asked::Exists,
            b'c' => Asked::Content,
            b'l' => Asked::Listing,
            _ => return None,
        };
        let shared = number(&mut rest)?;
        let length = number(&mut rest)?;
        if shared > path.len() || length > rest.len() {
            return None;
        }
        path.truncate(shared);
        path.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        if each(&path, asked).is_break() {
            break;
        }
    }
    Some(())
}

/// Unsigned LEB128 (DWARF 5, 7.6).
fn put_number(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut n = 0usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{ContentHash, Entry, IndexBuilder, Kind, LayerIndex};

    fn path(s: &str) -> TreePath {
        TreePath::new(s).unwrap()
    }

    fn asked(asked: Asked, at: &str) -> Observation {
        Observation { path: path(at), asked }
    }

    fn entry(at: &str, kind: Kind, mode: u32) -> Entry {
        Entry { path: path(at), kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
    }

    fn file(at: &str, content: &str) -> Entry {
        let (size, hash) = (content.len() as u64, ContentHash::of(content.as_bytes()));
        entry(at, Kind::File { size, hash, link: None }, 0o644)
    }

    fn dir(at: &str, opaque: bool) -> Entry {
        entry(at, Kind::Dir { opaque }, 0o755)
    }

    fn tree(layers: impl IntoIterator<Item = Vec<Entry>>) -> Arc<Tree> {
        let index = |entries: Vec<Entry>| -> Arc<LayerIndex> {
            let mut builder = IndexBuilder::default();
            entries.into_iter().for_each(|e| builder.push(e));
            Arc::new(builder.finish().unwrap())
        };
        Tree::new(layers.into_iter().map(index))
    }

    #[test]
    fn a_set_comes_back_as_it_was_stored() {
        let long = "x".repeat(300);
        let observations = [
            asked(Asked::Exists, ""),
            asked(Asked::Listing, "a"),
            asked(Asked::Content, "a/b"),
            asked(Asked::Content, "a/b/c"),
            asked(Asked::Exists, "a/b"),
            asked(Asked::Exists, &long),
        ];
        let set = PathSet::new(observations.clone());
        let read = PathSet::decode(set.as_bytes().to_vec()).unwrap();
        let mut sorted = observations.to_vec();
        sorted.sort();
        assert_eq!(read.observations(), sorted);
        assert_eq!(read.id(), set.id());
        assert!(PathSet::decode(PathSet::whole_parent().as_bytes().to_vec()).unwrap().is_whole_parent());
        for cut in 2..set.as_bytes().len() {
            let cut = PathSet::decode(set.as_bytes()[..cut].to_vec());
            assert!(cut.is_none_or(|cut| cut.observations().len() < sorted.len()));
        }
    }

    #[test]
    fn each_question_sees_what_it_asks_for_and_no_more() {
        let step = StepKey::of(b"step");
        let base =
            || vec![dir("d", false), file("d/f", "1"), entry("d/l", Kind::Symlink { target: b"f".into() }, 0o777)];
        let before = tree([base()]);
        let key = |question: Observation, tree: &Tree| PathSet::new([question]).input_key(&step, tree);
        let changed = |question: Observation, layer: Vec<Entry>| {
            key(question.clone(), &before) != key(question, &tree([base(), layer]))
        };
        let edit = || vec![dir("d", false), file("d/f", "2")];
        assert!(changed(asked(Asked::Content, "d/f"), edit()));
        assert!(!changed(asked(Asked::Exists, "d/f"), edit()));
        assert!(!changed(asked(Asked::Listing, "d"), edit()));
        let more = || vec![dir("d", false), file("d/g", "")];
        assert!(changed(asked(Asked::Listing, "d"), more()));
        assert!(changed(asked(Asked::Exists, "d/g"), more()));
        assert!(!changed(asked(Asked::Exists, "d"), more()));
        let listed = || vec![Entry { xattrs: vec![(b"user.a".into(), b"1".into())], ..dir("d", false) }];
        assert!(changed(asked(Asked::Exists, "d"), listed()));
        let listed = || vec![dir("d", false), Entry { xattrs: vec![(b"a".into(), b"".into())], ..file("d/f", "1") }];
        assert!(changed(asked(Asked::Exists, "d/f"), listed()));
        let mode = || vec![entry("d", Kind::Dir { opaque: false }, 0o700)];
        assert!(changed(asked(Asked::Exists, "d"), mode()));
        assert!(!changed(asked(Asked::Listing, "d"), mode()));
        let target = || vec![dir("d", false), entry("d/l", Kind::Symlink { target: b"g".into() }, 0o777)];
        assert!(changed(asked(Asked::Content, "d/l"), target()));
        assert!(changed(asked(Asked::Listing, "d"), vec![dir("d", false), dir("d/f", false)]));
        assert!(changed(asked(Asked::Content, "d/f"), vec![dir("d", false), Entry::whiteout(path("d/f"))]));
    }

    #[test]
    fn a_comparison_sees_what_whole_keys_see() {
        let step = StepKey::of(b"step");
        let base = || vec![dir("d", false), file("d/f", "1"), dir("d/e", false), file("d/e/g", "2"), file("x", "3")];
        let tops = || vec![dir("d", false), file("d/top", "4")];
        let layers: Vec<fn() -> Vec<Entry>> = vec![
            Vec::new,
            || vec![dir("d", false), file("d/f", "other")],
            || vec![dir("d", false), Entry::whiteout(path("d/e"))],
            || vec![dir("d", true), file("d/f", "1")],
            || vec![Entry::whiteout(path("d"))],
            || vec![file("d", "a file")],
            || vec![entry("d", Kind::Symlink { target: b"x".into() }, 0o777)],
            || vec![entry("", Kind::Dir { opaque: false }, 0o700)],
            || vec![dir("d", false), dir("d/e", true)],
            || vec![dir("d", false), dir("d/e", false), file("d/e/h", "")],
            || vec![entry("d", Kind::Dir { opaque: false }, 0o700)],
        ];
        let trees: Vec<_> = layers.iter().map(|middle| tree([base(), middle(), tops()])).collect();
        for at in ["", "d", "d/f", "d/e", "d/e/g", "d/e/h", "d/top", "x", "x/below", "none"] {
            for what in [Asked::Exists, Asked::Content, Asked::Listing] {
                let set = PathSet::new([asked(what, at)]);
                for (i, a) in trees.iter().enumerate() {
                    for (j, b) in trees.iter().enumerate() {
                        let keys = set.input_key(&step, a) == set.input_key(&step, b);
                        assert_eq!(set.is_same(a, b), keys, "{what:?} of {at:?} in {i} and {j}");
                        assert_eq!(set.differing(a, b).is_empty(), keys);
                    }
                }
            }
        }
    }

    #[test]
    fn an_opaque_directory_is_a_directory() {
        let step = StepKey::of(b"step");
        let set = PathSet::new([asked(Asked::Exists, "d"), asked(Asked::Content, "d"), asked(Asked::Listing, "d")]);
        let plain = tree([vec![dir("d", false)]]);
        assert_eq!(set.input_key(&step, &plain), set.input_key(&step, &tree([vec![dir("d", true)]])));
        assert_eq!(set.differing(&plain, &tree([vec![dir("d", true), file("d/x", "")]])), [asked(Asked::Listing, "d")]);
    }
}
