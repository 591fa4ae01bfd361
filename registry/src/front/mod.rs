//! What stands between the network and [`server`](crate::server): who may do what, TLS, limits, metrics, the log, and the way to stop.
//!
//! A request goes through, from the outside in:
//!
//! - `listen`: connections, handshakes, timeouts; `stall` cuts off who does not read
//! - `observe`: its turn, the log and the metrics; `body` cuts off who does not send
//! - `health`, `page`, `metrics`, `token_endpoint`: answered here
//! - `guard`: who is it (`auth`), what does it need, may it; then the registry
//!
//! Passwords (`htpasswd`), grants (`access`), lasting tokens (`tokens`) and certificates (`tls`) are files that are `watched`. Short-lived tokens
//! (`jwt`) are signed.

mod access;
mod auth;
mod body;
mod challenge;
mod error;
mod guard;
mod health;
mod htpasswd;
mod jwt;
mod limits;
mod listen;
mod metrics;
mod observe;
mod origin;
mod page;
mod passwords;
mod patience;
mod scope;
mod stall;
mod throttle;
mod tls;
mod token_endpoint;
mod tokens;
mod watched;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use access::Access;
use auth::{Auth, Decision};
pub use error::{FrontError, Result};
pub use htpasswd::Htpasswd;
pub use limits::{Limits, raise_file_limit};
use metrics::Metrics;
use observe::Who;
use origin::Trust;
pub use scope::{Actions, Grants, Scope, ScopeError};
pub use tls::TlsFiles;
pub use tokens::{TokenInfo, Tokens};
use watched::Watched;

use crate::Images;
use crate::server::{Server, router};

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub struct LoginOptions {
    /// Users and their passwords. Without it, only tokens that last let somebody in.
    pub htpasswd: Option<PathBuf>,
    /// What users may do.
    pub access: Option<PathBuf>,
    /// Whether anybody may read.
    pub anonymous_pull: bool,
}

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct FrontOptions {
    /// Who is let in. None: everybody, to everything.
    pub login: Option<LoginOptions>,
    /// The certificate. None: no TLS.
    pub tls: Option<TlsFiles>,
    /// Whether a proxy stands before it that says whom it speaks for.
    pub behind_proxy: bool,
    /// How clients call the server, if that is not what they say: `https://registry.example.org`.
    pub url: Option<String>,
    /// Whether the metrics are answered on a port of their own.
    pub metrics_apart: bool,
    /// Its bounds.
    pub limits: Limits,
}

/// A server with all that is before it. Clones are the same one.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    server: Server,
    auth: Option<Auth>,
    trust: Trust,
    limits: Limits,
    metrics: Arc<Metrics>,
    metrics_apart: bool,
    ready: Arc<health::Readiness>,
    turns: Arc<Semaphore>,
    tls: Option<Arc<ServerConfig>>,
    watched: Vec<Arc<dyn Refresh>>,
}

/// Something that is read again when it changes.
trait Refresh: Send + Sync {
    fn refresh(&self);
}

impl<T: Send + Sync> Refresh for Watched<T> {
    fn refresh(&self) {
        self.refresh();
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("login", &self.0.auth.is_some()).field("tls", &self.0.tls.is_some()).finish()
    }
}

impl Front {
    /// Reads all files once.
    ///
    /// # Errors
    /// A file cannot be read or makes no sense; the error says which, and what to do.
    pub fn new(server: Server, options: FrontOptions) -> Result<Self> {
        let FrontOptions { login, tls, behind_proxy, url, metrics_apart, limits } = options;
        let mut watched: Vec<Arc<dyn Refresh>> = Vec::new();
        let auth = login.map(|login| open(server.images(), login, &limits, &mut watched)).transpose()?;
        let tls = tls
            .map(|files| {
                let certificate: Arc<Watched<Arc<CertifiedKey>>> = tls::watch(&files)?;
                watched.push(certificate.clone());
                let why = |e: rustls::Error| FrontError::File { path: files.certificate.clone(), why: e.to_string() };
                tls::config(certificate).map_err(why)
            })
            .transpose()?;
        Ok(Self(Arc::new(Inner {
            auth,
            trust: Trust { proxy: behind_proxy, url: url.map(|url| url.trim_end_matches('/').to_owned()) },
            metrics: Arc::new(Metrics::new()),
            metrics_apart,
            ready: Arc::default(),
            turns: Arc::new(Semaphore::new(limits.requests)),
            limits,
            tls,
            watched,
            server,
        })))
    }

