//! From layers to an OCI image.

use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;
use shiplap_cache::tier::table::Table;
use shiplap_cache::tier::{TierBlob, TierError};
use shiplap_cache::{BlobWriter, Digest, LayerBlob, LayerId, Store};

use crate::compress::{decompress, gzip, workers};
use crate::error::At;
use crate::frames::{FrameWriter, Framed};
use crate::hash::Hashed;
use crate::image::ConfigFile;
use crate::media::{Document, LAYER_GZIP, LAYER_ZSTD, Manifest, OCI_CONFIG, OCI_MANIFEST, layer as layer_type};
use crate::tarball::Mark;
use crate::{Compression, Descriptor, Error, Event, Image, Progress, Result, origin, tarball};

/// How to pack.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackOptions {
    /// What new layers are compressed with. With zstd, layers that came from elsewhere in gzip stay as they are; with gzip, every
    /// layer is gzip.
    pub compression: Compression,
    /// Compress layers anew that came from elsewhere in another compression.
    pub force: bool,
    /// No time in a new layer or config is later than this (`SOURCE_DATE_EPOCH`). Layers that came from elsewhere stay as they are.
    pub clamp: Option<i64>,
    /// A layer's blob need not be here where a tier has it. Such an image can be pushed with [`Client::push_from`](crate::Client::push_from), and nothing else.
    pub elsewhere: bool,
}

/// A packed image. All its blobs are in the store, but those that may be elsewhere.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The manifest.
    pub manifest: Descriptor,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<LayerBlob>,
}

impl Packed {
    /// Bytes of manifest, config and layers.
    pub fn size(&self) -> u64 {
        self.manifest.size + self.config.size + self.layers.iter().map(|l| l.size).sum::<u64>()
    }
}

pub(crate) fn pack(store: &Store, image: &Image, options: &PackOptions, progress: &dyn Progress) -> Result<Packed> {
    if let Some(packed) = unchanged(store, image, options)? {
        return Ok(packed);
    }
    let layers: Vec<LayerBlob> =
        image.layers.par_iter().map(|id| pack_layer(store, id, options, progress)).collect::<Result<_>>()?;
    let diff_ids: Vec<Digest> = layers.iter().map(|l| l.diff_id).collect();
    let config = config_bytes(store, image, &diff_ids, options.clamp)?;
    let config = (Descriptor::of(OCI_CONFIG, &config), store.blobs().put(&config)?).0;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: config.clone(),
        layers: layers.iter().map(|l| Descriptor::new(&l.media_type, l.digest, l.size)).collect(),
        subject: None,
        annotations: None,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
    store.blobs().put(&bytes)?;
    Ok(Packed { manifest: Descriptor::of(OCI_MANIFEST, &bytes), config, layers })
}

/// The config of a packed image: the one that it came with where that fits, for Docker's image ID is its digest.
pub(crate) fn config_bytes(store: &Store, image: &Image, diff_ids: &[Digest], clamp: Option<i64>) -> Result<Vec<u8>> {
    Ok(match original_config(store, image, diff_ids)? {
        Some(original) => original,
        None => clamped(image, clamp).config_file(diff_ids),
    })
}

/// The image with no time of its making later than `latest`: without that the same files would still make another digest.
pub fn clamped(image: &Image, latest: Option<i64>) -> Image {
    let mut image = image.clone();
    let Some(latest) = latest.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) else { return image };
    let earlier = |text: &str| match text.parse::<jiff::Timestamp>() {
        Ok(time) if time > latest => latest.to_string(),
        _ => text.to_owned(),
    };
    if let Some(serde_json::Value::String(created)) = image.config.get_mut("created") {
        *created = earlier(created);
    }
    for created in image.history.iter_mut().filter_map(|line| line.created.as_mut()) {
        *created = earlier(created);
    }
    image
}

