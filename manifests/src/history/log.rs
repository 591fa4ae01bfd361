//! Writing and reading the log. An entry is written in the transaction of what it tells of, and the database takes neither without the other.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use shiplap_cache::Digest;

use super::{History, column};
use crate::canonical::CanonicalError;
use crate::log::{LogEntry, LogEvent, LogPosition, Origin, SCHEMA};
use crate::names::InstanceName;
use crate::{Error, Result};

/// An entry and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// The SHA-256 of the entry's bytes.
    pub hash: Digest,
    /// The entry.
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// The end of an instance's log: with it kept elsewhere, nobody can write the log anew unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Whose log.
    pub instance: InstanceName,
    /// How many entries it has.
    pub position: LogPosition,
    /// The hash of the newest one.
    pub hash: Digest,
}

/// An entry as the database has it, not read yet.
pub(super) struct Stored {
    pub(super) position: u64,
    pub(super) kind: String,
    pub(super) sequence: u64,
    pub(super) hash: String,
    pub(super) record: String,
}

const COLUMNS: &str = "position, kind, sequence, hash, record";

impl History {
    /// Says where the commands are run from that use this history: it is written into what they record.
    pub fn set_origin(&mut self, origin: Option<Origin>) {
        self.origin = origin;
    }

    /// The entries of an instance's log, newest first, at most `limit`.
    ///
    /// # Errors
    /// The database fails, or an entry cannot be read.
    pub fn log(&self, instance: &InstanceName, limit: Option<u32>) -> Result<Vec<Logged>> {
        let stored = self.stored_log(instance, "DESC", limit)?;
        stored.iter().map(|stored| read(instance, stored)).collect()
    }

    /// The end of an instance's log.
    ///
    /// # Errors
    /// The database fails.
    pub fn head(&self, instance: &InstanceName) -> Result<Option<Head>> {
        let head = head(&self.db, instance).map_err(self.failed())?;
        Ok(head.map(|(position, hash)| Head { instance: instance.clone(), position, hash }))
    }

    pub(super) fn stored_log(&self, instance: &InstanceName, order: &str, limit: Option<u32>) -> Result<Vec<Stored>> {
        let sql = format!("SELECT {COLUMNS} FROM log WHERE instance = ?1 ORDER BY position {order} LIMIT ?2");
        let read = || -> rusqlite::Result<Vec<Stored>> {
            let mut statement = self.db.prepare_cached(&sql)?;
            let rows = statement.query_map(params![instance.as_str(), limit.map_or(-1, i64::from)], |row| {
                Ok(Stored {
                    position: row.get("position")?,
                    kind: row.get("kind")?,
                    sequence: row.get("sequence")?,
                    hash: row.get("hash")?,
                    record: row.get("record")?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.failed())
    }
}

fn read(instance: &InstanceName, stored: &Stored) -> Result<Logged> {
    let damaged = |why: &dyn std::fmt::Display| Error::Damaged {
        instance: instance.clone(),
        what: format!("entry {} of the log cannot be read: {why}", stored.position),
    };
    let entry = serde_json::from_str(&stored.record).map_err(|e| damaged(&e))?;
    Ok(Logged { hash: stored.hash.parse().map_err(|e| damaged(&e))?, entry })
}

fn head(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Option<(LogPosition, Digest)>> {
    db.prepare_cached("SELECT position, hash FROM log WHERE instance = ?1 ORDER BY position DESC LIMIT 1")?
        .query_row([instance.as_str()], |row| Ok((LogPosition(row.get("position")?), column(row, "hash")?)))
        .optional()
}

/// Writes an entry behind the newest one. The caller's transaction keeps others away between the two.
pub(super) fn append(db: &Connection, instance: &InstanceName, event: LogEvent) -> rusqlite::Result<()> {
    let before = head(db, instance)?;
    let position = LogPosition(before.as_ref().map_or(1, |(position, _)| position.0 + 1));
    let (kind, sequence) = event.key();
    let entry = LogEntry {
        schema: SCHEMA.to_owned(),
        instance: instance.clone(),
        position,
        previous: before.map(|(_, hash)| hash),
        event,
    };
    let unwritable = |e: CanonicalError| rusqlite::Error::ToSqlConversionFailure(Box::new(e));
    let bytes = entry.to_bytes().map_err(unwritable)?;
    let hash = Digest::of(&bytes);
    let record = String::from_utf8_lossy(&bytes);
    db.prepare_cached(
        "INSERT INTO log (instance, position, kind, sequence, hash, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![instance.as_str(), position.0, kind, sequence, hash.to_string(), record])
    .map(|_| ())
}
