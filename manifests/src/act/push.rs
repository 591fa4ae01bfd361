//! Pushing the commit of a deployment. It is the last that a deployment does: nothing takes it back.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::commit::{Commit, branch, is_ancestor};
use crate::config::GitPush;
use crate::git::{GitError, git, line};
use crate::target::TargetError;

/// A push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Push {
    repository: PathBuf,
    remote: String,
    branch: String,
    commit: String,
}

impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.branch, self.remote)
    }
}

impl Push {
    /// Says where a commit is to be pushed.
    pub(super) fn plan(commit: &Commit, settings: &GitPush) -> Result<Self, TargetError> {
        let repository = commit.repository.clone();
        let here = branch(&repository).and_then(|full| full.strip_prefix("refs/heads/").map(str::to_owned));
        let of_branch = |key: &str| config(&repository, &format!("branch.{}.{key}", here.as_deref()?));
        let remote = settings.remote.clone().or_else(|| of_branch("remote")).unwrap_or_else(|| "origin".to_owned());
        let there = || {
            let merge = of_branch("merge").filter(|_| of_branch("remote").as_ref() == Some(&remote))?;
            merge.strip_prefix("refs/heads/").map(str::to_owned)
        };
        let branch = settings.branch.clone().or_else(there).or_else(|| here.clone());
        let branch = branch.ok_or_else(|| TargetError::NoBranch(repository.clone()))?;
        Ok(Self { repository, remote, branch, commit: commit.after.clone() })
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    pub(super) fn forward(&self) -> Result<(), TargetError> {
        let to = format!("{}:{}", self.commit, self.reference());
        // Never by force: who was first stays.
        match git(&self.repository, &["push", "--quiet", &self.remote, &to], &[]) {
            Ok(_) => Ok(()),
            // The answer may be what was lost.
            Err(_) if self.arrived() == Some(true) => Ok(()),
            Err(GitError::Failed { message, .. }) if message.contains("[rejected]") => Err(TargetError::PushRefused {
                repository: self.repository.clone(),
                remote: self.remote.clone(),
                branch: self.branch.clone(),
            }),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the remote has the commit; none if it cannot be asked.
    fn arrived(&self) -> Option<bool> {
        let out = git(&self.repository, &["ls-remote", &self.remote, &self.reference()], &[]).ok()?;
        let there = line(&out).split('\t').next().unwrap_or_default().to_owned();
        if there.is_empty() || there == self.commit {
            return Some(there == self.commit);
        }
        // Someone may have pushed on top of it.
        git(&self.repository, &["fetch", "--quiet", "--no-tags", &self.remote, &self.reference()], &[]).ok()?;
        Some(is_ancestor(&self.repository, &self.commit, &there))
    }

    /// What is to be said when everything else is taken back.
    pub(super) fn left(&self) -> Option<String> {
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        match self.arrived() {
            Some(false) => None,
            Some(true) => Some(format!(
                "{self} has the commit {short}, which stays there: deploy again, or `git pull` and `git revert {short}`"
            )),
            None => Some(format!(
                "it is not known whether {self} has the commit {short}: look there before the next deploy"
            )),
        }
    }
}

fn config(repository: &Path, key: &str) -> Option<String> {
    git(repository, &["config", "--get", key], &[]).ok().map(|out| line(&out)).filter(|value| !value.is_empty())
}
