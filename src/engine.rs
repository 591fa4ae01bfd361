//! Which container engine is meant, as the `docker` command finds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use shiplap_builder::build::EngineBases;
use shiplap_cache::Digest;
use shiplap_registry::engine::{Address, Engine, EngineError, Tls};

use crate::app::App;
use crate::cli::Global;
use crate::commands::build::Flags;
use crate::commands::build::flags::BaseFrom;
use crate::docker_config;
use crate::failure::{Failure, Kind, Result};

const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// Connects to the engine that `docker` would talk to.
pub async fn connect(app: &App) -> Result<Engine> {
    Settings::of_environment(&app.global)?.connect().await
}

/// Connects to the engine that a word names: `docker`, for the same one, or `docker=ADDRESS`.
pub async fn named(global: &Global, word: &str) -> Result<Engine> {
    let wrong = || Failure::new(Kind::Usage, format!("--engine {word}: expected docker, or docker=ADDRESS"));
    let mut settings = Settings::of_environment(global)?;
    match word.split_once('=') {
        None if word == "docker" => {}
        Some(("docker", address)) if !address.is_empty() => {
            settings = Settings { host: Some(address.to_owned()), context: None, ..settings };
        }
        _ => {
            return Err(
                wrong().hint("DOCKER_HOST and Docker's contexts say where it listens; the address goes before them")
            );
        }
    }
    settings.connect().await
}

impl Settings {
    async fn connect(&self) -> Result<Engine> {
        let settings = self;
        let address = settings.address()?;
        Engine::connect(&address).await.map_err(|error| {
        let is_default = settings.host.is_none() && settings.context.is_none();
        match error {
            EngineError::Unreachable { .. } if is_default => Failure::from(error).hint(
                "start Docker or Podman's service (`systemctl start docker`, `systemctl --user start podman.socket`), or say where one \
                 listens: DOCKER_HOST, `docker context use`. Without an engine, `shiplap export NAME - --format docker-archive` writes \
                 what `docker load` reads",
            ),
            EngineError::Unreachable { .. } => {
                Failure::from(error).hint("DOCKER_HOST or Docker's context names this address: is the engine there up, and may you use it?")
            }
            error => error.into(),
        }
    })
    }
}

/// The engine that base images come from, where one is asked for.
pub async fn bases(app: &App, flags: &Flags) -> Result<Option<Arc<EngineBases>>> {
    match flags.base_from {
        BaseFrom::Registry => Ok(None),
        BaseFrom::Engine => Ok(Some(Arc::new(EngineBases::new(connect(app).await?)))),
    }
}

/// Says which base images an engine had: on another machine they may be others.
pub fn tell(app: &App, bases: Option<&EngineBases>) {
    let Some(bases) = bases else { return };
    for (name, id) in bases.taken() {
        app.progress.finish();
        app.note(&format!("{name} is the image {id} of {}", bases.engine()));
    }
}

/// What is set, the more important first.
#[derive(Debug, Default)]
struct Settings {
    /// An address, and who set it.
    host: Option<String>,
    /// The folder of certificates for it, where TLS is wanted.
    certificates: Option<PathBuf>,
    /// The name of a context.
    context: Option<String>,
    /// The folder of Docker's contexts.
    contexts: Option<PathBuf>,
    /// Sockets of Podman, to be tried when Docker has none.
    sockets: Vec<PathBuf>,
}

