//! A blob, or a part of one, as the body of an answer (RFC 9110, section 14, *Range Requests*).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::task::JoinHandle;

/// How much is read at once.
const PIECE: u64 = 512 << 10;

/// Which part of a blob a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// A part that it has not.
    Nothing,
}

/// What the headers of a request ask of a blob of this size and tag.
pub(super) fn wanted(headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::All };
    // Bytes of another blob are no use beside those that the client has.
    if text(header::IF_RANGE).is_some_and(|other| other != etag) {
        return Wanted::All;
    }
    // A range that cannot be read is ignored, as is one of several: both are allowed, and no client of a registry asks for several.
    let Ok(ranges) = http_range_header::parse_range_header(range) else { return Wanted::All };
    if ranges.len() != 1 {
        return Wanted::All;
    }
    match ranges.validate(size) {
        Ok(valid) => match valid.first() {
            Some(range) => Wanted::Part(*range.start()..*range.end() + 1),
            None => Wanted::All,
        },
        Err(_) => Wanted::Nothing,
    }
}

/// Whether the client has what it asks for.
pub(super) fn has(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// An answer with these bytes of a file; without a file the headers alone.
pub(super) fn respond(file: Option<File>, size: u64, wanted: Wanted) -> Response {
    let (status, part) = match wanted {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Nothing => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, (part.end - part.start).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {}-{}/{size}", part.start, part.end - 1))
    {
        headers.insert(header::CONTENT_RANGE, range);
    }
    let body = file.map_or_else(Body::empty, |file| Body::from_stream(pieces(file, part)));
    (status, headers, body).into_response()
}

/// The bytes of a file, read in threads, one piece ahead of what is being sent.
fn pieces(file: File, part: Range<u64>) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let file = Arc::new(file);
    let next = read(&file, part.clone());
    futures::stream::try_unfold((file, part, next), |(file, mut part, next)| async move {
        let Some(next) = next else { return Ok(None) };
        let piece = next.await.map_err(io::Error::other)??;
        part.start += piece.len() as u64;
        let next = read(&file, part.clone());
        Ok(Some((piece, (file, part, next))))
    })
}

fn read(file: &Arc<File>, part: Range<u64>) -> Option<JoinHandle<io::Result<Bytes>>> {
    if part.is_empty() {
        return None;
    }
    let (file, len) = (file.clone(), (part.end - part.start).min(PIECE) as usize);
    Some(tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; len];
        // A file that is shorter than it was breaks the answer off, which the client sees.
        file.read_exact_at(&mut piece, part.start)?;
        Ok(Bytes::from(piece))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn one_range_is_honoured_and_anything_odd_is_not() {
        let of = |range: &'static str, size| wanted(&headers(&[(header::RANGE, range)]), size, "\"e\"");
        assert_eq!(of("bytes=0-3", 10), Wanted::Part(0..4));
        assert_eq!(of("bytes=7-", 10), Wanted::Part(7..10));
        assert_eq!(of("bytes=-2", 10), Wanted::Part(8..10));
        assert_eq!(of("bytes=9-99", 10), Wanted::Part(9..10));
        for nothing in ["bytes=10-", "bytes=10-12"] {
            assert_eq!(of(nothing, 10), Wanted::Nothing, "{nothing}");
        }
        for all in ["bytes=0-1,3-4", "pages=1-2", "bytes=", "bytes=b-a", "0-3"] {
            assert_eq!(of(all, 10), Wanted::All, "{all}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 10, ""), Wanted::All);
    }

    #[test]
    fn a_range_of_another_blob_is_none() {
        let of = |tag| wanted(&headers(&[(header::RANGE, "bytes=0-3"), (header::IF_RANGE, tag)]), 10, "\"e\"");
        assert_eq!(of("\"e\""), Wanted::Part(0..4));
        assert_eq!(of("\"f\""), Wanted::All);
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let of = |tag| has(&headers(&[(header::IF_NONE_MATCH, tag)]), "\"e\"");
        assert!(of("\"e\"") && of("\"d\", W/\"e\"") && of("*"));
        assert!(!of("\"d\"") && !of("e") && !of(""));
    }
}
