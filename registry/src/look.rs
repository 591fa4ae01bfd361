//! Looking into an image without unpacking it.
//!
//! Where the layers of an image are gone and its blobs are here, each blob is read once from beginning to end: that gives the index of its
//! layer, and the bytes of the files that the caller wants to read. Nothing is written.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use shiplap_cache::{
    ContentHash, Digest, Entry, ImageId, IndexBuilder, Kind as Layered, LayerBlob, LayerId, LayerIndex, Store, TreePath,
};

use crate::compress::decompress;
use crate::error::At;
use crate::hash::Hashed;
use crate::image::ConfigFile;
use crate::tarball::{Head, Kind, OPAQUE, Reader, TarProblem, WHITEOUT};
use crate::{Error, Image, Images, Result, adopt, media, origin};

/// No file that somebody wants to read is larger.
const MAX_KEPT: u64 = 64 << 20;

/// Files of layers that are not unpacked, by layer and path.
pub type KeptFiles = HashMap<LayerId, HashMap<TreePath, Vec<u8>>>;

/// An image that can be looked into: the index of each of its layers is known to the store.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The image.
    pub image: Image,
    /// The bytes of wanted files, for each layer whose directory is not here. Files of the others are in their directories.
    pub kept: KeptFiles,
    /// The blob of each layer where one is known, as a manifest has it; as many as there are layers.
    pub blobs: Vec<Option<LayerBlob>>,
    /// Bytes of the manifest and of the configuration, if the image was packed.
    pub documents: Option<u64>,
}

impl Images {
    /// Looks into an image: the one of this id, or of this manifest. Of layers that are only here as blobs, the `wanted` files are kept.
    ///
    /// # Errors
    /// Neither its layers nor its blobs are here, or one of them is damaged.
    pub fn look_into(&self, id: Option<&ImageId>, manifest: Option<&Digest>, wanted: &Wanted<'_>) -> Result<Seen> {
        let record = id.map(|id| self.load(id)).transpose();
        let mut manifests: Vec<Digest> = manifest.copied().into_iter().collect();
        if let (Some(id), true) = (id, manifests.is_empty()) {
            manifests = self.manifests_of(id)?;
        }
        if let Ok(Some(image)) = &record
            && self.has_layers(image)?
        {
            return self.seen(image.clone(), manifests.first());
        }
        let mut why = record.err();
        for manifest in &manifests {
            match self.look_at_blobs(manifest, wanted) {
                Ok(seen) => return Ok(seen),
                Err(error) => why = Some(error),
            }
        }
        Err(match (why, record_of(self, id)) {
            (Some(why), _) => why,
            (None, Some(missing)) => shiplap_cache::Error::MissingLayer(missing).into(),
            (None, None) => Error::NoImage(id.copied().unwrap_or_else(|| ImageId::of(b""))),
        })
    }

    /// An image whose layers are all here; its blobs are those of a manifest of it.
    fn seen(&self, image: Image, manifest: Option<&Digest>) -> Result<Seen> {
        let unknown = Seen { blobs: vec![None; image.layers.len()], image, ..Seen::default() };
        let Some(Ok((manifest, config, documents))) = manifest.map(|digest| self.documents(digest)) else {
            return Ok(unknown);
        };
        let blobs = adopt::blobs_of(&manifest, &config);
        // Layers with nothing in them are in a manifest and not in our record.
        let all: Vec<LayerBlob> = match blobs.len() == unknown.image.layers.len() {
            true => blobs,
            false => {
                let mut all = Vec::new();
                for (blob, chain) in blobs.into_iter().zip(origin::chain(&config.diff_ids)) {
                    let nothing =
                        |tar| Ok::<_, Error>(origin::unpacked(self.store(), tar)? == Some(origin::Unpacked::Nothing));
                    if !nothing(&blob.diff_id)? && !nothing(&chain)? {
                        all.push(blob);
                    }
                }
                all
            }
        };
        match all.len() == unknown.image.layers.len() {
            true => Ok(Seen { blobs: all.into_iter().map(Some).collect(), documents: Some(documents), ..unknown }),
            false => Ok(Seen { documents: Some(documents), ..unknown }),
        }
    }

