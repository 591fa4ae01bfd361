//! Settings of the deploy targets that point a Kubernetes or Terraform repository, or a program, at a release.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Age, KeyPath, Pin};
use crate::names::ImageName;

/// `kind = "kustomize"`: `images` of a `kustomization.yaml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KustomizeTarget {
    /// The file, relative to the folder of `shiplap.toml`. It must be there.
    pub file: PathBuf,
    /// Image to the name that the Kubernetes manifests have for it, without tag: what Kustomize looks for (`images[].name`).
    pub images: BTreeMap<ImageName, String>,
    /// Whether the digest is written beside the tag.
    #[serde(default)]
    pub pin: Pin,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

/// `kind = "helm"`: a values file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HelmTarget {
    /// The file, relative to the folder of `shiplap.toml`.
    pub file: PathBuf,
    /// Image to its place in the values. A path alone stands for `repository`, `tag` and `digest` below it, as most charts have them.
    pub images: BTreeMap<ImageName, ImagePlace>,
    /// Whether the digest is written.
    #[serde(default)]
    pub pin: Pin,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

/// `kind = "argocd"`: an `Application`. One of `kustomize`, `parameters` and `values-object` says how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArgoCdTarget {
    /// The file, relative to the folder of `shiplap.toml`. It may hold other documents too.
    pub file: PathBuf,
    /// `metadata.name` of the Application; may be left out where the file has only one.
    pub application: Option<String>,
    /// Which of `spec.sources`, from 0. Left out: `spec.source`.
    pub source: Option<usize>,
    /// Image to the name that the Kubernetes manifests have for it: written to `kustomize.images`.
    #[serde(default)]
    pub kustomize: BTreeMap<ImageName, String>,
    /// Image to its place in the values: written to `helm.parameters`.
    #[serde(default)]
    pub parameters: BTreeMap<ImageName, ImagePlace>,
    /// Image to its place in the values: written to `helm.valuesObject`.
    #[serde(default)]
    pub values_object: BTreeMap<ImageName, ImagePlace>,
    /// Whether the digest is written.
    #[serde(default)]
    pub pin: Pin,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

/// `kind = "terraform"`: variables in a `*.tfvars.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TerraformTarget {
    /// The file, relative to the folder of `shiplap.toml`.
    pub file: PathBuf,
    /// Image to its variable. A path alone stands for one string, `repository:tag@digest`.
    pub images: BTreeMap<ImageName, ImagePlace>,
    /// Whether the digest is written.
    #[serde(default)]
    pub pin: Pin,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

/// `kind = "exec"`: a program that deploys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExecTarget {
    /// The program and its arguments, run in the folder of `shiplap.toml`. There is no shell in between.
    pub command: Vec<String>,
    /// A program that prints what runs, as a JSON object of image name to `repository:tag@digest`.
    #[serde(default)]
    pub read: Vec<String>,
    /// How long either may take. Left out: ten minutes.
    pub timeout: Option<Age>,
    /// What is handed over and compared.
    #[serde(default)]
    pub pin: Pin,
}

/// Where a document says an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a path as \"lms.image\", or a table of paths: image, registry, repository, tag, digest"
)]
pub enum ImagePlace {
    /// At or below this path; the target says which.
    At(KeyPath),
    /// Part by part.
    Parts(ImageParts),
}

/// Where a document says the parts of an image. Those that are left out are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageParts {
    /// All in one string, `repository:tag@digest`.
    pub image: Option<KeyPath>,
    /// The registry's host, where `repository` has none.
    pub registry: Option<KeyPath>,
    /// The repository.
    pub repository: Option<KeyPath>,
    /// The tag.
    pub tag: Option<KeyPath>,
    /// The digest, `sha256:...`.
    pub digest: Option<KeyPath>,
}

