//! Manifests, by tag and by digest.

use std::collections::HashSet;
use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::json;
use shiplap_cache::{Digest, NewManifest, NewTag, Removed, Served, ServedManifest};

use super::blobs::set_digest;
use super::document::Document;
use super::released::{self, Kind};
use super::{CONTENT_DIGEST, Fault, Inner, Name, Server, Tag, Target, code, detached, send};
use crate::client::TAG_IS_KEPT;
use crate::images::TAGS;

/// The most bytes of a manifest: what every registry should take, and no more (*Pushing Manifests*).
const MAX_MANIFEST: usize = 4 << 20;
/// Manifests above this are taken a few at a time: read, they are several times as large.
const SMALL: usize = 128 << 10;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// end-3, *Pulling manifests*: `GET` and `HEAD`. It is sent as what it was pushed as, whatever `Accept` says: its digest is of these bytes.
pub(super) async fn get(server: Server, name: Name, target: Target, headers: HeaderMap) -> Result<Response, Fault> {
    let (digest, media_type, bytes) = server
        .read(move |inner| {
            let digest = match &target {
                Target::Digest(digest) => *digest,
                Target::Tag(tag) => inner.tag(&name, tag)?.ok_or_else(|| unknown(&name, tag))?,
            };
            let media_type = match inner.images.store().served_manifest(name.as_str(), &digest)? {
                Some(manifest) => manifest.media_type,
                None => match inner.released.find(&inner.images, &name, &digest)? {
                    Some(Kind::Manifest(media_type)) => media_type,
                    _ => return Err(unknown(&name, &digest)),
                },
            };
            match inner.images.store().blobs().read(&digest) {
                Ok(bytes) => Ok((digest, media_type, bytes)),
                // It was damaged and put away: who hears that it is not there pushes it again.
                Err(shiplap_cache::Error::MissingBlob(_)) => Err(unknown(&name, &digest)),
                Err(e) => Err(e.into()),
            }
        })
        .await?;
    let mut response = if send::has(&headers, &format!("\"{digest}\"")) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    set_digest(response.headers_mut(), &digest);
    if let Ok(media_type) = HeaderValue::from_str(&media_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    }
    Ok(response)
}

/// end-7, *Pushing Manifests*. It is served when everything that it names is in the repository, and its tag with it, in one transaction.
pub(super) async fn put(
    server: Server,
    name: Name,
    target: Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    detached(async move {
        let (bytes, permit) = gather(&server, &headers, body).await?;
        let put = move |inner: &Inner| {
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let done = inner.put(&name, &target, &bytes, content_type);
            drop(permit);
            done
        };
        server.write(put).await
    })
    .await
}

/// end-9, *Deleting tags* and *Deleting Manifests*.
pub(super) async fn delete(server: Server, name: Name, target: Target) -> Result<Response, Fault> {
    let delete = move |inner: &Inner| match &target {
        Target::Tag(tag) => inner.delete_tag(&name, tag),
        Target::Digest(digest) => inner.delete_manifest(&name, digest),
    };
    server.write(delete).await.map(|()| StatusCode::ACCEPTED.into_response())
}

/// Reads a manifest. With a large one comes the right to work on it.
async fn gather(
    server: &Server,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Option<tokio::sync::OwnedSemaphorePermit>), Fault> {
    let too_large = || {
        let message = format!("a manifest may have {MAX_MANIFEST} bytes, and this one has more");
        Fault::new(code::SIZE_INVALID, message).status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_MANIFEST as u64) {
        return Err(too_large());
    }
    let (mut bytes, mut permit, mut stream) = (BytesMut::new(), None, body.into_data_stream());
    let cut = |why: &str| Fault::new(code::MANIFEST_INVALID, format!("the body broke off: {why}"));
    loop {
        let next = tokio::time::timeout(server.inner.uploads.expiry(), stream.next()).await;
        let Some(piece) = next.map_err(|_| cut("nothing came for too long"))? else {
            return Ok((bytes.freeze(), permit));
        };
        let piece = piece.map_err(|e| cut(&e.to_string()))?;
        if bytes.len() + piece.len() > MAX_MANIFEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
        if bytes.len() > SMALL && permit.is_none() {
            permit = server.inner.large_manifests.clone().acquire_owned().await.ok();
        }
    }
}

