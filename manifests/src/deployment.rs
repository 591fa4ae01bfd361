//! The records of the deployment log.

use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::log::Origin;
use crate::names::InstanceName;
use crate::release::ReleaseSeq;
use crate::target::State;

/// The place of a deployment in its instance's log, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentSeq(pub u64);

impl fmt::Display for DeploymentSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a deployment was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The instance was pointed at a release.
    Deploy,
    /// The instance was pointed back at a release that it ran before.
    Rollback,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did not end yet: it is under way, or its process died.
    Pending,
    /// Every target says what the release says.
    Succeeded,
    /// It could not be carried out; every target that was written was taken back.
    Failed,
    /// Its process died, and the next command took it back.
    Undone,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),* }) => {
        impl $type {
            /// The word that stands for it in the history.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Action { Deploy => "deploy", Rollback => "rollback" });
words!(Outcome { Pending => "pending", Succeeded => "succeeded", Failed => "failed", Undone => "undone" });

/// One entry of the deployment log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Whose.
    pub instance: InstanceName,
    /// Its place in the log.
    pub sequence: DeploymentSeq,
    /// The release that was deployed.
    pub release: ReleaseSeq,
    /// That release's version.
    pub version: Version,
    /// What it was.
    pub action: Action,
    /// Who did it.
    pub actor: String,
    /// From where, if a machine did it.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Why, if that was said.
    pub reason: Option<String>,
    /// For a rollback: the deployment that it took back.
    pub rollback_of: Option<DeploymentSeq>,
    /// For a rollback: the deployment that it went back to.
    pub restores: Option<DeploymentSeq>,
    /// The deployment that it replaced; none for the first one.
    pub expected: Option<DeploymentSeq>,
    /// Whether it holds automatic deploys off once it succeeded.
    pub holds: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What is to be known about the outcome: why it failed, that it was finished after a crash.
    pub note: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What each target said at the end; while it is pending, what each is to say.
    pub targets: Vec<TargetState>,
}

/// What one target says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// The target.
    pub target: String,
    /// What each of its places says.
    pub state: State,
}

/// A stop for automatic deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Who holds.
    pub actor: String,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: Option<String>,
}
