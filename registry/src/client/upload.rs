//! A blob from the store into a registry (distribution-spec, *Pushing blobs*).
//!
//! There are three ways, and no registry takes all of them well: with the request that opens the upload, in one piece, and in several. A
//! blob goes in one piece. A registry that refuses that gets several, and when a connection broke, the rest goes from where the registry
//! says that it stopped; one that refuses several gets it in one piece again.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, Url};
use shiplap_cache::{Digest, Store};

use super::fault::Fault;
use super::retry::Pauses;
use super::session::{Session, digest_of};
use crate::{Descriptor, Event, Result, Trouble};

mod body;

use body::Body;

/// A blob up to this size goes with the request that opens the upload: configs do.
const SMALL: u64 = 64 << 10;

/// The size of a piece. Registries and the proxies before them limit bodies, some to 1 MiB; a piece that is too large is made smaller.
const PIECE: u64 = 16 << 20;

/// No piece is made smaller than this.
const SMALLEST_PIECE: u64 = 256 << 10;

/// How often a blob in one piece may break before it goes in several.
const BREAKS: u32 = 2;

/// An upload that is open in the registry.
#[derive(Clone)]
struct Upload {
    at: Url,
    /// How much of the blob it has.
    offset: u64,
    /// How long a piece must be, but for the last (*Pushing a blob in chunks*, `OCI-Chunk-Min-Length`).
    least: u64,
    /// What it has is not what we think.
    is_torn: bool,
}

/// How far one attempt came.
enum Opened {
    /// The blob is in the registry, and nothing was sent for it.
    Mounted,
    /// The blob is in the registry.
    Done,
    At(Upload),
}

/// What is known of a blob on its way.
struct Course<'a> {
    blob: &'a Descriptor,
    body: Body,
    source: Option<&'a str>,
    upload: Option<Upload>,
    piece: u64,
    breaks: u32,
    refuses_pieces: bool,
    /// The last attempt was in one piece.
    went_whole: bool,
}

