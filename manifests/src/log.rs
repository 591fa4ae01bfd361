//! The log: what happened to an instance, one entry after the other, each with the hash of the one before.
//!
//! An entry is canonical JSON ([`crate::canonical`]), and its hash the SHA-256 of those bytes. Whoever changes, removes, inserts or moves an
//! entry must write all later ones anew. That is no proof against somebody who can: a hash that is kept elsewhere is
//! ([`crate::history::History::head`]).

use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;
use shiplap_registry::tag::ReleaseTag;

use crate::canonical::{self, CanonicalError};
use crate::deployment::Deployment;
use crate::git::Commit;
use crate::names::InstanceName;
use crate::release::ReleaseSeq;

/// The schema that this program writes and reads.
pub const SCHEMA: &str = "shiplap.log/1";

/// The place of an entry in its instance's log, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPosition(pub u64);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a command was run, when a machine ran it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The CI system: `gitlab`, `github`, `jenkins`.
    pub system: String,
    /// The address of the job.
    pub job: Option<String>,
    /// The number or name of the pipeline.
    pub pipeline: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogEvent {
    /// A release was made.
    Release(ReleaseEvent),
    /// A deployment or rollback ended.
    Deployment(Box<Deployment>),
}

/// A release that was made. All else is in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEvent {
    /// Its place in the history.
    pub sequence: ReleaseSeq,
    /// Its version.
    pub version: Version,
    /// Its tag.
    pub tag: ReleaseTag,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The commit that it was made of.
    pub commit: Commit,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it; none for one that was made before there was a log: its manifest says it.
    pub creator: Option<String>,
    /// From where.
    pub origin: Option<Origin>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// [`SCHEMA`].
    pub schema: String,
    /// Whose.
    pub instance: InstanceName,
    /// Its place.
    pub position: LogPosition,
    /// The hash of the entry before; none for the first.
    pub previous: Option<Digest>,
    /// What happened.
    pub event: LogEvent,
}

impl LogEntry {
    /// The entry's bytes.
    ///
    /// # Errors
    /// A number is too large for canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match &self.event {
            LogEvent::Release(release) => release.created,
            LogEvent::Deployment(deployment) => deployment.finished.unwrap_or(deployment.started),
        }
    }

    /// Who did it, as far as the entry says.
    pub fn actor(&self) -> Option<&str> {
        match &self.event {
            LogEvent::Release(release) => release.creator.as_deref(),
            LogEvent::Deployment(deployment) => Some(&deployment.actor),
        }
    }

    /// From where.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.event {
            LogEvent::Release(release) => release.origin.as_ref(),
            LogEvent::Deployment(deployment) => deployment.origin.as_ref(),
        }
    }
}

impl LogEvent {
    /// The word for its kind, and its number among those of that kind.
    pub fn key(&self) -> (&'static str, u64) {
        match self {
            Self::Release(release) => ("release", release.sequence.0),
            Self::Deployment(deployment) => ("deployment", deployment.sequence.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_an_entry_are_fixed() {
        // A change of these bytes breaks every chain that there is: it needs a new schema.
        let entry = LogEntry {
            schema: SCHEMA.to_owned(),
            instance: "campus".parse().unwrap(),
            position: LogPosition(1),
            previous: None,
            event: LogEvent::Release(ReleaseEvent {
                sequence: ReleaseSeq(1),
                version: "1.4.0".parse().unwrap(),
                tag: "1.4.0-g3f2c1ab09d4e".parse().unwrap(),
                digest: Digest::of(b"x"),
                commit: "3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122".parse().unwrap(),
                created: "2026-11-21T10:00:00Z".parse().unwrap(),
                creator: Some("ada".to_owned()),
                origin: Some(Origin { system: "gitlab".to_owned(), job: None, pipeline: Some("7".to_owned()) }),
            }),
        };
        let expected = format!(
            concat!(
                r#"{{"event":{{"release":{{"commit":"3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122","created":"2026-11-21T10:00:00Z","creator":"ada","#,
                r#""digest":"{}","origin":{{"job":null,"pipeline":"7","system":"gitlab"}},"sequence":1,"tag":"1.4.0-g3f2c1ab09d4e","#,
                r#""version":"1.4.0"}}}},"instance":"campus","position":1,"previous":null,"schema":"shiplap.log/1"}}"#
            ),
            Digest::of(b"x")
        );
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(serde_json::from_slice::<LogEntry>(&bytes).unwrap(), entry);
    }
}