impl Settings {
    /// docs.docker.com, *Docker contexts*: flags, then `DOCKER_HOST`, then `DOCKER_CONTEXT`, then what `docker context use` chose. Podman's
    /// `CONTAINER_HOST` comes where none of these is set (`podman(1)`).
    fn of_environment(global: &Global) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let docker = global.docker.clone().unwrap_or_default();
        let folder = docker_config::path().and_then(|path| Some(path.parent()?.to_owned()));
        let mut settings = Self {
            certificates: variable("DOCKER_TLS_VERIFY")
                .and_then(|_| variable("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| folder.clone())),
            contexts: folder.map(|folder| folder.join("contexts")),
            ..Self::default()
        };
        if let Some(runtime) = variable("XDG_RUNTIME_DIR") {
            settings.sockets.push(Path::new(&runtime).join("podman/podman.sock"));
        }
        settings.sockets.push(PODMAN_SOCKET.into());
        if docker.context.is_some() {
            settings.context = docker.context;
        } else if let Some(host) = docker.host.or_else(|| variable("DOCKER_HOST")) {
            settings.host = Some(host);
        } else {
            settings.context = match variable("DOCKER_CONTEXT") {
                Some(name) => Some(name),
                None => docker_config::current_context()?,
            };
        }
        settings.context = settings.context.filter(|name| name != "default");
        if settings.context.is_none() && settings.host.is_none() {
            settings.host = variable("CONTAINER_HOST");
        }
        Ok(settings)
    }

    fn address(&self) -> Result<Address> {
        if let Some(name) = &self.context {
            return self.of_context(name);
        }
        if let Some(host) = &self.host {
            let tls = self.certificates.as_deref().filter(|_| !host.starts_with("unix:")).map(Tls::in_folder);
            return Ok(Address::parse(host, tls)?);
        }
        let docker = Path::new(DOCKER_SOCKET);
        let podman = self.sockets.iter().find(|socket| !docker.exists() && socket.exists());
        Ok(Address::Unix(podman.map_or(docker, PathBuf::as_path).to_owned()))
    }

    /// docker/cli, `cli/context/store`: the folder of a context is named after the SHA-256 of its name.
    fn of_context(&self, name: &str) -> Result<Address> {
        let missing = || {
            Failure::new(Kind::Missing, format!("there is no Docker context `{name}`"))
                .hint("`docker context ls` lists them; DOCKER_CONTEXT and `docker context use` choose one")
        };
        let folder = self.contexts.as_ref().ok_or_else(missing)?;
        let id = Digest::of(name.as_bytes()).hex();
        let path = folder.join("meta").join(&id).join("meta.json");
        let text = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => Failure::new(Kind::Usage, format!("cannot read {}: {error}", path.display())),
        })?;
        let wrong = |why: String| Failure::new(Kind::Usage, format!("cannot use {}: {why}", path.display()));
        let context: Context = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let endpoint = context.endpoints.docker.ok_or_else(|| wrong("it has no endpoint for docker".into()))?;
        if endpoint.skip_tls_verify {
            return Err(wrong(
                "it skips the check of the engine's certificate, and images are not given to just anybody".into(),
            ));
        }
        let certificates = folder.join("tls").join(id).join("docker");
        let tls = certificates.is_dir().then(|| Tls::in_folder(&certificates));
        Ok(Address::parse(&endpoint.host, tls)?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        use EngineError as E;
        let kind = match error {
            E::Image(error) => return error.into(),
            E::Address { .. } => Kind::Usage,
            E::Unreachable { .. } => Kind::Network,
            E::TagExists { .. } => Kind::Refused,
            E::OtherSystem { .. } | E::Refused { .. } | E::Io { .. } => Kind::Failed,
        };
        Self::of(kind, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(settings: &Settings) -> String {
        settings.address().map_or_else(|failure| failure.to_string(), |address| address.to_string())
    }

    #[test]
    fn a_context_names_an_address_and_its_certificates() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let meta = |name: &str, text: &str| {
            let at = folder.join("meta").join(Digest::of(name.as_bytes()).hex());
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("meta.json"), text).unwrap();
        };
        let host = |host: &str, more: &str| {
            format!(r#"{{"Name":"x","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"{more}}}}}}}"#)
        };
        meta("far", &host("tcp://build", r#","SkipTLSVerify":false"#));
        meta("careless", &host("tcp://build", r#","SkipTLSVerify":true"#));
        meta("odd", r#"{"Endpoints":{"kubernetes":{}}}"#);
        let named = |name: &str| {
            address(&Settings { context: Some(name.to_owned()), contexts: Some(folder.clone()), ..Settings::default() })
        };
        assert_eq!(named("far"), "tcp://build:2375");
        std::fs::create_dir_all(folder.join("tls").join(Digest::of(b"far").hex()).join("docker")).unwrap();
        assert_eq!(named("far"), "tcp://build:2376");
        assert!(named("careless").contains("skips the check"));
        assert!(named("odd").contains("no endpoint for docker"));
        assert!(named("none").contains("there is no Docker context `none`"));
    }

    #[test]
    fn certificates_are_for_tcp() {
        let settings = |host: &str| Settings {
            host: Some(host.to_owned()),
            certificates: Some("certs".into()),
            ..Settings::default()
        };
        assert_eq!(address(&settings("tcp://build")), "tcp://build:2376");
        assert_eq!(address(&settings("unix:///run/docker.sock")), "unix:///run/docker.sock");
        assert!(address(&settings("build")).contains("is no address"));
    }
}