/// The manifest that the image came with, if everything of it is here and its compression will do.
fn unchanged(store: &Store, image: &Image, options: &PackOptions) -> Result<Option<Packed>> {
    let Some(digest) = origin::manifest(store, &image.id())? else { return Ok(None) };
    if crate::whole::check(store, &digest, false).is_err() {
        return Ok(None);
    }
    let bytes = store.blobs().read(&digest)?;
    let Document::Manifest(manifest) = Document::parse(&bytes, digest)? else { return Ok(None) };
    let media_type = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST).to_owned();
    let config = ConfigFile::parse(&store.blobs().read(&manifest.config.digest)?, manifest.config.digest)?;
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(config.diff_ids) {
        if layer_type(&layer.media_type).is_none_or(|t| !acceptable(t, options)) {
            return Ok(None);
        }
        layers.push(LayerBlob {
            media_type: layer.media_type.clone(),
            diff_id,
            digest: layer.digest,
            size: layer.size,
        });
    }
    Ok(Some(Packed { manifest: Descriptor::of(&media_type, &bytes), config: manifest.config, layers }))
}

/// The bytes of the config that the image came with, if they name these layers: the digest of a config is Docker's image ID.
fn original_config(store: &Store, image: &Image, diff_ids: &[Digest]) -> Result<Option<Vec<u8>>> {
    let Some(digest) = origin::config(store, &image.id())? else { return Ok(None) };
    let Ok(bytes) = store.blobs().read(&digest) else { return Ok(None) };
    let fits = ConfigFile::parse(&bytes, digest).is_ok_and(|c| c.diff_ids == diff_ids);
    Ok(fits.then_some(bytes))
}

fn acceptable(media_type: &str, options: &PackOptions) -> bool {
    match options.compression {
        Compression::Zstd => media_type == LAYER_ZSTD || (media_type == LAYER_GZIP && !options.force),
        Compression::Gzip => media_type == LAYER_GZIP,
    }
}

/// The blob of a layer: the one that it came as, the one that was made before, or a new one.
pub(crate) fn pack_layer(
    store: &Store,
    id: &LayerId,
    options: &PackOptions,
    progress: &dyn Progress,
) -> Result<LayerBlob> {
    let original = match options.elsewhere {
        true => origin::layer_anywhere(store, id)?,
        false => origin::layer(store, id)?,
    };
    if let Some(blob) = original.as_ref().filter(|b| acceptable(&b.media_type, options)) {
        return Ok(blob.clone());
    }
    let media_type = options.compression.media_type();
    if options.elsewhere
        && options.clamp.is_none()
        && !store.has_layer(id)?
        && let Some(blob) = store.layer_elsewhere(id, media_type)?
    {
        return Ok(blob);
    }
    // One that is only in packs of other layers has no blob.
    if options.elsewhere && original.is_none() && !store.has_layer(id)? {
        return Err(shiplap_cache::Error::MissingLayer(*id).into());
    }
    let index = store.index(id)?;
    // A clamp that is later than every time in the layer changes nothing.
    let clamp = options.clamp.filter(|latest| original.is_none() && index.iter().any(|e| e.mtime > *latest));
    let key = match clamp {
        Some(latest) => format!("{media_type}; times={latest}"),
        None => media_type.to_owned(),
    };
    if let Some(blob) = store.layer_blob(id, &key)? {
        return Ok(LayerBlob { media_type: media_type.to_owned(), ..blob });
    }
    progress.event(Event::Pack { layer: *id, total: index.content_size() });
    let dir = store.layer_dir(id);
    let (diff_id, digest, size) = match (&original, options.compression) {
        // Its tar is not ours to change: the config of the image that it came with names its DiffID.
        (Some(original), compression) => {
            let at = store.blobs().path(&original.digest);
            let mut tar = decompress(store.blobs().open_blob(&original.digest)?).at("read", &at)?.0;
            compress(store, compression, |out| io::copy(&mut tar, out).at("recompress", &at).map(drop))?
        }
        (None, Compression::Gzip) => {
            compress(store, Compression::Gzip, |out| tarball::write_layer(out, &dir, &index, clamp))?
        }
        (None, Compression::Zstd) => {
            let made = frames(store, |out| tarball::write_marked(out, &dir, &index, clamp, mark))?;
            made.keep_table(store)?;
            (made.plain, made.digest, made.size)
        }
    };
    store.set_layer_blob(id, &LayerBlob { media_type: key, diff_id, digest, size })?;
    progress.event(Event::Packed { layer: *id, blob: digest, size });
    Ok(LayerBlob { media_type: media_type.to_owned(), diff_id, digest, size })
}

