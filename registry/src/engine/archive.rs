//! An image as `docker load` and `podman load` read it, made while it is sent.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use shiplap_cache::Store;

use super::parts::Parts;
use super::stream::stream;
use crate::archive::{blob_name, docker_files};
use crate::error::At;
use crate::tarball::{Head, Kind, Writer};
use crate::{Reference, Result};

/// The bytes of an archive with an image under these names, without its lowest `skipped` layers. An engine that has these looks for no file of
/// theirs (moby, `image/tarexport/load.go`: a layer is looked up by its ChainID first).
pub(super) fn archive(
    store: Arc<Store>,
    parts: Arc<Parts>,
    names: &[Reference],
    skipped: usize,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
    let layers: Vec<_> = parts.layers.iter().map(|layer| layer.blob.digest).collect();
    let documents = docker_files(&parts.manifest, &parts.config, &layers, names)?;
    Ok(stream(move |out| {
        let to = Path::new("the archive");
        let mut writer = Writer::new(out);
        for folder in ["blobs/", "blobs/sha256/"] {
            let head = Head { path: folder.into(), kind: Kind::Dir, mode: 0o755, ..Head::default() };
            writer.entry(&head, io::empty()).at("write", to)?;
        }
        for (name, bytes) in documents {
            let head = Head { path: name.into(), mode: 0o644, size: bytes.len() as u64, ..Head::default() };
            writer.entry(&head, &bytes[..]).at("write", to)?;
        }
        let mut written = HashSet::new();
        for layer in parts.layers.iter().skip(skipped).filter(|layer| written.insert(layer.blob.digest)) {
            let name = blob_name(&layer.blob.digest);
            let head = Head { path: name.into(), mode: 0o644, size: layer.blob.size, ..Head::default() };
            writer.filled(&head, |out| layer.write(&store, out))?;
        }
        writer.finish().at("write", to)?;
        Ok(())
    }))
}
