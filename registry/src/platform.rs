//! Which of an index's images fits a machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected <os>/<architecture>[/<variant>], as in linux/amd64")]
pub struct PlatformError(String);

/// An operating system and a processor in Go's names (image-spec, image-index.md, *Platform Variants*).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, nearly always.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7` of `arm`, ...; none where there is one variant in use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on this machine's processor.
    pub fn host() -> Self {
        Self { os: "linux".into(), architecture: std::env::consts::ARCH.into(), variant: None }.normal()
    }

    /// One spelling for names that mean the same (containerd's `platforms.Normalize`).
    fn normal(mut self) -> Self {
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("aarch64" | "arm64", None | Some("v8" | "8")) => ("arm64", None),
            ("x86" | "i386" | "386", _) => ("386", None),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            (a, v) => (a, v),
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.map(str::to_owned));
        self
    }

    /// Whether an image for `other` is one for this platform.
    pub fn matches(&self, other: &Self) -> bool {
        self.clone().normal() == other.clone().normal()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || PlatformError(s.to_owned());
        let parts: Vec<&str> = s.split('/').collect();
        let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !parts.iter().all(word) {
            return Err(bad());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(bad()),
        };
        Ok(Self { os: os.into(), architecture: architecture.into(), variant }.normal())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |v| write!(f, "/{v}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_platform_match() {
        let p = |s: &str| s.parse::<Platform>().unwrap();
        for (a, b) in
            [("linux/x86_64", "linux/amd64"), ("linux/aarch64", "linux/arm64/v8"), ("linux/arm", "linux/arm/v7")]
        {
            assert!(p(a).matches(&p(b)), "{a} {b}");
        }
        assert!(!p("linux/arm/v6").matches(&p("linux/arm/v7")));
        assert!(!p("linux/amd64").matches(&p("windows/amd64")));
        for bad in ["", "linux", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
