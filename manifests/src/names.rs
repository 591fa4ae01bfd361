//! Names: of instances, images, repositories and references.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;
use shiplap_registry::tag::ReleaseTag;

/// A name that does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be {what}: {rule}")]
pub struct NameError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! string_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(s) {
                    Ok(Self(s.to_owned()))
                } else {
                    Err(NameError { text: s.to_owned(), what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(s: String) -> Result<Self, Self::Error> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

string_name!(
    /// The name of an Open edX site in `shiplap.toml`.
    InstanceName,
    "the name of an instance",
    "up to 63 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first",
    is_plain_name
);

string_name!(
    /// The name of one image of an instance: `openedx`, `mfe`, ...
    ImageName,
    "the name of an image",
    "up to 63 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first",
    is_plain_name
);

string_name!(
    /// Where an image is tagged: `[registry/]path`, without a tag, spelled as in `shiplap.toml`: what is written into a Compose file or Tutor's
    /// `config.yml` should read as its owner wrote it.
    Repository,
    "a repository",
    "expected [registry/]path in lower case and without a tag, as in ghcr.io/campus/openedx; the tag is made by each release",
    |s| s.parse::<shiplap_registry::Repository>().is_ok()
);

impl Repository {
    /// The registry's `host[:port]`, if the repository names one. Docker's rule: the first part is a host if it has a `.` or `:`, or
    /// is `localhost` (distribution/reference, `splitDockerDomain`).
    pub fn registry(&self) -> Option<&str> {
        let (host, _) = self.0.split_once('/')?;
        (host == "localhost" || host.contains(['.', ':'])).then_some(host)
    }

    /// The repository that Docker understands by it: `campus/openedx` is `docker.io/campus/openedx`.
    pub fn resolved(&self) -> Option<shiplap_registry::Repository> {
        self.0.parse().ok()
    }
}

/// A repository and the tag of a release: `ghcr.io/campus/openedx:1.4.0-g3f2c1ab09d4e`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    /// Where.
    pub repository: Repository,
    /// Which.
    pub tag: ReleaseTag,
}

impl Reference {
    /// The reference with its digest, `repository:tag@sha256:...`: engines go by the digest, people read the tag.
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{self}@{digest}")
    }

    /// The reference that Docker understands by it: `campus/openedx:...` is `docker.io/campus/openedx:...`.
    pub fn resolved(&self) -> Option<shiplap_registry::Reference> {
        self.to_string().parse().ok()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || NameError {
            text: s.to_owned(),
            what: "the reference of a release",
            rule: "expected <repository>:<version>-g<commit>",
        };
        let (repository, tag) = s.rsplit_once(':').ok_or_else(bad)?;
        Ok(Self { repository: repository.parse()?, tag: tag.parse().map_err(|_| bad())? })
    }
}

impl TryFrom<String> for Reference {
    type Error = NameError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

fn is_plain_name(s: &str) -> bool {
    s.len() <= 63
        && s.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_follow_the_grammar_of_the_distribution_spec() {
        for good in [
            "campus/openedx",
            "openedx",
            "a-b/c__d/e.f",
            "ghcr.io/campus/openedx",
            "localhost:5000/x",
            "[::1]:5000/x",
            "a---b",
        ] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "campus/Openedx",
            "campus/openedx:latest",
            "campus/openedx@sha256:00",
            "/x",
            "x/",
            "a//b",
            "a..b",
            "-a",
            "https://ghcr.io/x",
            "a b",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_registry_is_told_from_the_path_as_docker_does() {
        let registry = |s: &str| s.parse::<Repository>().unwrap().registry().map(str::to_owned);
        assert_eq!(registry("campus/openedx"), None);
        assert_eq!(registry("ghcr.io/openedx").as_deref(), Some("ghcr.io"));
        assert_eq!(registry("localhost/openedx").as_deref(), Some("localhost"));
        assert_eq!(registry("host:5000/openedx").as_deref(), Some("host:5000"));
    }

    #[test]
    fn a_reference_reads_back_what_it_wrote() {
        let reference: Reference = "localhost:5000/campus/openedx:1.0.0-g3f2c1ab09d4e".parse().unwrap();
        assert_eq!(reference.repository.as_str(), "localhost:5000/campus/openedx");
        assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        let hub: Reference = "campus/openedx:1.0.0-g3f2c1ab09d4e".parse().unwrap();
        assert_eq!(hub.resolved().unwrap().to_string(), format!("docker.io/{hub}"));
        assert!("campus/openedx:latest".parse::<Reference>().is_err());
        assert!("campus/openedx".parse::<Reference>().is_err());
    }

    #[test]
    fn names_with_slashes_or_capitals_are_refused() {
        for bad in ["", "Campus", "a/b", "../x", ".hidden", "a b"] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
        }
    }
}
