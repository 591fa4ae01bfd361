//! Blobs that come (distribution-spec, *Pushing blobs*): in one request, in two, or in pieces.
//!
//! What writes runs in a task of its own: a client that goes away while bytes are written leaves its upload in order.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use shiplap_cache::{BlobWriter, Digest, Error};

use super::receive::{Limits, receive, too_large};
use super::uploads::{Claim, Upload};
use super::{CONTENT_DIGEST, Fault, Inner, Name, Query, Server, UploadId, code, detached, route};

/// The name of an upload by itself, as distribution's servers send it.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// end-4a, end-4b and end-11: `POST`. Begins an upload, or takes a whole blob, or mounts one of another repository.
pub(super) async fn begin(
    server: Server,
    name: Name,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    // *Mounting a blob from another repository*: what cannot be mounted is uploaded.
    if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from"))
        && let (Ok(digest), Ok(from)) = (mount.parse::<Digest>(), from.parse::<Name>())
    {
        let to = name.clone();
        let mounted = move |inner: &Inner| {
            let store = inner.images.store();
            Ok(inner.readable(&from, &digest)?.is_some() && store.link_blob(to.as_str(), &digest)?)
        };
        if server.write(mounted).await? {
            return Ok(created(&name, &digest));
        }
    }
    let digest = query.get("digest").map(route::digest).transpose()?;
    let announced = content_length(&headers)?;
    if digest.is_some() {
        server.inner.check_size(0, announced)?;
    }
    let writer = server.read(|inner| Ok(inner.images.store().blobs().writer()?)).await?;
    let upload = server.inner.uploads.begin(name.clone(), writer)?;
    // *POST then PUT* goes on from here, *Single POST* is whole after this body.
    let Some(digest) = digest else { return Ok(at(&upload, StatusCode::ACCEPTED)) };
    let id = upload.id;
    let put = detached(async move {
        let claim = upload.claim()?;
        let claim = fill(&server, &upload, claim, body, announced).await;
        let finished = match claim {
            Ok(claim) => finish(&server, &upload, claim, digest).await,
            Err(fault) => Err(fault),
        };
        // Nobody was told of this upload, so nobody goes on with it.
        server.inner.uploads.end(id);
        finished
    });
    put.await
}

/// end-5: `PATCH`, *Pushing a blob in chunks*. Without a `Content-Range` the body goes on where the upload is.
pub(super) async fn patch(
    server: Server,
    name: Name,
    id: UploadId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let upload = server.inner.uploads.find(&name, id)?;
    detached(async move {
        let claim = upload.claim()?;
        let announced = check(&server, &upload, &headers)?;
        fill(&server, &upload, claim, body, announced).await.map_err(|fault| place(&upload, fault))?;
        Ok(at(&upload, StatusCode::ACCEPTED))
    })
    .await
}

/// end-6: `PUT` with the last bytes, or none, and the digest of all.
pub(super) async fn put(
    server: Server,
    name: Name,
    id: UploadId,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let upload = server.inner.uploads.find(&name, id)?;
    let missing = || {
        Fault::new(code::DIGEST_INVALID, "the digest of the blob is missing: finish the upload with ?digest=sha256:...")
    };
    let digest = route::digest(query.get("digest").ok_or_else(missing)?)?;
    detached(async move {
        let claim = upload.claim()?;
        let announced = check(&server, &upload, &headers)?;
        let claim = fill(&server, &upload, claim, body, announced).await.map_err(|fault| place(&upload, fault))?;
        finish(&server, &upload, claim, digest).await
    })
    .await
}

/// end-13: `GET`, the status of an upload.
pub(super) fn status(server: &Server, name: &Name, id: UploadId) -> Result<Response, Fault> {
    let upload = server.inner.uploads.find(name, id)?;
    // Who asks will go on.
    upload.note(upload.size());
    Ok(at(&upload, StatusCode::NO_CONTENT))
}

