//! An image that comes from elsewhere becomes layers and a record.

use std::io::{self, Read, Write};
use std::sync::Arc;

use shiplap_cache::{Digest, ImageId, LayerBlob, LayerId, PendingLayer, Store, Tree};

use crate::compress::decompress;
use crate::error::At;
use crate::hash::Hashed;
use crate::image::ConfigFile;
use crate::media::Manifest;
use crate::unpack::{TarProblem, Unpacked, adopt_parents, unpack};
use crate::{Compression, Error, Image, Images, Result, media, origin};

/// A layer on its way in.
pub(crate) enum Step {
    /// In the store, or nothing at all.
    Done(origin::Unpacked),
    /// Unpacked, and some directories must still be made to look as in the layers below.
    Loose(Box<PendingLayer>, Unpacked),
}

/// Checks that all layers are such that can be unpacked and as many as the config says.
pub(crate) fn check_layers(manifest: &Manifest, digest: Digest, config: &ConfigFile) -> Result<()> {
    check_types(manifest, digest)?;
    if manifest.layers.len() != config.diff_ids.len() {
        let why = format!("it has {} layers and its config {} DiffIDs", manifest.layers.len(), config.diff_ids.len());
        return Err(Error::BadDocument { what: "manifest", digest, why });
    }
    Ok(())
}

/// Checks that all layers are such that can be unpacked.
pub(crate) fn check_types(manifest: &Manifest, digest: Digest) -> Result<()> {
    match manifest.layers.iter().find(|l| media::layer(&l.media_type).is_none()) {
        None => Ok(()),
        Some(odd) => {
            let hint = media::hint(&odd.media_type);
            Err(Error::MediaType { manifest: digest, media_type: odd.media_type.clone(), hint })
        }
    }
}

/// The layers of a manifest as blobs, by OCI's media types.
pub(crate) fn blobs_of(manifest: &Manifest, config: &ConfigFile) -> Vec<LayerBlob> {
    let pairs = manifest.layers.iter().zip(&config.diff_ids);
    pairs
        .map(|(layer, diff_id)| LayerBlob {
            media_type: media::layer(&layer.media_type).unwrap_or(media::LAYER_TAR).to_owned(),
            diff_id: *diff_id,
            digest: layer.digest,
            size: layer.size,
        })
        .collect()
}

/// Unpacks an image whose manifest, config and layers are blobs of the store.
pub(crate) fn from_store(images: &Images, digest: &Digest) -> Result<ImageId> {
    let store = images.store();
    let media::Document::Manifest(manifest) = media::Document::parse(&store.blobs().read(digest)?, *digest)? else {
        let why = "it is an index".to_owned();
        return Err(Error::BadDocument { what: "manifest", digest: *digest, why });
    };
    let config = ConfigFile::parse(&store.blobs().read(&manifest.config.digest)?, manifest.config.digest)?;
    check_layers(&manifest, *digest, &config)?;
    let blobs = blobs_of(&manifest, &config).into_iter().zip(origin::chain(&config.diff_ids));
    let layers: Result<Vec<_>> =
        blobs.map(|(blob, chain)| unpack_blob(store, &blob, &chain).map(|step| (Some(blob), step))).collect();
    assemble(images, config, Some(manifest.config.digest), layers?, Some(*digest))
}

/// Unpacks a layer's blob, which is in the store, unless its tar was unpacked before. `chain` is its ChainID.
pub(crate) fn unpack_blob(store: &Store, blob: &LayerBlob, chain: &Digest) -> Result<Step> {
    if let Some(step) = known(store, &blob.diff_id, chain)? {
        return Ok(step);
    }
    let label = format!("layer {}", blob.digest);
    let at = store.blobs().path(&blob.digest);
    let file = store.blobs().open_file(&blob.digest)?;
    // The DiffID is checked; to check the blob's own digest too would hash everything once more.
    let tar = decompress(file).at("read", &at)?.0;
    let (step, _) = unpack_tar(store, tar, &label, Some(&blob.diff_id))?;
    Ok(step)
}

/// Unpacks a plain tar and compresses it on the way: an image whose layers came without compression keeps its DiffIDs, and with
/// them its config's digest, Docker's image ID.
pub(crate) fn take_tar(
    store: &Store,
    tar: impl Read,
    label: &str,
    diff_id: &Digest,
    chain: &Digest,
) -> Result<(Option<LayerBlob>, Step)> {
    if let Some(Step::Done(done)) = known(store, diff_id, chain)? {
        let blob = match done {
            origin::Unpacked::Layer(id) => origin::layer(store, &id)?.filter(|b| b.diff_id == *diff_id),
            origin::Unpacked::Nothing => None,
        };
        if blob.is_some() || done == origin::Unpacked::Nothing {
            return Ok((blob, Step::Done(done)));
        }
    }
    let mut step = None;
    let (diff_id, digest, size) = crate::pack::compress(store, Compression::Zstd, |out| {
        step = Some(unpack_tar(store, Tee { inner: tar, out }, label, Some(diff_id))?.0);
        Ok(())
    })?;
    let blob = LayerBlob { media_type: media::LAYER_ZSTD.to_owned(), diff_id, digest, size };
    Ok((Some(blob), step.unwrap_or(Step::Done(origin::Unpacked::Nothing))))
}

