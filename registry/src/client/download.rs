//! A blob from a registry into the store.

use std::io::Write;

use futures::StreamExt;
use oci_client::client::BlobResponse;
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::manifest::OciDescriptor;
use shiplap_cache::{BlobWriter, Store};

use super::session::{OciResult, Session};
use super::trouble::{chain, is_transient};
use crate::{Descriptor, Error, Event, Result, Trouble};

impl Session {
    /// Fetches a blob unless it is here. What was fetched of it before the connection broke is not fetched again; a blob with the
    /// wrong digest or size is refused, and nothing of it is kept.
    pub(super) async fn download(&self, store: &Store, blob: &Descriptor) -> Result<()> {
        let progress = &self.options.progress;
        if store.blobs().size(&blob.digest)? == Some(blob.size) {
            progress.event(Event::Present { blob: blob.digest, total: blob.size, up: false });
            return Ok(());
        }
        let what = format!("pull blob {} of {}", blob.digest, self.repository.familiar());
        let mut writer = store.blobs().writer()?;
        let (mut pause, mut tries) = (self.options.backoff, 1);
        loop {
            let before = writer.size();
            match self.stream(blob, &mut writer, store).await {
                Ok(Ok(())) => break,
                Ok(Err(local)) => return Err(local),
                Err(e) => {
                    // As long as something comes, it goes on.
                    tries = if writer.size() > before { 1 } else { tries + 1 };
                    if !is_transient(&e) || tries > self.options.attempts {
                        return Err(self.explain(&what, e).into());
                    }
                    progress.event(Event::Retry { what: what.clone(), why: chain(&e) });
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        if writer.size() != blob.size {
            let actual = format!("{} bytes instead of {}", writer.size(), blob.size);
            return Err(self.error(&what, Trouble::Corrupt { expected: blob.digest, actual }).into());
        }
        let (digest, size) = (blob.digest, blob.size);
        match self.blocking(move || Ok(writer.commit(Some((&digest, size))))).await? {
            Err(shiplap_cache::Error::WrongDigest { expected, actual }) => {
                let actual = format!("bytes with the digest {actual}");
                Err(self.error(&what, Trouble::Corrupt { expected, actual }).into())
            }
            committed => Ok(committed.map(drop)?),
        }
    }

    /// Appends what is missing of a blob. The outer error is the network's, the inner one this machine's.
    async fn stream(&self, blob: &Descriptor, writer: &mut BlobWriter, store: &Store) -> OciResult<Result<()>> {
        let at = store.blobs().path(&blob.digest);
        let asked = OciDescriptor { digest: blob.digest.to_string(), ..OciDescriptor::default() };
        let offset = writer.size();
        let mut stream = match offset {
            0 => self.oci.pull_blob_stream(&self.any(), &asked).await?.stream,
            _ => match self.oci.pull_blob_stream_partial(&self.any(), &asked, offset, None).await? {
                BlobResponse::Partial(rest) => rest.stream,
                BlobResponse::Full(all) => {
                    match store.blobs().writer() {
                        Ok(fresh) => *writer = fresh,
                        Err(e) => return Ok(Err(e.into())),
                    }
                    all.stream
                }
            },
        };
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                // All came, and it is something else: that is found when the blob is committed, and said in our words.
                Err(e) if e.get_ref().is_some_and(|e| e.is::<DigestError>()) => return Ok(Ok(())),
                Err(e) => return Err(OciDistributionError::IoError(e)),
            };
            if writer.size() + chunk.len() as u64 > blob.size {
                let what = format!("pull blob {} of {}", blob.digest, self.repository.familiar());
                let actual = format!("more than the {} bytes that the manifest says", blob.size);
                return Ok(Err(self.error(&what, Trouble::Corrupt { expected: blob.digest, actual }).into()));
            }
            if let Err(source) = writer.write_all(&chunk) {
                return Ok(Err(Error::Io { what: "write", path: at, source }));
            }
            let (done, total) = (writer.size(), blob.size);
            self.options.progress.event(Event::Transfer { blob: blob.digest, done, total, up: false });
        }
        Ok(Ok(()))
    }
}
