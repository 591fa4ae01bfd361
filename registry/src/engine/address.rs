//! Where an engine listens.

use std::fmt;
use std::path::PathBuf;

use super::EngineError;

/// The address of an engine, as `DOCKER_HOST` and Docker's contexts write it (docs.docker.com, *docker*, *Environment variables*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///run/docker.sock`
    Unix(PathBuf),
    /// `tcp://host:port`, with TLS or without
    Tcp {
        /// `host:port`.
        host: String,
        /// Who we are, and whom we trust.
        tls: Option<Tls>,
    },
    /// `ssh://[user@]host[:port]`: `docker system dial-stdio` is run there.
    Ssh(String),
}

/// Files in PEM: Docker's engines know their clients by certificate (docs.docker.com, *Protect the Docker daemon socket*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authority of the engine's certificate.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Tls {
    /// The files in a folder, by the names that Docker gives them.
    pub fn in_folder(folder: &std::path::Path) -> Self {
        Self { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }
}

impl Address {
    /// Reads an address. `tls` is for `tcp://` alone.
    ///
    /// # Errors
    /// [`EngineError::Address`].
    pub fn parse(text: &str, tls: Option<Tls>) -> Result<Self, EngineError> {
        let wrong = |why: &'static str| EngineError::Address { text: text.to_owned(), why };
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("it has no `unix://`, `tcp://` or `ssh://`"))?;
        let place = rest.trim_end_matches('/');
        if place.is_empty() {
            return Err(wrong("nothing is behind the `://`"));
        }
        match scheme {
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                if place.contains(['/', '@']) {
                    return Err(wrong("only host and port may follow"));
                }
                let bare = place.rsplit_once(']').map_or(place, |(_, port)| port);
                // Docker's ports (IANA, *docker* and *docker-s*).
                let port = if tls.is_some() { 2376 } else { 2375 };
                let host = if bare.contains(':') { place.to_owned() } else { format!("{place}:{port}") };
                match (scheme, &tls) {
                    ("https", None) => Err(wrong("TLS wants certificates: DOCKER_CERT_PATH names their folder")),
                    ("http", Some(_)) => Err(wrong("it says that there is no TLS, and certificates are given")),
                    _ => Ok(Self::Tcp { host, tls }),
                }
            }
            "ssh" => Ok(Self::Ssh(place.to_owned())),
            "npipe" => Err(wrong("named pipes are for Windows")),
            _ => Err(wrong("only `unix://`, `tcp://` and `ssh://` are known")),
        }
    }

    /// Whether the engine may be on this machine, and see our loopback. A socket may lead into a virtual machine all the same.
    pub fn is_near(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
                let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
                name == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
            Self::Ssh(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, .. } => write!(f, "tcp://{host}"),
            Self::Ssh(place) => write!(f, "ssh://{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Address::parse(text, None).map_or_else(|e| e.to_string(), |address| address.to_string())
    }

    #[test]
    fn addresses_are_those_of_docker() {
        for (text, expected) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://build.example.org:2375/", "tcp://build.example.org:2375"),
            ("tcp://build", "tcp://build:2375"),
            ("http://[::1]:99", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("ssh://ada@build:22", "ssh://ada@build:22"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let tls = Some(Tls::in_folder("certs".as_ref()));
        assert_eq!(Address::parse("tcp://build", tls.clone()).unwrap().to_string(), "tcp://build:2376");
        assert!(Address::parse("http://build", tls).is_err());
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (text, why) in [
            ("/run/docker.sock", "has no `unix://`"),
            ("unix://", "nothing is behind"),
            ("npipe:////./pipe/docker_engine", "Windows"),
            ("https://build", "DOCKER_CERT_PATH"),
            ("tcp://build/v1.41", "only host and port"),
            ("fd://", "nothing is behind"),
            ("ftp://x", "are known"),
        ] {
            assert!(shown(text).contains(why), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn only_what_is_on_this_machine_is_near() {
        for (text, near) in [
            ("unix:///run/docker.sock", true),
            ("tcp://127.0.0.1:2375", true),
            ("tcp://[::1]:2375", true),
            ("tcp://localhost", true),
            ("tcp://10.0.0.1", false),
            ("tcp://localhost.example.org", false),
            ("ssh://localhost", false),
        ] {
            assert_eq!(Address::parse(text, None).unwrap().is_near(), near, "{text}");
        }
    }
}
