//! `[history]`: where releases and deployments are remembered.

use serde::{Deserialize, Serialize};

use crate::names::Repository;

/// Where releases and deployments are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HistorySection {
    /// In the store, and nowhere else.
    #[default]
    Local,
    /// In the store, and on a branch of a git repository, where other stores see it.
    Git(GitHistory),
    /// In the store, and in a repository of a registry, where other stores see it.
    Registry(RegistryHistory),
}

/// `kind = "registry"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryHistory {
    /// The repository, with its registry. It holds nothing else, so that who may write images need not write history.
    pub repository: Repository,
}

/// `kind = "git"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GitHistory {
    /// The directory in the repository.
    pub path: String,
    /// The branch. It has nothing else on it, so that a release does not move the commit that the next one is made of.
    pub branch: String,
    /// The address of the repository; left out, that of the repository that holds `shiplap.toml`.
    pub remote: Option<String>,
}

impl Default for GitHistory {
    fn default() -> Self {
        Self { path: "releases".to_owned(), branch: "shiplap".to_owned(), remote: None }
    }
}

impl HistorySection {
    /// The key whose value cannot be, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let git = match self {
            Self::Local => return None,
            Self::Registry(RegistryHistory { repository }) => {
                let why =
                    || format!("`{repository}` names no registry: write it as registry.example.org/campus/history");
                return repository.registry().is_none().then(|| ("repository", why()));
            }
            Self::Git(git) => git,
        };
        let plain = |text: &str| {
            let parts = || text.trim_end_matches('/').split('/');
            let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock");
            let known = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            text.chars().all(known) && !text.contains("..") && parts().all(part)
        };
        let keys = [("path", &git.path), ("branch", &git.branch)];
        let wrong = keys.into_iter().find(|(_, value)| !plain(value));
        wrong.map(|(key, value)| {
            (key, format!("`{value}`: letters, digits, `.`, `_`, `-` and `/` between them, as in ops/releases"))
        })
    }
}
