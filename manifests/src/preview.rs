//! What a deploy or a rollback would do, without doing it: no lock, no journal, no file.

use semver::Version;
use serde::Serialize;

use crate::Result;
use crate::deploy::{Deployer, TargetChange};
use crate::deployment::DeploymentSeq;
use crate::images::{Unchecked, check_all};
use crate::release::StoredRelease;
use crate::rollback::{Migrations, NOT_ROLLED_BACK};
use crate::target::{Change, TargetError};

/// What would be done.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The version that runs.
    pub from: Option<Version>,
    /// The release that would be deployed.
    pub to: StoredRelease,
    /// What would change, target by target.
    pub changes: Vec<TargetChange>,
    /// What a rollback leaves behind in the database; none for a deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Migrations>,
    /// What a rollback leaves as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_rolled_back: Vec<&'static str>,
    /// A deployment that did not end: it would be finished or undone first, so that the changes may be others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<DeploymentSeq>,
    /// Images whose registry could not be asked, which was accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<Unchecked>,
}

impl Deployer<'_> {
    /// What [`Deployer::deploy`] would do. The images are looked up, as it does.
    ///
    /// # Errors
    /// Those that the deploy would meet before it writes anything.
    pub fn preview_deploy(&self, version: &Version, accept_unchecked: bool) -> Result<Preview> {
        let release = self.history.release(self.instance, version)?;
        self.preview(release, accept_unchecked)
    }

    /// What [`Deployer::rollback`] would do. Migrations do not stop it; it says them.
    ///
    /// # Errors
    /// Those that the rollback would meet before it writes anything.
    pub fn preview_rollback(&self, to: Option<&Version>, accept_unchecked: bool) -> Result<Preview> {
        let (from, to, _, _) = self.way_back(to)?;
        let migrations = crate::rollback::migrations(&from, &to, true)?;
        let preview = self.preview(to, accept_unchecked)?;
        Ok(Preview { migrations: Some(migrations), not_rolled_back: NOT_ROLLED_BACK.to_vec(), ..preview })
    }

    fn preview(&self, to: StoredRelease, accept_unchecked: bool) -> Result<Preview> {
        let unchecked = check_all(&to.release.images, self.check, accept_unchecked)?;
        let plans = self.targets.iter().map(|target| target.plan(&to.release));
        let changes: Vec<Change> = plans.collect::<Result<_, TargetError>>()?;
        Ok(Preview {
            from: self.history.current(self.instance)?.map(|current| current.version),
            changes: changes.iter().map(|c| TargetChange { target: c.target.clone(), diff: c.diff() }).collect(),
            to,
            migrations: None,
            not_rolled_back: Vec::new(),
            unfinished: self.history.pending(self.instance)?.map(|pending| pending.deployment.sequence),
            unchecked,
        })
    }
}
