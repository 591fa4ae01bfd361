//! The files of a tree: found in indices, read from layer directories.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use shiplap_cache::{ContentHash, Found, Kind, LayerId, Store, Tree, TreePath};

use super::{ContentsError, NotRead};

/// No record of a package manager is larger: the largest known is the status of a full Debian, some 10 MB.
const MAX_SIZE: u64 = 64 << 20;

/// The files of an image.
pub(super) struct Files<'a> {
    store: &'a Store,
    layers: &'a [LayerId],
    tree: Arc<Tree>,
    not_read: Mutex<Vec<NotRead>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(store: &'a Store, layers: &'a [LayerId]) -> Result<Self, ContentsError> {
        let tree = store.tree(layers)?;
        Ok(Self { store, layers, tree, not_read: Mutex::default() })
    }

    /// The paths that are visible in the tree and of the wanted form, sorted.
    pub(super) fn matching(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<TreePath> {
        let mut paths = Vec::new();
        for (layer, index) in self.tree.layers().iter().enumerate() {
            for entry in (0..index.len()).filter(|&entry| wanted(index.path(entry))) {
                let Ok(path) = TreePath::new(index.path(entry)) else { continue };
                // Another layer may have something else there, or hide it.
                if self.tree.find(&path) == Some(Found { layer, entry }) {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        paths
    }

    /// The names in a folder.
    pub(super) fn names(&self, folder: &TreePath) -> Vec<Vec<u8>> {
        self.tree.list(folder).into_keys().collect()
    }

    /// The bytes of a file, links followed inside the tree; none where there is no regular file.
    pub(super) fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, ContentsError> {
        let Some(found) = self.tree.resolve(path, true).found else { return Ok(None) };
        let entry = self.tree.entry(found);
        let Kind::File { size, hash, .. } = entry.kind else { return Ok(None) };
        if size > MAX_SIZE {
            self.skip(path, format!("it has {size} bytes, and no such record is larger than {MAX_SIZE}"));
            return Ok(None);
        }
        let layer = self.layers[found.layer];
        let at = entry.path.below(&self.store.layer_dir(&layer));
        let mut bytes = Vec::with_capacity(size as usize);
        let read = std::fs::File::open(&at).and_then(|file| file.take(size + 1).read_to_end(&mut bytes));
        if let Err(source) = read {
            if source.kind() == ErrorKind::NotFound && !self.store.layer_dir(&layer).exists() {
                return Err(shiplap_cache::Error::MissingLayer(layer).into());
            }
            return Err(ContentsError::Read { path: at, layer, source });
        }
        // Whatever this file is by now, what it says is taken only if it is what the layer was made with.
        if ContentHash::of(&bytes) != hash {
            return Err(ContentsError::Changed { path: entry.path, layer });
        }
        Ok(Some(bytes))
    }

    /// The text of a file; bytes that are no UTF-8 are replaced.
    pub(super) fn text(&self, path: &TreePath) -> Result<Option<String>, ContentsError> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Notes a record that makes no sense.
    pub(super) fn skip(&self, path: &TreePath, why: impl Into<String>) {
        let skipped = NotRead { path: path.to_string(), why: why.into() };
        self.not_read.lock().unwrap_or_else(PoisonError::into_inner).push(skipped);
    }

    /// What was noted, sorted.
    pub(super) fn not_read(&self) -> Vec<NotRead> {
        let mut all = self.not_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}
