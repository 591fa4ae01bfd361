//! A registry on loopback that has one image and can only be read, for as long as an engine pulls from it.
//!
//! An engine speaks HTTP without TLS with a registry in 127.0.0.0/8 (docs.docker.com, *dockerd*, *Insecure registries*). Whoever else is on the machine can
//! connect as well, so the repository has a name that nobody can guess. [`crate::server`] is not used: it serves blobs of a store, and most of these are
//! made on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use ring::rand::{SecureRandom, SystemRandom};
use shiplap_cache::{Digest, Store};
use tokio::sync::oneshot;

use super::parts::{Part, Parts};
use super::stream::stream;
use crate::media::OCI_MANIFEST;
use crate::server::{Fault, Route, Target, code};
use crate::{Event, Progress};

/// The registry. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    inner: Arc<Inner>,
    _end: oneshot::Sender<()>,
}

struct Inner {
    store: Arc<Store>,
    parts: Arc<Parts>,
    progress: Arc<dyn Progress>,
    /// The repository's name.
    name: String,
    /// Requests for that repository.
    requests: AtomicU64,
    /// For each layer, the bytes of it that were sent.
    sent: Vec<AtomicU64>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Begins to listen on a port that is free.
    pub(super) async fn start(
        store: Arc<Store>,
        parts: Arc<Parts>,
        progress: Arc<dyn Progress>,
    ) -> std::io::Result<Self> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| std::io::Error::other("no random numbers"))?;
        let name = format!("shiplap-{}", hex(&random));
        let sent = parts.layers.iter().map(|_| AtomicU64::new(0)).collect();
        let inner = Arc::new(Inner { store, parts, progress, name, requests: AtomicU64::new(0), sent });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let (end, ended) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async { drop(ended.await) });
            if let Err(error) = served.await {
                tracing::warn!("the endpoint for an engine ended: {error}");
            }
        });
        Ok(Self { address, inner, _end: end })
    }

    /// What the engine calls the repository.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.address, self.inner.name)
    }

    /// Whether anybody asked for the image.
    pub(super) fn was_asked(&self) -> bool {
        self.inner.requests.load(Ordering::Relaxed) > 0
    }

    /// How many layers were sent, and how many bytes of them.
    pub(super) fn sent(&self) -> (usize, u64) {
        let sent = self.inner.sent.iter().map(|bytes| bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0);
        sent.fold((0, 0), |(layers, all), bytes| (layers + 1, all + bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn answer(State(inner): State<Arc<Inner>>, method: Method, uri: Uri) -> Response {
    let mut response = respond(inner, &method, uri.path()).unwrap_or_else(Fault::into_response);
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}

fn respond(inner: Arc<Inner>, method: &Method, path: &str) -> Result<Response, Fault> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Fault::new(code::UNSUPPORTED, "here is only something to read"));
    }
    let nothing = || Fault::new(code::NAME_UNKNOWN, "there is nothing of that name");
    match Route::parse(path)? {
        Route::Base => Ok(StatusCode::OK.into_response()),
        Route::Manifest(name, target) if name.as_str() == inner.name => {
            inner.requests.fetch_add(1, Ordering::Relaxed);
            let (manifest, bytes) = &inner.parts.manifest;
            match target {
                Target::Digest(digest) if digest == manifest.digest => {
                    Ok(whole(&manifest.digest, OCI_MANIFEST, bytes.clone()))
                }
                _ => Err(Fault::new(code::MANIFEST_UNKNOWN, "there is no such manifest")),
            }
        }
        Route::Blob(name, digest) if name.as_str() == inner.name => {
            let (config, bytes) = &inner.parts.config;
            if digest == config.digest {
                return Ok(whole(&digest, "application/octet-stream", bytes.clone()));
            }
            let layers = &inner.parts.layers;
            let at = layers.iter().position(|layer| layer.blob.digest == digest);
            let at = at.ok_or_else(|| Fault::new(code::BLOB_UNKNOWN, "there is no such blob"))?;
            Ok(layer(inner, at, *method == Method::HEAD))
        }
        _ => Err(nothing()),
    }
}

fn whole(digest: &Digest, media_type: &str, bytes: Vec<u8>) -> Response {
    headers(digest, media_type, bytes.len() as u64, Body::from(bytes))
}

fn layer(inner: Arc<Inner>, at: usize, is_head: bool) -> Response {
    let part = inner.parts.layers[at].clone();
    let (digest, size) = (part.blob.digest, part.blob.size);
    let body = if is_head { Body::empty() } else { Body::from_stream(bytes(inner, at, part)) };
    headers(&digest, "application/octet-stream", size, body)
}

/// A layer's bytes, counted as they go.
fn bytes(
    inner: Arc<Inner>,
    at: usize,
    part: Part,
) -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static {
    let (store, blob) = (inner.store.clone(), part.blob.clone());
    let mut done = 0;
    stream(move |out| part.write(&store, out)).inspect(move |piece| {
        if let Ok(piece) = piece {
            done += piece.len() as u64;
            inner.sent[at].fetch_add(piece.len() as u64, Ordering::Relaxed);
            inner.progress.event(Event::Transfer { blob: blob.digest, done, total: blob.size, up: true });
        }
    })
}

fn headers(digest: &Digest, media_type: &str, size: u64, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, size.into());
    for (name, text) in [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    response
}
