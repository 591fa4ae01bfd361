//! Which blobs may be read through which repository.

use rusqlite::OptionalExtension;

use super::{digest, now};
use crate::store::Store;
use crate::{Digest, Result};

/// A link that was renewed less than so many seconds ago is left as it is. A collection adds them to its grace period.
pub const LINK_REST: i64 = 5;

/// What became of a blob that was to be taken out of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    /// It is no longer there.
    Done,
    /// It was not there.
    Absent,
    /// This manifest of the repository needs it.
    Needed(Digest),
}

impl Store {
    /// Lets a blob be read through a repository, and says when it is not in the store. On disk when it returns.
    ///
    /// # Errors
    /// The database or the disk fails.
    pub fn link_blob(&self, repository: &str, blob: &Digest) -> Result<bool> {
        self.change_served(|db| {
            if self.blobs.size(blob)?.is_none() {
                return Ok(false);
            }
            db.prepare_cached("INSERT OR REPLACE INTO served_blobs VALUES (?1, ?2, ?3)")?.execute((
                repository,
                blob.to_string(),
                now(),
            ))?;
            Ok(true)
        })
    }

    /// The size of a blob that may be read through a repository and is in the store.
    ///
    /// # Errors
    /// The database or the disk fails.
    pub fn linked_blob(&self, repository: &str, blob: &Digest) -> Result<Option<u64>> {
        match self.linked(repository, blob)? {
            Some(_) => self.blobs.size(blob),
            None => Ok(None),
        }
    }

    /// As [`Store::linked_blob`], for who will rely on it: the link is renewed, so that no collection takes it for old.
    ///
    /// # Errors
    /// The database or the disk fails.
    pub fn renew_blob(&self, repository: &str, blob: &Digest) -> Result<Option<u64>> {
        let Some(linked) = self.linked(repository, blob)? else { return Ok(None) };
        let now = now();
        if !(linked..linked + LINK_REST).contains(&now) {
            let row = (repository, blob.to_string(), now);
            // It may have gone since it was looked up; then it is not made anew.
            let update = "UPDATE served_blobs SET linked = ?3 WHERE repository = ?1 AND digest = ?2";
            if self.transact(|db| db.prepare_cached(update)?.execute(row))? == 0 {
                return Ok(None);
            }
        }
        self.blobs.size(blob)
    }

    fn linked(&self, repository: &str, blob: &Digest) -> Result<Option<i64>> {
        self.query(|db| {
            db.prepare_cached("SELECT linked FROM served_blobs WHERE repository = ?1 AND digest = ?2")?
                .query_row((repository, blob.to_string()), |row| row.get(0))
                .optional()
        })
    }

    /// Takes a blob out of a repository, unless a manifest there needs it. The bytes stay until a collection.
    ///
    /// # Errors
    /// The database fails.
    pub fn unlink_blob(&self, repository: &str, blob: &Digest) -> Result<Unlinked> {
        self.change_served(|db| {
            let row = (repository, blob.to_string());
            let whole = db
                .prepare_cached("SELECT manifest FROM served_parts WHERE repository = ?1 AND part = ?2 LIMIT 1")?
                .query_row((repository, blob.to_string()), |row| digest(row, 0))
                .optional()?;
            if let Some(manifest) = whole {
                return Ok(Unlinked::Needed(manifest));
            }
            let gone = db.execute("DELETE FROM served_blobs WHERE repository = ?1 AND digest = ?2", row)?;
            Ok(if gone == 0 { Unlinked::Absent } else { Unlinked::Done })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_linked_only_when_it_is_in_the_store_and_only_where_it_was_linked() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let blob = Digest::of(b"x");
        assert!(!store.link_blob("a", &blob).unwrap());
        store.blobs().put(b"x").unwrap();
        assert_eq!(store.linked_blob("a", &blob).unwrap(), None);
        assert!(store.link_blob("a", &blob).unwrap());
        assert_eq!(store.linked_blob("a", &blob).unwrap(), Some(1));
        assert_eq!(store.linked_blob("b", &blob).unwrap(), None);
        assert_eq!(store.renew_blob("b", &blob).unwrap(), None);
        assert_eq!(store.unlink_blob("b", &blob).unwrap(), Unlinked::Absent);
        assert_eq!(store.unlink_blob("a", &blob).unwrap(), Unlinked::Done);
        assert_eq!(store.linked_blob("a", &blob).unwrap(), None);
        assert_eq!(store.blobs().size(&blob).unwrap(), Some(1), "the bytes are another's business");
    }

    #[test]
    fn a_link_is_renewed_when_it_is_old_and_not_written_when_it_is_fresh() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let blob = store.blobs().put(b"x").unwrap();
        store.link_blob("a", &blob).unwrap();
        for (age, is_renewed) in [(LINK_REST / 2, false), (2 * LINK_REST, true), (-2 * LINK_REST, true)] {
            let then = now() - age;
            store.transact(|db| db.execute("UPDATE served_blobs SET linked = ?1", [then])).unwrap();
            assert_eq!(store.renew_blob("a", &blob).unwrap(), Some(1));
            assert_eq!(store.linked("a", &blob).unwrap() != Some(then), is_renewed, "{age}");
        }
    }
}
