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

    /// As [`Store::create_name`], for a name that is the same as a tag of a repository: when a client made that first, the name is not made, and what
    /// the tag stands for is returned. Of a client and a process of this machine at once, one wins.
    ///
    /// # Errors
    /// The database fails.
    pub fn create_name_beside(
        &self,
        (space, name): (&str, &str),
        value: &Digest,
        (repository, tag): (&str, &str),
    ) -> Result<String> {
        self.transact_durably(|db| {
            let served: Option<String> = db
                .query_row(
                    "SELECT digest FROM served_tags WHERE repository = ?1 AND tag = ?2",
                    [repository, tag],
                    |row| row.get(0),
                )
                .optional()?;
            let value = value.to_string();
            if let Some(served) = served.filter(|served| *served != value) {
                return Ok(served);
            }
            db.execute("INSERT OR IGNORE INTO names VALUES (?1, ?2, ?3)", [space, name, &value])?;
            db.query_row("SELECT value FROM names WHERE space = ?1 AND name = ?2", [space, name], |row| row.get(0))
        })
    }
}
