//! The blobs that layers and images came with.
//!
//! A layer that came from a registry keeps the blob that it came as, and an image that nobody changed keeps its manifest: what is
//! pulled and pushed again has the same digest, and the registry has its blobs already. The blobs that *we* made of layers are kept
//! apart from these, in the store's own table, or a layer's digest would depend on what was done with it before.

use serde::{Deserialize, Serialize};
use shiplap_cache::{Digest, ImageId, LayerBlob, LayerId, Store};

use crate::Result;

pub(crate) const LAYERS: &str = "layer-origin";
pub(crate) const IMAGES: &str = "image-origin";
pub(crate) const CONFIGS: &str = "config-origin";
pub(crate) const UNPACKED: &str = "unpacked";

#[derive(Serialize, Deserialize)]
struct Record {
    media_type: String,
    diff_id: Digest,
    digest: Digest,
    size: u64,
}

/// The blob that a layer came as, wherever that is.
pub(crate) fn layer_anywhere(store: &Store, layer: &LayerId) -> Result<Option<LayerBlob>> {
    let Some(text) = store.name(LAYERS, &layer.hex())? else { return Ok(None) };
    let Ok(Record { media_type, diff_id, digest, size }) = serde_json::from_str(&text) else { return Ok(None) };
    let there = store.blobs().size(&digest)? == Some(size) || !store.blob_places(&digest)?.is_empty();
    Ok(there.then_some(LayerBlob { media_type, diff_id, digest, size }))
}

/// The blob that a layer came as, if it did and the blob is still here.
pub(crate) fn layer(store: &Store, layer: &LayerId) -> Result<Option<LayerBlob>> {
    let Some(text) = store.name(LAYERS, &layer.hex())? else { return Ok(None) };
    let Ok(Record { media_type, diff_id, digest, size }) = serde_json::from_str(&text) else { return Ok(None) };
    let here = store.blobs().size(&digest)? == Some(size);
    Ok(here.then_some(LayerBlob { media_type, diff_id, digest, size }))
}

/// The digest in a record of the blob that a layer came as.
pub(crate) fn blob_of(record: &str) -> Option<Digest> {
    serde_json::from_str::<Record>(record).ok().map(|record| record.digest)
}

/// Remembers the blob that a layer came as. The newest is the one that is surely here.
pub(crate) fn set_layer(store: &Store, layer: &LayerId, blob: &LayerBlob) -> Result<()> {
    let LayerBlob { media_type, diff_id, digest, size } = blob.clone();
    let record = serde_json::to_string(&Record { media_type, diff_id, digest, size }).unwrap_or_default();
    Ok(store.set_name(LAYERS, &layer.hex(), &record)?)
}

/// The manifest that an image came with.
pub(crate) fn manifest(store: &Store, image: &ImageId) -> Result<Option<Digest>> {
    Ok(store.name(IMAGES, &image.hex())?.and_then(|text| text.parse().ok()))
}

/// Remembers the manifest that an image came with.
pub(crate) fn set_manifest(store: &Store, image: &ImageId, manifest: Digest) -> Result<()> {
    Ok(store.set_name(IMAGES, &image.hex(), &manifest.to_string())?)
}

/// The config that an image came with.
pub(crate) fn config(store: &Store, image: &ImageId) -> Result<Option<Digest>> {
    Ok(store.name(CONFIGS, &image.hex())?.and_then(|text| text.parse().ok()))
}

/// Remembers the config that an image came with: its bytes are its name.
pub(crate) fn set_config(store: &Store, image: &ImageId, config: Digest) -> Result<()> {
    Ok(store.set_name(CONFIGS, &image.hex(), &config.to_string())?)
}

/// What a tar became: a layer, or nothing because there is nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpacked {
    Layer(LayerId),
    Nothing,
}

/// How a tar is remembered: by its DiffID, or, when what it becomes depends on the layers below, by its ChainID (image-spec,
/// config.md, *Layer ChainID*).
pub(crate) fn unpacked(store: &Store, tar: &Digest) -> Result<Option<Unpacked>> {
    let Some(text) = store.name(UNPACKED, &tar.hex())? else { return Ok(None) };
    match text.parse::<LayerId>() {
        Ok(id) => Ok(store.has_layer(&id)?.then_some(Unpacked::Layer(id))),
        Err(_) => Ok(Some(Unpacked::Nothing)),
    }
}

/// Remembers what a tar became.
pub(crate) fn set_unpacked(store: &Store, tar: &Digest, layer: Option<LayerId>) -> Result<()> {
    Ok(store.set_name(UNPACKED, &tar.hex(), &layer.map(|l| l.hex()).unwrap_or_default())?)
}

/// What is remembered of the tars of an image: their DiffIDs, or ChainIDs where these count.
pub(crate) fn tars(store: &Store, image: &ImageId) -> Result<Vec<Digest>> {
    let Some(config) = config(store, image)? else { return Ok(Vec::new()) };
    let Ok(bytes) = store.blobs().read(&config) else { return Ok(Vec::new()) };
    let diff_ids = crate::image::ConfigFile::parse(&bytes, config)?.diff_ids;
    let mut tars = Vec::new();
    for tar in chain(&diff_ids).into_iter().chain(diff_ids) {
        if !tars.contains(&tar) && store.name(UNPACKED, &tar.hex())?.is_some() {
            tars.push(tar);
        }
    }
    Ok(tars)
}

/// What a tar is remembered as, wherever its layer is.
pub(crate) fn unpacked_anywhere(store: &Store, tars: [&Digest; 2]) -> Result<Option<Unpacked>> {
    for tar in tars {
        match store.name(UNPACKED, &tar.hex())?.map(|text| text.parse::<LayerId>()) {
            Some(Ok(id)) => return Ok(Some(Unpacked::Layer(id))),
            Some(Err(_)) if store.name(UNPACKED, &tar.hex())?.as_deref() == Some("") => {
                return Ok(Some(Unpacked::Nothing));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(None)
}

/// The ChainID of each layer.
pub(crate) fn chain(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = chain.last().map_or(*diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()));
        chain.push(next);
    }
    chain
}
