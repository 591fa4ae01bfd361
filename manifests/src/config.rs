//! `shiplap.toml`: which instances there are, how their images are built, where they are deployed.
//!
//! The file never holds a secret; it says in which variable or file one is.

mod cache;
mod error;
mod health;
mod history;
mod key_path;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use cache::{CacheMode, CachePlace, CacheTier};
pub use error::{ConfigError, suggest};
pub use health::Health;
pub use history::{GitHistory, HistorySection, RegistryHistory};
pub use key_path::{KeyPath, KeyPathError, Step};
pub use targets::{
    ArgoCdTarget, ExecTarget, Git, GitPush, HelmTarget, ImageParts, ImagePlace, KustomizeTarget, TerraformTarget,
};

use crate::names::{ImageName, InstanceName, Repository};
use crate::provenance::Detail;

/// The name of the file.
pub const FILE_NAME: &str = "shiplap.toml";

/// A `shiplap.toml`, read and checked.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// Where the file is.
    pub path: PathBuf,
    /// The instances by name.
    pub instances: BTreeMap<InstanceName, Instance>,
    /// How images are packed.
    pub build: BuildSection,
    /// What a release does.
    pub release: ReleaseSection,
    /// What may be removed from the store.
    pub gc: GcSection,
    /// Where releases and deployments are remembered.
    pub history: HistorySection,
    /// The tiers of the step cache, in the order in which they are asked.
    pub cache: Vec<CacheTier>,
}

/// What is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    instance: BTreeMap<InstanceName, Instance>,
    #[serde(default)]
    build: BuildSection,
    #[serde(default)]
    release: ReleaseSection,
    #[serde(default)]
    gc: GcSection,
    #[serde(default)]
    history: HistorySection,
    #[serde(default)]
    cache: Vec<CacheTier>,
}

/// `[build]`: how images are built and packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct BuildSection {
    /// How layers are compressed.
    pub compression: Compression,
    /// Files that only log or stamp, left out of the layers of `RUN` steps beside those that always are; patterns of a .dockerignore.
    pub noise: Vec<String>,
    /// Whether those that always are left out are.
    pub default_noise: bool,
    /// How old a result of a step that used the network may become: `12h`, `7d`, ... Left out: any age.
    pub max_age: Option<Age>,
}

impl Default for BuildSection {
    fn default() -> Self {
        Self { compression: Compression::default(), noise: Vec::new(), default_noise: true, max_age: None }
    }
}

/// A length of time, as `90m`, `12h`, `7d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age(pub std::time::Duration);

impl std::str::FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no length of time: write it as 90m, 12h, 7d or 2w");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            'w' => 7 * 24 * 60 * 60,
            _ => return Err(wrong()),
        };
        let number: u64 = text[..text.len() - 1].trim().parse().map_err(|_| wrong())?;
        let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
        Ok(Self(std::time::Duration::from_secs(seconds)))
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        format!("{}s", age.0.as_secs())
    }
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Small and fast; engines since Docker 23 and containerd 1.5 read it.
    #[default]
    Zstd,
    /// For older engines.
    Gzip,
}

/// `[release]`: what a release does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ReleaseSection {
    /// Whether a release pushes its images. Left out: yes for each image whose repository names a registry.
    pub push: Option<bool>,
    /// Whether a bill of materials is attached to each image.
    pub sbom: bool,
    /// Whether provenance is attached to each image: `true`, `false` or `"max"`.
    pub provenance: Provenance,
    /// The private key that signs each image, relative to the folder of the file. Its password is in `COSIGN_PASSWORD`, never here.
    pub sign_key: Option<PathBuf>,
}

impl Default for ReleaseSection {
    fn default() -> Self {
        Self { push: None, sbom: true, provenance: Provenance::Made(true), sign_key: None }
    }
}

/// Whether provenance is made, and how much it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false, \"min\" or \"max\"")]
pub enum Provenance {
    /// With what the image was made from, or not at all.
    Made(bool),
    /// With so much.
    With(Detail),
}

impl Provenance {
    /// How much is told; none where nothing is made.
    pub fn detail(self) -> Option<Detail> {
        match self {
            Self::Made(false) => None,
            Self::Made(true) => Some(Detail::Min),
            Self::With(detail) => Some(detail),
        }
    }
}

/// `[gc]`: what may be removed from the store. What a release, a tag, a name or a deploy target needs never is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GcSection {
    /// What is younger stays, referred to or not. Left out: a day.
    pub grace: Option<Age>,
    /// How long what was removed can be brought back. Left out: a day.
    pub quarantine: Option<Age>,
    /// Step results and cache mounts that nobody used for so long go. Left out: they stay.
    pub unused_for: Option<Age>,
    /// How large the store may be; above that, step results and cache mounts go that were used longest ago. Left out: any size.
    pub max_used_space: Option<Size>,
    /// Manifests that were pushed to `shiplap serve`, have no tag and belong to nothing go when they are so old. Left out: they stay.
    pub untagged: Option<Age>,
}

