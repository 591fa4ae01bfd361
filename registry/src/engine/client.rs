//! A connection to an engine.

use std::fmt;
use std::time::Duration;

use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::error::told;
use super::{Address, EngineError};

/// How long an engine may take for something small.
const PATIENCE: u64 = 30;
/// How long it may take for an image: an archive is answered when it is unpacked.
const LONG_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Docker 23, the first that unpacks layers in zstd (moby, `pkg/archive`).
const READS_ZSTD: (usize, usize) = (1, 42);

/// A container engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) address: Address,
    name: String,
    version: String,
    api: (usize, usize),
    architecture: String,
    keeps: Keeps,
}

/// How an engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// As layers of a storage driver: an image's id is the digest of its config.
    Layers,
    /// With containerd: an image's id is the digest of its manifest or index.
    Content,
    /// Podman's storage.
    Podman,
}

impl Engine {
    /// Connects, and asks what it is.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`], [`EngineError::OtherSystem`].
    pub async fn connect(address: &Address) -> Result<Self, EngineError> {
        let unreachable = |error: bollard::errors::Error| EngineError::Unreachable {
            address: Box::new(address.clone()),
            why: told(&error),
        };
        let docker = open(address).map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let SystemVersion { version, os, arch, components, .. } = docker.version().await.map_err(unreachable)?;
        let is_podman = components.iter().flatten().any(|part| part.name.starts_with("Podman"));
        if let Some(os) = os.filter(|os| os != "linux") {
            return Err(EngineError::OtherSystem { address: Box::new(address.clone()), os });
        }
        let keeps = if is_podman {
            Keeps::Podman
        } else {
            let info = docker.info().await.map_err(unreachable)?;
            let by_containerd =
                |pair: &Vec<String>| pair.iter().any(|text| text.starts_with("io.containerd.snapshotter"));
            if info.driver_status.iter().flatten().any(by_containerd) { Keeps::Content } else { Keeps::Layers }
        };
        let api = docker.client_version();
        Ok(Self {
            address: address.clone(),
            name: if is_podman { "Podman" } else { "Docker" }.to_owned(),
            version: version.unwrap_or_default(),
            api: (api.major_version, api.minor_version),
            architecture: arch.unwrap_or_default(),
            keeps,
            docker,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How it keeps images.
    pub fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// The architecture of its machine, in Go's words: `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Whether it unpacks layers in zstd.
    pub(super) fn reads_zstd(&self) -> bool {
        self.keeps != Keeps::Layers || self.api >= READS_ZSTD
    }

    /// The same with the patience that images need.
    pub(super) fn patient(&self) -> Docker {
        self.docker.clone().with_timeout(LONG_PATIENCE)
    }

    /// An error of something that was asked of it.
    pub(super) fn refused(&self, what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
        let (engine, what) = (self.to_string(), what.into());
        move |error| EngineError::Refused { engine, what, why: told(&error) }
    }
}

/// `Docker 28.5.2`.
impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

fn open(address: &Address) -> Result<Docker, bollard::errors::Error> {
    match address {
        Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), PATIENCE, API_DEFAULT_VERSION),
        Address::Tcp { host, tls: None } => {
            Docker::connect_with_http(&format!("tcp://{host}"), PATIENCE, API_DEFAULT_VERSION)
        }
        Address::Tcp { host, tls: Some(tls) } => {
            crate::install_tls();
            let address = format!("tcp://{host}");
            Docker::connect_with_ssl(&address, &tls.key, &tls.cert, &tls.ca, PATIENCE, API_DEFAULT_VERSION)
        }
        Address::Ssh(place) => Docker::connect_with_ssh(&format!("ssh://{place}"), PATIENCE, API_DEFAULT_VERSION, None),
    }
}
