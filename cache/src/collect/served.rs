//! All that is in the repositories that are served, for whoever must know what it needs.

use rusqlite::Row;

use crate::{Digest, Result, Store};

/// A blob that may be read through a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedLink {
    /// The repository.
    pub repository: String,
    /// The blob.
    pub digest: Digest,
    /// When it was last pushed or asked for, in seconds since 1970.
    pub linked: i64,
}

/// A manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedEntry {
    /// The repository.
    pub repository: String,
    /// The manifest.
    pub digest: Digest,
    /// The manifest that it is about (image-spec, manifest.md, *subject*).
    pub subject: Option<Digest>,
    /// When it was pushed, in seconds since 1970.
    pub pushed: i64,
}

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedName {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The manifest.
    pub digest: Digest,
}

/// Everything that is served.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Blobs.
    pub links: Vec<ServedLink>,
    /// Manifests.
    pub manifests: Vec<ServedEntry>,
    /// Tags.
    pub tags: Vec<ServedName>,
}

impl Store {
    /// Everything that is served.
    ///
    /// # Errors
    /// The database fails, or has something that is no digest.
    pub fn all_served(&self) -> Result<Served> {
        self.query(|db| {
            let links = db
                .prepare("SELECT repository, digest, linked FROM served_blobs")?
                .query_map([], |r| Ok(ServedLink { repository: r.get(0)?, digest: digest(r, 1)?, linked: r.get(2)? }))?
                .collect::<rusqlite::Result<_>>()?;
            let manifests = db
                .prepare("SELECT repository, digest, subject, pushed FROM served_manifests")?
                .query_map([], |r| {
                    let subject = r.get::<_, Option<String>>(2)?.map(|_| digest(r, 2)).transpose()?;
                    Ok(ServedEntry { repository: r.get(0)?, digest: digest(r, 1)?, subject, pushed: r.get(3)? })
                })?
                .collect::<rusqlite::Result<_>>()?;
            let tags = db
                .prepare("SELECT repository, tag, digest FROM served_tags")?
                .query_map([], |r| Ok(ServedName { repository: r.get(0)?, tag: r.get(1)?, digest: digest(r, 2)? }))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Served { links, manifests, tags })
        })
    }
}

/// A digest in a column. One that cannot be read may stand for anything, so it is an error.
fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get::<_, String>(column)?
        .parse()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
}
