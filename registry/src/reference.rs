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

/// Takes a name apart without adding a tag. The grammar is distribution's (reference/regexp.go, reference/normalize.go); written out, for a regular
/// expression of it takes longer to compile than most of our commands take to run.
fn split(s: &str) -> Result<(Repository, Option<String>, Option<Digest>), ReferenceError> {
    let bad = |why: &str| ReferenceError { text: s.to_owned(), why: why.to_owned() };
    let (rest, digest) = match s.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest.parse();
            (
                rest,
                Some(digest.map_err(|_| bad("its digest is not `sha256:` and 64 lower-case hexadecimal characters"))?),
            )
        }
        None => (s, None),
    };
    let last = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[last..].split_once(':') {
        Some((name, tag)) => (&rest[..last + name.len()], Some(tag)),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(bad("a tag is 1 to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`"));
    }
    let (registry, path) = match name.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
        _ => (HUB, name),
    };
    let registry = if registry == "index.docker.io" { HUB } else { registry };
    if !is_host(registry) {
        return Err(bad("its registry is not <host>[:<port>]"));
    }
    if path.is_empty() || path.len() > 255 {
        return Err(bad("its path is empty or longer than 255 characters"));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(bad("it must be in lower case"));
    }
    if !path.split('/').all(is_path_component) {
        return Err(bad("between slashes are words of lower-case letters and digits, joined by `.`, `_`, `__` or `-`"));
    }
    let official = registry == HUB && !path.contains('/');
    let path = if official { format!("library/{path}") } else { path.to_owned() };
    Ok((Repository { registry: registry.to_owned(), path }, tag.map(str::to_owned), digest))
}

fn is_tag(s: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    s.len() <= 128 && s.bytes().next().is_some_and(word) && s.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// `host[:port]`; an IPv6 address stands in brackets.
fn is_host(s: &str) -> bool {
    let (host, port) = match s.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (s, None),
    };
    let label = |l: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(l.bytes().next()) && edge(l.bytes().last()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let good = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    good && port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(s: &str) -> bool {
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = s.as_bytes();
    bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes.split(word).all(|mark| matches!(mark, b"" | b"." | b"_" | b"__") || mark.iter().all(|b| *b == b'-'))
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
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            "Ubuntu",
            "a b",
            "x:",
            ":t",
            "http://x/y",
            "x@sha256:12",
            "[::zz]:1/x",
            "[::1]:5000",
            "a//b",
            "a/",
            "/a",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "x:.t",
            "x:a:b",
            "localhost:99999/x",
            "a.b:/x",
            "-h.x/y",
            "x@y@z",
            "x:t@",
            "é",
        ] {
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
