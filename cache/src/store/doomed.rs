//! What nothing refers to any more and is on the disk still.
//!
//! Taking space back goes in two moves, so that nobody loses what he has seen. First the last references go, in one transaction; what they named is doomed,
//! and the leases of that moment are written down. Much later, when none of these leases is held and still nothing refers to it, it is unlinked. A
//! process that comes between finds a doomed layer or blob when it looks for it, and takes it back; its own lease is then waited for in turn.
//!
//! A doomed blob is in quarantine, for blobs are known by their files alone ([`BlobStore`](crate::BlobStore)). A doomed layer stays where it is, for steps
//! that run have it mounted; it has no row in `layers`.

use rusqlite::{Connection, params};

use super::{Store, lease, now};
use crate::{LayerId, Result};

/// `doom` is one run of the collector, `doom_waits` the leases that there were then; it is not `listed` until they are known.
pub(super) const SCHEMA: &str = "
CREATE TABLE doom (batch INTEGER PRIMARY KEY, since INTEGER NOT NULL, listed INTEGER NOT NULL);
CREATE TABLE doom_waits (batch INTEGER NOT NULL, lease TEXT NOT NULL, PRIMARY KEY (batch, lease)) WITHOUT ROWID;
CREATE TABLE doomed (kind TEXT NOT NULL, id BLOB NOT NULL, batch INTEGER NOT NULL, size INTEGER NOT NULL,
    entries INTEGER NOT NULL, boot TEXT, used INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
";

/// The kinds of doomed things.
pub(crate) const LAYER: &str = "layer";
pub(crate) const BLOB: &str = "blob";

impl Store {
    /// Takes a doomed layer back; says whether it was one.
    pub(super) fn reprieve(&self, id: &LayerId) -> Result<bool> {
        let doomed = self.query(|db| {
            db.prepare_cached("SELECT 1 FROM doomed WHERE kind = ?1 AND id = ?2")?.exists(params![LAYER, id.as_bytes()])
        })?;
        if !doomed {
            return Ok(false);
        }
        self.transact(|db| restore_layer(db, id))
    }

    /// Begins a batch of doomed things.
    pub(crate) fn begin_doom(db: &Connection) -> rusqlite::Result<i64> {
        db.execute("INSERT INTO doom (since, listed) VALUES (?1, 0)", [now()])?;
        Ok(db.last_insert_rowid())
    }

    /// Writes down for each batch that has no list yet which leases are held now. This comes after the transaction that took the references
    /// away: whoever began before that may still know what they named.
    pub(crate) fn list_leases(&self, db: &Connection) -> Result<()> {
        let held = self.other_leases()?;
        let list = || {
            let mut wait =
                db.prepare("INSERT OR IGNORE INTO doom_waits SELECT batch, ?1 FROM doom WHERE listed = 0")?;
            held.iter().try_for_each(|name| wait.execute([name]).map(drop))?;
            db.execute("UPDATE doom SET listed = 1", []).map(drop)
        };
        list().map_err(|e| self.database_failed(e))
    }

    /// The batches that wait for nobody and are at least so many seconds old.
    pub(crate) fn ripe(&self, db: &Connection, age: i64) -> rusqlite::Result<Vec<i64>> {
        let waits: Vec<(i64, String)> = db
            .prepare("SELECT batch, lease FROM doom_waits")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let waiting: Vec<i64> =
            waits.iter().filter(|(_, name)| lease::is_held(&self.tmp(), name)).map(|(batch, _)| *batch).collect();
        let mut old: Vec<i64> = db
            .prepare("SELECT batch FROM doom WHERE listed = 1 AND since <= ?1")?
            .query_map([now() - age], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        old.retain(|batch| !waiting.contains(batch));
        Ok(old)
    }

    /// The leases that others hold.
    pub(crate) fn other_leases(&self) -> Result<Vec<String>> {
        let (mut held, own) = (lease::held(&self.tmp())?, self.own_lease());
        held.retain(|name| *name != own);
        Ok(held)
    }

    /// The name of this process's own lease, or nothing.
    fn own_lease(&self) -> String {
        super::lock(&self.lease).as_ref().map(lease::Lease::name).unwrap_or_default()
    }
}

/// Gives a doomed layer its row again; says whether it was doomed.
pub(crate) fn restore_layer(db: &Connection, id: &LayerId) -> rusqlite::Result<bool> {
    let row = params![LAYER, id.as_bytes(), now()];
    let restored = db.execute(
        "INSERT OR IGNORE INTO layers (id, size, entries, boot, used)
         SELECT id, size, entries, boot, ?3 FROM doomed WHERE kind = ?1 AND id = ?2",
        row,
    )?;
    db.execute("DELETE FROM doomed WHERE kind = ?1 AND id = ?2", params![LAYER, id.as_bytes()])?;
    Ok(restored > 0)
}
