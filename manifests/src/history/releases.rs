//! Reading releases, and adding one.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use semver::Version;
use serde::Serialize;
use shiplap_cache::{BlobStore, Digest};
use shiplap_registry::tag::ReleaseTag;

use super::{History, column, log};
use crate::git::Commit;
use crate::log::{LogEvent, ReleaseEvent};
use crate::names::InstanceName;
use crate::release::{Release, ReleaseSeq, StoredRelease};
use crate::{Error, Result};

/// A release as the list shows it, without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseRow {
    /// Its place in the history.
    pub sequence: ReleaseSeq,
    /// Its version.
    pub version: Version,
    /// Its tag.
    pub tag: ReleaseTag,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The commit that it was made of.
    pub commit: Commit,
    /// When it was made.
    pub created: Timestamp,
}

const COLUMNS: &str = "sequence, version, tag, digest, git_commit, created";

impl ReleaseRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: ReleaseSeq(row.get("sequence")?),
            version: column(row, "version")?,
            tag: column(row, "tag")?,
            digest: column(row, "digest")?,
            commit: column(row, "git_commit")?,
            created: column(row, "created")?,
        })
    }
}

impl From<&ReleaseEvent> for ReleaseRow {
    fn from(event: &ReleaseEvent) -> Self {
        Self {
            sequence: event.sequence,
            version: event.version.clone(),
            tag: event.tag.clone(),
            digest: event.digest,
            commit: event.commit.clone(),
            created: event.created,
        }
    }
}

/// Who made it and from where are not in a row.
impl From<&ReleaseRow> for ReleaseEvent {
    fn from(row: &ReleaseRow) -> Self {
        Self {
            sequence: row.sequence,
            version: row.version.clone(),
            tag: row.tag.clone(),
            digest: row.digest,
            commit: row.commit.clone(),
            created: row.created,
            creator: None,
            origin: None,
        }
    }
}

impl History {
    /// The names of all instances that have a release.
    ///
    /// # Errors
    /// The database fails.
    pub fn instances(&self) -> Result<Vec<InstanceName>> {
        let read = || -> rusqlite::Result<Vec<InstanceName>> {
            let mut statement = self.db.prepare_cached("SELECT DISTINCT instance FROM releases ORDER BY instance")?;
            statement.query_map([], |row| column(row, "instance"))?.collect()
        };
        read().map_err(self.failed())
    }

    /// The releases of an instance, newest first, at most `limit`.
    ///
    /// # Errors
    /// The database fails.
    pub fn releases(&self, instance: &InstanceName, limit: Option<u32>) -> Result<Vec<ReleaseRow>> {
        let sql = format!("SELECT {COLUMNS} FROM releases WHERE instance = ?1 ORDER BY sequence DESC LIMIT ?2");
        let limit = limit.map_or(-1, i64::from);
        let read = || -> rusqlite::Result<Vec<ReleaseRow>> {
            let mut statement = self.db.prepare_cached(&sql)?;
            statement.query_map(params![instance.as_str(), limit], ReleaseRow::read)?.collect()
        };
        read().map_err(self.failed())
    }

    /// The newest release by sequence.
    ///
    /// # Errors
    /// The database fails.
    pub fn newest(&self, instance: &InstanceName) -> Result<Option<ReleaseRow>> {
        newest(&self.db, instance).map_err(self.failed())
    }

    /// The row of a version, if it was released.
    ///
    /// # Errors
    /// The database fails.
    pub fn find(&self, instance: &InstanceName, version: &Version) -> Result<Option<ReleaseRow>> {
        find(&self.db, instance, version).map_err(self.failed())
    }

    /// The release of a version, with its manifest.
    ///
    /// # Errors
    /// [`Error::NoRelease`], [`Error::UnknownRelease`], or the manifest is damaged.
    pub fn release(&self, instance: &InstanceName, version: &Version) -> Result<StoredRelease> {
        match self.find(instance, version)? {
            Some(row) => self.manifest(instance, &row),
            None => match self.newest(instance)? {
                Some(newest) => Err(Error::UnknownRelease {
                    instance: instance.clone(),
                    version: version.clone(),
                    newest: newest.version,
                }),
                None => Err(Error::NoRelease(instance.clone())),
            },
        }
    }

    /// The release with that place in the history, with its manifest.
    ///
    /// # Errors
    /// It is not there, or its manifest is damaged.
    pub fn release_by_sequence(&self, instance: &InstanceName, sequence: ReleaseSeq) -> Result<StoredRelease> {
        match by_sequence(&self.db, instance, sequence).map_err(self.failed())? {
            Some(row) => self.manifest(instance, &row),
            None => Err(Error::Damaged { instance: instance.clone(), what: format!("release {sequence} is missing") }),
        }
    }