/// end-14 of later versions, *Canceling an upload*: `DELETE`.
pub(super) fn cancel(server: &Server, name: &Name, id: UploadId) -> Result<Response, Fault> {
    let upload = server.inner.uploads.find(name, id)?;
    // A request that is writing to it finds out at its end.
    if let Ok(mut claim) = upload.claim() {
        *claim = None;
    }
    server.inner.uploads.end(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes a body into an upload. The upload is gone when it cannot be gone on with.
async fn fill(
    server: &Server,
    upload: &Upload,
    mut claim: Claim,
    body: Body,
    announced: Option<u64>,
) -> Result<Claim, Fault> {
    let uploads = &server.inner.uploads;
    let Some(writer) = claim.take() else { return Err(ended(upload)) };
    let limits = Limits { blob: server.inner.options.max_blob, announced, idle: uploads.expiry() };
    let (writer, outcome) = receive(writer, body, limits, |size| upload.note(size)).await;
    if writer.is_none() {
        uploads.end(upload.id);
    }
    *claim = writer;
    outcome.map(|()| claim)
}

/// Puts a blob into its place and links it: all of it on disk when this returns.
async fn finish(server: &Server, upload: &Upload, mut claim: Claim, digest: Digest) -> Result<Response, Fault> {
    let Some(writer) = claim.take() else { return Err(ended(upload)) };
    let name = upload.name().clone();
    // It may have been cancelled while its last bytes came.
    server.inner.uploads.find(&name, upload.id)?;
    let to = name.clone();
    let done = server.write(move |inner| keep(inner, writer, &to, digest)).await;
    server.inner.uploads.end(upload.id);
    done.map(|()| created(&name, &digest))
}

fn keep(inner: &Inner, writer: BlobWriter, name: &Name, digest: Digest) -> Result<(), Fault> {
    let size = writer.size();
    match writer.commit(Some((&digest, size))) {
        Ok(_) => {}
        Err(Error::WrongDigest { actual, .. }) => {
            let message = format!(
                "the {size} bytes that came have the digest {actual}, not {digest}: the upload is dropped, push the blob again"
            );
            return Err(Fault::new(code::DIGEST_INVALID, message));
        }
        Err(e) => return Err(e.into()),
    }
    if inner.images.store().link_blob(name.as_str(), &digest)? {
        Ok(())
    } else {
        Err(Error::MissingBlob(digest).into())
    }
}

/// Checks what the headers say of a body: where in the blob it begins, and how long it is.
fn check(server: &Server, upload: &Upload, headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let (size, length) = (upload.size(), content_length(headers)?);
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        server.inner.check_size(size, length)?;
        return Ok(length);
    };
    let refused = |message: String| {
        let fault = Fault::new(code::BLOB_UPLOAD_INVALID, message).status(StatusCode::RANGE_NOT_SATISFIABLE);
        place(upload, fault)
    };
    let Some((first, last)) = range.to_str().ok().and_then(content_range) else {
        return Err(refused("the Content-Range is none: write <first>-<last>, in bytes, both included".to_owned()));
    };
    if first != size {
        return Err(refused(format!("the upload has {size} bytes, and these begin at {first}: go on where it is")));
    }
    let announced = last - first + 1;
    if length.is_some_and(|length| length != announced) {
        let message =
            format!("Content-Range has {announced} bytes, and Content-Length has {}", length.unwrap_or_default());
        return Err(place(upload, Fault::new(code::SIZE_INVALID, message)));
    }
    server.inner.check_size(size, Some(announced))?;
    Ok(Some(announced))
}

impl Inner {
    fn check_size(&self, size: u64, more: Option<u64>) -> Result<(), Fault> {
        let max = self.options.max_blob;
        if size.saturating_add(more.unwrap_or(0)) > max { Err(too_large(max)) } else { Ok(()) }
    }
}

/// `^[0-9]+-[0-9]+$`
fn content_range(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let number = length.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Fault::new(code::SIZE_INVALID, "the Content-Length is no number of bytes"))
}

/// Where an upload is and how far it got: `Range` counts the last byte in, and has no way to say that there is none.
fn place(upload: &Upload, fault: Fault) -> Fault {
    fault.header(header::LOCATION, location(upload)).header(header::RANGE, range(upload))
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.name(), upload.id)
}

fn range(upload: &Upload) -> String {
    format!("0-{}", upload.size().saturating_sub(1))
}

fn at(upload: &Upload, status: StatusCode) -> Response {
    let headers =
        [(header::LOCATION, location(upload)), (header::RANGE, range(upload)), (UPLOAD_ID, upload.id.to_string())];
    (status, headers).into_response()
}

fn created(name: &Name, digest: &Digest) -> Response {
    let headers = [(header::LOCATION, format!("/v2/{name}/blobs/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

fn ended(upload: &Upload) -> Fault {
    Fault::new(code::BLOB_UPLOAD_UNKNOWN, format!("the upload {} has ended: begin again", upload.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_two_numbers_in_order() {
        assert_eq!(content_range("0-9"), Some((0, 9)));
        assert_eq!(content_range("5-5"), Some((5, 5)));
        let max = u64::MAX;
        for bad in [
            "",
            "-",
            "9",
            "9-0",
            "-1-2",
            "+1-2",
            "0-9/10",
            "bytes 0-9/10",
            " 0-9",
            &format!("0-{max}"),
            "0-99999999999999999999",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
