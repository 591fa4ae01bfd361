//! Names of images, by Docker's rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;

/// A name that cannot be one of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of an image: {why}")]
pub struct ReferenceError {
    /// The name as it was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// A registry and a path in it: `docker.io/library/debian`, `localhost:5000/campus/openedx`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry's `host[:port]`; `docker.io` when the name gave none.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As people write it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        if self.registry != HUB {
            return self.to_string();
        }
        self.path.strip_prefix("library/").filter(|p| !p.contains('/')).unwrap_or(&self.path).to_owned()
    }

    /// Whether the registry is on this machine: `localhost`, `127.0.0.0/8`, `::1`. Such a registry is spoken to without TLS, as
    /// Docker does.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// A tag in this repository.
    ///
    /// # Errors
    /// The tag has a form that no tag may have.
    pub fn tagged(&self, tag: &str) -> Result<Reference, ReferenceError> {
        format!("{self}:{tag}").parse()
    }

    /// A manifest in this repository.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

const HUB: &str = "docker.io";

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (repository, tag, digest) = split(s)?;
        if tag.is_some() || digest.is_some() {
            let why = "a repository has no tag and no digest".to_owned();
            return Err(ReferenceError { text: s.to_owned(), why });
        }
        Ok(repository)
    }
}

/// A repository with a tag, a digest or both. Displayed in full; a name without tag and digest means `latest`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Where.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one. It decides; a tag beside it is for people.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same name, pinned to a digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// As people write it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        self.write(self.repository.familiar())
    }

    fn write(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }

    pub(crate) fn to_oci(&self) -> oci_client::Reference {
        let (registry, path) = (self.repository.registry.clone(), self.repository.path.clone());
        match (self.digest, &self.tag) {
            (Some(digest), _) => oci_client::Reference::with_digest(registry, path, digest.to_string()),
            (None, tag) => {
                let tag = tag.as_deref().unwrap_or("latest").to_owned();
                oci_client::Reference::with_tag(registry, path, tag)
            }
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(self.repository.to_string()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (repository, mut tag, digest) = split(s)?;
        if tag.is_none() && digest.is_none() {
            tag = Some("latest".to_owned());
        }
        Ok(Self { repository, tag, digest })
    }
}

macro_rules! text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = ReferenceError;

            fn try_from(s: String) -> Result<Self, Self::Error> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    )*};
}
text!(Repository, Reference);

/// Takes a name apart without adding a tag.
fn split(s: &str) -> Result<(Repository, Option<String>, Option<Digest>), ReferenceError> {
    let bad = |why: String| ReferenceError { text: s.to_owned(), why };
    // The grammar of oci-spec has no IPv6 addresses; Docker's has. The host is swapped for one that it knows.
    let (text, registry) = match s.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            let ip: std::net::Ipv6Addr = host.parse().map_err(|_| bad(format!("[{host}] is no IPv6 address")))?;
            let (port, path) = rest.split_once('/').ok_or_else(|| bad("the path behind the host is missing".into()))?;
            (format!("host.invalid{port}/{path}"), Some(format!("[{ip}]{port}")))
        }
        None => (s.to_owned(), None),
    };
    let parsed: oci_client::Reference = text.parse().map_err(|e: oci_client::ParseError| {
        let hint = if text.chars().any(|c| c.is_ascii_uppercase()) { "; the name must be in lower case" } else { "" };
        bad(format!("{e}{hint}"))
    })?;
    let digest = parsed.digest().map(str::parse).transpose();
    let digest =
        digest.map_err(|_| bad("its digest is not `sha256:` and 64 lower-case hexadecimal characters".into()))?;
    // The parser adds `latest`; whether a tag was written shows in the text behind the last slash.
    let name = text.split('@').next().unwrap_or_default();
    let written = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let tag = parsed.tag().filter(|_| written).map(str::to_owned);
    let registry = registry.unwrap_or_else(|| parsed.registry().to_owned());
    Ok((Repository { registry, path: parsed.repository().to_owned() }, tag, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, full, familiar) in [
            ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("campus/openedx:1.0", "docker.io/campus/openedx:1.0", "campus/openedx:1.0"),
            ("index.docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("ghcr.io/a/b/c:t", "ghcr.io/a/b/c:t", "ghcr.io/a/b/c:t"),
            ("[::1]:5000/x:t", "[::1]:5000/x:t", "[::1]:5000/x:t"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string(), reference.familiar()), (full.to_owned(), familiar.to_owned()), "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_stands_alone_or_behind_a_tag() {
        let alone: Reference = format!("debian@{DIGEST}").parse().unwrap();
        assert_eq!((alone.tag(), alone.digest()), (None, Some(DIGEST.parse().unwrap())));
        let both: Reference = format!("debian:12@{DIGEST}").parse().unwrap();
        assert_eq!((both.tag(), both.digest().is_some()), (Some("12"), true));
        assert_eq!(both.to_oci().digest(), Some(DIGEST));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "Ubuntu", "a b", "x:", ":t", "http://x/y", "x@sha256:12", "[::zz]:1/x", "[::1]:5000", "a//b"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!("debian:12".parse::<Repository>().is_err());
        assert!(format!("debian@{DIGEST}").parse::<Repository>().is_err());
        assert!("debian".parse::<Repository>().unwrap().tagged("a/b").is_err());
    }

    #[test]
    fn loopback_is_told_by_the_address() {
        for (text, loopback) in [
            ("localhost:5000/x", true),
            ("127.0.0.1:5000/x", true),
            ("127.9.8.7/x", true),
            ("[::1]:5000/x", true),
            ("ghcr.io/x", false),
            ("x", false),
            ("localhost.example.com/x", false),
            ("10.0.0.1/x", false),
        ] {
            assert_eq!(text.parse::<Repository>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