    /// Reads the files again that changed. Blocks.
    pub fn refresh(&self) {
        self.0.watched.iter().for_each(|file| file.refresh());
    }

    /// Answers on a port until `stop`; then takes no more connections, and lets the requests that run end. Gives how many connections had to be cut
    /// off because they took too long.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        let front = self.clone();
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(front.0.limits.refresh).await;
                let front = front.clone();
                // It reads files, and may compute a hash.
                let _ = tokio::task::spawn_blocking(move || front.refresh()).await;
            }
        });
        let cut = listen::serve(self, self.router(), self.0.tls.clone(), listener, stop).await;
        keeper.abort();
        cut
    }

    /// Answers `/metrics` and the questions for its health on a port of its own, without TLS and login.
    pub async fn serve_metrics(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let router = self.health().route("/metrics", get(metrics_text)).with_state(self.clone());
        listen::serve(self, router, None, listener, stop).await;
    }

    fn health(&self) -> Router<Self> {
        Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readiness))
    }

    fn router(&self) -> Router {
        let registry = router(self.0.server.clone());
        let mut people = Router::new().route("/", get(page::answer).with_state((self.clone(), registry.clone())));
        if !self.0.metrics_apart {
            people = people.route("/metrics", get(metrics_text).with_state(self.clone()));
        }
        let people = people.layer(from_fn_with_state(self.clone(), listing_only));
        let guarded = registry.layer(from_fn_with_state(self.clone(), guard::guard));
        self.health()
            .route("/v2/token", any(token_endpoint::answer))
            .with_state(self.clone())
            .merge(people)
            .fallback_service(guarded)
            .layer(from_fn_with_state(self.clone(), observe::observe))
    }
}

/// Opens the files of those who are let in.
fn open(images: &Images, login: LoginOptions, limits: &Limits, watched: &mut Vec<Arc<dyn Refresh>>) -> Result<Auth> {
    let home = images.store().home();
    let passwords = login
        .htpasswd
        .map(|path| {
            let file = Arc::new(Watched::new(vec![path.clone()], move || Htpasswd::load(&path))?);
            watched.push(file.clone());
            passwords::Passwords::new(file)
        })
        .transpose()?;
    let access = match login.access {
        Some(path) => Watched::new(vec![path.clone()], move || Access::load(&path))?,
        None => Watched::new(Vec::new(), || Ok(Access::everything_but_delete()))?,
    };
    let tokens = Tokens::of(home)?;
    let tokens = Watched::new(vec![tokens.path().to_owned()], move || tokens.known())?;
    let (access, tokens) = (Arc::new(access), Arc::new(tokens));
    watched.push(access.clone());
    watched.push(tokens.clone());
    let throttle = throttle::Throttle::new(limits.failures, limits.forgotten);
    let anonymous_pull = login.anonymous_pull;
    Ok(Auth { passwords, access, tokens, signer: jwt::Signer::of(home)?, throttle, anonymous_pull })
}

/// What people and Prometheus read is for those who may list the repositories.
async fn listing_only(State(front): State<Front>, request: Request, next: Next) -> Response {
    let Some(auth) = &front.0.auth else {
        if !front.0.trust.is_asked_here(request.uri(), request.headers()) {
            return challenge::elsewhere();
        }
        return next.run(request).await;
    };
    let remote = front.0.trust.remote(request.headers(), request.extensions());
    let login = match auth.login(request.headers(), remote).await {
        Ok(login) => login,
        Err(refusal) => {
            front.0.metrics.refused();
            return challenge::refused(refusal, |_| challenge::basic());
        }
    };
    let needs = [Scope::Catalog];
    let mut response = match auth.decide(&login, &needs) {
        Decision::Allowed => next.run(request).await,
        decision => challenge::denied(decision, &needs, |_| challenge::basic()),
    };
    response.extensions_mut().insert(Who::of(&login.subject));
    response
}

async fn readiness(State(front): State<Front>) -> Response {
    let (ready, images) = (front.0.ready.clone(), front.0.server.images().clone());
    match tokio::task::spawn_blocking(move || ready.ask(&images)).await {
        Ok(Ok(())) => "ready\n".into_response(),
        // Paths of this machine are for the log.
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the log says why\n").into_response(),
    }
}

async fn metrics_text(State(front): State<Front>) -> Response {
    let home = front.0.server.images().store().home().to_owned();
    let free = tokio::task::spawn_blocking(move || health::free(&home)).await.ok().flatten();
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], front.0.metrics.text(free, front.0.server.open_uploads()))
        .into_response()
}
