//! The files of a tree: found in indices, read from layer directories.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use shiplap_cache::{ContentHash, Contents, Entry, Found, Kind, LayerId, Piece, Store, Tree, TreePath};
use shiplap_registry::KeptFiles;

use super::{ContentsError, NotRead};

/// No record of a package manager is larger: the largest known is the status of a full Debian, some 10 MB.
const MAX_SIZE: u64 = 64 << 20;

/// The files of an image.
pub(crate) struct Files<'a> {
    store: &'a Store,
    layers: &'a [LayerId],
    /// Of layers whose directories are gone: the files that were kept when their blobs were read.
    kept: Option<&'a KeptFiles>,
    /// Who gives files of layers whose directories are elsewhere, if anybody does.
    contents: Option<&'a dyn Contents>,
    tree: Arc<Tree>,
    visible: OnceLock<Vec<Found>>,
    not_read: Mutex<Vec<NotRead>>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(store: &'a Store, layers: &'a [LayerId]) -> Result<Self, ContentsError> {
        let tree = store.tree(layers)?;
        Ok(Self {
            store,
            layers,
            kept: None,
            contents: None,
            tree,
            visible: OnceLock::new(),
            not_read: Mutex::default(),
        })
    }

    /// The same, with files of layers that are not unpacked.
    pub(crate) fn with_kept(
        store: &'a Store,
        layers: &'a [LayerId],
        kept: &'a KeptFiles,
    ) -> Result<Self, ContentsError> {
        Ok(Self { kept: Some(kept), ..Self::new(store, layers)? })
    }

    /// The same, with somebody who gives files of layers that are elsewhere.
    pub(crate) fn given_by(self, contents: Option<&'a dyn Contents>) -> Self {
        Self { contents, ..self }
    }

    /// The tree.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Everything that is visible in the tree, layer by layer.
    pub(crate) fn visible(&self) -> &[Found] {
        self.visible.get_or_init(|| self.tree.visible())
    }

    /// The path of something visible.
    pub(crate) fn path(&self, found: Found) -> &[u8] {
        self.tree.layers()[found.layer].path(found.entry)
    }

    /// Does something for each of many, side by side where nobody waits for files: who waits on a thread of that pool may wait for a layer that is unpacked with it.
    pub(crate) fn each<T: Sync, R: Send>(
        &self,
        all: &[T],
        work: impl Fn(&T) -> Result<R, ContentsError> + Sync + Send,
    ) -> Result<Vec<R>, ContentsError> {
        match self.contents {
            Some(_) => all.iter().map(work).collect(),
            None => all.par_iter().map(work).collect(),
        }
    }

    /// The paths that are visible in the tree and of the wanted form, sorted.
    pub(crate) fn matching(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<TreePath> {
        let visible = self.visible().iter().map(|found| self.path(*found));
        let mut paths: Vec<TreePath> = visible.filter(|path| wanted(path)).flat_map(TreePath::new).collect();
        paths.sort();
        paths
    }

    /// What is below a folder and no folder itself, by its path from there.
    pub(crate) fn below(&self, folder: &TreePath) -> BTreeMap<TreePath, Entry> {
        let all =
            self.tree.walk(folder).into_iter().map(|found| self.tree.entry(found)).filter(|entry| !entry.is_dir());
        all.filter_map(|entry| Some((entry.path.strip_prefix(folder)?, entry))).collect()
    }

    /// The names in a folder.
    pub(crate) fn names(&self, folder: &TreePath) -> Vec<Vec<u8>> {
        self.tree.list(folder).into_keys().collect()
    }

    /// The bytes of a file, links followed inside the tree; none where there is no regular file.
    pub(crate) fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, ContentsError> {
        let Some(found) = self.tree.resolve(path, true).found else { return Ok(None) };
        let entry = self.tree.entry(found);
        let Kind::File { size, hash, .. } = entry.kind else { return Ok(None) };
        if size > MAX_SIZE {
            self.skip(path, format!("it has {size} bytes, and no such record is larger than {MAX_SIZE}"));
            return Ok(None);
        }
        let layer = self.layers[found.layer];
        if let Some(kept) = self.kept.and_then(|kept| kept.get(&layer)) {
            let bytes = kept.get(&entry.path).cloned();
            if bytes.is_none() {
                self.skip(path, "its layer is not unpacked, and nothing that is read of such a layer has that name");
            }
            return Ok(bytes);
        }
        let at = entry.path.below(&self.store.layer_dir(&layer));
        let mut bytes = Vec::with_capacity(size as usize);
        let opened = match self.contents {
            Some(contents) => contents.open(&layer, &entry.path),
            None => Piece::open(&at),
        };
        let read = opened.and_then(|piece| piece.reader().take(size + 1).read_to_end(&mut bytes));
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
    pub(crate) fn text(&self, path: &TreePath) -> Result<Option<String>, ContentsError> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Notes a record that makes no sense.
    pub(crate) fn skip(&self, path: &TreePath, why: impl Into<String>) {
        let skipped = NotRead { path: path.to_string(), why: why.into() };
        self.not_read.lock().unwrap_or_else(PoisonError::into_inner).push(skipped);
    }

    /// What was noted, sorted.
    pub(crate) fn not_read(&self) -> Vec<NotRead> {
        let mut all = self.not_read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}
