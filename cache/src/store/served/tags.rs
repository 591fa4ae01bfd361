//! Tags of repositories.

use rusqlite::OptionalExtension;

use super::digest;
use crate::store::Store;
use crate::{Digest, Result};

impl Store {
    /// The manifest that a tag of a repository stands for.
    ///
    /// # Errors
    /// The database fails.
    pub fn served_tag(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        self.query(|db| {
            db.prepare_cached("SELECT digest FROM served_tags WHERE repository = ?1 AND tag = ?2")?
                .query_row((repository, tag), |row| digest(row, 0))
                .optional()
        })
    }

    /// Tags of a repository, sorted as bytes, that come after one.
    ///
    /// # Errors
    /// The database fails.
    pub fn served_tags(&self, repository: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        self.query(|db| {
            db.prepare_cached("SELECT tag FROM served_tags WHERE repository = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3")?
                .query_map((repository, after, limit as i64), |row| row.get(0))?
                .collect()
        })
    }

    /// Takes a tag away; says whether it was there. What it stood for stays.
    ///
    /// # Errors
    /// The database fails.
    pub fn unserve_tag(&self, repository: &str, tag: &str) -> Result<bool> {
        let delete = "DELETE FROM served_tags WHERE repository = ?1 AND tag = ?2";
        Ok(self.transact_durably(|db| db.execute(delete, (repository, tag)))? > 0)
    }
}
