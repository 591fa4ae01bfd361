use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An operating system and processor, written `os/arch[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ... (Go's names).
    pub arch: String,
    /// `v7` and the like.
    pub variant: Option<String>,
}

/// A platform that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform; write it as os/arch or os/arch/variant, such as linux/amd64")]
pub struct PlatformError(String);

impl Platform {
    /// The platform that this program was compiled for, with Linux as its system: a container's.
    pub fn host() -> Self {
        let (arch, variant) = normalize_arch(std::env::consts::ARCH, None);
        Platform { os: "linux".to_owned(), arch, variant }
    }

    /// A Linux platform of the given architecture.
    pub fn linux(arch: &str) -> Self {
        let (arch, variant) = normalize_arch(arch, None);
        Platform { os: "linux".to_owned(), arch, variant }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let bad = || PlatformError(text.to_owned());
        let ok = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        let parts: Vec<String> = text.split('/').map(str::to_lowercase).collect();
        if !parts.iter().all(|p| ok(p)) {
            return Err(bad());
        }
        let (os, arch, variant) = match parts.as_slice() {
            // A lone word is a system or an architecture.
            [one] if is_os(one) => (one.clone(), Platform::host().arch, None),
            [one] => ("linux".to_owned(), one.clone(), None),
            [os, arch] => (os.clone(), arch.clone(), None),
            [os, arch, variant] => (os.clone(), arch.clone(), Some(variant.clone())),
            _ => return Err(bad()),
        };
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (arch, variant) = normalize_arch(&arch, variant);
        Ok(Platform { os, arch, variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn is_os(word: &str) -> bool {
    matches!(word, "linux" | "windows" | "darwin" | "macos" | "freebsd" | "netbsd" | "openbsd" | "solaris")
}

/// The names that containerd's `platforms.Normalize` gives.
fn normalize_arch(arch: &str, variant: Option<String>) -> (String, Option<String>) {
    let (arch, variant) = match (arch, variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
        ("x86_64" | "x86-64", _) => ("amd64", variant),
        ("i386" | "x86", _) => ("386", None),
        ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
        ("aarch64", _) => ("arm64", variant),
        ("armhf", _) => ("arm", Some("v7".to_owned())),
        ("armel", _) => ("arm", Some("v6".to_owned())),
        ("arm", None | Some("7")) => ("arm", Some("v7".to_owned())),
        ("arm", Some("5" | "6" | "8")) => ("arm", variant.map(|v| format!("v{v}"))),
        ("powerpc64le", _) => ("ppc64le", variant),
        _ => (arch, variant),
    };
    (arch.to_owned(), variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalized_as_containerd_does() {
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("arm64", "linux/arm64"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), want, "{text}");
        }
        for text in ["", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
