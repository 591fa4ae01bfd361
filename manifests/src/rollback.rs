//! Rolling back: point an instance at a release that it ran before. It never builds and never pulls.

use semver::Version;
use serde::Serialize;

use crate::deploy::{Decision, DeployReport, Deployer, Expect};
use crate::deployment::{Action, Deployment};
use crate::release::{Migration, StoredRelease};
use crate::{Error, Result};

/// A wish to roll back.
#[derive(Debug, Clone)]
pub struct RollbackRequest {
    /// To which release; the one that ran before, if left out.
    pub to: Option<Version>,
    /// Who wants it.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// What it is to replace.
    pub expect: Expect,
    /// Whether to go on when the newer release has migrations that the older one lacks.
    pub accept_migrations: bool,
    /// Whether to go on when a registry cannot be asked for an image that the store has. It is recorded.
    pub accept_unchecked: bool,
    /// Whether to keep automatic deploys away afterwards.
    pub hold: bool,
}

/// What a rollback did.
#[derive(Debug, Clone, Serialize)]
pub struct RollbackReport {
    /// The version that ran.
    pub from: Version,
    /// The version that is deployed now.
    pub to: Version,
    /// What is known of the database's side.
    pub migrations: Migrations,
    /// What is as it was: a rollback changes which images run, and nothing else.
    pub not_rolled_back: Vec<&'static str>,
    /// What was written.
    #[serde(flatten)]
    pub deploy: DeployReport,
}

/// Whether the older release knows the database's schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Migrations {
    /// The two releases do not both say which migrations they have.
    Unknown,
    /// The newer release has these, and the older one lacks them; none is the good case.
    Beyond(Vec<Migration>),
}

/// What a rollback leaves as it is.
pub(crate) const NOT_ROLLED_BACK: [&str; 6] = [
    "the databases (MySQL, MongoDB): rows and migrations",
    "secrets and the rest of the site's configuration",
    "course data and uploaded files",
    "search indices and caches",
    "images that Shiplap does not build (MySQL, Redis, Caddy, ...)",
    "running containers, until they are started again",
];

impl Deployer<'_> {
    /// Points the instance back at a release that it ran before.
    ///
    /// # Errors
    /// Nothing changed then, except where the error says so.
    pub fn rollback(&mut self, request: RollbackRequest) -> Result<RollbackReport> {
        let (lock, recovered) = self.start(&request.actor)?;
        let (from, to, current, target) = self.way_back(request.to.as_ref())?;
        let migrations = migrations(&from, &to, request.accept_migrations)?;
        let decision = Decision {
            release: to,
            action: Action::Rollback,
            actor: request.actor,
            reason: request.reason,
            rollback_of: Some(current.sequence),
            restores: Some(target.restores.unwrap_or(target.sequence)),
            expected: request.expect.resolve(Some(current.sequence)),
            automatic: false,
            holds: request.hold,
            accept_unchecked: request.accept_unchecked,
        };
        let deploy = self.carry_out(decision, recovered, lock)?;
        Ok(RollbackReport {
            from: from.release.version,
            to: deploy.release.release.version.clone(),
            migrations,
            not_rolled_back: NOT_ROLLED_BACK.to_vec(),
            deploy,
        })
    }

    /// From which release to which, and the deployments that ran them.
    pub(crate) fn way_back(
        &self,
        to: Option<&Version>,
    ) -> Result<(StoredRelease, StoredRelease, Deployment, Deployment)> {
        let never = || Error::NeverDeployed(self.instance.clone());
        let current = self.history.current(self.instance)?.ok_or_else(never)?;
        let target = match to {
            Some(version) => self.named(version, &current)?,
            None => self.previous(&current)?,
        };
        let from = self.history.release_by_sequence(self.instance, current.release)?;
        let to = self.history.release_by_sequence(self.instance, target.release)?;
        Ok((from, to, current, target))
    }

    /// The newest deployment before the current one that succeeded and ran another release. After a rollback "before" means before the deployment that was
    /// gone back to: a second rollback goes further back, and not forward to the release that was just left.
    fn previous(&self, current: &Deployment) -> Result<Deployment> {
        let before = current.restores.unwrap_or(current.sequence);
        self.history
            .earlier(self.instance, before, current.release)?
            .ok_or_else(|| Error::NothingEarlier { instance: self.instance.clone(), version: current.version.clone() })
    }

    /// The newest deployment of the version asked for.
    fn named(&self, version: &Version, current: &Deployment) -> Result<Deployment> {
        let release = self.history.release(self.instance, version)?.release.sequence;
        let (instance, version) = (self.instance.clone(), version.clone());
        if release == current.release {
            return Err(Error::AlreadyCurrent { instance, version });
        }
        self.history.deployment_of(self.instance, release)?.ok_or(Error::NotDeployedBefore { instance, version })
    }
}

pub(crate) fn migrations(from: &StoredRelease, to: &StoredRelease, accept: bool) -> Result<Migrations> {
    // The current release may be the older one: then the other has what it needs, and more.
    match from.release.migrations_beyond(&to.release) {
        None => Ok(Migrations::Unknown),
        Some(migrations) if migrations.is_empty() || accept => Ok(Migrations::Beyond(migrations)),
        Some(migrations) => {
            Err(Error::Migrations { from: from.release.version.clone(), to: to.release.version.clone(), migrations })
        }
    }
}
