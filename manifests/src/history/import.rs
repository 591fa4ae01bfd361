//! What histories that share a place take from each other.

use rusqlite::params;
use shiplap_cache::Digest;

use super::deployments::{deployment, insert_hold};
use super::log::{Logged, add_entry};
use super::releases::insert_release;
use super::{History, Lock, journal};
use crate::deployment::Hold;
use crate::log::LogEvent;
use crate::names::InstanceName;
use crate::{Error, Result};

impl History {
    /// The hashes of an instance's log, the first one first.
    pub(crate) fn hashes(&self, instance: &InstanceName) -> Result<Vec<Digest>> {
        let read = || -> rusqlite::Result<Vec<Digest>> {
            let mut statement = self.db.prepare_cached("SELECT hash FROM log WHERE instance = ?1 ORDER BY position")?;
            statement.query_map([instance.as_str()], |row| super::column(row, "hash"))?.collect()
        };
        read().map_err(self.failed())
    }

    /// The entries behind that position, and the bytes of each.
    pub(crate) fn records_after(&self, instance: &InstanceName, position: u64) -> Result<Vec<(Logged, String)>> {
        let stored = self.stored_log(instance, "ASC", None)?;
        let new = stored.into_iter().filter(|stored| stored.position > position);
        new.map(|stored| Ok((super::log::read(instance, &stored)?, stored.record))).collect()
    }

    /// Adds entries that were made elsewhere, with the rows that they tell of, all or none. Their manifests are here.
    pub(crate) fn import(&mut self, instance: &InstanceName, entries: &[(Logged, String)]) -> Result<()> {
        let (failed, path) = (self.failed(), self.path.clone());
        let tx = self.transaction()?;
        for (logged, record) in entries {
            let entry = &logged.entry;
            let (before, position) = super::log::head(&tx, instance)
                .map_err(&failed)?
                .map_or((None, 1), |(position, hash)| (Some(hash), position.0 + 1));
            if (&entry.instance, entry.position.0, entry.previous) != (instance, position, before) {
                let what = format!("entry {} of the shared log does not follow from the one before", entry.position);
                return Err(Error::Damaged { instance: instance.clone(), what });
            }
            if let LogEvent::Deployment(theirs) = &entry.event
                && deployment(&tx, instance, theirs.sequence).map_err(&failed)?.is_some()
            {
                // Of those that ended the log tells, and it follows: this one is pending.
                return Err(Error::Overtaken {
                    instance: instance.clone(),
                    deployment: theirs.sequence,
                    actor: theirs.actor.clone(),
                    version: Box::new(theirs.version.clone()),
                    at: theirs.started,
                    path,
                });
            }
            add_entry(&tx, instance, entry, &logged.hash, record).map_err(&failed)?;
            match &entry.event {
                LogEvent::Release(release) => insert_release(&tx, instance, release).map_err(&failed)?,
                LogEvent::Deployment(deployment) => journal::insert_ended(&tx, deployment).map_err(&failed)?,
            }
        }
        tx.commit().map_err(failed)
    }

    /// Holds, or does not, as is said elsewhere.
    pub(crate) fn mirror_hold(&mut self, instance: &InstanceName, hold: Option<&Hold>) -> Result<()> {
        match hold {
            Some(hold) => insert_hold(&self.db, instance, hold).map_err(self.failed()),
            None => self.lift_hold(instance).map(|_| ()),
        }
    }

    /// Keeps other processes of this store away from an instance while its log is claimed for this one.
    pub(crate) fn lock_shared(&self, instance: &InstanceName, actor: &str) -> Result<Lock> {
        let folder = self.locks.join(".shared");
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io { what: "make", path: folder.clone(), source })?;
        Lock::take(&folder, instance, actor)
    }

    /// The name of this store among those that share a place, made when it is first asked for.
    pub(crate) fn store_id(&mut self) -> Result<String> {
        let failed = self.failed();
        let made =
            Digest::of(format!("{:?} {} {:?}", self.path, std::process::id(), std::time::SystemTime::now()).as_bytes());
        let tx = self.transaction()?;
        tx.execute("INSERT OR IGNORE INTO identity (one, store) VALUES (1, ?1)", params![&made.hex()[..32]])
            .map_err(&failed)?;
        let store = tx.query_row("SELECT store FROM identity", [], |row| row.get(0)).map_err(&failed)?;
        tx.commit().map_err(failed)?;
        Ok(store)
    }
}