/// What is known of a tar from an earlier time.
pub(crate) fn known(store: &Store, diff_id: &Digest, chain: &Digest) -> Result<Option<Step>> {
    for tar in [diff_id, chain] {
        if let Some(done) = origin::unpacked(store, tar)? {
            return Ok(Some(Step::Done(done)));
        }
    }
    Ok(None)
}

/// Unpacks a plain tar and checks its DiffID, if that is known. Of a tar without one, the end marker must be there.
pub(crate) fn unpack_tar(
    store: &Store,
    tar: impl Read,
    label: &str,
    diff_id: Option<&Digest>,
) -> Result<(Step, Digest)> {
    let bad = |problem| Error::BadTar { archive: label.to_owned(), problem };
    let pending = store.begin_layer(&Tree::default())?;
    let mut tar = Hashed::new(tar);
    let unpacked = unpack(&mut tar, &pending.upper(), store.overlay()).map_err(bad)?;
    let actual = tar.finish().1;
    match diff_id {
        Some(expected) if *expected != actual => {
            return Err(Error::WrongDiffId { blob: label.to_owned(), expected: *expected, actual });
        }
        None if !unpacked.ended => return Err(bad(TarProblem::Truncated("the archive, before its end marker".into()))),
        _ => {}
    }
    if !unpacked.implied.is_empty() {
        return Ok((Step::Loose(Box::new(pending), unpacked), actual));
    }
    let layer = store.commit_layer(pending, &Tree::default())?;
    origin::set_unpacked(store, &actual, layer)?;
    Ok((Step::Done(layer.map_or(origin::Unpacked::Nothing, origin::Unpacked::Layer)), actual))
}

/// Puts an image together from its config and its layers, bottom first, and keeps its record. `blob` is the blob that a layer came as.
pub(crate) fn assemble(
    images: &Images,
    config: ConfigFile,
    config_digest: Option<Digest>,
    layers: Vec<(Option<LayerBlob>, Step)>,
    manifest: Option<Digest>,
) -> Result<ImageId> {
    let store = images.store();
    let chain = origin::chain(&config.diff_ids);
    let mut tree = Arc::<Tree>::default();
    let (mut ids, mut nothing) = (Vec::new(), Vec::new());
    for (i, (blob, step)) in layers.into_iter().enumerate() {
        let done = match step {
            Step::Done(done) => done,
            Step::Loose(pending, unpacked) => {
                adopt_parents(&pending.upper(), &unpacked, &tree)
                    .map_err(|problem| Error::BadTar { archive: format!("layer {}", config.diff_ids[i]), problem })?;
                let layer = store.commit_layer(*pending, &Tree::default())?;
                origin::set_unpacked(store, &chain[i], layer)?;
                layer.map_or(origin::Unpacked::Nothing, origin::Unpacked::Layer)
            }
        };
        nothing.push(done == origin::Unpacked::Nothing);
        if let origin::Unpacked::Layer(id) = done {
            if let Some(blob) = blob {
                origin::set_layer(store, &id, &blob)?;
            }
            tree = tree.with(store.index(&id)?);
            ids.push(id);
        }
    }
    record(images, config, ids, &nothing, config_digest, manifest)
}

/// Keeps the record of an image from elsewhere. `nothing` says which of the config's layers have nothing in them.
pub(crate) fn record(
    images: &Images,
    config: ConfigFile,
    layers: Vec<LayerId>,
    nothing: &[bool],
    config_digest: Option<Digest>,
    manifest: Option<Digest>,
) -> Result<ImageId> {
    let store = images.store();
    let history = without_layers(config.history, nothing);
    let id = images.save(&Image { config: config.config, history, layers })?;
    if let Some(config) = config_digest {
        origin::set_config(store, &id, config)?;
    }
    if let Some(manifest) = manifest {
        origin::set_manifest(store, &id, manifest)?;
        images.remember(&manifest, &id)?;
    }
    Ok(id)
}

/// Marks in the history the layers that have nothing in them, for the record has no layer for these. A history that does not fit the layers
/// is left as it is.
fn without_layers(mut history: Vec<crate::History>, nothing: &[bool]) -> Vec<crate::History> {
    let with_layer = history.iter_mut().filter(|h| !h.empty_layer).collect::<Vec<_>>();
    if with_layer.len() == nothing.len() {
        with_layer.into_iter().zip(nothing).for_each(|(line, nothing)| line.empty_layer = *nothing);
    }
    history
}

/// Writes on what is read.
struct Tee<'a, R> {
    inner: R,
    out: &'a mut dyn Write,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.out.write_all(&buf[..n])?;
        Ok(n)
    }
}
