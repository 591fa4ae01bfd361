//! From an object store.

use std::io::Write;
use std::ops::{Range, RangeInclusive};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange};

use super::{ObjectTier, fault};
use crate::error::At;
use crate::tier::{TierBlob, TierError, TierResult};
use crate::{BlobWriter, Digest, Store};

/// What comes is kept here.
trait Sink: Send {
    fn len(&self) -> u64;
    fn add(&mut self, bytes: &[u8]) -> crate::Result<()>;
    /// Forgets everything.
    fn restart(&mut self) -> crate::Result<()>;
}

impl Sink for Vec<u8> {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn add(&mut self, bytes: &[u8]) -> crate::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> crate::Result<()> {
        self.clear();
        Ok(())
    }
}

/// A blob on its way into the store.
struct Incoming<'a> {
    store: &'a Store,
    writer: BlobWriter,
    digest: Digest,
}

impl Sink for Incoming<'_> {
    fn len(&self) -> u64 {
        self.writer.size()
    }

    fn add(&mut self, bytes: &[u8]) -> crate::Result<()> {
        self.writer.write_all(bytes).at("write", &self.store.blobs().path(&self.digest))
    }

    fn restart(&mut self) -> crate::Result<()> {
        self.writer = self.store.blobs().writer()?;
        Ok(())
    }
}

impl ObjectTier {
    /// An object that fits into memory.
    pub(super) async fn receive_bytes(
        &self,
        at: &Path,
        digest: &Digest,
        size: RangeInclusive<u64>,
    ) -> TierResult<Vec<u8>> {
        let mut bytes = Vec::new();
        self.receive(at, digest, size, &mut bytes).await?;
        match Digest::of(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(corrupt(digest, format!("bytes with the digest {actual}"))),
        }
    }

    /// A blob into the store, unless it is there.
    pub(super) async fn receive_blob(&self, store: &Store, blob: &TierBlob) -> TierResult<()> {
        let (digest, size) = (blob.digest, blob.size);
        if store.blobs().size(&digest)? == Some(size) {
            return Ok(());
        }
        let mut incoming = Incoming { store, writer: store.blobs().writer()?, digest };
        self.receive(&self.blob_at(&digest), &digest, size..=size, &mut incoming).await?;
        let writer = incoming.writer;
        match blocking(move || writer.commit(Some((&digest, size)))).await? {
            Ok(_) => Ok(()),
            Err(crate::Error::WrongDigest { actual, .. }) => {
                Err(corrupt(&digest, format!("bytes with the digest {actual}")))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// A part of a blob.
    pub(super) async fn receive_range(&self, blob: &TierBlob, offset: u64, length: u64) -> TierResult<Vec<u8>> {
        let end = offset.checked_add(length).filter(|end| *end <= blob.size);
        let end = end.ok_or_else(|| corrupt(&blob.digest, format!("{length} bytes from {offset} on are not in it")))?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut failures = 0;
        loop {
            match self.part(blob, offset..end).await? {
                Ok(bytes) => return Ok(bytes),
                Err(why) if failures + 1 >= self.options.attempts => return Err(TierError::Unreachable(why)),
                Err(_) => failures += 1,
            }
            tokio::time::sleep(self.options.backoff).await;
        }
    }

    /// One attempt at it. When it breaks in the middle, the inner error says why, and another attempt may help.
    async fn part(&self, blob: &TierBlob, range: Range<u64>) -> TierResult<Result<Vec<u8>, String>> {
        let length = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let got = match tokio::time::timeout(
            self.options.patience,
            self.store.get_opts(&self.blob_at(&blob.digest), options),
        )
        .await
        {
            Ok(Ok(got)) => got,
            Ok(Err(e)) => return Err(fault::of_range(e)),
            Err(_) => return Err(self.stalled()),
        };
        if got.meta.size != blob.size || got.range != range {
            let why = format!("bytes {} to {} of {}", got.range.start, got.range.end, got.meta.size);
            return Err(corrupt(&blob.digest, why));
        }
        let mut stream = got.into_stream();
        let mut bytes = Vec::new();
        loop {
            match tokio::time::timeout(self.options.patience, stream.try_next()).await {
                Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
                Ok(Ok(None)) if bytes.len() as u64 == length => return Ok(Ok(bytes)),
                Ok(Ok(None)) => return Err(corrupt(&blob.digest, format!("{} of {length} bytes", bytes.len()))),
                Ok(Err(e)) => match fault::of(e) {
                    TierError::Unreachable(why) => return Ok(Err(why)),
                    e => return Err(e),
                },
                Err(_) => return Err(self.stalled()),
            }
            if bytes.len() as u64 > length {
                return Err(corrupt(&blob.digest, format!("more than the {length} bytes that were asked for")));
            }
        }
    }

    async fn receive(
        &self,
        at: &Path,
        digest: &Digest,
        size: RangeInclusive<u64>,
        sink: &mut dyn Sink,
    ) -> TierResult<()> {
        let (mut furthest, mut failures) = (0, 0);
        while let Some(why) = self.rest(at, digest, &size, sink).await? {
            // As long as something comes that was not here before, it goes on.
            failures = if sink.len() > furthest { 1 } else { failures + 1 };
            furthest = furthest.max(sink.len());
            if failures >= self.options.attempts {
                return Err(TierError::Unreachable(why));
            }
            tokio::time::sleep(self.options.backoff).await;
        }
        Ok(())
    }

    /// Appends what is missing of an object. When it breaks in the middle, that is no error yet: gives why, and another attempt may go on.
    async fn rest(
        &self,
        at: &Path,
        digest: &Digest,
        size: &RangeInclusive<u64>,
        sink: &mut dyn Sink,
    ) -> TierResult<Option<String>> {
        let range = (sink.len() > 0).then(|| GetRange::Offset(sink.len()));
        let got = self.within(self.store.get_opts(at, GetOptions { range, ..GetOptions::default() })).await;
        let got = match got {
            // Perhaps because the store cannot begin in the middle. Anything else the crate has tried again already.
            Err(TierError::Unreachable(why)) if sink.len() > 0 => {
                sink.restart()?;
                return Ok(Some(why));
            }
            got => got?,
        };
        let whole = got.meta.size;
        if !size.contains(&whole) {
            let wanted = if size.start() == size.end() { "instead of" } else { "which is more than" };
            return Err(corrupt(digest, format!("{whole} bytes {wanted} {}", size.end())));
        }
        let mut stream = got.into_stream();
        loop {
            match tokio::time::timeout(self.options.patience, stream.try_next()).await {
                Ok(Ok(Some(chunk))) if sink.len() + chunk.len() as u64 > whole => {
                    return Err(corrupt(digest, format!("more than the {whole} bytes that it should have")));
                }
                Ok(Ok(Some(chunk))) => sink.add(&chunk)?,
                Ok(Ok(None)) if sink.len() == whole => return Ok(None),
                Ok(Ok(None)) => return Ok(Some(format!("it ended after {} of {whole} bytes", sink.len()))),
                Ok(Err(e)) => match fault::of(e) {
                    TierError::Unreachable(why) => return Ok(Some(why)),
                    e => return Err(e),
                },
                Err(_) => return Err(self.stalled()),
            }
        }
    }
}

fn corrupt(digest: &Digest, why: String) -> TierError {
    TierError::Corrupt { digest: *digest, why }
}

/// Runs something that waits for the disk, in a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> TierResult<T> {
    // Only a panic or the end of the program keeps it from ending.
    tokio::task::spawn_blocking(f).await.map_err(|e| fault::of(e.into()))
}
