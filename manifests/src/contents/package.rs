//! A package, and where it comes from.

use std::fmt;

use packageurl::PackageUrl;
use serde::{Deserialize, Serialize};

/// Who installed a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// dpkg, under apt.
    Debian,
    /// apk.
    Alpine,
    /// pip, uv and the like.
    Python,
    /// npm, pnpm, yarn.
    Npm,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian => "debian",
            Self::Alpine => "alpine",
            Self::Python => "python",
            Self::Npm => "npm",
        })
    }
}

/// A package of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Who installed it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The record that tells of it, in the image.
    pub path: String,
    /// Its licences as the package names them: SPDX identifiers or expressions, or other words.
    pub licences: Vec<String>,
    /// Its name for everybody (<https://github.com/package-url/purl-spec>).
    pub purl: String,
    /// Where it comes from, when that is not its manager's own registry.
    pub source: Option<Source>,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// A git repository.
    Git {
        /// Its URL, without credentials.
        url: String,
        /// The commit.
        commit: String,
    },
    /// A file from somewhere.
    Url {
        /// Its URL, without credentials.
        url: String,
    },
    /// A folder of the image or of the build context.
    Local {
        /// The folder or file, as far as it is known: a path in the container that installed it.
        path: Option<String>,
        /// Whether it is used from there, without a copy.
        editable: bool,
    },
    /// A source package of the distribution.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

/// A package URL; qualifiers without a value are left out. None where the parts make none.
pub(super) fn purl(
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    version: &str,
    qualifiers: &[(&str, &str)],
) -> Option<String> {
    let mut purl = PackageUrl::new(kind, name).ok()?;
    purl.with_version(version).ok()?;
    if let Some(namespace) = namespace {
        purl.with_namespace(namespace).ok()?;
    }
    for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
        purl.add_qualifier(*key, *value).ok()?;
    }
    Some(purl.to_string())
}

/// A URL without the name and the password that it may carry, and without its query, where tokens are.
pub fn without_credentials(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '#']).unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_url_escapes_what_it_must() {
        let of = |kind, namespace, name, version, qualifiers: &[_]| purl(kind, namespace, name, version, qualifiers);
        assert_eq!(of("npm", Some("@edx"), "brand", "1.2.0", &[]).unwrap(), "pkg:npm/%40edx/brand@1.2.0");
        assert_eq!(
            of("deb", Some("debian"), "libstdc++6", "12.2.0-14", &[("arch", "amd64"), ("distro", "")]).unwrap(),
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64"
        );
        assert_eq!(of("pypi", None, "", "1", &[]), None);
    }

    #[test]
    fn credentials_in_a_url_are_left_out() {
        for (given, wanted) in [
            ("https://user:secret@git.example.org/a.git", "https://git.example.org/a.git"),
            ("git+ssh://git@github.com/a/b.git#0123", "git+ssh://github.com/a/b.git#0123"),
            ("https://files.example.org/a.whl?token=secret", "https://files.example.org/a.whl"),
            ("https://a:p@ss@example.org", "https://example.org"),
            ("file:../brand", "file:../brand"),
        ] {
            assert_eq!(without_credentials(given), wanted);
        }
    }
}
