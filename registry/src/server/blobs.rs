//! Blobs that are asked for or taken away.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shiplap_cache::{Digest, Unlinked};

use super::released::Kind;
use super::{CONTENT_DIGEST, Fault, Inner, Name, Server, code, send};

/// end-2, *Pulling blobs*: `GET` and `HEAD`. Who asks by `HEAD` will rely on the answer, so it keeps the blob from being collected.
pub(super) async fn get(
    server: Server,
    name: Name,
    digest: Digest,
    headers: HeaderMap,
    is_head: bool,
) -> Result<Response, Fault> {
    let etag = format!("\"{digest}\"");
    let (file, size) = server
        .read(move |inner| {
            let size = match is_head {
                true => inner.images.store().renew_blob(name.as_str(), &digest)?,
                false => inner.images.store().linked_blob(name.as_str(), &digest)?,
            };
            let size = match size {
                Some(size) => size,
                None => inner.released_blob(&name, &digest)?.ok_or_else(|| unknown(&name, &digest))?,
            };
            if is_head {
                return Ok((None, size));
            }
            match inner.images.store().blobs().open_file(&digest) {
                Ok(file) => Ok((Some(file), size)),
                Err(shiplap_cache::Error::MissingBlob(_)) => Err(unknown(&name, &digest)),
                Err(e) => Err(e.into()),
            }
        })
        .await?;
    let mut response = if send::has(&headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        send::respond(file, size, send::wanted(&headers, size, &etag))
    };
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if status != StatusCode::RANGE_NOT_SATISFIABLE {
        // The bytes behind a digest never change, and belong to who may see them.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    }
    set_digest(headers, &digest);
    Ok(response)
}

/// end-10, *Deleting Blobs*. What a manifest of the repository needs stays.
pub(super) async fn delete(server: Server, name: Name, digest: Digest) -> Result<Response, Fault> {
    server
        .write(move |inner| match inner.images.store().unlink_blob(name.as_str(), &digest)? {
            Unlinked::Done => Ok(StatusCode::ACCEPTED.into_response()),
            Unlinked::Needed(manifest) => {
                let message = format!("{digest} is a part of {manifest} in {name}: delete that first");
                Err(Fault::new(code::DENIED, message))
            }
            Unlinked::Absent if inner.released_blob(&name, &digest)?.is_some() => {
                let message =
                    format!("{digest} is a part of a release that was made on the registry's machine, and stays");
                Err(Fault::new(code::DENIED, message))
            }
            Unlinked::Absent => Err(unknown(&name, &digest)),
        })
        .await
}

impl Inner {
    /// The size of a blob that can be read through a repository: linked there, or released.
    pub(super) fn readable(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Fault> {
        match self.images.store().linked_blob(name.as_str(), digest)? {
            Some(size) => Ok(Some(size)),
            None => self.released_blob(name, digest),
        }
    }

    /// The size of a blob of an image that was released here.
    pub(super) fn released_blob(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Fault> {
        match self.released.find(&self.images, name, digest)? {
            Some(Kind::Blob) => Ok(self.images.store().blobs().size(digest)?),
            _ => Ok(None),
        }
    }
}

/// Names the content of an answer. `ETag` is for caches and for going on with a part.
pub(super) fn set_digest(headers: &mut HeaderMap, digest: &Digest) {
    for (name, text) in [(CONTENT_DIGEST, digest.to_string()), (header::ETAG, format!("\"{digest}\""))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}

fn unknown(name: &Name, digest: &Digest) -> Fault {
    let detail = serde_json::json!({ "digest": digest });
    Fault::new(code::BLOB_UNKNOWN, format!("{name} has no blob {digest}")).detail(detail)
}