    /// Reads every manifest of an instance and checks the whole chain; returns how many there are.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, instance: &InstanceName) -> Result<u64> {
        let mut rows = self.releases(instance, None)?;
        rows.reverse();
        for (row, expected) in rows.iter().zip(1..) {
            if row.sequence.0 != expected {
                let what = format!("release {expected} is missing");
                return Err(Error::Damaged { instance: instance.clone(), what });
            }
            self.manifest(instance, row)?;
        }
        Ok(rows.len() as u64)
    }

    /// The manifest of a row: its bytes have the digest, it says what the row says, and its link leads to the release before.
    fn manifest(&self, instance: &InstanceName, row: &ReleaseRow) -> Result<StoredRelease> {
        let release = read_manifest(&self.blobs, instance, row)?;
        let before = match row.sequence.0 {
            0 | 1 => None,
            n => by_sequence(&self.db, instance, ReleaseSeq(n - 1)).map_err(self.failed())?.map(|row| row.digest),
        };
        if release.previous != before {
            let what = format!("release {} does not follow from release {}", row.sequence, row.sequence.0 - 1);
            return Err(Error::Damaged { instance: instance.clone(), what });
        }
        Ok(StoredRelease { digest: row.digest, release })
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Runs `make` in a transaction, alone among all writers: it is given the row that has the version already, and the newest row, and
    /// returns the release to add, stored in the blob store by then, or nothing.
    pub(crate) fn add_release(
        &mut self,
        instance: &InstanceName,
        version: &Version,
        make: impl FnOnce(Option<ReleaseRow>, Option<ReleaseRow>) -> Result<Option<StoredRelease>>,
    ) -> Result<Option<StoredRelease>> {
        let failed = self.failed();
        let origin = self.origin.clone();
        let tx = self.transaction()?;
        let existing = find(&tx, instance, version).map_err(&failed)?;
        let newest = newest(&tx, instance).map_err(&failed)?;
        let Some(stored) = make(existing, newest)? else { return Ok(None) };
        let release = &stored.release;
        let event = ReleaseEvent {
            sequence: release.sequence,
            version: release.version.clone(),
            tag: release.tag.clone(),
            digest: stored.digest,
            commit: release.git.commit.clone(),
            created: release.created,
            creator: Some(release.creator.clone()),
            origin,
        };
        log::append(&tx, instance, LogEvent::Release(event)).map_err(&failed)?;
        tx.execute(
            "INSERT INTO releases (instance, sequence, version, tag, digest, git_commit, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                instance.as_str(),
                release.sequence.0,
                release.version.to_string(),
                release.tag.to_string(),
                stored.digest.to_string(),
                release.git.commit.as_str(),
                release.created.to_string(),
            ],
        )
        .map_err(&failed)?;
        tx.commit().map_err(failed)?;
        Ok(Some(stored))
    }
}

/// Reads and checks a manifest, but not its link.
pub(crate) fn read_manifest(blobs: &BlobStore, instance: &InstanceName, row: &ReleaseRow) -> Result<Release> {
    let release = Release::from_bytes(&blobs.read(&row.digest)?).map_err(|source| Error::Manifest {
        instance: instance.clone(),
        sequence: row.sequence,
        digest: row.digest,
        source,
    })?;
    let same = release.instance == *instance
        && release.sequence == row.sequence
        && release.version == row.version
        && release.tag == row.tag;
    if !same {
        let what = format!("the manifest {} is not that of release {}", row.digest, row.sequence);
        return Err(Error::Damaged { instance: instance.clone(), what });
    }
    Ok(release)
}

/// All of them, the first one first.
pub(super) fn every_release(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Vec<ReleaseRow>> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE instance = ?1 ORDER BY sequence");
    db.prepare_cached(&sql)?.query_map([instance.as_str()], ReleaseRow::read)?.collect()
}

fn newest(db: &Connection, instance: &InstanceName) -> rusqlite::Result<Option<ReleaseRow>> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE instance = ?1 ORDER BY sequence DESC LIMIT 1");
    db.prepare_cached(&sql)?.query_row([instance.as_str()], ReleaseRow::read).optional()
}

fn find(db: &Connection, instance: &InstanceName, version: &Version) -> rusqlite::Result<Option<ReleaseRow>> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE instance = ?1 AND version = ?2");
    db.prepare_cached(&sql)?.query_row([instance.as_str(), &version.to_string()], ReleaseRow::read).optional()
}

fn by_sequence(db: &Connection, instance: &InstanceName, sequence: ReleaseSeq) -> rusqlite::Result<Option<ReleaseRow>> {
    let sql = format!("SELECT {COLUMNS} FROM releases WHERE instance = ?1 AND sequence = ?2");
    db.prepare_cached(&sql)?.query_row(params![instance.as_str(), sequence.0], ReleaseRow::read).optional()
}
