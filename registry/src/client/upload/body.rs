//! What is sent of a blob: read as it goes, a little at a time.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use shiplap_cache::{BlobStore, Digest};

use crate::{Descriptor, Event, Progress};

/// How much is read at a time. Each blob on its way holds two or three of these.
const READ: u64 = 256 << 10;

/// A blob's file, of which parts can be sent, and sent again.
pub(super) struct Body {
    blobs: BlobStore,
    blob: Digest,
    total: u64,
    progress: Arc<dyn Progress>,
}

impl Body {
    pub fn new(blobs: BlobStore, blob: &Descriptor, progress: Arc<dyn Progress>) -> Self {
        Self { blobs, blob: blob.digest, total: blob.size, progress }
    }

    /// The bytes from one offset to another. `moved` says how far it is.
    pub fn part(&self, from: u64, to: u64, moved: Arc<AtomicU64>) -> Result<reqwest::Body, String> {
        // By its digest each time: a collection may have put it aside since the last part.
        let mut file = self.blobs.open_file(&self.blob).map_err(|e| e.to_string())?;
        file.seek(SeekFrom::Start(from)).map_err(|e| format!("cannot read blob {}: {e}", self.blob))?;
        let (blob, total, progress) = (self.blob, self.total, self.progress.clone());
        let parts = futures::stream::try_unfold((file, from), move |(mut file, done)| {
            let (progress, moved) = (progress.clone(), moved.clone());
            async move {
                let wanted = READ.min(to - done);
                if wanted == 0 {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || {
                    let mut part = Vec::with_capacity(wanted as usize);
                    (&mut file).take(wanted).read_to_end(&mut part).map(|_| (file, part))
                });
                let (file, part) = read.await.map_err(std::io::Error::other)??;
                let done = done + part.len() as u64;
                if part.is_empty() {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
                moved.store(done, Ordering::Relaxed);
                progress.event(Event::Transfer { blob, done, total, up: true });
                Ok(Some((Bytes::from(part), (file, done))))
            }
        });
        Ok(reqwest::Body::wrap_stream(parts))
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_blob_that_a_collection_put_aside_is_sent_all_the_same() {
        let home = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(home.path()).unwrap();
        let blob = Descriptor::new("x", blobs.put(b"hello").unwrap(), 5);
        let body = Body::new(blobs.clone(), &blob, Arc::new(crate::NoProgress));
        std::fs::rename(blobs.path(&blob.digest), home.path().join("quarantine").join(blob.digest.hex())).unwrap();
        let part = body.part(1, 4, Arc::default()).unwrap();
        let response = reqwest::Response::from(axum::http::Response::new(part));
        let sent: Vec<Bytes> = response.bytes_stream().try_collect().await.unwrap();
        assert_eq!(sent.concat(), b"ell");
    }
}
