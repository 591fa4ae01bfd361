//! Reading the deployment log and the holds.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde::Serialize;

use super::{History, Lock, column};
use crate::deployment::{Action, Deployment, DeploymentSeq, Hold, Outcome};
use crate::names::InstanceName;
use crate::release::ReleaseSeq;
use crate::{Error, Result};

/// A deployment that did not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The deployment.
    pub deployment: Deployment,
    /// Whether its process still works on it. If not, the next deploy or rollback finishes or undoes it.
    pub under_way: bool,
}

const SELECT: &str = "SELECT d.*, r.version FROM deployments d
    JOIN releases r ON r.instance = d.instance AND r.sequence = d.release
    WHERE d.instance = ?1";

impl History {
    /// The deployments of an instance, newest first, at most `limit`.
    ///
    /// # Errors
    /// The database fails.
    pub fn deployments(&self, instance: &InstanceName, limit: Option<u32>) -> Result<Vec<Deployment>> {
        self.select("ORDER BY d.sequence DESC LIMIT ?2", &[&instance.as_str(), &limit.map_or(-1, i64::from)])
    }

    /// The deployment of that number.
    ///
    /// # Errors
    /// The database fails.
    pub fn deployment(&self, instance: &InstanceName, sequence: DeploymentSeq) -> Result<Option<Deployment>> {
        deployment(&self.db, instance, sequence).map_err(self.failed())
    }

    /// What the instance runs: its newest deployment that succeeded.
    ///
    /// # Errors
    /// The database fails.
    pub fn current(&self, instance: &InstanceName) -> Result<Option<Deployment>> {
        current(&self.db, instance).map_err(self.failed())
    }

    /// The newest deployment before `before` that succeeded and whose release is not `release`.
    pub(crate) fn earlier(
        &self,
        instance: &InstanceName,
        before: DeploymentSeq,
        release: ReleaseSeq,
    ) -> Result<Option<Deployment>> {
        self.select_one(
            "AND d.outcome = 'succeeded' AND d.sequence < ?2 AND d.release <> ?3 ORDER BY d.sequence DESC LIMIT 1",
            &[&instance.as_str(), &before.0, &release.0],
        )
    }

    /// The newest deployment of a release that succeeded.
    pub(crate) fn deployment_of(&self, instance: &InstanceName, release: ReleaseSeq) -> Result<Option<Deployment>> {
        self.select_one(
            "AND d.outcome = 'succeeded' AND d.release = ?2 ORDER BY d.sequence DESC LIMIT 1",
            &[&instance.as_str(), &release.0],
        )
    }

    /// The deployment that did not end, if there is one.
    ///
    /// # Errors
    /// The database or the lock fails.
    pub fn pending(&self, instance: &InstanceName) -> Result<Option<Pending>> {
        // The lock first: a deployment that ends between the two is seen as ended, not as dead.
        let under_way = Lock::is_taken(&self.locks, instance)?;
        Ok(self.pending_deployment(instance)?.map(|deployment| Pending { deployment, under_way }))
    }

    pub(super) fn pending_deployment(&self, instance: &InstanceName) -> Result<Option<Deployment>> {
        self.select_one("AND d.outcome = 'pending'", &[&instance.as_str()])
    }

    /// Who holds automatic deploys off, if anyone does.
    ///
    /// # Errors
    /// The database fails.
    pub fn hold(&self, instance: &InstanceName) -> Result<Option<Hold>> {
        hold(&self.db, instance).map_err(self.failed())
    }

    /// Whether a deployment may begin: what [`History::begin`] will check again.
    pub(crate) fn check(
        &self,
        instance: &InstanceName,
        expected: Option<DeploymentSeq>,
        automatic: bool,
    ) -> Result<()> {
        check(&self.db, instance, expected, automatic).map_err(self.failed())?
    }

    /// Holds automatic deploys off until the hold is lifted. A hold that is there already is replaced.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_hold(&mut self, instance: &InstanceName, actor: &str, reason: Option<&str>) -> Result<()> {
        let hold = Hold { actor: actor.to_owned(), since: crate::now(), reason: reason.map(str::to_owned) };
        insert_hold(&self.db, instance, &hold).map_err(self.failed())
    }

    /// Lifts the hold; says whether there was one.
    ///
    /// # Errors
    /// The database fails.
    pub fn lift_hold(&mut self, instance: &InstanceName) -> Result<bool> {
        let lifted = self.db.execute("DELETE FROM holds WHERE instance = ?1", params![instance.as_str()]);
        lifted.map(|rows| rows > 0).map_err(self.failed())
    }

    fn select(&self, rest: &str, values: &[&dyn ToSql]) -> Result<Vec<Deployment>> {
        select(&self.db, rest, values).map_err(self.failed())
    }

    fn select_one(&self, rest: &str, values: &[&dyn ToSql]) -> Result<Option<Deployment>> {
        Ok(self.select(rest, values)?.pop())
    }
}

