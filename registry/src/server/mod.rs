//! A registry over the store: OCI distribution-spec 1.1.
//!
//! [`router`] answers everything below `/v2/`, for whoever asks: who may ask is decided before, by [`Route`], which reads a path just as the
//! router does. From the bottom up:
//!
//! - `name` and `route` read paths, `code` and `fault` are how errors are answered, `document` reads what is pushed.
//! - `uploads` keeps the uploads that are open, `receive` takes a body into a blob, `send` makes a body of one.
//! - `released` shows what was released on this machine, as if it had been pushed.
//! - `blobs`, `upload`, `manifests`, `tags` and `referrers` answer, each at its endpoints.
//!
//! Nothing is acknowledged before it is on disk. What must not be collected meanwhile is done in `Server::write`.

mod blobs;
pub mod code;
mod document;
mod fault;
mod immutable;
mod manifests;
mod name;
mod receive;
mod referrers;
mod released;
mod route;
mod send;
mod tags;
mod upload;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use tokio::sync::Semaphore;

pub use fault::Fault;
pub use immutable::{Immutable, PatternError};
pub use name::{Name, NameError, Tag, UploadId};
pub use route::{Route, RouteError, Target};

use crate::Images;
use released::Released;
use uploads::Uploads;

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

/// How many large manifests are worked on at once: each takes some times four megabytes.
const LARGE_MANIFESTS: usize = 4;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

#[derive(Debug)]
struct Inner {
    images: Images,
    options: ServerOptions,
    uploads: Arc<Uploads>,
    released: Released,
    large_manifests: Arc<Semaphore>,
}

impl Server {
    /// A registry of what is in this store.
    pub fn new(images: Images, options: ServerOptions) -> Self {
        let uploads = Uploads::new(options.max_uploads, options.upload_expiry);
        let large_manifests = Arc::new(Semaphore::new(LARGE_MANIFESTS));
        Self { inner: Arc::new(Inner { images, options, uploads, released: Released::default(), large_manifests }) }
    }

    /// The images of the store.
    pub fn images(&self) -> &Images {
        &self.inner.images
    }

    /// How many uploads are open.
    pub fn open_uploads(&self) -> usize {
        self.inner.uploads.count()
    }

    /// Waits for the disk or the database in a thread that may.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || f(&inner)).await.unwrap_or_else(|e| Err(broken(&e)))
    }

    /// As [`Server::read`], for what puts blobs into the store or makes references to them. What it finds in the store stays there
    /// until it is done, whatever a collection takes away meanwhile.
    async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.read(|inner| {
            let lease = inner.images.store().lease()?;
            let done = f(inner);
            drop(lease);
            done
        })
        .await
    }
}

/// Runs something to its end, even if nobody waits for it any more.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    tokio::spawn(work).await.unwrap_or_else(|e| Err(broken(&e)))
}

fn broken(error: &tokio::task::JoinError) -> Fault {
    tracing::error!(%error, "a request broke");
    Fault::new(code::UNKNOWN, "the registry failed at this request: its log says how")
}

/// What stands behind the `?` of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of a name.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
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

/// distribution-spec, *Endpoints*: the numbers of the endpoints stand at the functions.
async fn dispatch(server: Server, request: Request) -> Result<Response, Fault> {
    let (request, body) = request.into_parts();
    let (method, headers, query) = (request.method, request.headers, Query::of(&request.uri));
    let route = Route::parse(request.uri.path()).map_err(|error| match error {
        // Nothing is under a tag that is none; to push it is another matter.
        RouteError::Name(NameError::Tag(_)) if method == Method::PUT => {
            Fault::new(code::MANIFEST_INVALID, error.to_string())
        }
        error => error.into(),
    })?;
    match (route, method) {
        // end-1, *Determining Support*
        (Route::Base, Method::GET | Method::HEAD) => Ok(Json(serde_json::json!({})).into_response()),
        (Route::Catalog, Method::GET | Method::HEAD) => tags::catalog(server, query).await,
        (Route::Tags(name), Method::GET | Method::HEAD) => tags::tags(server, name, query).await,
        (Route::Referrers(name, digest), Method::GET | Method::HEAD) => {
            referrers::list(server, name, digest, query).await
        }
        (Route::Blob(name, digest), Method::GET) => blobs::get(server, name, digest, headers, false).await,
        (Route::Blob(name, digest), Method::HEAD) => blobs::get(server, name, digest, headers, true).await,
        (Route::Blob(name, digest), Method::DELETE) => blobs::delete(server, name, digest).await,
        (Route::Manifest(name, target), Method::GET | Method::HEAD) => {
            manifests::get(server, name, target, headers).await
        }
        (Route::Manifest(name, target), Method::PUT) => manifests::put(server, name, target, headers, body).await,
        (Route::Manifest(name, target), Method::DELETE) => manifests::delete(server, name, target).await,
        (Route::Uploads(name), Method::POST) => upload::begin(server, name, query, headers, body).await,
        (Route::Upload(name, id), Method::GET) => upload::status(&server, &name, id),
        (Route::Upload(name, id), Method::PATCH) => upload::patch(server, name, id, headers, body).await,
        (Route::Upload(name, id), Method::PUT) => upload::put(server, name, id, query, headers, body).await,
        (Route::Upload(name, id), Method::DELETE) => upload::cancel(&server, &name, id),
        (route, method) => Err(not_allowed(&route, &method)),
    }
}

fn not_allowed(route: &Route, method: &Method) -> Fault {
    let allowed = match route {
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET, HEAD",
        Route::Blob(..) => "GET, HEAD, DELETE",
        Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Route::Uploads(_) => "POST",
        Route::Upload(..) => "GET, PATCH, PUT, DELETE",
    };
    let method = name::shortened(method.as_str());
    Fault::new(code::UNSUPPORTED, format!("{method} does nothing here: {allowed} do")).header(header::ALLOW, allowed)
}
