//! Paths inside a tree.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path that cannot name something inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` leaves the tree or has a NUL in it")]
pub struct PathError {
    /// The path as it was given.
    pub path: String,
}

/// A path inside a tree: bytes, relative to the root, no empty component, no `.` and no `..`. The root is empty.
///
/// Ordered by folder first and name second, so that the entries of one folder stand side by side in an index.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root of the tree.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans a path lexically: slashes and `.` go, `..` takes a component away.
    ///
    /// # Errors
    /// A `..` that would leave the tree, or a NUL byte.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let bad = || PathError { path: String::from_utf8_lossy(path).into_owned() };
        if path.contains(&0) {
            return Err(bad());
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop().ok_or_else(bad)?),
                part => parts.push(part),
            }
        }
        Ok(Self(parts.join(&b'/')))
    }

    /// Takes bytes that are already clean, such as those of an index that was verified.
    pub(crate) fn from_clean(bytes: &[u8]) -> Self {
        debug_assert!(Self::new(bytes).is_ok_and(|p| p.0 == bytes));
        Self(bytes.to_vec())
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the operating system sees it, relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Where this is below a folder of the host.
    pub fn below(&self, root: &Path) -> PathBuf {
        if self.0.is_empty() { root.to_owned() } else { root.join(self.as_path()) }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder that holds this path, none for the root.
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| Self(split(&self.0).0.to_vec()))
    }

    /// The last component, empty for the root.
    pub fn name(&self) -> &[u8] {
        split(&self.0).1
    }

    /// This path with one component more. `name` is one clean component.
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// This path with a whole path behind it.
    pub fn join_path(&self, rest: &Self) -> Self {
        rest.components().fold(self.clone(), |path, name| path.join(name))
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// Whether this is `folder` or lies below it.
    pub fn starts_with(&self, folder: &Self) -> bool {
        self.strip_prefix(folder).is_some()
    }

    /// The rest of this path below `folder`.
    pub fn strip_prefix(&self, folder: &Self) -> Option<Self> {
        if folder.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(folder.0.as_slice())? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

/// Whether bytes are a path as [`TreePath`] keeps it.
pub(crate) fn is_clean(path: &[u8]) -> bool {
    path.is_empty() || path.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b"..") && !part.contains(&0))
}

/// Splits clean bytes into folder and name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Compares clean paths by folder, then by name. A folder's own path compares by its parent, so the root, which has no
/// name, comes first of all.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let ((a_dir, a_name), (b_dir, b_name)) = (split(a), split(b));
    a_dir.cmp(b_dir).then_with(|| a_name.cmp(b_name))
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(s: &str) -> TreePath {
        TreePath::new(s).unwrap()
    }

    #[test]
    fn a_path_is_cleaned_as_a_kernel_would_without_links() {
        for (given, clean) in [("/", ""), ("a//b/./c/", "a/b/c"), ("/a/../b", "b"), ("a/b/..", "a"), (".", "")] {
            assert_eq!(path(given).as_bytes(), clean.as_bytes(), "{given}");
        }
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        for bad in ["..", "/..", "a/../../b", "a\0b"] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn entries_of_a_folder_stand_side_by_side() {
        let mut paths: Vec<TreePath> = ["a/b/c", "a-b", "a", "a/b", "", "a/b.c", "a-b/x", "a/c"].map(path).into();
        paths.sort();
        let sorted: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["/", "/a", "/a-b", "/a/b", "/a/b.c", "/a/c", "/a-b/x", "/a/b/c"]);
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(path("a/b/c").strip_prefix(&path("a/b")), Some(path("c")));
        assert_eq!(path("a/bc").strip_prefix(&path("a/b")), None);
        assert!(path("a").starts_with(&TreePath::root()));
    }
}