impl Session {
    /// Whether a blob is in the repository.
    pub(super) async fn has_blob(&self, blob: &Digest) -> Result<bool, Fault> {
        let answer = self.send(Method::HEAD, &self.url(&format!("blobs/{blob}"))?, Ok).await?;
        match answer.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(Fault::of(answer).await),
        }
    }

    /// Whether the repository has a blob, or has it now because the registry could mount it from another of its repositories. Nothing is sent.
    pub(super) async fn has_or_mounts(&self, blob: &Descriptor, source: Option<&str>) -> Result<bool> {
        let what = format!("push blob {} to {}", blob.digest, self.repository.familiar());
        if self.attempt(&what, || self.has_blob(&blob.digest)).await? {
            self.options.progress.event(Event::Present { blob: blob.digest, total: blob.size, up: true });
            return Ok(true);
        }
        let Some(source) = source else { return Ok(false) };
        let Ok(mut mount) = self.url("blobs/uploads/") else { return Ok(false) };
        mount.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", source);
        // An upload that it opens instead is left to time out.
        let answer = self.send_with(source, Method::POST, &mount).await;
        Ok(answer.is_ok_and(|answer| answer.status() == 201))
    }

    /// Sends a blob unless it is there. `source` is another repository of the registry that has it, to be mounted from (distribution-spec,
    /// *Mounting a blob from another repository*). Returns the bytes that were sent.
    pub(super) async fn upload(&self, store: &Store, blob: &Descriptor, source: Option<&str>) -> Result<u64> {
        let what = format!("push blob {} to {}", blob.digest, self.repository.familiar());
        let progress = &self.options.progress;
        let present = Event::Present { blob: blob.digest, total: blob.size, up: true };
        if self.attempt(&what, || self.has_blob(&blob.digest)).await? {
            progress.event(present);
            return Ok(0);
        }
        let body = Body::new(store.blobs().clone(), blob, progress.clone());
        let (piece, upload, breaks, refuses_pieces, went_whole) = (PIECE, None, 0, false, false);
        let mut course = Course { blob, body, source, upload, piece, breaks, refuses_pieces, went_whole };
        let mut pauses = Pauses::new(&self.options);
        loop {
            let before = course.upload.as_ref().map_or(0, |upload| upload.offset);
            let fault = match self.go_on(&mut course).await {
                Ok(false) => {
                    progress.event(present);
                    return Ok(0);
                }
                Ok(true) => return Ok(blob.size),
                Err(fault) => fault,
            };
            if self.turn(&mut course, &fault) {
                continue;
            }
            // As long as something arrives, it goes on.
            if course.upload.as_ref().is_some_and(|upload| upload.offset > before) {
                pauses = Pauses::new(&self.options);
            }
            if let Err(error) = self.pause(&what, fault, &mut pauses).await {
                // The registry refuses bytes that have another digest: say that it is our copy, if it is.
                let (store, digest) = (store.blobs().clone(), blob.digest);
                self.blocking(move || Ok(store.verify(&digest)?)).await?;
                return Err(error.into());
            }
        }
    }

    /// One attempt: says whether the blob was sent, and not mounted.
    async fn go_on(&self, course: &mut Course<'_>) -> Result<bool, Fault> {
        if let Some(upload) = course.upload.clone().filter(|upload| upload.is_torn) {
            course.upload = self.resume(upload, course).await?;
        }
        if course.upload.is_none() {
            match self.open(course).await? {
                Opened::Mounted => return Ok(false),
                Opened::Done => return Ok(true),
                Opened::At(upload) => course.upload = Some(upload),
            }
        }
        course.went_whole = self.is_whole(course);
        let whole = course.went_whole;
        let Some(upload) = &mut course.upload else { return Err(lost()) };
        upload.is_torn = true;
        if whole {
            self.put(upload, course.blob, Some(&course.body)).await?;
            return Ok(true);
        }
        while upload.offset < course.blob.size {
            let end = (upload.offset + course.piece.max(upload.least)).min(course.blob.size);
            self.patch(upload, &course.body, end).await?;
        }
        self.put(upload, course.blob, None).await?;
        Ok(true)
    }

    /// Whether a blob goes in one piece now.
    fn is_whole(&self, course: &Course<'_>) -> bool {
        let begins = course.upload.as_ref().is_none_or(|upload| upload.offset == 0);
        let goes = course.breaks < BREAKS && !self.host.refuses_whole.load(Ordering::Relaxed);
        begins && (course.refuses_pieces || goes)
    }

    /// After a failure: was this way refused, and is there another one? Then the next attempt goes it, at once.
    fn turn(&self, course: &mut Course<'_>, fault: &Fault) -> bool {
        let whole = course.went_whole;
        course.breaks += u32::from(fault.is_transient());
        let Some(upload) = &course.upload else { return false };
        if matches!(fault, Fault::Answer(r) if r.has(&["DIGEST_INVALID", "SIZE_INVALID", "NAME_UNKNOWN", "DENIED"])) {
            return false;
        }
        if !whole && fault.is_status(&[413]) && course.piece > SMALLEST_PIECE.max(upload.least) {
            course.piece /= 4;
            return true;
        }
        if course.refuses_pieces || !fault.is_status(&[400, 404, 405, 411, 413, 415, 416, 501]) {
            return false;
        }
        if whole {
            self.host.refuses_whole.store(true, Ordering::Relaxed);
        } else if self.host.refuses_whole.load(Ordering::Relaxed) {
            return false;
        } else {
            // It was sent in pieces because it broke in one. There is no other way.
            course.refuses_pieces = true;
        }
        course.upload = None;
        true
    }

    /// Opens an upload; with a repository to mount from, or a blob that is small, there may be no need for one.
    async fn open(&self, course: &mut Course<'_>) -> Result<Opened, Fault> {
        let url = self.url("blobs/uploads/")?;
        if let Some(source) = course.source.take() {
            let mut mount = url.clone();
            mount.query_pairs_mut().append_pair("mount", &course.blob.digest.to_string()).append_pair("from", source);
            // What was refused, perhaps because we may not read the other repository, is sent.
            if let Ok(answer) = self.send_with(source, Method::POST, &mount).await {
                match answer.status().as_u16() {
                    201 => return Ok(Opened::Mounted),
                    202 => return self.opened(&answer).map(Opened::At),
                    _ => {}
                }
            }
        }
        let single = course.blob.size <= SMALL && !self.host.refuses_single.load(Ordering::Relaxed);
        if single {
            let url = with_digest(&url, &course.blob.digest);
            let answer = self.carry(Method::POST, &url, &course.body, 0, course.blob.size, HeaderMap::new()).await?;
            if answer.status() == 201 {
                return check(&answer, &course.blob.digest).map(|()| Opened::Done);
            }
            // It opened an upload and left the blob alone, or it knows nothing of this.
            self.host.refuses_single.store(true, Ordering::Relaxed);
            if answer.status() == 202 {
                return self.opened(&answer).map(Opened::At);
            }
        }
        let answer = self.send(Method::POST, &url, |request| Ok(request.header(CONTENT_LENGTH, 0))).await?;
        match answer.status().as_u16() {
            202 => self.opened(&answer).map(Opened::At),
            _ => Err(Fault::of(answer).await),
        }
    }

    fn opened(&self, answer: &Response) -> Result<Upload, Fault> {
        let least = answer.headers().get("oci-chunk-min-length").and_then(|least| least.to_str().ok()?.parse().ok());
        let at = self.location(answer)?.ok_or_else(|| {
            Fault::Final(Trouble::Other("the registry opened an upload and does not say where (no Location)".into()))
        })?;
        Ok(Upload { at, offset: 0, least: least.unwrap_or(0), is_torn: false })
    }

    fn location(&self, answer: &Response) -> Result<Option<Url>, Fault> {
        let location = answer.headers().get(LOCATION).map(|location| location.to_str().unwrap_or_default());
        location.map(|location| self.host.resolve(answer.url(), location)).transpose()
    }

    /// Asks how much of a blob arrived before the connection broke (distribution-spec, *Pushing a blob in chunks*). None when the registry has
    /// forgotten the upload, or will not say.
    async fn resume(&self, upload: Upload, course: &Course<'_>) -> Result<Option<Upload>, Fault> {
        let answer = self.send(Method::GET, &upload.at, Ok).await?;
        if !answer.status().is_success() {
            let fault = Fault::of(answer).await;
            return if fault.is_transient() { Err(fault) } else { Ok(None) };
        }
        let Some(offset) = received(answer.headers()).filter(|offset| *offset <= course.blob.size) else {
            return Ok(None);
        };
        if offset > 0 && course.refuses_pieces {
            return Ok(None);
        }
        let at = self.location(&answer)?.unwrap_or(upload.at);
        Ok(Some(Upload { at, offset, is_torn: false, ..upload }))
    }

    /// Sends the piece of a blob up to `end`.
    async fn patch(&self, upload: &mut Upload, body: &Body, end: u64) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        if let Ok(range) = format!("{}-{}", upload.offset, end - 1).parse() {
            headers.insert(CONTENT_RANGE, range);
        }
        let answer = self.carry(Method::PATCH, &upload.at, body, upload.offset, end, headers).await?;
        match answer.status().as_u16() {
            201 | 202 | 204 => {}
            // It has more or less than we think, and says how much when it is asked.
            416 if upload.offset > 0 => return Err(Fault::Stalled("the registry has another part of the blob".into())),
            _ => return Err(forgotten(Fault::of(answer).await)),
        }
        upload.at = self.location(&answer)?.unwrap_or_else(|| upload.at.clone());
        upload.offset = match received(answer.headers()) {
            // It may have taken less than it was given, never more.
            Some(offset) if offset > upload.offset && offset <= end => offset,
            _ => end,
        };
        Ok(())
    }

    /// Ends an upload; with a body, the blob comes along.
    async fn put(&self, upload: &Upload, blob: &Descriptor, body: Option<&Body>) -> Result<(), Fault> {
        let url = with_digest(&upload.at, &blob.digest);
        let answer = match body {
            Some(body) => self.carry(Method::PUT, &url, body, 0, blob.size, HeaderMap::new()).await?,
            None => self.send(Method::PUT, &url, |request| Ok(request.header(CONTENT_LENGTH, 0))).await?,
        };
        match answer.status().as_u16() {
            // The spec has 201; some answer as to a PUT of something that is there.
            200 | 201 | 204 => check(&answer, &blob.digest),
            _ => Err(forgotten(Fault::of(answer).await)),
        }
    }

    /// Sends a part of a blob and waits for the answer, as long as bytes move.
    async fn carry(
        &self,
        method: Method,
        url: &Url,
        body: &Body,
        from: u64,
        to: u64,
        headers: HeaderMap,
    ) -> Result<Response, Fault> {
        let moved = std::sync::Arc::new(AtomicU64::new(from));
        let dress = |request: RequestBuilder| {
            moved.store(from, Ordering::Relaxed);
            let part = body.part(from, to, moved.clone()).map_err(|e| Fault::Final(Trouble::Other(e)))?;
            let request = request.headers(headers.clone()).header(CONTENT_TYPE, "application/octet-stream");
            Ok(request.header(CONTENT_LENGTH, to - from).body(part))
        };
        let moved = &moved;
        let carry = |request: RequestBuilder| async move {
            let mut answer = std::pin::pin!(request.send());
            loop {
                let before = moved.load(Ordering::Relaxed);
                // Who has everything may have to put it together.
                let patience = if before == to { self.options.patience * 5 } else { self.options.patience };
                match tokio::time::timeout(patience, &mut answer).await {
                    Ok(answer) => return Ok(answer?),
                    Err(_) if moved.load(Ordering::Relaxed) == before => return Err(self.stalled("nothing moved")),
                    Err(_) => {}
                }
            }
        };
        self.send_large(method, url, dress, carry).await
    }
}