    /// Manifest and configuration, and how many bytes they have.
    fn documents(&self, digest: &Digest) -> Result<(media::Manifest, ConfigFile, u64)> {
        let blobs = self.store().blobs();
        let bytes = blobs.read(digest)?;
        let media::Document::Manifest(manifest) = media::Document::parse(&bytes, *digest)? else {
            let why = "it is an index of images for several platforms".to_owned();
            return Err(Error::BadDocument { what: "manifest", digest: *digest, why });
        };
        let config_bytes = blobs.read(&manifest.config.digest)?;
        let config = ConfigFile::parse(&config_bytes, manifest.config.digest)?;
        Ok((manifest, config, (bytes.len() + config_bytes.len()) as u64))
    }

    fn look_at_blobs(&self, digest: &Digest, wanted: &Wanted<'_>) -> Result<Seen> {
        let (manifest, config, documents) = self.documents(digest)?;
        adopt::check_layers(&manifest, *digest, &config)?;
        let mut seen = Seen { documents: Some(documents), ..Seen::default() };
        for (blob, chain) in adopt::blobs_of(&manifest, &config).into_iter().zip(origin::chain(&config.diff_ids)) {
            let id = match adopt::known(self.store(), &blob.diff_id, &chain)? {
                Some(adopt::Step::Done(origin::Unpacked::Layer(id))) => id,
                _ => {
                    let (index, kept) = read_blob(self.store(), &blob, wanted)?;
                    let id = self.store().imagine(index);
                    seen.kept.insert(id, kept);
                    id
                }
            };
            seen.image.layers.push(id);
            seen.blobs.push(Some(blob));
        }
        (seen.image.config, seen.image.history) = (config.config, config.history);
        Ok(seen)
    }
}

/// Whether a file is wanted, by its path.
pub type Wanted<'a> = dyn Fn(&[u8]) -> bool + Sync + 'a;

fn record_of(images: &Images, id: Option<&ImageId>) -> Option<LayerId> {
    let image = images.load(id?).ok()?;
    image.layers.iter().find(|layer| !images.store().has_layer(layer).unwrap_or(false)).copied()
}

fn read_blob(store: &Store, blob: &LayerBlob, wanted: &Wanted<'_>) -> Result<(LayerIndex, HashMap<TreePath, Vec<u8>>)> {
    let at = store.blobs().path(&blob.digest);
    let file = store.blobs().open_file(&blob.digest)?;
    let label = format!("layer {}", blob.digest);
    let mut tar = Hashed::new(decompress(file).at("read", &at)?.0);
    let layer = read_tar(&mut tar, wanted).map_err(|problem| Error::BadTar { archive: label.clone(), problem })?;
    let actual = tar.finish().1;
    if actual != blob.diff_id {
        return Err(Error::WrongDiffId { blob: label, expected: blob.diff_id, actual });
    }
    let mut builder = IndexBuilder::default();
    layer.entries.into_values().for_each(|entry| builder.push(entry));
    Ok((builder.finish()?, layer.kept))
}

/// What a tar says, by path.
#[derive(Default)]
struct Layer {
    entries: BTreeMap<TreePath, Entry>,
    kept: HashMap<TreePath, Vec<u8>>,
}

fn read_tar(mut reader: impl Read, wanted: &Wanted<'_>) -> std::result::Result<Layer, TarProblem> {
    let mut layer = Layer::default();
    let mut tar = Reader::new(&mut reader);
    while let Some(head) = tar.next()? {
        layer.take(&head, &mut tar, wanted)?;
    }
    // What stands behind the end marker belongs to the DiffID too.
    io::copy(&mut reader, &mut io::sink()).map_err(|e| TarProblem::reading(e, "the end of the archive"))?;
    Ok(layer)
}