/// Compresses what `write` writes into a blob; DiffID, digest and size come out of the one pass.
pub(crate) fn compress(
    store: &Store,
    compression: Compression,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<(Digest, Digest, u64)> {
    if compression == Compression::Zstd {
        let made = frames(store, |out| write(out))?;
        return Ok((made.plain, made.digest, made.size));
    }
    let at = store.home().join("blobs");
    let mut out = io::BufWriter::with_capacity(1 << 17, Hashed::new(gzip(store.blobs().writer()?)));
    write(&mut out)?;
    let hashed = out.into_inner().map_err(io::IntoInnerError::into_error).at("write", &at)?;
    let (encoder, diff_id) = hashed.finish();
    let (digest, size) = encoder.finish().at("write", &at)?.commit(None)?;
    // Its digest was taken from the very bytes that were written.
    crate::whole::note_verified(store, &digest)?;
    Ok((diff_id, digest, size))
}

/// A blob that was packed in frames.
pub(crate) struct Frames {
    /// SHA-256 of what was packed.
    pub plain: Digest,
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob.
    pub size: u64,
    /// What is where in it.
    pub table: Option<Table>,
}

impl Frames {
    /// Keeps the table, for whoever is told of the blob. One in which nothing can be found is of no use.
    pub fn keep_table(&self, store: &Store) -> Result<()> {
        if let Some(table) = &self.table {
            let bytes = table.encode().map_err(Error::of_table)?;
            let table = TierBlob { digest: store.blobs().put(&bytes)?, size: bytes.len() as u64 };
            store.set_pack_table(&self.digest, &table)?;
        }
        Ok(())
    }
}

/// Packs what `write` writes into a blob of frames.
pub(crate) fn frames(store: &Store, write: impl FnOnce(&mut FrameWriter<BlobWriter>) -> Result<()>) -> Result<Frames> {
    let at = store.home().join("blobs");
    let mut writer = FrameWriter::new(store.blobs().writer()?, workers());
    write(&mut writer)?;
    let Framed { out, plain, table } = writer.finish().at("write", &at)?;
    let (digest, size) = out.commit(None)?;
    // As above.
    crate::whole::note_verified(store, &digest)?;
    Ok(Frames { plain, digest, size, table })
}

/// Passes on what a tar is made of.
fn mark(out: &mut &mut FrameWriter<BlobWriter>, mark: Mark<'_>) -> io::Result<()> {
    match mark {
        Mark::Entry => out.entry(),
        Mark::Contents(hash, size) => {
            out.contents(hash, size);
            Ok(())
        }
    }
}

/// Opens a layer's tar. The blob's digest is checked as it is read.
pub(crate) fn open_layer<'a>(store: &'a Store, blob: &LayerBlob) -> Result<Box<dyn io::Read + Send + 'a>> {
    let reader = store.blobs().open_blob(&blob.digest)?;
    let at: &Path = &store.blobs().path(&blob.digest);
    Ok(decompress(reader).map_err(Error::from_read(at))?.0)
}

impl Error {
    /// A table that cannot be written.
    fn of_table(error: TierError) -> Self {
        match error {
            TierError::Here(error) => Self::Store(error),
            other => Self::Store(shiplap_cache::Error::Segment(other.to_string())),
        }
    }

    /// A failed read of a file of the store.
    pub(crate) fn from_read(at: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |source| Self::Io { what: "read", path: at.to_owned(), source }
    }
}