/// A number of bytes, as `50GB`, `500MB` or `20GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: Result<bytesize::ByteSize, _> = text.parse();
        size.map(|size| Self(size.as_u64()))
            .map_err(|_| format!("`{text}` is no size: write it as 50GB, 500MB or 20GiB"))
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        format!("{}B", size.0)
    }
}

/// `[instance.NAME]`: one Open edX site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Instance {
    /// The root of the Tutor project, relative to the folder of the file.
    pub tutor_root: Option<PathBuf>,
    /// The public key that every image must be signed by before it is deployed or gone back to, relative to the folder of the file.
    pub verify_key: Option<PathBuf>,
    /// The images; a release is all of them.
    #[serde(default)]
    pub image: BTreeMap<ImageName, Image>,
    /// Where the site is deployed.
    #[serde(default)]
    pub deploy: Vec<Deploy>,
    /// How a deploy finds out whether the site is well. Left out: it does not ask.
    pub health: Option<Health>,
}

/// `[instance.NAME.image.NAME]`: how one image is built. Paths are relative to the folder of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Image {
    /// The folder of the build context.
    pub context: PathBuf,
    /// The Dockerfile, relative to the context.
    #[serde(default = "default_dockerfile")]
    pub dockerfile: PathBuf,
    /// The stage to build; the last one if left out.
    pub target: Option<String>,
    /// Where the image is tagged.
    pub repository: Repository,
    /// Values of `ARG`s.
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    /// Named contexts: a folder, `docker-image://...` or `oci-layout://...`.
    #[serde(default)]
    pub build_contexts: BTreeMap<String, String>,
    /// Where the secrets of `RUN --mount=type=secret` come from, by id.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// The platform, `linux/amd64`; this machine's if left out.
    pub platform: Option<String>,
}

fn default_dockerfile() -> PathBuf {
    PathBuf::from("Dockerfile")
}

/// Where a secret is; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Secret {
    /// In this variable of the environment.
    Env(String),
    /// In this file, relative to the folder of `shiplap.toml`.
    File(PathBuf),
}

/// `[[instance.NAME.deploy]]`: one place that says which images run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Deploy {
    /// A Compose override file.
    Compose(ComposeTarget),
    /// A Tutor project.
    Tutor(TutorTarget),
    /// A `kustomization.yaml`.
    Kustomize(KustomizeTarget),
    /// A values file of Helm.
    Helm(HelmTarget),
    /// An Argo CD `Application`.
    Argocd(ArgoCdTarget),
    /// A `*.tfvars.json`.
    Terraform(TerraformTarget),
    /// A program.
    Exec(ExecTarget),
}

/// What is written after a repository's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// `repository:tag@sha256:...`: what runs is what was released, byte for byte. The engine must be able to pull it.
    #[default]
    Digest,
    /// `repository:tag`: for images that are loaded into an engine and in no registry.
    Tag,
}

/// `kind = "compose"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ComposeTarget {
    /// The override file, relative to the folder of `shiplap.toml`. Shiplap owns it whole.
    pub file: PathBuf,
    /// Service to image.
    pub services: BTreeMap<String, ImageName>,
    /// What is written.
    #[serde(default)]
    pub pin: Pin,
    /// Whether a file that Shiplap did not write may be replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

/// `kind = "tutor"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TutorTarget {
    /// The root of the Tutor project; the instance's `tutor-root` if left out.
    pub root: Option<PathBuf>,
    /// Image to key of `config.yml`, beside the well-known ones.
    #[serde(default)]
    pub images: BTreeMap<ImageName, String>,
    /// Compose service to image, beside the well-known ones.
    #[serde(default)]
    pub services: BTreeMap<String, ImageName>,
    /// What is written in the override file; `config.yml` always gets the tag.
    #[serde(default)]
    pub pin: Pin,
    /// Whether an override file that Shiplap did not write may be replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Whether a deploy is a commit.
    #[serde(default)]
    pub git: Git,
}

impl Config {
    /// Finds `shiplap.toml` in `start` or the nearest folder above it.
    pub fn find(start: &Path) -> Option<PathBuf> {
        start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
    }

