//! An image as an engine takes it: layers as plain tars, made while they are sent.
//!
//! On one machine compressing costs more than it saves. A tar has the same bytes each time, so it need not be kept: only its DiffID and its size are
//! remembered. A layer that came from a registry is handed over as the blob that it came as, for the engine may have that very blob.

use std::io::{self, Write};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use shiplap_cache::{Digest, LayerBlob, LayerId, Store};

use crate::compress::decompress;
use crate::error::At;
use crate::hash::Hashed;
use crate::media::{LAYER_TAR, LAYER_ZSTD, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::pack::config_bytes;
use crate::{Descriptor, Image, Result, origin, tarball};

/// The space of names for the tars of layers; names are `LayerId[; times=SECONDS]`.
const TARS: &str = "layer-tar";

/// An image, ready to be read.
#[derive(Debug)]
pub(super) struct Parts {
    pub manifest: (Descriptor, Vec<u8>),
    pub config: (Descriptor, Vec<u8>),
    /// The layers, bottom first.
    pub layers: Vec<Part>,
}

/// A layer.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub diff_id: Digest,
    /// As the manifest has it.
    pub blob: Descriptor,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// The bytes of a blob of the store.
    Blob(Digest),
    /// The tar in a blob of the store.
    Inside(Digest),
    /// The tar that is made of a layer, with no time later than that.
    Layer(LayerId, Option<i64>),
}

/// What is remembered of a tar.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Tar {
    diff_id: Digest,
    size: u64,
}

impl Parts {
    /// Works out an image's parts. Tars that were never made before are read once, several at a time.
    pub(super) fn of(store: &Store, image: &Image, clamp: Option<i64>, reads_zstd: bool) -> Result<Self> {
        let layers = image.layers.par_iter().map(|id| Part::of(store, id, clamp, reads_zstd));
        let layers: Vec<Part> = layers.collect::<Result<_>>()?;
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = config_bytes(store, image, &diff_ids, clamp)?;
        let config = (Descriptor::of(OCI_CONFIG, &config), config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: config.0.clone(),
            layers: layers.iter().map(|layer| layer.blob.clone()).collect(),
            subject: None,
            annotations: None,
        };
        let manifest = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
        Ok(Self { manifest: (Descriptor::of(OCI_MANIFEST, &manifest), manifest), config, layers })
    }

    /// Bytes of all layers.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.blob.size).sum()
    }
}

impl Part {
    fn of(store: &Store, id: &LayerId, clamp: Option<i64>, reads_zstd: bool) -> Result<Self> {
        if let Some(LayerBlob { media_type, diff_id, digest, size }) = origin::layer(store, id)? {
            if media_type != LAYER_ZSTD || reads_zstd {
                let blob = Descriptor::new(&media_type, digest, size);
                return Ok(Self { diff_id, blob, content: Content::Blob(digest) });
            }
            let content = Content::Inside(digest);
            let tar = known(store, &id.hex(), || measure(|out| content.write(store, out)))?;
            return Ok(Self { diff_id, blob: Descriptor::new(LAYER_TAR, diff_id, tar.size), content });
        }
        let clamp = match clamp {
            Some(latest) => store.index(id)?.iter().any(|entry| entry.mtime > latest).then_some(latest),
            None => None,
        };
        let content = Content::Layer(*id, clamp);
        let name = match clamp {
            Some(latest) => format!("{}; times={latest}", id.hex()),
            None => id.hex(),
        };
        let Tar { diff_id, size } = known(store, &name, || measure(|out| content.write(store, out)))?;
        Ok(Self { diff_id, blob: Descriptor::new(LAYER_TAR, diff_id, size), content })
    }

    /// Writes the bytes that the manifest names.
    pub(super) fn write(&self, store: &Store, out: &mut dyn Write) -> Result<()> {
        self.content.write(store, out)
    }
}

impl Content {
    fn write(&self, store: &Store, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Blob(blob) => {
                let at = store.blobs().path(blob);
                io::copy(&mut store.blobs().open_blob(blob)?, out).at("read", &at).map(drop)
            }
            Self::Inside(blob) => {
                let at = store.blobs().path(blob);
                let mut tar = decompress(store.blobs().open_blob(blob)?).at("read", &at)?.0;
                io::copy(&mut tar, out).at("decompress", &at).map(drop)
            }
            Self::Layer(id, clamp) => tarball::write_layer(out, &store.layer_dir(id), &*store.index(id)?, *clamp),
        }
    }
}

fn known(store: &Store, name: &str, make: impl FnOnce() -> Result<Tar>) -> Result<Tar> {
    if let Some(tar) = store.name(TARS, name)?.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(tar);
    }
    let tar = make()?;
    store.set_name(TARS, name, &serde_json::to_string(&tar).map_err(shiplap_cache::Error::from)?)?;
    Ok(tar)
}

fn measure(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Tar> {
    let mut out = io::BufWriter::with_capacity(1 << 17, Hashed::new(Counted(0)));
    write(&mut out)?;
    let at = std::path::Path::new("a layer");
    let hashed = out.into_inner().map_err(io::IntoInnerError::into_error).at("read", at)?;
    let (Counted(size), diff_id) = hashed.finish();
    Ok(Tar { diff_id, size })
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
