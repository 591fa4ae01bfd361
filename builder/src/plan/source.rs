use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use shiplap_registry::Reference;

use super::{Platform, StageId};
use crate::dockerfile::git::{self, GitRef};

/// A tree of files that a step starts from or copies from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Source {
    /// Nothing.
    Scratch,
    /// Another stage of the plan.
    Stage(StageId),
    /// An image.
    Image(ImageRef),
    /// A directory on this machine: the build context or one given with `--build-context`.
    Context(ContextName),
    /// A git repository given with `--build-context`.
    Git(GitSource),
    /// A tar archive on the web given with `--build-context`.
    Http(String),
}

/// The name of a build context; the main one has no name of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextName(Option<String>);

impl ContextName {
    /// The context that the build was started with.
    pub const MAIN: ContextName = ContextName(None);

    /// A context given with `--build-context NAME=...`.
    pub fn named(name: impl Into<String>) -> Self {
        ContextName(Some(name.into()))
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("."))
    }
}

impl Serialize for ContextName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An image, not yet resolved to a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ImageRef {
    /// Where it comes from.
    pub origin: ImageOrigin,
    /// For which platform.
    pub platform: Platform,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            ImageOrigin::Registry(name) => f.write_str(name),
            ImageOrigin::OciLayout { path, reference } => {
                write!(f, "oci-layout://{}", path.display())?;
                match reference {
                    Some(r) if r.contains(':') => write!(f, "@{r}"),
                    Some(r) => write!(f, ":{r}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ImageOrigin {
    /// A registry, by the full name, `docker.io/library/python:3.12` or with `@sha256:...`.
    #[serde(serialize_with = "name_field")]
    Registry(String),
    /// An OCI image layout on disk.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// Tag or digest in its index; `None` for the only image there.
        reference: Option<String>,
    },
}

fn name_field<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("name", name)?;
    map.end()
}

impl ImageOrigin {
    /// Reads an image name as Docker does: `python` is `docker.io/library/python:latest`. The error is a sentence.
    pub fn registry(name: &str) -> Result<Self, String> {
        let reference = Reference::from_str(name).map_err(|error| {
            if name.chars().any(|c| c.is_ascii_uppercase()) {
                format!("{name:?} is not an image name: a repository is written in lower case")
            } else {
                format!("{name:?} is not an image name: {error}")
            }
        })?;
        Ok(ImageOrigin::Registry(reference.to_string()))
    }
}

/// A git repository, not yet resolved to a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GitSource {
    /// What `git fetch` takes.
    pub url: String,
    /// Branch, tag or commit; `None` for the remote's `HEAD`.
    pub reference: Option<String>,
    /// The directory of the repository that counts as its root.
    pub subdir: Option<String>,
    /// The commit that the reference must resolve to.
    pub checksum: Option<String>,
    /// Whether `.git` is kept.
    pub keep_git_dir: bool,
    /// Whether submodules are fetched too.
    pub submodules: bool,
}

impl From<GitRef> for GitSource {
    fn from(git: GitRef) -> Self {
        GitSource {
            url: git.url,
            reference: git.reference,
            subdir: git.subdir,
            checksum: git.checksum,
            keep_git_dir: git.keep_git_dir.unwrap_or(false),
            submodules: git.submodules.unwrap_or(true),
        }
    }
}

/// The value of a `--build-context NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildContext {
    /// A directory on this machine.
    Directory(PathBuf),
    /// An image.
    Image(ImageOrigin),
    /// A git repository.
    Git(GitSource),
    /// A tar archive on the web.
    Http(String),
}

impl BuildContext {
    /// Reads the value as `docker buildx build` does. The error is a sentence.
    pub fn parse(value: &str) -> Result<Self, String> {
        if let Some(name) = value.strip_prefix("docker-image://") {
            return Ok(BuildContext::Image(ImageOrigin::registry(name)?));
        }
        if let Some(layout) = value.strip_prefix("oci-layout://") {
            let (path, reference) = split_layout(layout);
            if path.is_empty() {
                return Err(format!("{value:?} names no directory"));
            }
            return Ok(BuildContext::Image(ImageOrigin::OciLayout { path: path.into(), reference }));
        }
        if let Some(target) = value.strip_prefix("target:") {
            return Err(format!(
                "target:{target} only has a meaning in a bake file; name an image (docker-image://...) or a directory"
            ));
        }
        if let Some(git) = git::parse(value).map_err(|fault| fault.to_string())? {
            return Ok(BuildContext::Git(git.into()));
        }
        if value.starts_with("http://") || value.starts_with("https://") {
            return Ok(BuildContext::Http(value.to_owned()));
        }
        if value.is_empty() {
            return Err("a build context needs a directory, an image or a URL".to_owned());
        }
        Ok(BuildContext::Directory(value.into()))
    }
}

/// `PATH[:TAG][@DIGEST]`; a digest says more than a tag.
fn split_layout(layout: &str) -> (&str, Option<String>) {
    let (rest, digest) = match layout.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (layout, None),
    };
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, digest.or(Some(tag.to_owned()))),
        _ => (rest, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_docker_names() {
        for (name, want) in [
            ("python", "docker.io/library/python:latest"),
            ("overhangio/openedx:1.0", "docker.io/overhangio/openedx:1.0"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ] {
            assert_eq!(ImageOrigin::registry(name), Ok(ImageOrigin::Registry(want.to_owned())));
        }
        assert!(ImageOrigin::registry("Python").unwrap_err().contains("lower case"));
    }

    #[test]
    fn build_contexts_of_every_kind() {
        let layout = |path: &str, reference: Option<&str>| {
            Ok(BuildContext::Image(ImageOrigin::OciLayout {
                path: path.into(),
                reference: reference.map(str::to_owned),
            }))
        };
        assert_eq!(BuildContext::parse("oci-layout:///a/b:1.0"), layout("/a/b", Some("1.0")));
        assert_eq!(BuildContext::parse("oci-layout://a"), layout("a", None));
        assert_eq!(BuildContext::parse("oci-layout://a:t@sha256:0"), layout("a", Some("sha256:0")));
        assert_eq!(BuildContext::parse("../edx-platform"), Ok(BuildContext::Directory("../edx-platform".into())));
        assert!(matches!(
            BuildContext::parse("https://example.com/a.git#main"),
            Ok(BuildContext::Git(g)) if g.reference.as_deref() == Some("main")
        ));
        assert!(matches!(BuildContext::parse("https://example.com/a.tar"), Ok(BuildContext::Http(_))));
        assert!(BuildContext::parse("target:base").is_err());
    }
}
