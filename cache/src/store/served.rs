//! What clients pushed into the repositories that `shiplap serve` serves.
//!
//! Blobs are in the one blob store; these tables say which repository has what. All are references: what they name is kept, and
//! [`Store`](super::Store) changes them and takes blobs away under one write lock, so that no reference is made to a blob that is on its way out.
//!
//! ```text
//! served_blobs      a blob may be read through a repository, and was asked for or acknowledged there at `linked`
//! served_manifests  a manifest or index of a repository, with what referrers are asked by
//! served_parts      the blobs and manifests that it names and that are kept here; gone with it
//! served_tags       a tag of a repository
//! ```
//!
//! Digests are written out, `sha256:<hex>`; times are seconds since 1970.

mod blobs;
mod manifests;
mod tags;

use rusqlite::{Connection, Row};

use super::{Store, now};
use crate::{Digest, Error, Result};

pub use blobs::{LINK_REST, Unlinked};
pub use manifests::{NewManifest, NewTag, Removed, Served, ServedManifest};

/// The tables.
pub(super) const SCHEMA: &str = "
CREATE TABLE served_blobs (repository TEXT NOT NULL, digest TEXT NOT NULL, linked INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE served_manifests (repository TEXT NOT NULL, digest TEXT NOT NULL, media TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT, artifact TEXT, annotations TEXT, pushed INTEGER NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX served_subjects ON served_manifests (repository, subject);
CREATE TABLE served_parts (repository TEXT NOT NULL, manifest TEXT NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, part)) WITHOUT ROWID;
CREATE INDEX served_wholes ON served_parts (repository, part);
CREATE TRIGGER served_parts_go AFTER DELETE ON served_manifests BEGIN
    DELETE FROM served_parts WHERE repository = OLD.repository AND manifest = OLD.digest;
END;
CREATE TABLE served_tags (repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, pushed INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)) WITHOUT ROWID;
";

/// What fails inside a transaction: the database, or something else that was asked there.
enum Failure {
    Database(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Self {
        Self::Database(e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

impl Store {
    /// A durable transaction in which also the blobs are asked.
    fn change_served<T>(&self, f: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T> {
        let mut other = None;
        let done = self.transact_durably(|db| {
            f(db).map_err(|failure| match failure {
                Failure::Database(e) => e,
                Failure::Other(e) => {
                    other = Some(e);
                    // Only that it is an error counts: the transaction is taken back.
                    rusqlite::Error::InvalidQuery
                }
            })
        });
        match other {
            Some(e) => Err(e),
            None => done,
        }
    }

    /// Whether anything was ever pushed to a repository, and is still there.
    ///
    /// # Errors
    /// The database fails.
    pub fn is_served(&self, repository: &str) -> Result<bool> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM served_manifests WHERE repository = ?1)
                     OR EXISTS (SELECT 1 FROM served_blobs WHERE repository = ?1)",
            )?
            .query_row([repository], |row| row.get(0))
        })
    }

    /// Repositories with a manifest, sorted, that come after a name.
    ///
    /// # Errors
    /// The database fails.
    pub fn served_repositories(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT DISTINCT repository FROM served_manifests WHERE repository > ?1 ORDER BY repository LIMIT ?2",
            )?
            .query_map((after, limit as i64), |row| row.get(0))?
            .collect()
        })
    }
}

/// A column that holds a digest.
fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    parse(column, row.get(column)?)
}

fn parse(column: usize, text: String) -> rusqlite::Result<Digest> {
    let bad = |e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e));
    text.parse().map_err(bad)
}
