//! A part of a blob (distribution-spec, *Pulling blobs*; RFC 9110, 14.2).

use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Method, Response};
use shiplap_cache::tier::TierBlob;

use super::super::Session;
use super::super::fault::Fault;
use crate::{RemoteError, Trouble};

impl Session {
    /// Fetches some bytes of a blob, which nobody has checked. None of a registry that sends blobs whole alone.
    pub(super) async fn range(
        &self,
        blob: &TierBlob,
        offset: u64,
        length: u64,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        let what = format!("pull a part of blob {} of {}", blob.digest, self.repository.familiar());
        let corrupt = |actual: String| Fault::Final(Trouble::Corrupt { expected: blob.digest, actual });
        let end = offset.checked_add(length).filter(|end| *end <= blob.size);
        let Some(end) = end else {
            let actual = format!("no {length} bytes from {offset} on");
            return Err(self.explain(&what, corrupt(actual)));
        };
        if length == 0 {
            return Ok(Some(Vec::new()));
        }
        let call = || async {
            let url = self.url(&format!("blobs/{}", blob.digest))?;
            let answer = self.send(Method::GET, &url, |request| {
                // The bytes are to come as they are kept: the offsets are of these.
                Ok(request.header(ACCEPT_ENCODING, "identity").header(RANGE, format!("bytes={offset}-{}", end - 1)))
            });
            let answer = answer.await?;
            match answer.status().as_u16() {
                206 => {}
                200 => return Ok(None),
                416 => return Err(corrupt(format!("no bytes {offset} to {}", end - 1))),
                _ => return Err(Fault::of(answer).await),
            }
            let said = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
            if !is_range(said, offset, end - 1, blob.size) {
                return Err(corrupt(format!("`{said}` for the bytes {offset} to {}", end - 1)));
            }
            let bytes = self.exactly(answer, length).await?;
            bytes.map(Some).map_err(corrupt)
        };
        self.attempt(&what, call).await
    }

    /// The body of an answer, which must have so many bytes. The inner error is that it has others.
    async fn exactly(&self, answer: Response, length: u64) -> Result<Result<Vec<u8>, String>, Fault> {
        let mut body = Vec::new();
        let mut stream = answer.bytes_stream();
        loop {
            match tokio::time::timeout(self.options.patience, stream.next()).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk?),
                Ok(None) if body.len() as u64 == length => return Ok(Ok(body)),
                Ok(None) => return Ok(Err(format!("{} bytes instead of {length}", body.len()))),
                Err(_) => return Err(self.stalled("nothing came")),
            }
            if body.len() as u64 > length {
                return Ok(Err(format!("more than the {length} bytes that were asked for")));
            }
        }
    }
}

/// Whether an answer has the part that was asked for (RFC 9110, 14.4). How long the blob is need not be said.
fn is_range(said: &str, first: u64, last: u64, size: u64) -> bool {
    let Some((range, whole)) = said.strip_prefix("bytes ").and_then(|range| range.split_once('/')) else {
        return false;
    };
    let ends = range.split_once('-').map(|(from, to)| (from.trim().parse(), to.trim().parse()));
    let is_whole = whole == "*" || whole.trim().parse() == Ok(size);
    matches!(ends, Some((Ok(from), Ok(to))) if (from, to) == (first, last)) && is_whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_part_or_a_part_of_another_blob_is_seen() {
        assert!(is_range("bytes 5-9/20", 5, 9, 20));
        assert!(is_range("bytes 5-9/*", 5, 9, 20));
        for odd in ["", "5-9/20", "bytes 4-9/20", "bytes 5-8/20", "bytes 5-9/21", "bytes */20", "bytes 5-9"] {
            assert!(!is_range(odd, 5, 9, 20), "{odd}");
        }
    }
}
