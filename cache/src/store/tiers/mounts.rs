//! What one tier has of cache mounts.

use rusqlite::{OptionalExtension, params};

use super::{MountPlace, parts};
use crate::store::Store;
use crate::{ContentHash, Result};

impl Store {
    /// What a tier has of a part of a cache mount, whether results are taken from it or not.
    ///
    /// # Errors
    /// The database fails.
    pub fn mount_in(&self, tier: &str, key: &ContentHash) -> Result<Option<MountPlace>> {
        let row: Option<(i64, String)> = self.query(|db| {
            db.prepare_cached("SELECT time, parts FROM tier_mounts WHERE tier = ?1 AND key = ?2")?
                .query_row(params![tier, key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        Ok(row.map(|(time, text)| MountPlace { tier: tier.to_owned(), time, parts: parts(&text) }))
    }
}
