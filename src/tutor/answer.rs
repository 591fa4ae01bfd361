//! What Tutor's Python answers (`ask.py`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A project as Tutor sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub version: String,
    /// The enabled plugins, with their versions where they have one.
    pub plugins: BTreeMap<String, Option<String>>,
    pub images: Vec<Image>,
    pub mounts: Vec<Mount>,
    /// The images that `tutor images push all` pushes.
    pub pushed: Vec<String>,
}

/// An image that `tutor images build` builds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub context: PathBuf,
    pub tag: String,
    /// The key of `config.yml` that holds the tag.
    pub key: Option<String>,
    /// Whether the operator named it, and nobody else.
    pub own: bool,
    /// Flags of `docker build`.
    pub args: Vec<String>,
    /// How many flags were left out because a secret is in them.
    pub hidden: usize,
}

/// A folder that `tutor mounts add` named.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub path: PathBuf,
    pub contexts: Vec<Context>,
}

/// A named context of a build.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub image: String,
    pub context: String,
}

impl Image {
    /// The values of a flag, as in `--build-arg=NAME=VALUE`.
    fn values(&self, flag: &str) -> impl Iterator<Item = &str> {
        self.args.iter().filter_map(move |arg| arg.strip_prefix(flag)?.strip_prefix('='))
    }

    /// The stage that is built.
    pub fn target(&self) -> Option<&str> {
        self.values("--target").last()
    }

    /// Names and values of `ARG`s.
    pub fn build_args(&self) -> BTreeMap<&str, &str> {
        self.values("--build-arg").filter_map(|pair| pair.split_once('=')).collect()
    }

    /// The flags that have no place in `shiplap.toml`.
    pub fn others(&self) -> Vec<&str> {
        let ours = ["--target=", "--build-arg="];
        let other = |arg: &&String| !ours.iter().any(|flag| arg.starts_with(flag));
        self.args.iter().filter(other).map(String::as_str).collect()
    }

    /// Whether it is for `tutor dev`, or sets owners of volumes and changes with Tutor alone.
    pub fn is_aside(&self) -> bool {
        self.name == "permissions" || self.name.ends_with("-dev")
    }

    /// The tag without its last part.
    pub fn repository(&self) -> &str {
        match self.tag.rsplit_once(':') {
            // A colon before a slash is a port's.
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => &self.tag,
        }
    }
}
