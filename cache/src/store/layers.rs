//! Layers: made in a temporary folder, indexed, put in their place by a rename.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::mounts::USE;
use super::{Store, lock, now};
use crate::error::At;
use crate::{Digest, Entry, Error, IndexBuilder, LayerId, LayerIndex, Result, Tree, TreePath, capture};

/// A layer that is being made: an upper and a work directory for overlayfs. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct PendingLayer {
    folder: tempfile::TempDir,
}

impl PendingLayer {
    /// The directory that becomes the layer.
    pub fn upper(&self) -> PathBuf {
        self.folder.path().join("upper")
    }

    /// Overlayfs's work directory.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }
}

/// A layer as a packed blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The blob's media type.
    pub media_type: String,
    /// The digest of the tar inside.
    pub diff_id: Digest,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
}

impl Store {
    /// Starts a layer on top of a tree. Its root gets the owner and mode of the tree's root, because overlayfs takes them
    /// from the topmost layer.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn begin_layer(&self, parent: &Tree) -> Result<PendingLayer> {
        use std::os::unix::fs::PermissionsExt;
        let pending = PendingLayer { folder: self.temporary()? };
        let (upper, work) = (pending.upper(), pending.work());
        for folder in [&upper, &work] {
            std::fs::create_dir(folder).at("make", folder)?;
        }
        let (mode, uid, gid) = root_of(parent);
        std::os::unix::fs::chown(&upper, Some(uid), Some(gid)).at("change the owner of", &upper)?;
        std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(mode)).at("change the mode of", &upper)?;
        Ok(pending)
    }

    /// Indexes what is in the upper directory and keeps it as a layer. None when it changes nothing.
    ///
    /// Directories that are only there because something in them was touched and put back are left out.
    ///
    /// # Errors
    /// A file cannot be read, the disk is full, ...
    pub fn commit_layer(&self, pending: PendingLayer, parent: &Tree) -> Result<Option<LayerId>> {
        let index = prune(capture(&pending.upper(), self.overlay)?, &pending.upper(), parent)?;
        self.keep_layer(pending, index)
    }

    /// Keeps a layer whose index the caller made along with its files.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn keep_layer(&self, pending: PendingLayer, index: LayerIndex) -> Result<Option<LayerId>> {
        if index.is_empty() {
            return Ok(None);
        }
        let id = index.id();
        if self.has_layer(&id)? {
            return Ok(Some(id));
        }
        let (dir, file) = (self.layer_dir(&id), self.index_file(&id));
        let (size, entries) = (index.content_size() as i64, index.len() as i64);
        // Inside the transaction nobody else puts this layer in its place: what stands there without a row was left by a
        // process that died.
        let mut moved = Ok(());
        self.transact(|db| {
            let taken = db.prepare_cached("SELECT 1 FROM layers WHERE id = ?1")?.exists([id.as_bytes()])?;
            // A damaged layer's directory may have been removed by hand, as the error about it says.
            if !taken || !dir.exists() {
                moved = place(&pending, &index, &dir, &file);
                if moved.is_ok() {
                    let row = params![id.as_bytes(), size, entries, self.boot, now()];
                    db.execute(
                        "INSERT OR REPLACE INTO layers (id, size, entries, boot, used) VALUES (?1, ?2, ?3, ?4, ?5)",
                        row,
                    )?;
                }
            }
            Ok(())
        })?;
        moved?;
        lock(&self.present).insert(id);
        lock(&self.indices).insert(id, Arc::new(index));
        Ok(Some(id))
    }

    /// Where a layer's directory is.
    pub fn layer_dir(&self, id: &LayerId) -> PathBuf {
        self.home.join("layers").join(&id.hex()[..32])
    }

    pub(crate) fn index_file(&self, id: &LayerId) -> PathBuf {
        self.home.join("indices").join(&id.hex()[..32])
    }

    /// Whether a layer is here and whole. One of an earlier boot that was never synced is read and checked first, and
    /// forgotten when it was damaged.
    ///
    /// # Errors
    /// The database or the disk fails.
    pub fn has_layer(&self, id: &LayerId) -> Result<bool> {
        if lock(&self.present).contains(id) {
            return Ok(true);
        }
        let row = match self.layer_row(id)? {
            None if self.reprieve(id)? => self.layer_row(id)?,
            row => row,
        };
        let Some((boot, used)) = row else { return Ok(false) };
        let is_here = match boot {
            Some(boot) if boot != self.boot || boot.is_empty() => self.check_layer(id)?,
            _ => self.layer_dir(id).is_dir(),
        };
        if is_here {
            if used < now() - USE {
                let row = params![id.as_bytes(), now()];
                self.transact(|db| db.execute("UPDATE layers SET used = ?2 WHERE id = ?1", row))?;
            }
            lock(&self.present).insert(*id);
        }
        Ok(is_here)
    }

    /// The boot that made a layer, and when it was used last.
    fn layer_row(&self, id: &LayerId) -> Result<Option<(Option<String>, i64)>> {
        self.query(|db| {
            db.prepare_cached("SELECT boot, used FROM layers WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }

    /// All layers that are here.
    ///
    /// # Errors
    /// The database fails.
    pub fn layers(&self) -> Result<Vec<LayerId>> {
        let ids: Vec<[u8; 32]> =
            self.query(|db| db.prepare("SELECT id FROM layers")?.query_map([], |row| row.get(0))?.collect())?;
        Ok(ids.into_iter().map(LayerId::from_bytes).collect())
    }

    /// Reads a layer's files again and compares them with its name. One that is damaged is forgotten, so that its step runs again.
    ///
    /// # Errors
    /// The database fails.
    pub fn check_layer(&self, id: &LayerId) -> Result<bool> {
        let dir = self.layer_dir(id);
        let whole = match self.index(id) {
            Ok(index) => same_files(&dir, &index, self.overlay),
            Err(_) => false,
        };
        tracing::debug!(layer = %id.short(), whole, "checked a layer of an earlier boot");
        lock(&self.indices).remove(id);
        if whole {
            let row = params![id.as_bytes(), self.boot];
            self.transact(|db| db.execute("UPDATE layers SET boot = ?2 WHERE id = ?1", row))?;
        } else {
            self.transact(|db| db.execute("DELETE FROM layers WHERE id = ?1", [id.as_bytes()]))?;
        }
        Ok(whole)
    }

    /// Lets this process look into a layer that nobody made. It is in no stack of an image: [`Store::has_layer`] does not know it.
    pub fn imagine(&self, index: LayerIndex) -> LayerId {
        let id = index.id();
        lock(&self.imagined).insert(id, Arc::new(index));
        id
    }

    /// A layer's index.
    ///
    /// # Errors
    /// [`Error::MissingLayer`], [`Error::DamagedIndex`], or the disk fails.
    pub fn index(&self, id: &LayerId) -> Result<Arc<LayerIndex>> {
        if let Some(index) = lock(&self.indices).get(id).or(lock(&self.imagined).get(id)) {
            return Ok(index.clone());
        }
        let path = self.index_file(id);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::MissingLayer(*id)),
            read => read.at("read", &path)?,
        };
        let index = Arc::new(LayerIndex::parse(bytes, *id)?);
        lock(&self.indices).insert(*id, index.clone());
        Ok(index)
    }

    /// Bytes of a layer's files, zero when it is not here.
    ///
    /// # Errors
    /// The database fails.
    pub fn layer_size(&self, id: &LayerId) -> Result<u64> {
        let size: Option<i64> = self.query(|db| {
            db.prepare_cached("SELECT size FROM layers WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        Ok(size.unwrap_or(0) as u64)
    }

    /// The tree of these layers, bottom first.
    ///
    /// # Errors
    /// As [`Store::index`].
    pub fn tree<'a>(&self, layers: impl IntoIterator<Item = &'a LayerId>) -> Result<Arc<Tree>> {
        let mut tree = Arc::<Tree>::default();
        let mut id = tree.id();
        for layer in layers {
            id = id.with(*layer);
            let known = lock(&self.trees).get(&id).cloned();
            tree = match known {
                Some(known) => known,
                None => {
                    let with = tree.with(self.index(layer)?);
                    // The trees of a build's steps stand on each other: what one found out about a folder serves the next.
                    lock(&self.trees).insert(id, with.clone());
                    with
                }
            };
        }
        Ok(tree)
    }

    /// The packed form of a layer in a media type, if it was packed and the blob is still here.
    ///
    /// # Errors
    /// The database fails.
    pub fn layer_blob(&self, layer: &LayerId, media_type: &str) -> Result<Option<LayerBlob>> {
        let blobs = self.layer_blobs(layer)?;
        Ok(blobs.into_iter().find(|b| b.media_type == media_type))
    }

    /// All packed forms of a layer.
    ///
    /// # Errors
    /// The database fails.
    pub fn layer_blobs(&self, layer: &LayerId) -> Result<Vec<LayerBlob>> {
        let rows: Vec<(String, String, String, u64)> = self.query(|db| {
            db.prepare_cached("SELECT media, diff_id, digest, size FROM layer_blobs WHERE layer = ?1 ORDER BY media")?
                .query_map([layer.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get::<_, i64>(3)? as u64)))?
                .collect()
        })?;
        let mut blobs = Vec::new();
        for (media_type, diff_id, digest, size) in rows {
            let (Ok(diff_id), Ok(digest)) = (diff_id.parse(), digest.parse()) else { continue };
            if self.blobs.size(&digest)? == Some(size) {
                blobs.push(LayerBlob { media_type, diff_id, digest, size });
            }
        }
        Ok(blobs)
    }

    /// Remembers the packed form of a layer.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_layer_blob(&self, layer: &LayerId, blob: &LayerBlob) -> Result<()> {
        let (diff_id, digest) = (blob.diff_id.to_string(), blob.digest.to_string());
        let row = params![layer.as_bytes(), blob.media_type, diff_id, digest, blob.size as i64];
        self.transact(|db| db.execute("INSERT OR REPLACE INTO layer_blobs VALUES (?1, ?2, ?3, ?4, ?5)", row))?;
        Ok(())
    }

    /// Makes all layers durable (`syncfs(2)`): a release must survive a power cut.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&self) -> Result<()> {
        let dirty: Vec<Vec<u8>> = self.query(|db| {
            db.prepare("SELECT id FROM layers WHERE boot = ?1")?.query_map([&self.boot], |r| r.get(0))?.collect()
        })?;
        if dirty.is_empty() {
            return Ok(());
        }
        let home = std::fs::File::open(&self.home).at("open", &self.home)?;
        rustix::fs::syncfs(&home).at("sync", &self.home)?;
        self.transact(|db| {
            let mut clean = db.prepare("UPDATE layers SET boot = NULL WHERE id = ?1")?;
            dirty.iter().try_for_each(|id| clean.execute([id]).map(drop))
        })
    }
}

