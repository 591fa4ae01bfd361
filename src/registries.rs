//! How registries are reached: who we are there, and whom we trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shiplap_registry::auth::Credentials;
use shiplap_registry::{Client, ClientOptions, Progress};

use crate::docker_config;

/// Where Docker and podman keep certificates of registries (`docker-daemon(8)`, `containers-certs.d(5)`).
const CERTIFICATES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];

/// Options of every command that reaches a registry.
#[derive(Debug, Default, clap::Args)]
pub struct Registries {
    /// A file with certificates, in PEM, of authorities that registries are trusted by, besides those of the system, of SSL_CERT_FILE and of
    /// /etc/docker/certs.d
    #[arg(
        long = "ca",
        env = "SHIPLAP_CA",
        value_name = "FILE",
        value_delimiter = ',',
        global = true,
        help_heading = "Global options"
    )]
    ca: Vec<PathBuf>,
    /// A registry whose certificate is not checked, and that may have none. Those on this machine need not be named
    #[arg(
        long = "insecure-registry",
        env = "SHIPLAP_INSECURE_REGISTRIES",
        value_name = "HOST[:PORT]",
        value_delimiter = ',',
        global = true,
        help_heading = "Global options"
    )]
    insecure: Vec<String>,
}

impl Registries {
    /// A client with the credentials of Docker and podman.
    pub fn client(&self, progress: Arc<dyn Progress>) -> Client {
        Client::new(self.options(progress))
    }

    /// A client for what is of use and not necessary: it does not wait long.
    pub fn impatient_client(&self, progress: Arc<dyn Progress>) -> Client {
        let (attempts, patience) = (2, Duration::from_secs(10));
        Client::new(ClientOptions { attempts, patience, ..self.options(progress) })
    }

    /// A client for questions that somebody waits for.
    pub fn hasty_client(&self, progress: Arc<dyn Progress>) -> Client {
        let (attempts, patience, parallel) = (3, Duration::from_secs(10), 16);
        Client::new(ClientOptions { attempts, patience, parallel, ..self.options(progress) })
    }

    fn options(&self, progress: Arc<dyn Progress>) -> ClientOptions {
        let folders = CERTIFICATES.iter().map(|folder| Path::new(folder).to_owned());
        let own = dirs::config_dir().map(|config| config.join("containers/certs.d"));
        ClientOptions {
            credentials: credentials(),
            progress,
            insecure: self.insecure.clone(),
            authorities: self.ca.clone(),
            certificates: folders.chain(own).collect(),
            ..ClientOptions::default()
        }
    }
}

/// The file that `REGISTRY_AUTH_FILE` names goes first, for it was named; then what `docker login` writes, then what `podman login` does
/// (`containers-auth.json(5)`).
fn credentials() -> Credentials {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let podman = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    [variable("REGISTRY_AUTH_FILE"), docker_config::path(), podman]
        .into_iter()
        .flatten()
        .fold(Credentials::anonymous(), |credentials, file| credentials.or_file(&file))
}
