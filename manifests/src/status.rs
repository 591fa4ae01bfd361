//! What an instance runs, and whether its targets say so too.

use serde::Serialize;

use crate::Result;
use crate::deployment::{Deployment, Hold};
use crate::history::{History, Pending, ReleaseRow};
use crate::names::InstanceName;
use crate::release::{Release, StoredRelease};
use crate::target::{Difference, State, Target};

/// What an instance runs.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The instance.
    pub instance: InstanceName,
    /// Its newest release.
    pub newest: Option<ReleaseRow>,
    /// The deployment that is current; none if there was none yet.
    pub current: Option<Deployment>,
    /// The release that is deployed.
    pub release: Option<StoredRelease>,
    /// Its targets, read back now.
    pub targets: Vec<TargetStatus>,
    /// A deployment that did not end.
    pub pending: Option<Pending>,
    /// Who holds automatic deploys off.
    pub hold: Option<Hold>,
}

/// What a target says.
#[derive(Debug, Clone, Serialize)]
pub struct TargetStatus {
    /// The target.
    pub target: String,
    /// What it says; none if it cannot be read.
    pub state: Option<State>,
    /// Where that is not what the log says.
    pub drift: Vec<Difference>,
    /// Why it cannot be read or compared.
    pub problem: Option<String>,
}

impl Status {
    /// Whether every target says what the log says, and nothing is half done.
    pub fn is_settled(&self) -> bool {
        self.pending.is_none() && self.targets.iter().all(|target| target.drift.is_empty() && target.problem.is_none())
    }

    /// Reads the state of an instance. It changes nothing: a half state is shown, not put right.
    ///
    /// # Errors
    /// The history cannot be read. A target that cannot be read is a part of the answer.
    pub fn read(history: &History, instance: &InstanceName, targets: &[Box<dyn Target>]) -> Result<Self> {
        let current = history.current(instance)?;
        let release = match &current {
            Some(current) => Some(history.release_by_sequence(instance, current.release)?),
            None => None,
        };
        let deployed = release.as_ref().map(|stored| &stored.release);
        Ok(Self {
            instance: instance.clone(),
            newest: history.newest(instance)?,
            targets: targets.iter().map(|target| read(target.as_ref(), deployed)).collect(),
            pending: history.pending(instance)?,
            hold: history.hold(instance)?,
            current,
            release,
        })
    }
}

fn read(target: &dyn Target, release: Option<&Release>) -> TargetStatus {
    let name = target.name();
    let state = match target.read() {
        Ok(state) => state,
        Err(e) => return TargetStatus { target: name, state: None, drift: Vec::new(), problem: Some(e.to_string()) },
    };
    let (drift, problem) = match release.map(|release| target.wanted(release)) {
        None => (Vec::new(), None),
        Some(Ok(wanted)) => (state.differences(&wanted), None),
        Some(Err(e)) => (Vec::new(), Some(e.to_string())),
    };
    TargetStatus { target: name, state: Some(state), drift, problem }
}