/// An upload that the registry does not know any more is begun again, and not sent another way.
fn forgotten(fault: Fault) -> Fault {
    match fault {
        Fault::Answer(refusal) if refusal.has(&["BLOB_UPLOAD_UNKNOWN"]) => lost(),
        fault => fault,
    }
}

fn lost() -> Fault {
    Fault::Stalled("the registry has forgotten the upload".to_owned())
}

fn with_digest(url: &Url, digest: &Digest) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// How many bytes a registry has of an upload. `0-0` is what they say of none.
fn received(headers: &HeaderMap) -> Option<u64> {
    received_in(headers.get(RANGE)?.to_str().ok()?)
}

fn received_in(range: &str) -> Option<u64> {
    let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
    match (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// A registry that says which digest it has kept must have kept ours.
fn check(answer: &Response, expected: &Digest) -> Result<(), Fault> {
    match digest_of(answer.headers()) {
        Some(actual) if actual != *expected => {
            Err(Fault::Final(Trouble::Corrupt { expected: *expected, actual: format!("it kept {actual}") }))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_much_arrived() {
        assert_eq!(received_in("0-1023"), Some(1024));
        assert_eq!(received_in("bytes=0-9"), Some(10));
        assert_eq!(received_in("0-0"), Some(0));
        for odd in ["", "5-9", "0-", "x-y", "0--1"] {
            assert_eq!(received_in(odd), None, "{odd}");
        }
        assert_eq!(received_in(&format!("0-{}", u64::MAX)), None);
    }
}
