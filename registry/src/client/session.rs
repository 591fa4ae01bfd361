//! One repository, one kind of access.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use oci_client::RegistryOperation;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use shiplap_cache::Digest;
use tokio::sync::RwLock;

use super::ClientOptions;
use super::trouble::{chain, explain, is_transient};
use crate::auth::{Login, token};
use crate::media::MANIFESTS;
use crate::{Event, Reference, RemoteError, Repository, Result, Trouble};

pub(super) type OciResult<T> = Result<T, OciDistributionError>;

pub(super) struct Session {
    pub oci: oci_client::Client,
    pub repository: Repository,
    pub options: Arc<ClientOptions>,
    /// Held for reading by everything that runs in threads of its own.
    pub running: Arc<RwLock<()>>,
    auth: RegistryAuth,
    who: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.repository, self.who)
    }
}

fn is_plain(repository: &Repository, options: &ClientOptions) -> bool {
    repository.is_loopback() || options.plain_http.iter().any(|r| r == repository.registry())
}

fn config(repository: &Repository, options: &ClientOptions, monolithic: bool) -> ClientConfig {
    let protocol = if is_plain(repository, options) { ClientProtocol::Http } else { ClientProtocol::Https };
    ClientConfig {
        protocol,
        use_monolithic_push: monolithic,
        connect_timeout: Some(Duration::from_secs(15)),
        // Between two bytes, not for the whole answer.
        read_timeout: Some(Duration::from_secs(120)),
        user_agent: concat!("shiplap/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}

/// Says which implementation of TLS this process uses; reqwest is built without one of its own. Harmless the second time.
pub fn install_tls() {
    static PROVIDER: Once = Once::new();
    // That somebody installed one before us is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

impl Session {
    pub(super) async fn open(
        repository: &Repository,
        operation: RegistryOperation,
        options: Arc<ClientOptions>,
    ) -> Result<Self> {
        install_tls();
        let what = format!("log in to {}", repository.registry());
        let error = |trouble| RemoteError { repository: Box::new(repository.clone()), what: what.clone(), trouble };
        let oci = oci_client::Client::try_from(config(repository, &options, true))
            .map_err(|e| error(Trouble::Other(chain(&e))))?;

        let (credentials, registry) = (options.credentials.clone(), repository.registry().to_owned());
        // A helper is a program that may ask its user something.
        let login = tokio::task::spawn_blocking(move || credentials.login(&registry)).await;
        let login = login.map_err(|e| error(Trouble::Other(e.to_string())))??;
        let who = options.credentials.describe(&login);
        let auth = match login {
            Login::Anonymous => RegistryAuth::Anonymous,
            Login::Password { user, password } => RegistryAuth::Basic(user, password),
            Login::IdentityToken(identity) => {
                let access = match operation {
                    RegistryOperation::Pull => "pull",
                    RegistryOperation::Push => "pull,push",
                };
                let scope = format!("repository:{}:{access}", repository.path());
                let scheme = if is_plain(repository, &options) { "http" } else { "https" };
                let access = token::exchange(&format!("{scheme}://{}", repository.registry()), &scope, &identity).await;
                RegistryAuth::Bearer(access.map_err(|why| {
                    error(Trouble::Refused { registry: repository.registry().to_owned(), who: who.clone(), why })
                })?)
            }
        };
        let session = Self { oci, repository: repository.clone(), options, running: Arc::default(), auth, who };
        let reference = session.any();
        // Fetches a token when the registry wants one, and says so when the password is wrong: later calls would only be refused.
        session.attempt(&what, || session.oci.auth(&reference, &session.auth, operation)).await?;
        Ok(session)
    }

    /// A client that uploads in pieces, for registries that refuse a blob in one.
    pub(super) async fn chunked(&self) -> OciResult<oci_client::Client> {
        let client = oci_client::Client::try_from(config(&self.repository, &self.options, false))?;
        client.store_auth_if_needed(self.any().resolve_registry(), &self.auth).await;
        Ok(client)
    }

    /// A reference for calls that only look at the repository.
    pub(super) fn any(&self) -> oci_client::Reference {
        let (registry, path) = (self.repository.registry().to_owned(), self.repository.path().to_owned());
        oci_client::Reference::with_tag(registry, path, "latest".to_owned())
    }

    /// An error of this session.
    pub(super) fn error(&self, what: &str, trouble: Trouble) -> RemoteError {
        RemoteError { repository: Box::new(self.repository.clone()), what: what.to_owned(), trouble }
    }

    pub(super) fn explain(&self, what: &str, error: OciDistributionError) -> RemoteError {
        let trouble = explain(error, &self.repository, &self.who);
        self.error(what, trouble)
    }

    /// Runs something that waits for the disk or computes for long, in a thread of its own.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let running = self.running.clone().read_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let result = f();
            drop(running);
            result
        });
        task.await.map_err(|e| self.error("keep a blob or a layer", Trouble::Other(e.to_string())))?
    }

    /// Tries something again, with growing pauses, as long as that may help.
    pub(super) async fn attempt<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<T, RemoteError>
    where
        F: Future<Output = OciResult<T>>,
    {
        let mut pause = self.options.backoff;
        for _ in 1..self.options.attempts {
            match call().await {
                Err(e) if is_transient(&e) => {
                    self.options.progress.event(Event::Retry { what: what.to_owned(), why: chain(&e) });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(30));
                }
                result => return result.map_err(|e| self.explain(what, e)),
            }
        }
        call().await.map_err(|e| self.explain(what, e))
    }

    /// The digest of a manifest, by `HEAD`.
    pub(super) async fn digest(&self, reference: &Reference) -> Result<Digest, RemoteError> {
        let what = format!("look up {}", reference.familiar());
        let oci = reference.to_oci();
        let text = self.attempt(&what, || self.oci.fetch_manifest_digest(&oci, &self.auth)).await?;
        text.parse().map_err(|e: shiplap_cache::ParseDigestError| self.error(&what, Trouble::Other(e.to_string())))
    }

    /// A manifest's bytes, checked against its digest when the reference has one.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<(Bytes, Digest), RemoteError> {
        let what = format!("pull the manifest of {}", reference.familiar());
        let oci = reference.to_oci();
        let call = || self.oci.pull_manifest_raw(&oci, &self.auth, &MANIFESTS);
        let (bytes, _) = self.attempt(&what, call).await?;
        let actual = Digest::of(&bytes);
        match reference.digest() {
            Some(expected) if expected != actual => {
                Err(self.error(&what, Trouble::Corrupt { expected, actual: actual.to_string() }))
            }
            _ => Ok((bytes, actual)),
        }
    }

    pub(super) async fn tags(&self) -> Result<Vec<String>, RemoteError> {
        let what = format!("list the tags of {}", self.repository.familiar());
        let (mut tags, reference): (Vec<String>, _) = (Vec::new(), self.any());
        loop {
            let last = tags.last().cloned();
            let call = || self.oci.list_tags(&reference, &self.auth, Some(1000), last.as_deref());
            let page = self.attempt(&what, call).await?.tags;
            // A registry without paging sends everything each time.
            if page.is_empty() || tags.contains(&page[0]) {
                return Ok(tags);
            }
            let more = page.len() >= 1000;
            tags.extend(page);
            if !more {
                return Ok(tags);
            }
        }
    }
}
