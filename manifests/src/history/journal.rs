//! The journal: what a deployment is about to do, written down before it does it.
//!
//! Begin (one transaction: compare and set, the pending row, every act), act, end (one transaction: the outcome, the acts removed). A process
//! that dies between leaves a pending row; whoever takes the lock next finds each file and branch on one side of its change or the other, and goes on.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::deployments::{check, deployment, insert_hold};
use super::{History, Lock, log};
use crate::act::Act;
use crate::deployment::{Action, Deployment, DeploymentSeq, Hold, Outcome, TargetState};
use crate::log::{LogEvent, Origin};
use crate::names::InstanceName;
use crate::observer::{Observer, Progress};
use crate::release::ReleaseSeq;
use crate::target::TargetError;
use crate::{Error, Result};

/// What is meant to be done.
#[derive(Debug)]
pub(crate) struct NewDeployment {
    pub(crate) instance: InstanceName,
    pub(crate) sequence: DeploymentSeq,
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
    /// What is to be known about it however it ends.
    pub(crate) note: Option<String>,
}

/// A deployment in the journal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) instance: InstanceName,
    pub(crate) sequence: DeploymentSeq,
    pub(crate) acts: Vec<Act>,
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
        self.recover_locked(instance, &lock, &())
    }

    pub(crate) fn recover_locked(
        &mut self,
        instance: &InstanceName,
        lock: &Lock,
        observer: &dyn Observer,
    ) -> Result<Option<Recovered>> {
        let Some(pending) = self.pending_deployment(instance)? else { return Ok(None) };
        let entry = self.entry(&pending)?;
        let (recovery, outcome, note) = match entry.finish(lock, observer) {
            Ok(()) => {
                let doubts: Vec<String> = entry.acts.iter().filter_map(Act::doubt).collect();
                let doubts = doubts.iter().map(|doubt| format!("; {doubt}")).collect::<String>();
                let note = format!("its process died; the next command finished it{doubts}");
                (Recovery::Finished, Outcome::Succeeded, note)
            }
            Err(why) => {
                let left = entry.undo(&why.to_string(), entry.acts.len(), lock)?;
                (Recovery::Undone, Outcome::Undone, format!("its process died; the next command undid it: {why}{left}"))
            }
        };
        observer.progress(Progress::RecordingOutcome);
        // A finished file is byte for byte as planned, so the targets say what was planned.
        let said = if outcome == Outcome::Succeeded { pending.targets } else { Vec::new() };
        self.end(&entry, outcome, Some(&note), &said)?;
        let ended = self.deployment(instance, entry.sequence)?;
        Ok(ended.map(|deployment| Recovered { deployment, recovery }))
    }

    /// Records what is meant. Fails when another deployment came first, or when a hold keeps an automatic one away.
    pub(crate) fn begin(&mut self, new: &NewDeployment, acts: Vec<Act>) -> Result<Entry> {
        let failed = self.failed();
        let origin = self.origin.clone();
        let tx = self.transaction()?;
        check(&tx, &new.instance, new.expected, new.automatic).map_err(&failed)??;
        insert(&tx, new, &acts, origin.as_ref()).map_err(&failed)?;
        tx.commit().map_err(failed)?;
        Ok(Entry { instance: new.instance.clone(), sequence: new.sequence, acts })
    }

    /// The number of the next deployment, for whoever has the lock.
    pub(crate) fn next_deployment(&self, instance: &InstanceName, _lock: &Lock) -> Result<DeploymentSeq> {
        let sql = "SELECT coalesce(max(sequence), 0) + 1 FROM deployments WHERE instance = ?1";
        let next = self.db.query_row(sql, [instance.as_str()], |row| row.get(0));
        next.map(DeploymentSeq).map_err(self.failed())
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
        let acts: Result<Vec<Act>, _> =
            read().map_err(self.failed())?.iter().map(|edit| serde_json::from_str(edit)).collect();
        let acts = acts.map_err(|e| Error::Damaged {
            instance: pending.instance.clone(),
            what: format!("the journal of deployment {} cannot be read: {e}", pending.sequence),
        })?;
        Ok(Entry { instance: pending.instance.clone(), sequence: pending.sequence, acts })
    }
}

impl Entry {
    /// Does everything that is not done yet. Nothing is done unless all can be, as far as that is seen.
    fn finish(&self, lock: &Lock, observer: &dyn Observer) -> Result<(), TargetError> {
        self.acts.iter().try_for_each(Act::ready)?;
        for act in &self.acts {
            observer.progress(Progress::Acting(act));
            act.forward(lock)?;
            observer.progress(Progress::Acted(act));
        }
        Ok(())
    }

    /// Takes everything back that was done, of which the first `begun` acts may be; returns the words for what stays.
    pub(crate) fn undo(&self, why: &str, begun: usize, lock: &Lock) -> Result<String> {
        let mut left = String::new();
        for (i, act) in self.acts.iter().enumerate().rev() {
            let stays = act.backward(i < begun, lock).map_err(|undo| Error::NotUndone {
                instance: self.instance.clone(),
                deployment: self.sequence,
                why: why.to_owned(),
                undo: undo.to_string(),
            })?;
            left.extend(stays.map(|words| format!("; {words}")));
        }
        Ok(left)
    }
}

fn insert(db: &Connection, new: &NewDeployment, acts: &[Act], origin: Option<&Origin>) -> rusqlite::Result<()> {
    let (instance, sequence) = (new.instance.as_str(), new.sequence.0);
    db.execute(
        "INSERT INTO deployments
             (instance, sequence, release, action, actor, reason, rollback_of, restores, expected, holds, outcome, started, targets, origin, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?11, ?12, ?13, ?14)",
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
            new.note,
        ],
    )?;
    for (position, act) in acts.iter().enumerate() {
        db.execute(
            "INSERT INTO journal (instance, deployment, position, edit) VALUES (?1, ?2, ?3, ?4)",
            params![instance, sequence, position, json(act)?],
        )?;
    }
    Ok(())
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
    // What was known when it began stays, also where another process ends it.
    let notes: Vec<&str> = pending.note.as_deref().into_iter().chain(note).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    let ended = Deployment { outcome, note: note.clone(), finished: Some(now), targets: targets.to_vec(), ..pending };
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