    /// Reads and checks a `shiplap.toml`.
    ///
    /// # Errors
    /// It cannot be read, or says something that makes no sense; the error says where and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a `shiplap.toml` that is at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|e| ConfigError::syntax(path, text, &e))?;
        let config = Self {
            path: path.to_owned(),
            instances: file.instance,
            build: file.build,
            release: file.release,
            gc: file.gc,
            history: file.history,
            cache: file.cache,
        };
        config.check()?;
        Ok(config)
    }

    /// The folder of the file: what its paths are relative to.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The instance of that name.
    ///
    /// # Errors
    /// There is none; the error names those that there are.
    pub fn instance(&self, name: &str) -> Result<(&InstanceName, &Instance), ConfigError> {
        self.instances.iter().find(|(known, _)| known.as_str() == name).ok_or_else(|| ConfigError::UnknownInstance {
            path: self.path.clone(),
            name: name.to_owned(),
            known: self.instances.keys().cloned().collect(),
            suggestion: suggest(name, self.instances.keys().map(InstanceName::as_str)),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some((key, what)) = self.history.problem() {
            return Err(ConfigError::Invalid { path: self.path.clone(), place: format!("history.{key}"), what });
        }
        let mut repositories: BTreeMap<_, String> = BTreeMap::new();
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (name, instance) in &self.instances {
            let wrong =
                |place: String, what: String| Err(ConfigError::Invalid { path: self.path.clone(), place, what });
            if instance.image.is_empty() {
                return wrong(
                    format!("instance.{name}"),
                    format!("the instance has no image: add [instance.{name}.image.openedx]"),
                );
            }
            for (image, settings) in &instance.image {
                let place = format!("instance.{name}.image.{image}");
                if let Some(other) = repositories.insert(settings.repository.resolved(), place.clone()) {
                    return wrong(
                        place,
                        format!(
                            "the repository `{}` is that of {other} too: each image needs its own",
                            settings.repository
                        ),
                    );
                }
                for (key, path) in [("context", &settings.context), ("dockerfile", &settings.dockerfile)] {
                    if path.as_os_str().is_empty() {
                        return wrong(place, format!("`{key}` is empty"));
                    }
                }
            }
            if let Some(what) = instance.health.as_ref().and_then(Health::problem) {
                return wrong(format!("instance.{name}.health"), what.to_owned());
            }
            for (i, deploy) in instance.deploy.iter().enumerate() {
                let place = format!("instance.{name}.deploy[{i}]");
                for image in deploy.images() {
                    if !instance.image.contains_key(image) {
                        let known: Vec<_> = instance.image.keys().map(ImageName::as_str).collect();
                        let hint = suggest(image.as_str(), known.iter().copied());
                        let hint = hint.map(|s| format!("; did you mean `{s}`?")).unwrap_or_default();
                        return wrong(
                            place,
                            format!("`{image}` is not an image of the instance, which has {}{hint}", known.join(", ")),
                        );
                    }
                }
                if let Some(what) = targets::problem(deploy) {
                    return wrong(place, what);
                }
                let Some(file) = deploy.place(instance) else {
                    return wrong(
                        place,
                        format!(
                            "no root: say where the Tutor project is, with `root` here or `tutor-root` in [instance.{name}]"
                        ),
                    );
                };
                // Each would be planned on the file as it is, and the second would undo the first.
                let same = |other: &&Deploy| matches!((*other, deploy), (Deploy::Argocd(a), Deploy::Argocd(b)) if a.file == b.file);
                if instance.deploy[..i].iter().any(|other| same(&other)) {
                    return wrong(place, "another target of the instance is in the same file: put each Application into a file of its own".to_owned());
                }
                let file = self.folder().join(file);
                if let Some(other) = files.insert(file.clone(), place.clone())
                    && !matches!(deploy, Deploy::Exec(_))
                {
                    return wrong(
                        place,
                        format!("{} is the target of {other} too: one would undo the other", file.display()),
                    );
                }
            }
        }
        Ok(())
    }
}

impl Instance {
    /// The names of the images: what a release of this instance consists of.
    pub fn set(&self) -> BTreeSet<&ImageName> {
        self.image.keys().collect()
    }
}

impl Deploy {
    fn images(&self) -> Vec<&ImageName> {
        match self {
            Self::Compose(target) => target.services.values().collect(),
            Self::Tutor(target) => target.images.keys().chain(target.services.values()).collect(),
            Self::Kustomize(target) => target.images.keys().collect(),
            Self::Helm(target) => target.images.keys().collect(),
            Self::Argocd(target) => {
                let helm = target.parameters.keys().chain(target.values_object.keys());
                target.kustomize.keys().chain(helm).collect()
            }
            Self::Terraform(target) => target.images.keys().collect(),
            Self::Exec(_) => Vec::new(),
        }
    }

    /// What no other target may share with this one.
    fn place(&self, instance: &Instance) -> Option<PathBuf> {
        match self {
            Self::Compose(target) => Some(target.file.clone()),
            Self::Tutor(target) => target.root.clone().or_else(|| instance.tutor_root.clone()),
            Self::Kustomize(KustomizeTarget { file, .. })
            | Self::Helm(HelmTarget { file, .. })
            | Self::Terraform(TerraformTarget { file, .. }) => Some(file.clone()),
            // Several Applications, or sources of one, may be in one file.
            Self::Argocd(target) => {
                let part =
                    format!("{}#{}", target.application.as_deref().unwrap_or_default(), target.source.unwrap_or(0));
                Some(target.file.join(part))
            }
            Self::Exec(target) => Some(PathBuf::from(format!("exec {}", target.command.join(" ")))),
        }
    }
}

impl Image {
    /// The Dockerfile's path, joined to its context.
    pub fn dockerfile_path(&self) -> PathBuf {
        self.context.join(&self.dockerfile)
    }
}
