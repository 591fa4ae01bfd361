//! Which packs have contents of a layer, and the tables of packs.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::Store;
use super::{RENEW, today};
use crate::tier::TierBlob;
use crate::tier::table::Pack;
use crate::{Digest, LayerId, Result};

pub(super) const SCHEMA: &str = "
CREATE TABLE tier_contents (layer BLOB NOT NULL, tier TEXT NOT NULL, pack BLOB NOT NULL, pack_size INTEGER NOT NULL,
    table_digest BLOB NOT NULL, table_size INTEGER NOT NULL, PRIMARY KEY (layer, tier, pack)) WITHOUT ROWID;
CREATE INDEX tier_contents_pack ON tier_contents (pack);
CREATE TABLE pack_tables (pack BLOB PRIMARY KEY, digest BLOB NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
";

impl Store {
    /// Remembers the table of a pack.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_pack_table(&self, pack: &Digest, table: &TierBlob) -> Result<()> {
        self.transact(|db| insert_table(db, pack, table))
    }

    /// The table of a pack, which is perhaps not here.
    ///
    /// # Errors
    /// The database fails.
    pub fn pack_table(&self, pack: &Digest) -> Result<Option<TierBlob>> {
        self.query(|db| {
            db.prepare_cached("SELECT digest, size FROM pack_tables WHERE pack = ?1")?
                .query_row([pack.as_bytes()], |row| blob(row, 0))
                .optional()
        })
    }

    /// Packs of a tier of which it was told lately, so that nobody takes them away soon: so many of the newest.
    ///
    /// # Errors
    /// The database fails.
    pub fn packs_of(&self, tier: &str, most: usize) -> Result<Vec<Pack>> {
        let since = today().saturating_sub(RENEW);
        self.query(|db| {
            db.prepare_cached(
                "SELECT pack, pack_size, table_digest, table_size FROM tier_contents JOIN tier_layers USING (layer, tier)
                 WHERE tier = ?1 AND day >= ?2 GROUP BY pack ORDER BY max(day) DESC, pack LIMIT ?3",
            )?
            .query_map(params![tier, since, most as i64], |row| Ok(Pack { blob: blob(row, 0)?, table: blob(row, 2)? }))?
            .collect()
        })
    }

    /// Forgets that a tier has a pack. Layers that cannot be put together without it cannot be had any more.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_pack(&self, tier: &str, pack: &Digest) -> Result<()> {
        self.transact(|db| {
            db.execute(
                "UPDATE tier_layers SET complete = NULL WHERE tier = ?1
                 AND layer IN (SELECT layer FROM tier_contents WHERE tier = ?1 AND pack = ?2)",
                params![tier, pack.as_bytes()],
            )?;
            db.execute("DELETE FROM tier_contents WHERE tier = ?1 AND pack = ?2", params![tier, pack.as_bytes()])
        })?;
        Ok(())
    }
}

pub(super) fn insert_table(db: &Connection, pack: &Digest, table: &TierBlob) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO pack_tables VALUES (?1, ?2, ?3)")?
        .execute(params![pack.as_bytes(), table.digest.as_bytes(), table.size as i64])
        .map(drop)
}

pub(super) fn insert(db: &Connection, layer: &LayerId, tier: &str, packs: &[Pack]) -> rusqlite::Result<()> {
    for Pack { blob, table } in packs {
        db.prepare_cached("INSERT OR REPLACE INTO tier_contents VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            layer.as_bytes(),
            tier,
            blob.digest.as_bytes(),
            blob.size as i64,
            table.digest.as_bytes(),
            table.size as i64
        ])?;
        insert_table(db, &blob.digest, table)?;
    }
    Ok(())
}

/// The packs of a layer in a tier, in an order that is always the same.
pub(super) fn of(db: &Connection, layer: &LayerId, tier: &str) -> rusqlite::Result<Vec<Pack>> {
    db.prepare_cached(
        "SELECT pack, pack_size, table_digest, table_size FROM tier_contents WHERE layer = ?1 AND tier = ?2 ORDER BY pack",
    )?
    .query_map(params![layer.as_bytes(), tier], |row| Ok(Pack { blob: blob(row, 0)?, table: blob(row, 2)? }))?
    .collect()
}

fn blob(row: &Row<'_>, at: usize) -> rusqlite::Result<TierBlob> {
    Ok(TierBlob { digest: Digest::from_bytes(row.get(at)?), size: row.get::<_, i64>(at + 1)? as u64 })
}