impl Inner {
    /// The manifest that a tag stands for: one that was pushed, else one that was released.
    fn tag(&self, name: &Name, tag: &Tag) -> Result<Option<Digest>, Fault> {
        match self.images.store().served_tag(name.as_str(), tag.as_str())? {
            Some(digest) => Ok(Some(digest)),
            None => Ok(released::tag(&self.images, name, tag)?),
        }
    }

    fn put(&self, name: &Name, target: &Target, bytes: &[u8], content_type: Option<&str>) -> Result<Response, Fault> {
        let digest = Digest::of(bytes);
        let tag = match target {
            Target::Tag(tag) => Some(tag),
            Target::Digest(expected) if *expected != digest => {
                let message = format!("the manifest has the digest {digest}, and is pushed as {expected}");
                return Err(Fault::new(code::DIGEST_INVALID, message));
            }
            Target::Digest(_) => None,
        };
        let invalid =
            |why: String| Fault::new(code::MANIFEST_INVALID, format!("this is no manifest for {name}: {why}"));
        let document = Document::parse(bytes, content_type).map_err(invalid)?;
        // A damaged copy is replaced.
        let blobs = self.images.store().blobs();
        if blobs.read(&digest).is_err() {
            let mut writer = blobs.writer()?;
            writer.write_all(bytes).map_err(|e| Fault::storage(&e))?;
            writer.commit(None)?;
        }
        self.serve(name, digest, bytes.len() as u64, &document, tag)?;
        let location = format!("/v2/{name}/manifests/{digest}");
        let headers = [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())];
        let mut response = (StatusCode::CREATED, headers).into_response();
        // *Pushing Manifests with Subject*: it says that referrers are listed by this registry.
        if let Some(Ok(subject)) = document.subject.map(|subject| HeaderValue::from_str(&subject.to_string())) {
            response.headers_mut().insert(SUBJECT, subject);
        }
        // Our own client need not wait to see whether somebody else moves it.
        if tag.is_some_and(|tag| self.options.immutable.covers(name, tag)) {
            let kept = HeaderName::from_static(TAG_IS_KEPT);
            response.headers_mut().insert(kept, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    fn serve(
        &self,
        name: &Name,
        digest: Digest,
        size: u64,
        document: &Document,
        tag: Option<&Tag>,
    ) -> Result<(), Fault> {
        let store = self.images.store();
        let (mut known, mut blobs) = (HashSet::new(), document.blobs.clone());
        for (foreign, size) in &document.foreign {
            if self.readable(name, foreign)? == Some(*size) {
                blobs.push((*foreign, *size));
            }
        }
        for (blob, _) in &blobs {
            if store.linked_blob(name.as_str(), blob)?.is_none() && self.released_blob(name, blob)?.is_some() {
                known.insert(*blob);
            }
        }
        for manifest in &document.manifests {
            self.adopt(name, manifest)?;
        }
        let same_as = tag.and_then(|tag| released::reference(name, tag)).map(|reference| reference.to_string());
        let new = NewManifest {
            manifest: ServedManifest {
                digest,
                media_type: document.media_type.clone(),
                size,
                artifact_type: document.artifact_type.clone(),
                annotations: document.annotations.clone(),
            },
            subject: document.subject,
            blobs: &blobs,
            manifests: &document.manifests,
            known: &known,
            tag: tag.map(|tag| NewTag {
                tag: tag.as_str(),
                fixed: self.options.immutable.covers(name, tag),
                same_as: same_as.as_deref().map(|name| (TAGS, name)),
            }),
        };
        match store.serve_manifest(name.as_str(), &new)? {
            Served::Done => Ok(()),
            Served::MissingBlobs(missing) => Err(all(&missing, |blob| {
                let message = format!("{name} has no blob {blob}, which the manifest names: push it first");
                Fault::new(code::MANIFEST_BLOB_UNKNOWN, message).detail(json!({ "digest": blob }))
            })),
            Served::MissingManifests(missing) => Err(all(&missing, |child| {
                let message = format!("{name} has no manifest {child}, which the index names: push it first");
                let unknown = code::Code { status: StatusCode::BAD_REQUEST, ..code::MANIFEST_UNKNOWN };
                Fault::new(unknown, message).detail(json!({ "digest": child }))
            })),
            Served::WrongSize { blob, expected, actual } => {
                let message = format!("the manifest says that {blob} has {expected} bytes, and it has {actual}");
                Err(Fault::new(code::SIZE_INVALID, message).detail(json!({ "digest": blob })))
            }
            Served::Taken(existing) => {
                let tag = tag.map(Tag::as_str).unwrap_or_default();
                let message = format!(
                    "{name}:{tag} exists and is {existing}, not {digest}: this tag never moves; push under a new one"
                );
                let detail = json!({ "tag": tag, "existing": existing, "refused": digest });
                Err(Fault::new(code::DENIED, message).status(StatusCode::CONFLICT).detail(detail))
            }
        }
    }

    /// A manifest that can be read because it was released becomes one of the repository, when an index needs it.
    fn adopt(&self, name: &Name, digest: &Digest) -> Result<(), Fault> {
        let store = self.images.store();
        if store.served_manifest(name.as_str(), digest)?.is_some() {
            return Ok(());
        }
        let Some(Kind::Manifest(media_type)) = self.released.find(&self.images, name, digest)? else { return Ok(()) };
        let bytes = store.blobs().read(digest)?;
        let document = Document::parse(&bytes, Some(&media_type)).map_err(|why| {
            Fault::new(
                code::MANIFEST_INVALID,
                format!("the manifest {digest}, which the index names, cannot be served: {why}"),
            )
        })?;
        self.serve(name, *digest, bytes.len() as u64, &document, None)
    }

    fn delete_tag(&self, name: &Name, tag: &Tag) -> Result<(), Fault> {
        let store = self.images.store();
        if self.is_kept(name, tag) {
            // It is only looked at: a tag that somebody makes at this moment stays too.
            if store.served_tag(name.as_str(), tag.as_str())?.is_some() {
                return Err(kept(&format!("{name}:{tag}"), tag.as_str()));
            }
        } else if store.unserve_tag(name.as_str(), tag.as_str())? {
            return Ok(());
        }
        match released::tag(&self.images, name, tag)? {
            Some(_) => Err(made_here(&format!("{name}:{tag}"))),
            None => Err(unknown(name, tag)),
        }
    }

    fn delete_manifest(&self, name: &Name, digest: &Digest) -> Result<(), Fault> {
        if self.released.find(&self.images, name, digest)?.is_some() {
            return Err(made_here(&format!("{name}@{digest}")));
        }
        let is_kept = |tag: &str| tag.parse::<Tag>().is_ok_and(|tag| self.is_kept(name, &tag));
        match self.images.store().unserve_manifest(name.as_str(), digest, is_kept)? {
            Removed::Done => Ok(()),
            Removed::Absent => Err(unknown(name, digest)),
            Removed::Protected(tag) => Err(kept(&format!("{name}@{digest}"), &tag)),
        }
    }

    fn is_kept(&self, name: &Name, tag: &Tag) -> bool {
        !self.options.delete_immutable && self.options.immutable.covers(name, tag)
    }
}

fn all(missing: &[Digest], fault: impl Fn(&Digest) -> Fault) -> Fault {
    // A client can do no more with a thousand.
    let mut faults = missing.iter().take(100).map(fault);
    let first =
        faults.next().unwrap_or_else(|| Fault::new(code::MANIFEST_INVALID, "something that it names is missing"));
    faults.fold(first, Fault::and)
}

fn unknown(name: &Name, reference: &dyn std::fmt::Display) -> Fault {
    Fault::new(code::MANIFEST_UNKNOWN, format!("{name} has no manifest {reference}"))
}

fn kept(what: &str, tag: &str) -> Fault {
    let message = format!(
        "{what} stays: the tag {tag} never moves, and what it stands for is not deleted; the registry's owner can allow it"
    );
    Fault::new(code::DENIED, message).detail(json!({ "tag": tag }))
}

fn made_here(what: &str) -> Fault {
    Fault::new(code::DENIED, format!("{what} was released on the registry's machine, and is only to be read here"))
}