impl ImagePlace {
    /// The parts, where a path alone stands for `repository`, `tag` and `digest` below it.
    pub(crate) fn below(&self) -> ImageParts {
        match self {
            Self::Parts(parts) => parts.clone(),
            Self::At(path) => ImageParts {
                repository: Some(path.key("repository")),
                tag: Some(path.key("tag")),
                digest: Some(path.key("digest")),
                ..ImageParts::default()
            },
        }
    }

    /// The parts, where a path alone stands for one string.
    pub(crate) fn whole(&self) -> ImageParts {
        match self {
            Self::Parts(parts) => parts.clone(),
            Self::At(path) => ImageParts { image: Some(path.clone()), ..ImageParts::default() },
        }
    }
}

impl ImageParts {
    /// What makes no sense about them, if anything.
    fn problem(&self) -> Option<&'static str> {
        match (&self.image, &self.tag, &self.digest) {
            (None, None, None) => Some("says neither `image` nor `tag` nor `digest`: nothing would be deployed"),
            (Some(_), _, _) if self.repository.is_some() || self.tag.is_some() || self.digest.is_some() => {
                Some("says `image` and its parts too: it is one or the other")
            }
            _ if self.registry.is_some() && self.repository.is_none() => Some("says `registry` without `repository`"),
            _ => None,
        }
    }
}

/// `git`: whether a deploy is a commit in the repository that holds the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or { push = true, remote = \"...\", branch = \"...\" }")]
pub enum Git {
    /// A commit, or none.
    Commit(bool),
    /// A commit that is pushed.
    Push(GitPush),
}

impl Default for Git {
    fn default() -> Self {
        Self::Commit(false)
    }
}

/// `git = { push = true }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitPush {
    /// Whether the commit is pushed.
    pub push: bool,
    /// Where to. Left out: the remote of the branch that is checked out, else `origin`.
    pub remote: Option<String>,
    /// To which branch there. Left out: the one of the same name.
    pub branch: Option<String>,
}

impl Git {
    /// Whether there is a commit at all.
    pub fn commits(&self) -> bool {
        !matches!(self, Self::Commit(false))
    }

    /// Where the commit is pushed to, if it is.
    pub fn push(&self) -> Option<&GitPush> {
        match self {
            Self::Push(push) if push.push => Some(push),
            _ => None,
        }
    }
}

/// What is wrong with the settings of a target, if something is.
pub(super) fn problem(deploy: &super::Deploy) -> Option<String> {
    use super::Deploy;
    let places = |places: &BTreeMap<ImageName, ImagePlace>| {
        places.iter().find_map(|(name, place)| match place {
            ImagePlace::Parts(parts) => parts.problem().map(|what| format!("`{name}` {what}")),
            ImagePlace::At(_) => None,
        })
    };
    let empty = || Some("`images` is empty: say where the file has which image".to_owned());
    match deploy {
        Deploy::Compose(target) if target.services.is_empty() => {
            Some("`services` is empty: say which service gets which image".to_owned())
        }
        Deploy::Compose(_) | Deploy::Tutor(_) => None,
        Deploy::Kustomize(target) if target.images.is_empty() => empty(),
        Deploy::Kustomize(_) => None,
        Deploy::Helm(HelmTarget { images, .. }) | Deploy::Terraform(TerraformTarget { images, .. }) => {
            if images.is_empty() { empty() } else { places(images) }
        }
        Deploy::Argocd(target) => {
            let given = [target.kustomize.is_empty(), target.parameters.is_empty(), target.values_object.is_empty()];
            if given.iter().filter(|is_empty| !**is_empty).count() == 1 {
                places(&target.parameters).or_else(|| places(&target.values_object))
            } else {
                Some("one of `kustomize`, `parameters` and `values-object` must say where the images are".to_owned())
            }
        }
        Deploy::Exec(target) => match target.command.first() {
            Some(program) if !program.is_empty() => None,
            _ => Some("`command` is empty: say which program deploys, as [\"./deploy\", \"production\"]".to_owned()),
        },
    }
}
