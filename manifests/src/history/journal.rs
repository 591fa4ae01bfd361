//! The journal: what a deployment is about to do, written down before it does it.
//!
//! Begin (one transaction: compare and set, the pending row, every edit), write the files, end (one transaction: the outcome, the edits removed). A process
//! that dies between leaves a pending row; whoever takes the lock next finds each file on one side of its edit or the other, and goes on.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::deployments::{check, deployment, insert_hold};
use super::{History, Lock, log};
use crate::deployment::{Action, Deployment, DeploymentSeq, Hold, Outcome, TargetState};
use crate::log::{LogEvent, Origin};
use crate::names::InstanceName;
use crate::release::ReleaseSeq;
use crate::target::{Edit, Side, TargetError};
use crate::{Error, Result};

/// What is meant to be done.
#[derive(Debug)]
pub(crate) struct NewDeployment {
    pub(crate) instance: InstanceName,
    pub(crate) release: ReleaseSeq,
    pub(crate) action: Action,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
    pub(crate) rollback_of: Option<DeploymentSeq>,
    pub(crate) restores: Option<DeploymentSeq>,
    pub(crate) expected: Option<DeploymentSeq>,
    pub(crate) automatic: bool,
    pub(crate) holds: bool,
    pub(crate) targets: Vec<TargetState>,
}

/// A deployment in the journal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) instance: InstanceName,
    pub(crate) sequence: DeploymentSeq,
    pub(crate) edits: Vec<Edit>,
}

/// What became of a deployment whose process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recovery {
    /// Every target was written to the end.
    Finished,
    /// Every target was taken back.
    Undone,
}

/// A deployment whose process died, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// The deployment, as it is in the log now.
    pub deployment: Deployment,
    /// What became of it.
    pub recovery: Recovery,
}

impl History {
    /// Finishes or undoes what a process that died has begun: finishes, when every file is as it was before or as it was to be; undoes, when someone
    /// else wrote one meanwhile (that one stays as they wrote it). Every deploy and rollback does this first.
    ///
    /// # Errors
    /// [`Error::Busy`] when the process is not dead, or a file can be neither finished nor taken back now.
    pub fn recover(&mut self, instance: &InstanceName) -> Result<Option<Recovered>> {
        if self.pending_deployment(instance)?.is_none() {
            return Ok(None);
        }
        let lock = self.lock(instance, "recovery")?;
        self.recover_locked(instance, &lock)
    }

    pub(crate) fn recover_locked(&mut self, instance: &InstanceName, _lock: &Lock) -> Result<Option<Recovered>> {
        let Some(pending) = self.pending_deployment(instance)? else { return Ok(None) };
        let entry = self.entry(&pending)?;
        let (recovery, outcome, note) = match entry.finish() {
            Ok(()) => {
                (Recovery::Finished, Outcome::Succeeded, "its process died; the next command finished it".to_owned())
            }
            Err(why) => {
                let left = entry.undo(&why.to_string())?;
                (Recovery::Undone, Outcome::Undone, format!("its process died; the next command undid it: {why}{left}"))
            }
        };
        // A finished file is byte for byte as planned, so the targets say what was planned.
        let said = if outcome == Outcome::Succeeded { pending.targets } else { Vec::new() };
        self.end(&entry, outcome, Some(&note), &said)?;
        let ended = self.deployment(instance, entry.sequence)?;
        Ok(ended.map(|deployment| Recovered { deployment, recovery }))
    }

    /// Records what is meant. Fails when another deployment came first, or when a hold keeps an automatic one away.
    pub(crate) fn begin(&mut self, new: &NewDeployment, edits: Vec<Edit>) -> Result<Entry> {
        let failed = self.failed();
        let origin = self.origin.clone();
        let tx = self.transaction()?;
        check(&tx, &new.instance, new.expected, new.automatic).map_err(&failed)??;
        let sequence = insert(&tx, new, &edits, origin.as_ref()).map_err(&failed)?;
        tx.commit().map_err(failed)?;
        Ok(Entry { instance: new.instance.clone(), sequence, edits })
    }

    /// Records the outcome. The hold that was asked for comes with success, in the same transaction.
    pub(crate) fn end(
        &mut self,
        entry: &Entry,
        outcome: Outcome,
        note: Option<&str>,
        targets: &[TargetState],
    ) -> Result<()> {
        let failed = self.failed();
        let tx = self.transaction()?;
        end(&tx, entry, outcome, note, targets).map_err(&failed)?;
        tx.commit().map_err(failed)
    }

    fn entry(&self, pending: &Deployment) -> Result<Entry> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT edit FROM journal WHERE instance = ?1 AND deployment = ?2 ORDER BY position";
            let mut statement = self.db.prepare(sql)?;
            statement.query_map(params![pending.instance.as_str(), pending.sequence.0], |row| row.get(0))?.collect()
        };
        let edits: Result<Vec<Edit>, _> =
            read().map_err(self.failed())?.iter().map(|edit| serde_json::from_str(edit)).collect();
        let edits = edits.map_err(|e| Error::Damaged {
            instance: pending.instance.clone(),
            what: format!("the journal of deployment {} cannot be read: {e}", pending.sequence),
        })?;
        Ok(Entry { instance: pending.instance.clone(), sequence: pending.sequence, edits })
    }
}

