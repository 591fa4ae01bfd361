//! Pulling from and pushing to registries.

mod artifact;
mod check;
mod download;
mod fault;
mod host;
mod pull;
mod push;
mod referrers;
mod retry;
mod session;
mod settle;
mod tier;
mod trust;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host::{Host, Hosts};
pub use pull::Pulled;
pub use push::Pushed;
pub(crate) use push::SOURCES;
use retry::Pauses;
use session::{Access, Session};
pub(crate) use settle::TAG_IS_KEPT;
use shiplap_cache::Digest;
pub use shiplap_cache::install_tls;
pub use tier::RegistryTier;

use crate::auth::Credentials;
use crate::{Event, NoProgress, Progress, Reference, RemoteError, Repository, Result, Trouble};

/// What a client needs to know.
#[derive(Clone)]
pub struct ClientOptions {
    /// Who we are.
    pub credentials: Credentials,
    /// Who is told how far things are.
    pub progress: Arc<dyn Progress>,
    /// Registries, `host[:port]`, whose certificate is not checked and that are spoken to without TLS if they have none, besides those on
    /// this machine.
    pub insecure: Vec<String>,
    /// Files with certificates, in PEM, of authorities that are trusted besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Folders as Docker's `/etc/docker/certs.d`, with a folder for each registry that has authorities or client certificates of its own.
    pub certificates: Vec<PathBuf>,
    /// How often something is tried before it is given up.
    pub attempts: u32,
    /// The pause before the second attempt, about; it doubles with each.
    pub backoff: Duration,
    /// How long nothing may move on a connection.
    pub patience: Duration,
    /// How long to wait, at least, before a release's tag is read back from a registry that lets tags move (see [`Client::push`]).
    pub settle: Duration,
    /// Blobs that are on their way at a time; of small ones four times as many may be sent.
    pub parallel: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::anonymous(),
            progress: Arc::new(NoProgress),
            insecure: Vec::new(),
            authorities: Vec::new(),
            certificates: Vec::new(),
            attempts: 5,
            backoff: Duration::from_millis(500),
            patience: Duration::from_secs(120),
            settle: Duration::from_millis(500),
            parallel: 4,
        }
    }
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// Tokens are for one repository and one kind of access, so sessions are too.
type Sessions = BTreeMap<(Repository, Access), Arc<Session>>;

/// Speaks to registries. Cheap to clone; all clones share their connections and tokens.
#[derive(Debug, Clone, Default)]
pub struct Client {
    options: Arc<ClientOptions>,
    hosts: Arc<tokio::sync::Mutex<Hosts>>,
    sessions: Arc<std::sync::Mutex<Sessions>>,
}

impl Client {
    /// A client with these options.
    pub fn new(options: ClientOptions) -> Self {
        Self { options: Arc::new(options), ..Self::default() }
    }

    /// A session with a repository.
    async fn session(&self, repository: &Repository, access: Access) -> Result<Arc<Session>> {
        let host = self.host(repository).await?;
        let mut sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let session = sessions.entry((repository.clone(), access));
        Ok(session.or_insert_with(|| Arc::new(Session::new(host, repository, access, self.options.clone()))).clone())
    }

    /// The registry of a repository, found once.
    async fn host(&self, repository: &Repository) -> Result<Arc<Host>> {
        let mut hosts = self.hosts.lock().await;
        if let Some(host) = hosts.get(repository.registry()) {
            return Ok(host.clone());
        }
        let what = format!("reach {}", repository.registry());
        let failed = |fault: fault::Fault, who: &str| RemoteError {
            repository: Box::new(repository.clone()),
            what: what.clone(),
            trouble: fault.explain(repository, who),
        };
        let login = Host::login(repository, &self.options).await.map_err(|fault| failed(fault, "us"))??;
        let mut pauses = Pauses::new(&self.options);
        let host = loop {
            match Host::find(repository, &self.options, login.clone()).await {
                Ok(host) => break Arc::new(host),
                Err(fault) => {
                    let pause = if fault.is_transient() { pauses.next(fault.retry_after()) } else { None };
                    let Some(pause) = pause else { return Err(failed(fault, &login.1).into()) };
                    let why = fault.brief();
                    self.options.progress.event(Event::Retry { what: what.clone(), why });
                    tokio::time::sleep(pause).await;
                }
            }
        };
        hosts.insert(repository.registry().to_owned(), host.clone());
        Ok(host)
    }

    /// The digest that a name stands for in its registry. None when the registry says that it is not there; that the
    /// registry cannot say is an error.
    ///
    /// # Errors
    /// The registry cannot be reached, or refuses.
    pub async fn resolve(&self, reference: &Reference) -> Result<Option<Digest>> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        match session.digest(reference).await {
            Err(e) if matches!(e.trouble, Trouble::NotFound) => Ok(None),
            digest => Ok(Some(digest?)),
        }
    }

    /// Fetches a blob of a repository into the store.
    pub(crate) async fn fetch_blob(
        &self,
        images: &crate::Images,
        repository: &Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<()> {
        let session = self.session(repository, Access::Pull).await?;
        session.download(images.store(), &crate::Descriptor::new("application/octet-stream", *digest, size)).await
    }

    /// The tags of a repository in its registry, sorted.
    ///
    /// # Errors
    /// The registry cannot be reached, or refuses.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>> {
        let session = self.session(repository, Access::Pull).await?;
        let mut tags = session.tags().await?;
        // Not every registry sorts them.
        tags.sort();
        Ok(tags)
    }
}
