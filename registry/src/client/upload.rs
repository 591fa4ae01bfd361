//! A blob from the store into a registry.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use oci_client::errors::OciDistributionError;
use shiplap_cache::{Digest, Store};

use super::session::{OciResult, Session};
use crate::{Descriptor, Event, Progress, Result};

/// How much is read of a blob at a time; also the size of a piece when it is sent in pieces.
const PIECE: usize = 4 << 20;

impl Session {
    /// Sends a blob unless it is there. `source` is another repository of the registry that has it, to be mounted from (distribution-spec,
    /// *Mounting a blob from another repository*). Returns the bytes that were sent.
    pub(super) async fn upload(&self, store: &Store, blob: &Descriptor, source: Option<&str>) -> Result<u64> {
        let (here, digest) = (self.any(), blob.digest.to_string());
        let what = format!("push blob {digest} to {}", self.repository.familiar());
        let progress = &self.options.progress;
        if self.attempt(&what, || self.oci.blob_exists(&here, &digest)).await? {
            progress.event(Event::Present { blob: blob.digest, total: blob.size, up: true });
            return Ok(0);
        }
        if let Some(path) = source {
            let registry = self.repository.registry().to_owned();
            let from = oci_client::Reference::with_tag(registry, path.to_owned(), "latest".to_owned());
            // A registry that will not mount it opens an upload instead, which it forgets again.
            if self.oci.mount_blob(&here, &from, &digest).await.is_ok() {
                progress.event(Event::Present { blob: blob.digest, total: blob.size, up: true });
                return Ok(0);
            }
        }
        let sent = self.attempt(&what, || self.send(&self.oci, store, blob)).await;
        let sent = match sent {
            // Not every registry takes a blob in one piece.
            Err(e) if refuses_the_way(&e.trouble) => {
                let chunked = self.chunked().await.map_err(|e| self.explain(&what, e))?;
                self.attempt(&what, || self.send(&chunked, store, blob)).await
            }
            sent => sent,
        };
        if let Err(error) = sent {
            // The registry refuses bytes that have another digest: say that it is our copy, if it is.
            store.blobs().verify(&blob.digest)?;
            return Err(error.into());
        }
        Ok(blob.size)
    }

    async fn send(&self, oci: &oci_client::Client, store: &Store, blob: &Descriptor) -> OciResult<()> {
        let file = std::fs::File::open(store.blobs().path(&blob.digest)).map_err(OciDistributionError::IoError)?;
        let stream = pieces(file, blob.digest, blob.size, self.options.progress.clone());
        oci.push_blob_stream(&self.any(), stream, &blob.digest.to_string(), Some(blob.size)).await.map(drop)
    }
}

fn refuses_the_way(trouble: &crate::Trouble) -> bool {
    matches!(trouble, crate::Trouble::Status { status: 400 | 404 | 405 | 411 | 413 | 415 | 501, .. })
        || matches!(trouble, crate::Trouble::NotFound)
}

fn pieces(
    file: std::fs::File,
    blob: Digest,
    total: u64,
    progress: Arc<dyn Progress>,
) -> impl Stream<Item = OciResult<Bytes>> + Send + 'static {
    futures::stream::try_unfold((file, 0_u64), move |(mut file, done)| {
        let progress = progress.clone();
        async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE);
                (&mut file).take(PIECE as u64).read_to_end(&mut piece).map(|_| (file, piece))
            });
            let (file, piece) = read.await.map_err(std::io::Error::other)??;
            if piece.is_empty() {
                return Ok(None);
            }
            let done = done + piece.len() as u64;
            progress.event(Event::Transfer { blob, done, total, up: true });
            Ok(Some((Bytes::from(piece), (file, done))))
        }
    })
}