/// Owner and mode of a tree's root.
fn root_of(tree: &Tree) -> (u32, u32, u32) {
    tree.get(&TreePath::root()).map_or((0o755, 0, 0), |root| (root.mode, root.uid, root.gid))
}

fn place(pending: &PendingLayer, index: &LayerIndex, dir: &Path, file: &Path) -> Result<()> {
    if dir.exists() {
        let away = pending.folder.path().join("left-behind");
        std::fs::rename(dir, &away).at("move away", dir)?;
    }
    let temporary = pending.folder.path().join("index");
    std::fs::write(&temporary, index.as_bytes()).at("write", &temporary)?;
    std::fs::rename(&temporary, file).at("write", file)?;
    std::fs::rename(pending.upper(), dir).at("write", dir)
}

/// Whether the files of a layer directory are those of its index. The root's entry is often left out of an index.
fn same_files(dir: &Path, index: &LayerIndex, overlay: crate::Overlay) -> bool {
    let Ok(found) = capture(dir, overlay) else { return false };
    let without_root = |index: &LayerIndex| {
        let mut builder = IndexBuilder::default();
        index.iter().filter(|e| !e.path.is_root()).for_each(|e| builder.push(e));
        builder.finish().map(|i| i.id()).ok()
    };
    without_root(&found) == without_root(index)
}

