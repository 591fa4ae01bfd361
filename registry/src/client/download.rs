//! A blob from a registry into the store.

use std::io::Write;

use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Method, Response};
use shiplap_cache::{BlobWriter, Store};

use super::fault::Fault;
use super::retry::Pauses;
use super::session::Session;
use crate::{Descriptor, Error, Event, Result, Trouble};

/// How often it is told how far a blob is: each time that so many bytes more have come.
const STEP: u64 = 256 << 10;

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
        let mut pauses = Pauses::new(&self.options);
        let mut furthest = 0;
        loop {
            match self.stream(blob, &mut writer, store).await {
                Ok(Ok(())) => break,
                Ok(Err(local)) => return Err(local),
                Err(fault) => {
                    // As long as something comes that was not here before, it goes on. A registry that breaks off and cannot go on either gets no further.
                    if writer.size() > furthest {
                        furthest = writer.size();
                        pauses = Pauses::new(&self.options);
                    }
                    self.pause(&what, fault, &mut pauses).await?;
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
    async fn stream(&self, blob: &Descriptor, writer: &mut BlobWriter, store: &Store) -> Result<Result<()>, Fault> {
        let at = store.blobs().path(&blob.digest);
        let answer = self.rest_of(blob, writer.size()).await?;
        if writer.size() > 0 && answer.as_ref().is_none_or(|answer| answer.status() != 206) {
            match store.blobs().writer() {
                Ok(fresh) => *writer = fresh,
                Err(e) => return Ok(Err(e.into())),
            }
        }
        let Some(answer) = answer else {
            return Err(Fault::Stalled("the registry could not go on where it stopped".to_owned()));
        };
        let (mut stream, mut told) = (answer.bytes_stream(), 0);
        loop {
            let chunk = match tokio::time::timeout(self.options.patience, stream.next()).await {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(chunk)) => chunk?,
                Err(_) => return Err(self.stalled("nothing came")),
            };
            if writer.size() + chunk.len() as u64 > blob.size {
                let actual = format!("more than the {} bytes that the manifest says", blob.size);
                return Err(Fault::Final(Trouble::Corrupt { expected: blob.digest, actual }));
            }
            if let Err(source) = writer.write_all(&chunk) {
                return Ok(Err(Error::Io { what: "write", path: at, source }));
            }
            let (done, total) = (writer.size(), blob.size);
            if done == total || done >= told + STEP {
                told = done;
                self.options.progress.event(Event::Transfer { blob: blob.digest, done, total, up: false });
            }
        }
    }

    /// Asks for a blob from an offset on. The answer has the rest of the blob in it, or all of it; none when the registry has no such part
    /// (`416`), or sends another one.
    async fn rest_of(&self, blob: &Descriptor, offset: u64) -> Result<Option<Response>, Fault> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let answer = self.send(Method::GET, &url, |request| {
            // The bytes are to come as they are kept: their digest is of these.
            let request = request.header(ACCEPT_ENCODING, "identity");
            Ok(if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request })
        });
        let answer = answer.await?;
        match answer.status().as_u16() {
            200 => Ok(Some(answer)),
            206 if offset > 0 && starts_at(&answer, offset) => Ok(Some(answer)),
            206 | 416 if offset > 0 => Ok(None),
            _ => Err(Fault::of(answer).await),
        }
    }
}

/// Whether a part of a blob begins where it should (RFC 9110, 14.4). A registry that does not say is believed: the digest decides.
fn starts_at(answer: &Response, offset: u64) -> bool {
    match answer.headers().get(CONTENT_RANGE).map(|range| range.to_str().unwrap_or_default()) {
        None => true,
        Some(range) => first_byte(range) == Some(offset),
    }
}

fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_begins() {
        assert_eq!(first_byte("bytes 100-199/200"), Some(100));
        assert_eq!(first_byte("bytes 0-0/*"), Some(0));
        assert_eq!(first_byte("bytes */200"), None);
        assert_eq!(first_byte("100-199/200"), None);
    }
}
