//! The tables of `history.db`.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::migrate;
use crate::{Error, Result};

/// The version of the tables, in SQLite's `user_version`.
pub(super) const VERSION: i64 = 2;

/// "SHIP": the kind of file, in SQLite's `application_id`.
const APPLICATION: i64 = 0x5348_4950;

/// How long to wait for another process's transaction. Theirs take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Releases never change. Deployments are only added, and change once, when they end. The triggers keep it so against every program that opens
/// the file, this one included.
const TABLES: &str = "
CREATE TABLE releases (
    instance   TEXT NOT NULL,
    sequence   INTEGER NOT NULL CHECK (sequence > 0),
    version    TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    git_commit TEXT NOT NULL,
    created    TEXT NOT NULL,
    PRIMARY KEY (instance, sequence),
    UNIQUE (instance, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    instance    TEXT NOT NULL,
    sequence    INTEGER NOT NULL CHECK (sequence > 0),
    release     INTEGER NOT NULL,
    action      TEXT NOT NULL CHECK (action IN ('deploy', 'rollback')),
    actor       TEXT NOT NULL,
    reason      TEXT,
    rollback_of INTEGER,
    restores    INTEGER,
    expected    INTEGER,
    holds       INTEGER NOT NULL CHECK (holds IN (0, 1)),
    outcome     TEXT NOT NULL CHECK (outcome IN ('pending', 'succeeded', 'failed', 'undone')),
    note        TEXT,
    started     TEXT NOT NULL,
    finished    TEXT,
    targets     TEXT NOT NULL,
    PRIMARY KEY (instance, sequence),
    FOREIGN KEY (instance, release) REFERENCES releases (instance, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX deployments_by_outcome ON deployments (instance, outcome, sequence);

CREATE UNIQUE INDEX one_pending_deployment ON deployments (instance) WHERE outcome = 'pending';

CREATE TABLE journal (
    instance   TEXT NOT NULL,
    deployment INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    edit       TEXT NOT NULL,
    PRIMARY KEY (instance, deployment, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    instance TEXT PRIMARY KEY,
    actor    TEXT NOT NULL,
    since    TEXT NOT NULL,
    reason   TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER releases_stay BEFORE DELETE ON releases
BEGIN SELECT RAISE(ABORT, 'a release is never removed'); END;

CREATE TRIGGER releases_do_not_change BEFORE UPDATE ON releases
BEGIN SELECT RAISE(ABORT, 'a release never changes'); END;

CREATE TRIGGER deployments_stay BEFORE DELETE ON deployments
BEGIN SELECT RAISE(ABORT, 'a deployment is never removed'); END;

CREATE TRIGGER ended_deployments_do_not_change BEFORE UPDATE ON deployments WHEN OLD.outcome <> 'pending'
BEGIN SELECT RAISE(ABORT, 'a deployment that ended never changes'); END;
";

/// What version 2 has beside the tables of version 1. A row and its entry of the log come together, whoever writes: an older program that had the file
/// open when a newer one changed it is stopped here.
pub(super) const LOG: &str = "
CREATE TABLE log (
    instance TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position > 0),
    kind     TEXT NOT NULL CHECK (kind IN ('release', 'deployment')),
    sequence INTEGER NOT NULL,
    hash     TEXT NOT NULL,
    record   TEXT NOT NULL,
    PRIMARY KEY (instance, position),
    UNIQUE (instance, kind, sequence)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER the_log_stays BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'an entry of the log is never removed'); END;

CREATE TRIGGER the_log_does_not_change BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'an entry of the log never changes'); END;

CREATE TRIGGER releases_are_logged BEFORE INSERT ON releases
WHEN NOT EXISTS (SELECT 1 FROM log WHERE instance = NEW.instance AND kind = 'release' AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'a release is not in the log: use a newer shiplap'); END;

CREATE TRIGGER new_deployments_are_logged BEFORE INSERT ON deployments
WHEN NEW.outcome <> 'pending'
    AND NOT EXISTS (SELECT 1 FROM log WHERE instance = NEW.instance AND kind = 'deployment' AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'a deployment is not in the log: use a newer shiplap'); END;

CREATE TRIGGER ended_deployments_are_logged BEFORE UPDATE ON deployments
WHEN NEW.outcome <> 'pending'
    AND NOT EXISTS (SELECT 1 FROM log WHERE instance = NEW.instance AND kind = 'deployment' AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'a deployment is not in the log: use a newer shiplap'); END;
";

/// What is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Version1,
    Ours,
}

/// Opens the database, and makes its tables if it is new. One of an older version becomes one of this.
///
/// Everyone looks under a shared lock on `gate`, and one at a time makes it new or changes it under an exclusive one: SQLite does not wait for others
/// when it switches to WAL, it fails.
pub(super) fn open(path: &Path, gate: &Path) -> Result<Connection> {
    let failed = |source| Error::Database { path: path.to_owned(), source };
    let gate_failed = |source| Error::Io { what: "lock", path: gate.to_owned(), source };
    let lock = File::options().write(true).create(true).truncate(false).open(gate).map_err(gate_failed)?;
    lock.lock_shared().map_err(gate_failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(PATIENCE).map_err(failed)?;
    // Looked at before anything is set, which would write.
    if look(&db, path)? != Found::Ours {
        lock.unlock().and_then(|()| lock.lock()).map_err(gate_failed)?;
        // Another process may have done it meanwhile.
        let found = look(&db, path)?;
        if found == Found::Nothing {
            db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        }
        if found != Found::Ours {
            // What is changed must be on disk before a command says so.
            db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            if found == Found::Nothing {
                tx.execute_batch(TABLES).map_err(failed)?;
                tx.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
            }
            migrate::to_version_2(&tx).map_err(failed)?;
            tx.pragma_update(None, "user_version", VERSION).map_err(failed)?;
            tx.commit().map_err(failed)?;
        }
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // The journal may hold lines of a file that `overwrite = true` replaces: gone is gone.
    db.pragma_update(None, "secure_delete", true).map_err(failed)?;
    Ok(db)
}

/// What is in the database. One of something else or of a newer Shiplap is an error.
fn look(db: &Connection, path: &Path) -> Result<Found> {
    let read = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => Error::NotAHistory(path.to_owned()),
        _ => Error::Database { path: path.to_owned(), source },
    };
    let (application, version) = (read("application_id").map_err(failed)?, read("user_version").map_err(failed)?);
    match (application, version) {
        (APPLICATION, VERSION) => Ok(Found::Ours),
        (APPLICATION, 1) => Ok(Found::Version1),
        (APPLICATION, found) if found > VERSION => {
            Err(Error::NewerHistory { path: path.to_owned(), found, known: VERSION })
        }
        (0, 0) => {
            let tables =
                db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(failed)?;
            if tables == 0 { Ok(Found::Nothing) } else { Err(Error::NotAHistory(path.to_owned())) }
        }
        _ => Err(Error::NotAHistory(path.to_owned())),
    }
}
