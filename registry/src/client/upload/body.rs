//! What is sent of a blob: read as it goes, a little at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use shiplap_cache::Digest;

use crate::{Descriptor, Event, Progress};

/// How much is read at a time. Each blob on its way holds two or three of these.
const READ: u64 = 256 << 10;

/// A blob's file, of which parts can be sent, and sent again.
pub(super) struct Body {
    path: PathBuf,
    blob: Digest,
    total: u64,
    progress: Arc<dyn Progress>,
}

impl Body {
    pub fn new(path: PathBuf, blob: &Descriptor, progress: Arc<dyn Progress>) -> Self {
        Self { path, blob: blob.digest, total: blob.size, progress }
    }

    /// The bytes from one offset to another. `moved` says how far it is.
    pub fn part(&self, from: u64, to: u64, moved: Arc<AtomicU64>) -> Result<reqwest::Body, String> {
        let failed = |e: std::io::Error| format!("cannot read {}: {e}", self.path.display());
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
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
