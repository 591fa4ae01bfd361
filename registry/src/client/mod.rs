//! Pulling from and pushing to registries.

mod check;
mod download;
mod pull;
mod push;
mod session;
mod trouble;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oci_client::RegistryOperation;
use shiplap_cache::Digest;

pub use pull::Pulled;
pub use push::Pushed;
pub(crate) use push::SOURCES;
use session::Session;
pub use session::install_tls;

use crate::auth::Credentials;
use crate::{NoProgress, Progress, Reference, Repository, Result, Trouble};

/// What a client needs to know.
#[derive(Clone)]
pub struct ClientOptions {
    /// Who we are.
    pub credentials: Credentials,
    /// Who is told how far things are.
    pub progress: Arc<dyn Progress>,
    /// Registries, `host[:port]`, that are spoken to without TLS besides those on this machine.
    pub plain_http: Vec<String>,
    /// How often something is tried before it is given up.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each.
    pub backoff: Duration,
    /// Blobs that are on their way at a time.
    pub parallel: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::anonymous(),
            progress: Arc::new(NoProgress),
            plain_http: Vec::new(),
            attempts: 5,
            backoff: Duration::from_millis(500),
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
type Sessions = BTreeMap<(Repository, RegistryOperation), Arc<Session>>;

/// Speaks to registries. Cheap to clone; all clones share their tokens.
#[derive(Debug, Clone, Default)]
pub struct Client {
    options: Arc<ClientOptions>,
    sessions: Arc<tokio::sync::Mutex<Sessions>>,
}

impl Client {
    /// A client with these options.
    pub fn new(options: ClientOptions) -> Self {
        Self { options: Arc::new(options), sessions: Arc::default() }
    }

    /// A session with a repository, made and authenticated once.
    async fn session(&self, repository: &Repository, operation: RegistryOperation) -> Result<Arc<Session>> {
        let key = (repository.clone(), operation);
        if let Some(session) = self.sessions.lock().await.get(&key) {
            return Ok(session.clone());
        }
        let session = Arc::new(Session::open(repository, operation, self.options.clone()).await?);
        self.sessions.lock().await.insert(key, session.clone());
        Ok(session)
    }

    /// The digest that a name stands for in its registry. None when the registry says that it is not there; that the
    /// registry cannot say is an error.
    ///
    /// # Errors
    /// The registry cannot be reached, or refuses.
    pub async fn resolve(&self, reference: &Reference) -> Result<Option<Digest>> {
        let session = self.session(reference.repository(), RegistryOperation::Pull).await?;
        match session.digest(reference).await {
            Err(e) if matches!(e.trouble, Trouble::NotFound) => Ok(None),
            digest => Ok(Some(digest?)),
        }
    }

    /// The tags of a repository in its registry.
    ///
    /// # Errors
    /// The registry cannot be reached, or refuses.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>> {
        let session = self.session(repository, RegistryOperation::Pull).await?;
        Ok(session.tags().await?)
    }
}
