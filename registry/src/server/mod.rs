//! A registry over the store: OCI distribution-spec 1.1.
//!
//! [`router`] answers everything below `/v2/`, for whoever asks: who may ask is decided before, by [`Route`], which reads a path just as the
//! router does. From the bottom up:
//!
//! - `name` and `route` read paths, `code` and `fault` are how errors are answered.

pub mod code;
mod fault;
mod immutable;
mod name;
mod route;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

pub use fault::Fault;
pub use immutable::{Immutable, PatternError};
pub use name::{Name, NameError, Tag, UploadId};
pub use route::{Route, RouteError, Target};

use crate::Images;

/// What a server takes.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Tags that never move, besides those of releases.
    pub immutable: Immutable,
    /// Whether such a tag, and what it stands for, may be deleted.
    pub delete_immutable: bool,
    /// How many uploads may be open at once.
    pub max_uploads: usize,
    /// After how long without a byte an upload is forgotten.
    pub upload_expiry: Duration,
    /// The most bytes of a blob.
    pub max_blob: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            immutable: Immutable::default(),
            delete_immutable: false,
            max_uploads: 256,
            upload_expiry: Duration::from_secs(60 * 60),
            max_blob: 64 << 30,
        }
    }
}

/// A registry. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    images: Images,
    options: ServerOptions,
}

impl Server {
    /// A registry of what is in this store.
    pub fn new(images: Images, options: ServerOptions) -> Self {
        Self { inner: Arc::new(Inner { images, options }) }
    }

    /// The images of the store.
    pub fn images(&self) -> &Images {
        &self.inner.images
    }
}

/// What answers below `/v2/`. It asks nobody for a password.
pub fn router(server: Server) -> Router {
    Router::new().fallback(answer).with_state(server)
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let mut response = dispatch(server, request).await.unwrap_or_else(Fault::into_response);
    // Docker takes who does not say so for a registry of the first version.
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}

async fn dispatch(_server: Server, request: Request) -> Result<Response, Fault> {
    let route = Route::parse(request.uri().path())?;
    match (&route, request.method()) {
        (Route::Base, &Method::GET | &Method::HEAD) => {
            Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response())
        }
        (_, method) => Err(Fault::new(code::UNSUPPORTED, format!("{method} does nothing here"))),
    }
}
