//! Whether the history is what it was: every entry of the log, the rows that it tells of, and the manifests.

use std::collections::BTreeMap;

use serde::Serialize;
use shiplap_cache::Digest;

use super::log::{Head, Stored};
use super::{History, ReleaseRow, read_manifest};
use crate::Result;
use crate::deployment::Outcome;
use crate::log::{LogEntry, LogEvent, SCHEMA};
use crate::names::InstanceName;

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// Whose history.
    pub instance: InstanceName,
    /// How many entries its log has.
    pub entries: u64,
    /// The end of the log.
    pub head: Option<Head>,
    /// What is wrong, each in a sentence; nothing is the good case.
    pub problems: Vec<String>,
}

/// What the entries tell of, by number.
#[derive(Default)]
struct Told {
    releases: BTreeMap<u64, LogEvent>,
    deployments: BTreeMap<u64, LogEvent>,
}

impl History {
    /// Reads the whole history of an instance again. `expected` is a hash that was kept elsewhere: it must be that of an entry.
    ///
    /// # Errors
    /// The database fails. What is wrong in the history is a part of the answer.
    pub fn audit(&self, instance: &InstanceName, expected: Option<&Digest>) -> Result<Audit> {
        let stored = self.stored_log(instance, "ASC", None)?;
        let (mut problems, mut told) = (Vec::new(), Told::default());
        let mut before: Option<Digest> = None;
        for (entry, place) in stored.iter().zip(1..) {
            before = Some(follow(entry, place, before, instance, &mut told, &mut problems));
        }
        if let Some(expected) = expected
            && !stored.iter().any(|entry| entry.hash == expected.to_string())
        {
            problems.push(format!(
                "no entry of the log has the hash {expected} that was kept: the log was written anew, or cut off"
            ));
        }
        self.compare_releases(instance, &mut told, &mut problems)?;
        self.compare_deployments(instance, &mut told, &mut problems)?;
        let left =
            told.releases.keys().map(|n| ("release", n)).chain(told.deployments.keys().map(|n| ("deployment", n)));
        problems
            .extend(left.map(|(kind, n)| format!("{kind} {n} is in the log and not in the history: it was removed")));
        Ok(Audit { instance: instance.clone(), entries: stored.len() as u64, head: self.head(instance)?, problems })
    }

    /// Each release is told of as it is, and leads to a manifest that says the same and follows from the one before.
    fn compare_releases(&self, instance: &InstanceName, told: &mut Told, problems: &mut Vec<String>) -> Result<()> {
        let mut rows = self.releases(instance, None)?;
        rows.reverse();
        let mut before: Option<&ReleaseRow> = None;
        for row in &rows {
            let n = row.sequence;
            if n.0 != before.map_or(0, |before| before.sequence.0) + 1 {
                problems.push(format!("the release before {n} is missing"));
            }
            match told.releases.remove(&n.0) {
                None => problems.push(format!("release {n} is not in the log: it was inserted")),
                Some(LogEvent::Release(event)) if *row == ReleaseRow::from(&event) => {}
                Some(_) => problems.push(format!("release {n} is not what the log says of it: it was changed")),
            }
            match read_manifest(self.blobs(), instance, row) {
                Err(why) => problems.push(format!("release {n}: {}", with_causes(&why))),
                Ok(manifest) if manifest.previous != before.map(|row| row.digest) => {
                    problems.push(format!("the manifest of release {n} does not follow from that of the one before"));
                }
                Ok(_) => {}
            }
            before = Some(row);
        }
        Ok(())
    }

    /// Each deployment that ended is told of as it is.
    fn compare_deployments(&self, instance: &InstanceName, told: &mut Told, problems: &mut Vec<String>) -> Result<()> {
        let mut rows = self.deployments(instance, None)?;
        rows.reverse();
        for (row, place) in rows.iter().zip(1..) {
            let n = row.sequence;
            if n.0 != place {
                problems.push(format!("deployment {place} is missing"));
            }
            match told.deployments.remove(&n.0) {
                None if row.outcome == Outcome::Pending => {}
                None => problems.push(format!("deployment {n} is not in the log: it was inserted")),
                Some(LogEvent::Deployment(event)) if *event == *row => {}
                Some(_) => problems.push(format!("deployment {n} is not what the log says of it: it was changed")),
            }
        }
        Ok(())
    }
}

/// Checks one entry and its link; gives the hash that the next one must name.
fn follow(
    stored: &Stored,
    place: u64,
    before: Option<Digest>,
    instance: &InstanceName,
    told: &mut Told,
    problems: &mut Vec<String>,
) -> Digest {
    let at = stored.position;
    let hash = Digest::of(stored.record.as_bytes());
    let mut say = |what: &str| problems.push(format!("entry {at} of the log {what}"));
    if at != place {
        say(&format!("is the {place}. of those that are there: one before it was removed"));
    }
    if hash.to_string() != stored.hash {
        say("does not have its hash: it was changed");
    }
    let entry: LogEntry = match serde_json::from_str(&stored.record) {
        Ok(entry) => entry,
        Err(why) => {
            say(&format!("cannot be read: {why}"));
            return hash;
        }
    };
    if entry.previous != before {
        say("does not follow from the one before: one was changed, removed, inserted or moved");
    }
    let (kind, sequence) = entry.event.key();
    let key = (entry.schema.as_str(), &entry.instance, entry.position.0, kind, sequence);
    if key != (SCHEMA, instance, at, stored.kind.as_str(), stored.sequence) {
        say("says that it is another one: it was moved");
    }
    let all = if kind == "release" { &mut told.releases } else { &mut told.deployments };
    if all.insert(sequence, entry.event).is_some() {
        say(&format!("tells of {kind} {sequence} a second time: it was inserted"));
    }
    hash
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        next = cause.source();
    }
    text
}
