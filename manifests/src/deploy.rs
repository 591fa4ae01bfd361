//! Deploying: point every target of an instance at a release, all of them or none.
//!
//! Lock, finish or undo what a dead process left, check, plan, write the intention down, write the files, read them back, write the outcome down.

use semver::Version;
use serde::Serialize;

use crate::act::Act;
use crate::act::plan::{self, About};
use crate::deployment::{Action, Deployment, DeploymentSeq, Outcome, TargetState};
use crate::history::{Entry, History, Lock, NewDeployment, Recovered};
use crate::images::{ImageCheck, Unchecked, check_all};
use crate::names::InstanceName;
use crate::observer::{Observer, Progress};
use crate::release::StoredRelease;
use crate::target::{Change, Target, TargetError};
use crate::{Error, Result};

/// What the deployment is to replace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is current when the deployment begins.
    #[default]
    Whatever,
    /// This deployment, as [`History::current`] said when the decision was made; none for the first deployment of the instance.
    Exactly(Option<DeploymentSeq>),
}

/// A wish to deploy.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// Which release.
    pub version: Version,
    /// Who wants it.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// What it is to replace.
    pub expect: Expect,
    /// Whether a program wants it: then a hold keeps it away.
    pub automatic: bool,
    /// Whether to go on when a registry cannot be asked for an image that the store has. It is recorded.
    pub accept_unchecked: bool,
}

/// What a deploy did.
#[derive(Debug, Clone, Serialize)]
pub struct DeployReport {
    /// The entry of the log.
    pub deployment: Deployment,
    /// The release that is deployed.
    pub release: StoredRelease,
    /// What changed, target by target.
    pub changes: Vec<TargetChange>,
    /// What is left to do by hand before the release really runs.
    pub advice: Vec<String>,
    /// What an earlier process had left half done, and what became of it.
    pub recovered: Option<Recovered>,
    /// Images whose registry could not be asked, which was accepted.
    pub unchecked: Vec<Unchecked>,
}

/// What changed in a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetChange {
    /// The target.
    pub target: String,
    /// The lines that changed; empty if it said the right thing already.
    pub diff: String,
}

/// What a deploy or a rollback works with.
pub struct Deployer<'a> {
    /// The log.
    pub history: &'a mut History,
    /// The instance.
    pub instance: &'a InstanceName,
    /// Its targets.
    pub targets: &'a [Box<dyn Target>],
    /// Says whether images are there.
    pub check: &'a dyn ImageCheck,
    /// Is told of each step.
    pub observer: &'a dyn Observer,
}

/// A deployment that is decided on.
pub(crate) struct Decision {
    pub(crate) release: StoredRelease,
    pub(crate) action: Action,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    pub(crate) rollback_of: Option<DeploymentSeq>,
    pub(crate) restores: Option<DeploymentSeq>,
    pub(crate) expected: Option<DeploymentSeq>,
    pub(crate) automatic: bool,
    pub(crate) holds: bool,
    pub(crate) accept_unchecked: bool,
}

