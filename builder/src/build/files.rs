//! Files that a step takes from somewhere: a stage, an image, a build context, a fetched repository.

use std::path::PathBuf;
use std::sync::Arc;

use shiplap_cache::{
    ContentHash, Entry, IndexBuilder, Kind, LayerId, LayerIndex, Overlay, SourceTree, Stack, Store, Tree, TreePath,
    capture,
};

/// A tree and the directories that its files' contents are in.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    tree: Arc<Tree>,
    roots: Arc<[PathBuf]>,
    live: bool,
    /// The layers behind the directories, where these are layers of the store.
    layers: Arc<[LayerId]>,
    /// Keeps a fetched tree on disk for as long as somebody reads it.
    _keep: Option<Arc<tempfile::TempDir>>,
}

/// One file, directory or link, and where its content is.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Its path relative to what was asked for; empty for that itself.
    pub(crate) path: TreePath,
    /// What it is. The path in it is the one in the tree.
    pub(crate) entry: Entry,
    /// Where it is on the host.
    pub(crate) at: PathBuf,
    /// Which file it is another name of, if any: equal for all its names.
    pub(crate) same: Option<(usize, TreePath)>,
    /// Which layer of the tree it is in, counted from the bottom.
    pub(crate) layer: usize,
    /// The same, where that is a layer of the store.
    pub(crate) holder: Option<LayerId>,
}

impl Files {
    /// The files of a stage or an image.
    pub(crate) fn of_stack(store: &Store, stack: &Stack) -> shiplap_cache::Result<Self> {
        let tree = store.tree(stack.layers())?;
        let roots = stack.layers().iter().map(|layer| store.layer_dir(layer)).collect();
        Ok(Self { tree, roots, live: false, layers: stack.layers().into(), _keep: None })
    }

    /// The files of a directory of the host, as BuildKit sends them: owned by root, without extended attributes. All of
    /// them are hashed; those that did not change since the last time are not read.
    pub(crate) fn of_source(source: &SourceTree) -> shiplap_cache::Result<Self> {
        let files: Vec<&TreePath> = source.files().iter().filter(|(_, f)| f.meta.is_file()).map(|(p, _)| p).collect();
        source.hash_all(files)?;
        let index = index_source(source)?;
        let tree = Tree::new([Arc::new(index)]);
        Ok(Self { tree, roots: [source.root().to_owned()].into(), live: true, layers: [].into(), _keep: None })
    }

    /// The files of a directory that nobody else writes to, such as a fetched repository.
    pub(crate) fn of_temporary(
        folder: tempfile::TempDir,
        root: PathBuf,
        overlay: Overlay,
    ) -> shiplap_cache::Result<Self> {
        let tree = Tree::new([Arc::new(capture(&root, overlay)?)]);
        Ok(Self { tree, roots: [root].into(), live: false, layers: [].into(), _keep: Some(Arc::new(folder)) })
    }

    /// The tree, for look-ups.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether somebody may write to the files while we read: their contents must be checked, and they cannot be linked.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// The directories of its layers, bottom first.
    pub(crate) fn roots(&self) -> impl DoubleEndedIterator<Item = &PathBuf> {
        self.roots.iter()
    }

    /// The layers of the store that the directories are, bottom first; none where they are no layers.
    pub(crate) fn layers(&self) -> impl Iterator<Item = LayerId> {
        self.layers.iter().copied()
    }

    /// Where an entry of the tree is on the host.
    fn locate(&self, layer: usize, path: &TreePath) -> PathBuf {
        path.below(&self.roots[layer])
    }

    /// What is at a path, whose links were followed, with all that is below it, parents first.
    pub(crate) fn below(&self, path: &TreePath) -> Vec<Item> {
        let own = self.tree.find(path);
        let mut items = Vec::new();
        for found in own.into_iter().chain(self.tree.walk(path)) {
            let entry = self.tree.entry(found);
            let Some(relative) = entry.path.strip_prefix(path) else { continue };
            let same = match &entry.kind {
                Kind::File { link, .. } => Some((found.layer, link.clone().unwrap_or_else(|| entry.path.clone()))),
                _ => None,
            };
            let (layer, holder) = (found.layer, self.layers.get(found.layer).copied());
            items.push(Item { at: self.locate(layer, &entry.path), path: relative, same, layer, holder, entry });
        }
        items
    }

    /// A digest of what is at a path and below it: names, kinds, modes, owners, attributes and contents, no times and nothing
    /// of where it is. Equal digests, equal copies.
    pub(crate) fn digest(&self, path: &TreePath) -> ContentHash {
        digest_items(&self.below(path))
    }
}

/// As [`Files::digest`], of a part of the items.
pub(crate) fn digest_items(items: &[Item]) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let mut names = std::collections::HashMap::new();
    for item in items {
        put(item.path.as_bytes());
        let Entry { mode, uid, gid, xattrs, kind, .. } = &item.entry;
        [*mode, *uid, *gid, xattrs.len() as u32].iter().for_each(|n| put(&n.to_le_bytes()));
        for (name, value) in xattrs {
            put(name);
            put(value);
        }
        match kind {
            Kind::File { size, hash, .. } => {
                put(b"f");
                put(&size.to_le_bytes());
                put(hash.as_bytes());
                let first = names.entry(item.same.clone()).or_insert_with(|| item.path.clone());
                put(first.as_bytes());
            }
            Kind::Dir { .. } => put(b"d"),
            Kind::Symlink { target } => {
                put(b"l");
                put(target);
            }
            Kind::CharDevice { major, minor } => put(format!("c{major}:{minor}").as_bytes()),
            Kind::BlockDevice { major, minor } => put(format!("b{major}:{minor}").as_bytes()),
            Kind::Fifo => put(b"p"),
            Kind::Whiteout => put(b"w"),
        }
    }
    ContentHash::from_bytes(*hasher.finalize().as_bytes())
}

fn index_source(source: &SourceTree) -> shiplap_cache::Result<LayerIndex> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let mut builder = IndexBuilder::default();
    let mut first = std::collections::HashMap::new();
    for (path, file) in source.files() {
        let meta = &file.meta;
        let kind = if meta.is_dir() {
            Kind::Dir { opaque: false }
        } else if meta.is_symlink() {
            let at = source.locate(path);
            let target =
                std::fs::read_link(&at).map_err(|e| shiplap_cache::Error::Io { what: "read", path: at, source: e })?;
            Kind::Symlink { target: target.into_os_string().into_encoded_bytes() }
        } else if meta.is_file() {
            let link = match meta.nlink() {
                1 => None,
                // The map is in path order, so the first name is the one that sorts first.
                _ => match first.entry((meta.dev(), meta.ino())) {
                    std::collections::hash_map::Entry::Occupied(name) => Some(TreePath::clone(name.get())),
                    std::collections::hash_map::Entry::Vacant(name) => {
                        name.insert(path.clone());
                        None
                    }
                },
            };
            Kind::File { size: meta.len(), hash: source.hash(path)?, link }
        } else if meta.file_type().is_fifo() {
            Kind::Fifo
        } else {
            // Sockets and devices are no part of a build context.
            continue;
        };
        let mode = if meta.is_symlink() { 0o777 } else { meta.mode() & 0o7777 };
        builder.push(Entry { path: path.clone(), kind, mode, uid: 0, gid: 0, mtime: meta.mtime(), xattrs: Vec::new() });
    }
    builder.finish()
}