/// Leaves out the root if it is as the parent's, and directories without content that the parent has just so: overlayfs
/// copied them up for something that is gone again.
fn prune(index: LayerIndex, upper: &Path, parent: &Tree) -> Result<LayerIndex> {
    let mut entries: Vec<Entry> = index.iter().collect();
    let mut dropped = HashSet::new();
    let mut with_children: HashSet<TreePath> = HashSet::new();
    // Deepest first: dropping a directory may leave its parent without content.
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(entries[i].path.components().count()));
    for i in order {
        let entry = &entries[i];
        let keep = if entry.path.is_root() {
            (entry.mode, entry.uid, entry.gid) != root_of(parent) || !entry.xattrs.is_empty()
        } else {
            !matches!(entry.kind, crate::Kind::Dir { opaque: false })
                || with_children.contains(&entry.path)
                || !parent.get(&entry.path).is_some_and(|below| {
                    below.is_dir()
                        && (below.mode, below.uid, below.gid) == (entry.mode, entry.uid, entry.gid)
                        && below.xattrs == entry.xattrs
                })
        };
        if keep {
            with_children.extend(entry.path.parent());
        } else {
            if !entry.path.is_root() {
                let at = entry.path.below(upper);
                std::fs::remove_dir(&at).at("remove", &at)?;
            }
            dropped.insert(entry.path.clone());
        }
    }
    if dropped.is_empty() {
        return Ok(index);
    }
    entries.retain(|e| !dropped.contains(&e.path));
    let mut builder = IndexBuilder::default();
    entries.into_iter().for_each(|e| builder.push(e));
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Observation, PathSet, StepKey, StepResult};

    fn store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        (home, store)
    }

    fn layer(store: &Store, parent: &Tree, files: &[(&str, &str)]) -> LayerId {
        let pending = store.begin_layer(parent).unwrap();
        for (path, content) in files {
            let at = pending.upper().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, content).unwrap();
        }
        store.commit_layer(pending, parent).unwrap().unwrap()
    }

    #[test]
    fn equal_files_are_one_layer_however_often_they_are_made() {
        let (_home, store) = store();
        let a = layer(&store, &Tree::default(), &[("d/a", "1")]);
        let b = layer(&store, &Tree::default(), &[("d/a", "1")]);
        assert_eq!(a, b);
        assert_eq!(std::fs::read_to_string(store.layer_dir(&a).join("d/a")).unwrap(), "1");
        assert_ne!(layer(&store, &Tree::default(), &[("d/a", "2")]), a);
    }

    #[test]
    fn a_layer_that_changes_nothing_is_none_and_a_touched_directory_is_left_out() {
        let (_home, store) = store();
        let id = layer(&store, &Tree::default(), &[("d/e/a", "1")]);
        let tree = store.tree([&id]).unwrap();
        let pending = store.begin_layer(&tree).unwrap();
        std::fs::create_dir_all(pending.upper().join("d/e")).unwrap();
        assert_eq!(store.commit_layer(pending, &tree).unwrap(), None);
        let pending = store.begin_layer(&tree).unwrap();
        std::fs::create_dir_all(pending.upper().join("d/new")).unwrap();
        assert!(store.commit_layer(pending, &tree).unwrap().is_some());
    }

    #[test]
    fn a_leftover_of_a_dead_process_is_replaced() {
        let (home, store) = store();
        let id = layer(&store, &Tree::default(), &[("a", "1")]);
        store.transact(|db| db.execute("DELETE FROM layers", [])).unwrap();
        std::fs::write(store.layer_dir(&id).join("a"), "torn").unwrap();
        let store = Store::open(home.path()).unwrap();
        assert_eq!(layer(&store, &Tree::default(), &[("a", "1")]), id);
        assert_eq!(std::fs::read_to_string(store.layer_dir(&id).join("a")).unwrap(), "1");
    }

    #[test]
    fn a_layer_whose_directory_was_removed_is_made_again() {
        let (home, store) = store();
        let base = Tree::default();
        let id = layer(&store, &base, &[("a", "1")]);
        std::fs::remove_dir_all(store.layer_dir(&id)).unwrap();
        let store = Store::open(home.path()).unwrap();
        assert!(!store.has_layer(&id).unwrap());
        assert_eq!(layer(&store, &base, &[("a", "1")]), id);
        assert_eq!(std::fs::read_to_string(store.layer_dir(&id).join("a")).unwrap(), "1");
    }

    #[test]
    fn a_layer_of_an_earlier_boot_is_checked_before_it_is_used() {
        let (home, store) = store();
        let good = layer(&store, &Tree::default(), &[("a", "1")]);
        let torn = layer(&store, &Tree::default(), &[("b", "2")]);
        store.transact(|db| db.execute("UPDATE layers SET boot = 'earlier'", [])).unwrap();
        std::fs::write(store.layer_dir(&torn).join("b"), "").unwrap();
        let store = Store::open(home.path()).unwrap();
        assert!(store.has_layer(&good).unwrap());
        assert!(!store.has_layer(&torn).unwrap());
        // That its index can still be read makes it no better.
        store.index(&torn).unwrap();
        assert!(!store.has_layer(&torn).unwrap());
    }

    #[test]
    fn a_synced_layer_is_trusted_after_a_boot() {
        let (home, store) = store();
        layer(&store, &Tree::default(), &[("a", "1")]);
        store.sync().unwrap();
        let boots: Vec<Option<String>> = Store::open(home.path())
            .unwrap()
            .query(|db| db.prepare("SELECT boot FROM layers")?.query_map([], |r| r.get(0))?.collect())
            .unwrap();
        assert_eq!(boots, [None]);
    }

    #[test]
    fn a_step_is_found_for_the_same_parent_and_for_one_that_looks_the_same_to_it() {
        let (_home, store) = store();
        let base = store.tree([&layer(&store, &Tree::default(), &[("in/a", "1"), ("other", "x")])]).unwrap();
        let made = layer(&store, &base, &[("out", "made of a")]);
        let step = StepKey::of(b"step");
        let asked = |asked, p: &str| Observation { path: TreePath::new(p).unwrap(), asked };
        let set = PathSet::new([asked(Asked::Content, "in/a"), asked(Asked::Listing, "in")]);
        let result = StepResult { layers: vec![made], created: 1, millis: 2, ..StepResult::default() };
        assert_eq!(store.lookup(&step, &base.stack()).unwrap(), None);
        store.record(&step, &base, &set, &result).unwrap();
        assert!(store.lookup(&step, &base.stack()).unwrap().unwrap().same_parent);

        let stack = |files: &[(&str, &str)]| base.with(store.index(&layer(&store, &base, files)).unwrap()).stack();
        let hit = store.lookup(&step, &stack(&[("other", "y")])).unwrap().unwrap();
        assert_eq!((hit.result, hit.same_parent), (result, false));
        assert_eq!(store.lookup(&step, &stack(&[("in/a", "2")])).unwrap(), None);
        assert_eq!(store.lookup(&step, &stack(&[("in/b", "new name in the listing")])).unwrap(), None);
        assert_eq!(store.lookup(&StepKey::of(b"other step"), &base.stack()).unwrap(), None);
    }

    #[test]
    fn an_unwatched_step_depends_on_its_whole_parent() {
        let (_home, store) = store();
        let base = store.tree([&layer(&store, &Tree::default(), &[("a", "1")])]).unwrap();
        let step = StepKey::of(b"step");
        let result = StepResult { layers: Vec::new(), created: 1, millis: 2, ..StepResult::default() };
        store.record(&step, &base, &PathSet::whole_parent(), &result).unwrap();
        let other = base.with(store.index(&layer(&store, &base, &[("b", "1")])).unwrap());
        assert!(store.lookup(&step, &base.stack()).unwrap().is_some());
        assert!(store.lookup(&step, &other.stack()).unwrap().is_none());
    }

    #[test]
    fn a_result_of_several_layers_is_none_when_one_of_them_is_gone() {
        let (_home, store) = store();
        let base = Arc::<Tree>::default();
        let [a, b] = ["1", "2"].map(|text| layer(&store, &base, &[(text, text)]));
        let step = StepKey::of(b"step");
        let result = StepResult { layers: vec![a, b], created: 1, millis: 2, ..StepResult::default() };
        store.record(&step, &base, &PathSet::whole_parent(), &result).unwrap();
        assert_eq!(store.lookup(&step, &base.stack()).unwrap().unwrap().result, result);
        for gone in [a, b] {
            lock(&store.present).clear();
            store.transact(|db| db.execute("UPDATE layers SET id = x'00' WHERE id = ?1", [gone.as_bytes()])).unwrap();
            assert_eq!(store.lookup(&step, &base.stack()).unwrap(), None);
            store.transact(|db| db.execute("UPDATE layers SET id = ?1 WHERE id = x'00'", [gone.as_bytes()])).unwrap();
        }
        assert!(store.lookup(&step, &base.stack()).unwrap().is_some());
    }

    #[test]
    fn of_two_writers_of_one_key_the_first_wins_unless_its_layer_is_gone() {
        let (_home, store) = store();
        let base = Arc::<Tree>::default();
        let (a, b) = (layer(&store, &base, &[("t", "1")]), layer(&store, &base, &[("t", "2")]));
        let step = StepKey::of(b"step");
        let result = |layer| StepResult { layers: vec![layer], created: 1, millis: 2, ..StepResult::default() };
        store.record(&step, &base, &PathSet::whole_parent(), &result(a)).unwrap();
        let winner = store.record(&step, &base, &PathSet::whole_parent(), &result(b)).unwrap();
        assert_eq!(winner.layers, [a]);
        let replaced = store.replace(&step, &base, &PathSet::whole_parent(), &result(b)).unwrap();
        assert_eq!(replaced.layers, [b]);
        lock(&store.present).clear();
        store.transact(|db| db.execute("DELETE FROM layers WHERE id = ?1", [b.as_bytes()])).unwrap();
        assert_eq!(store.lookup(&step, &base.stack()).unwrap(), None);
        assert_eq!(store.record(&step, &base, &PathSet::whole_parent(), &result(a)).unwrap().layers, [a]);
    }
}