fn select(db: &Connection, rest: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Deployment>> {
    db.prepare_cached(&format!("{SELECT} {rest}"))?.query_map(values, read_deployment)?.collect()
}

/// One deployment.
pub(super) fn deployment(
    db: &Connection,
    instance: &InstanceName,
    sequence: DeploymentSeq,
) -> rusqlite::Result<Option<Deployment>> {
    Ok(select(db, "AND d.sequence = ?2", &[&instance.as_str(), &sequence.0])?.pop())
}

/// All of them, the first one first.
pub(super) fn every_deployment(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Vec<Deployment>> {
    select(db, "ORDER BY d.sequence", &[&instance.as_str()])
}

pub(super) fn current(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Option<Deployment>> {
    let newest = "AND d.outcome = 'succeeded' ORDER BY d.sequence DESC LIMIT 1";
    Ok(select(db, newest, &[&instance.as_str()])?.pop())
}

pub(super) fn hold(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Option<Hold>> {
    db.prepare_cached("SELECT actor, since, reason FROM holds WHERE instance = ?1")?
        .query_row([instance.as_str()], |row| {
            Ok(Hold { actor: row.get("actor")?, since: column(row, "since")?, reason: row.get("reason")? })
        })
        .optional()
}

/// The compare of compare and set: whether `expected` is still current and, for an automatic deploy, nobody holds.
pub(super) fn check(
    db: &Connection,
    instance: &InstanceName,
    expected: Option<DeploymentSeq>,
    automatic: bool,
) -> rusqlite::Result<Result<()>> {
    let current = current(db, instance)?;
    if current.as_ref().map(|current| current.sequence) != expected {
        return Ok(Err(match (current, expected) {
            (Some(current), expected) => Error::Superseded {
                instance: instance.clone(),
                expected,
                found: current.sequence,
                version: Box::new(current.version),
                actor: current.actor,
                at: current.started,
            },
            (None, expected) => {
                Error::NothingToReplace { instance: instance.clone(), expected: expected.unwrap_or(DeploymentSeq(0)) }
            }
        }));
    }
    match hold(db, instance)?.filter(|_| automatic) {
        Some(Hold { actor, since, reason }) => {
            Ok(Err(Error::Held { instance: instance.clone(), actor, since, reason }))
        }
        None => Ok(Ok(())),
    }
}

pub(super) fn insert_hold(db: &Connection, instance: &InstanceName, hold: &Hold) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO holds (instance, actor, since, reason) VALUES (?1, ?2, ?3, ?4)",
        params![instance.as_str(), hold.actor, hold.since.to_string(), hold.reason],
    )
    .map(|_| ())
}

fn read_deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let number = |name: &str| row.get::<_, Option<u64>>(name).map(|n| n.map(DeploymentSeq));
    let finished: Option<String> = row.get("finished")?;
    Ok(Deployment {
        instance: column(row, "instance")?,
        sequence: DeploymentSeq(row.get("sequence")?),
        release: ReleaseSeq(row.get("release")?),
        version: column(row, "version")?,
        action: word(row, "action", Action::from_word)?,
        actor: row.get("actor")?,
        origin: row.get::<_, Option<String>>("origin")?.is_some().then(|| json(row, "origin")).transpose()?,
        reason: row.get("reason")?,
        rollback_of: number("rollback_of")?,
        restores: number("restores")?,
        expected: number("expected")?,
        holds: row.get("holds")?,
        outcome: word(row, "outcome", Outcome::from_word)?,
        note: row.get("note")?,
        started: column(row, "started")?,
        finished: finished.is_some().then(|| column(row, "finished")).transpose()?,
        targets: json(row, "targets")?,
    })
}

fn word<T>(row: &Row<'_>, name: &str, read: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let index = row.as_ref().column_index(name)?;
    let text: String = row.get(index)?;
    read(&text).ok_or_else(|| {
        let why = format!("`{text}` is not known");
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, why.into())
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    let index = row.as_ref().column_index(name)?;
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(e)))
}