impl Deployer<'_> {
    /// Points the instance at a release.
    ///
    /// # Errors
    /// Nothing changed then, except where the error says so.
    pub fn deploy(&mut self, request: DeployRequest) -> Result<DeployReport> {
        let (lock, recovered) = self.start(&request.actor)?;
        let release = self.history.release(self.instance, &request.version)?;
        let current = self.history.current(self.instance)?.map(|current| current.sequence);
        let decision = Decision {
            release,
            action: Action::Deploy,
            actor: request.actor,
            reason: request.reason,
            rollback_of: None,
            restores: None,
            expected: request.expect.resolve(current),
            automatic: request.automatic,
            holds: false,
            accept_unchecked: request.accept_unchecked,
        };
        self.carry_out(decision, recovered, lock)
    }

    /// Takes the lock, and finishes or undoes what a dead process left.
    pub(crate) fn start(&mut self, actor: &str) -> Result<(Lock, Option<Recovered>)> {
        if self.targets.is_empty() {
            return Err(Error::NoTarget(self.instance.clone()));
        }
        let lock = self.history.lock(self.instance, actor)?;
        let recovered = self.history.recover_locked(self.instance, &lock, self.observer)?;
        Ok((lock, recovered))
    }

    /// Checks, plans, writes. The lock is held to the end.
    pub(crate) fn carry_out(
        &mut self,
        decision: Decision,
        recovered: Option<Recovered>,
        lock: Lock,
    ) -> Result<DeployReport> {
        self.history.check(self.instance, decision.expected, decision.automatic)?;
        let release = decision.release;
        let unchecked = check_all(&release.release.images, self.check, decision.accept_unchecked)?;
        let changes: Vec<Change> =
            self.targets.iter().map(|target| target.plan(&release.release)).collect::<Result<_, TargetError>>()?;
        let before =
            match decision.expected.map(|current| self.history.deployment(self.instance, current)).transpose()? {
                Some(Some(current)) => Some(self.history.release_by_sequence(self.instance, current.release)?),
                _ => None,
            };
        let sequence = self.history.next_deployment(self.instance, &lock)?;
        let about = About {
            sequence,
            action: decision.action,
            actor: &decision.actor,
            reason: decision.reason.as_deref(),
            release: &release.release,
            before: before.as_ref().map(|stored| &stored.release),
        };
        let acts = plan::acts(self.targets, &changes, &about)?;
        let state = |change: &Change| TargetState { target: change.target.clone(), state: change.wanted.clone() };
        let new = NewDeployment {
            instance: self.instance.clone(),
            sequence,
            release: release.release.sequence,
            action: decision.action,
            actor: decision.actor,
            reason: decision.reason,
            rollback_of: decision.rollback_of,
            restores: decision.restores,
            expected: decision.expected,
            automatic: decision.automatic,
            holds: decision.holds,
            targets: changes.iter().map(state).collect(),
            note: Unchecked::note(&unchecked),
        };
        self.observer.progress(Progress::Journaling);
        let entry = self.history.begin(&new, acts)?;
        self.observer.progress(Progress::Journaled);
        let mut begun = 0;
        match self.act(&entry, &changes, &lock, &mut begun) {
            Ok(said) => {
                self.observer.progress(Progress::RecordingOutcome);
                self.history.end(&entry, Outcome::Succeeded, None, &said)?;
                self.observer.progress(Progress::OutcomeRecorded);
            }
            Err(why) => {
                let left = entry.undo(&why, begun, &lock)?;
                let why = format!("{why}{left}");
                self.history.end(&entry, Outcome::Failed, Some(&why), &[])?;
                return Err(Error::Undone { instance: self.instance.clone(), deployment: entry.sequence, why });
            }
        }
        drop(lock);
        let deployment = self.history.deployment(self.instance, entry.sequence)?.ok_or_else(|| Error::Damaged {
            instance: self.instance.clone(),
            what: format!("deployment {} is missing", entry.sequence),
        })?;
        Ok(DeployReport {
            deployment,
            changes: changes.iter().map(|c| TargetChange { target: c.target.clone(), diff: c.diff() }).collect(),
            advice: self.targets.iter().flat_map(|target| target.advice(&release.release)).collect(),
            release,
            recovered,
            unchecked,
        })
    }

    /// Does everything and reads the targets back; what went wrong, if something did. The push comes after the reading: nothing takes it back.
    fn act(
        &self,
        entry: &Entry,
        changes: &[Change],
        lock: &Lock,
        begun: &mut usize,
    ) -> Result<Vec<TargetState>, String> {
        let mut forward = |act: &Act| {
            self.observer.progress(Progress::Acting(act));
            *begun += 1;
            act.forward(lock).map_err(|e| e.to_string())?;
            self.observer.progress(Progress::Acted(act));
            Ok::<(), String>(())
        };
        entry.acts.iter().filter(|act| !act.is_push()).try_for_each(&mut forward)?;
        let said = self.read_back(changes)?;
        entry.acts.iter().filter(|act| act.is_push()).try_for_each(&mut forward)?;
        Ok(said)
    }

    fn read_back(&self, changes: &[Change]) -> Result<Vec<TargetState>, String> {
        let mut said = Vec::new();
        for (target, change) in self.targets.iter().zip(changes) {
            let state = target.read().map_err(|e| e.to_string())?;
            if let Some(wrong) = state.differences(&change.wanted).first() {
                let found = wrong.found.as_deref().unwrap_or("not set");
                return Err(format!(
                    "{} was written and reads back something else ({} is {found})",
                    change.target, wrong.place
                ));
            }
            said.push(TargetState { target: change.target.clone(), state });
        }
        Ok(said)
    }
}

impl Expect {
    pub(crate) fn resolve(self, current: Option<DeploymentSeq>) -> Option<DeploymentSeq> {
        match self {
            Self::Whatever => current,
            Self::Exactly(expected) => expected,
        }
    }
}