impl Entry {
    /// Makes every edit that is not made yet. Nothing is written unless all can be.
    fn finish(&self) -> Result<(), TargetError> {
        for edit in &self.edits {
            if edit.side()? == Side::Neither {
                return Err(TargetError::Changed(edit.path.clone()));
            }
            edit.sweep()?;
        }
        self.edits.iter().try_for_each(Edit::forward)
    }

    /// Takes every edit back that was made; returns the words for files that someone else wrote meanwhile, which stay.
    pub(crate) fn undo(&self, why: &str) -> Result<String> {
        let mut left = String::new();
        for edit in self.edits.iter().rev() {
            let undone = match edit.side() {
                Ok(Side::Neither) => {
                    left.push_str(&format!("; {} is left as someone else wrote it", edit.path.display()));
                    continue;
                }
                Ok(_) => edit.backward(),
                Err(e) => Err(e),
            };
            undone.map_err(|undo| Error::NotUndone {
                instance: self.instance.clone(),
                deployment: self.sequence,
                why: why.to_owned(),
                undo: undo.to_string(),
            })?;
        }
        Ok(left)
    }
}

fn insert(
    db: &Connection,
    new: &NewDeployment,
    edits: &[Edit],
    origin: Option<&Origin>,
) -> rusqlite::Result<DeploymentSeq> {
    let instance = new.instance.as_str();
    let sql = "SELECT coalesce(max(sequence), 0) + 1 FROM deployments WHERE instance = ?1";
    let sequence: u64 = db.query_row(sql, [instance], |row| row.get(0))?;
    db.execute(
        "INSERT INTO deployments
             (instance, sequence, release, action, actor, reason, rollback_of, restores, expected, holds, outcome, started, targets, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?11, ?12, ?13)",
        params![
            instance,
            sequence,
            new.release.0,
            new.action.as_str(),
            new.actor,
            new.reason,
            new.rollback_of.map(|s| s.0),
            new.restores.map(|s| s.0),
            new.expected.map(|s| s.0),
            new.holds,
            crate::now().to_string(),
            json(&new.targets)?,
            origin.map(json).transpose()?,
        ],
    )?;
    for (position, edit) in edits.iter().enumerate() {
        db.execute(
            "INSERT INTO journal (instance, deployment, position, edit) VALUES (?1, ?2, ?3, ?4)",
            params![instance, sequence, position, json(edit)?],
        )?;
    }
    Ok(DeploymentSeq(sequence))
}

/// Adds a deployment that ended elsewhere; its entry of the log is there already.
pub(super) fn insert_ended(db: &Connection, deployment: &Deployment) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO deployments
             (instance, sequence, release, action, actor, reason, rollback_of, restores, expected, holds, outcome, note, started, finished,
              targets, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        deployment.instance.as_str(),
        deployment.sequence.0,
        deployment.release.0,
        deployment.action.as_str(),
        deployment.actor,
        deployment.reason,
        deployment.rollback_of.map(|s| s.0),
        deployment.restores.map(|s| s.0),
        deployment.expected.map(|s| s.0),
        deployment.holds,
        deployment.outcome.as_str(),
        deployment.note,
        deployment.started.to_string(),
        deployment.finished.map(|at| at.to_string()),
        json(&deployment.targets)?,
        deployment.origin.as_ref().map(json).transpose()?,
    ])
    .map(|_| ())
}

fn end(
    db: &Connection,
    entry: &Entry,
    outcome: Outcome,
    note: Option<&str>,
    targets: &[TargetState],
) -> rusqlite::Result<()> {
    let pending = deployment(db, &entry.instance, entry.sequence)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (actor, reason, holds) = (pending.actor.clone(), pending.reason.clone(), pending.holds);
    let now = crate::now();
    let ended = Deployment {
        outcome,
        note: note.map(str::to_owned),
        finished: Some(now),
        targets: targets.to_vec(),
        ..pending
    };
    log::append(db, &entry.instance, LogEvent::Deployment(ended))?;
    db.execute(
        "UPDATE deployments SET outcome = ?3, note = ?4, finished = ?5, targets = ?6 WHERE instance = ?1 AND sequence = ?2",
        params![entry.instance.as_str(), entry.sequence.0, outcome.as_str(), note, now.to_string(), json(targets)?],
    )?;
    let key = params![entry.instance.as_str(), entry.sequence.0];
    db.execute("DELETE FROM journal WHERE instance = ?1 AND deployment = ?2", key)?;
    if holds && outcome == Outcome::Succeeded {
        insert_hold(db, &entry.instance, &Hold { actor, since: now, reason })?;
    }
    Ok(())
}

fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}