impl Layer {
    /// As [`crate::unpack`] understands an entry.
    fn take<R: Read>(
        &mut self,
        head: &Head,
        tar: &mut Reader<R>,
        wanted: &Wanted<'_>,
    ) -> std::result::Result<(), TarProblem> {
        let bad = || TarProblem::Name(String::from_utf8_lossy(&head.path).into_owned());
        let path = TreePath::new(&head.path).map_err(|_| bad())?;
        let parent = path.parent().unwrap_or_default();
        if path.name() == OPAQUE {
            self.folders(&parent);
            self.set(&parent, Layered::Dir { opaque: true }, head);
            return Ok(());
        }
        if path.name().starts_with(b".wh..wh.") {
            return Ok(());
        }
        self.folders(&parent);
        if let Some(hidden) = path.name().strip_prefix(WHITEOUT) {
            if hidden.is_empty() {
                return Err(bad());
            }
            let hidden = parent.join(hidden);
            self.clear(&hidden);
            self.entries.insert(hidden.clone(), Entry::whiteout(hidden));
            return Ok(());
        }
        let kind = match head.kind {
            Kind::Dir => {
                let opaque = matches!(
                    self.entries.get(&path).map(|entry| &entry.kind),
                    Some(Layered::Dir { opaque: true } | Layered::Whiteout)
                );
                Layered::Dir { opaque }
            }
            Kind::File => {
                let keep = wanted(path.as_bytes()) && head.size <= MAX_KEPT;
                let (hash, bytes) = content(head, tar, keep).map_err(|e| TarProblem::reading(e, &path.to_string()))?;
                self.clear(&path);
                self.kept.extend(bytes.map(|bytes| (path.clone(), bytes)));
                Layered::File { size: head.size, hash, link: None }
            }
            Kind::HardLink => {
                let target = TreePath::new(&head.link).map_err(|_| bad())?;
                let Some(Entry { kind: Layered::File { size, hash, link }, .. }) = self.entries.get(&target).cloned()
                else {
                    return Ok(());
                };
                if let Some(bytes) = self.kept.get(&target).cloned() {
                    self.kept.insert(path.clone(), bytes);
                }
                Layered::File { size, hash, link: Some(link.unwrap_or(target)) }
            }
            Kind::Symlink => Layered::Symlink { target: head.link.clone() },
            Kind::Char if head.device == (0, 0) => Layered::Whiteout,
            Kind::Char => Layered::CharDevice { major: head.device.0, minor: head.device.1 },
            Kind::Block => Layered::BlockDevice { major: head.device.0, minor: head.device.1 },
            Kind::Fifo => Layered::Fifo,
        };
        if !matches!(kind, Layered::Dir { .. } | Layered::File { .. }) {
            self.clear(&path);
        }
        self.set(&path, kind, head);
        Ok(())
    }

    fn set(&mut self, path: &TreePath, kind: Layered, head: &Head) {
        let owner = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
        let (uid, gid) = (owner(head.uid), owner(head.gid));
        let xattrs = head.xattrs.clone();
        let entry = Entry { path: path.clone(), kind, mode: head.mode, uid, gid, mtime: head.mtime, xattrs };
        self.entries.insert(path.clone(), entry);
    }

    /// Directories that have no entry of their own: a tree is only looked into where its layers say that there is one.
    fn folders(&mut self, folder: &TreePath) {
        let mut at = folder.clone();
        while !at.is_root() && !self.entries.get(&at).is_some_and(Entry::is_dir) {
            let opaque = matches!(self.entries.get(&at).map(|entry| &entry.kind), Some(Layered::Whiteout));
            self.set(&at.clone(), Layered::Dir { opaque }, &Head { mode: 0o755, ..Head::default() });
            at = at.parent().unwrap_or_default();
        }
    }

    /// Takes away what a later entry of the same path replaces.
    fn clear(&mut self, path: &TreePath) {
        if self.entries.get(path).is_some_and(Entry::is_dir) {
            self.entries.retain(|at, _| at == path || !at.starts_with(path));
            self.kept.retain(|at, _| at == path || !at.starts_with(path));
        }
        self.kept.remove(path);
    }
}

/// The hash of a file, holes read as zeros, and its bytes if they are to be kept.
fn content<R: Read>(head: &Head, tar: &mut Reader<R>, keep: bool) -> io::Result<(ContentHash, Option<Vec<u8>>)> {
    let mut hasher = blake3::Hasher::new();
    let mut kept = keep.then(Vec::new);
    let mut take = |bytes: &[u8]| {
        hasher.update(bytes);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(bytes);
        }
    };
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    for (offset, length) in tar.pieces().to_vec() {
        zeros(offset.saturating_sub(at), &mut take);
        let mut left = length;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = tar.read(&mut buffer[..most])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            take(&buffer[..n]);
            left -= n as u64;
        }
        at = offset + length;
    }
    zeros(head.size.saturating_sub(at), &mut take);
    Ok((ContentHash::from_bytes(*hasher.finalize().as_bytes()), kept))
}

fn zeros(mut count: u64, take: &mut impl FnMut(&[u8])) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let n = count.min(ZEROS.len() as u64);
        take(&ZEROS[..n as usize]);
        count -= n;
    }
}
