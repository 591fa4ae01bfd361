//! Manifests of repositories, and the tags that come with them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Failure, digest, now, parse};
use crate::store::Store;
use crate::{Digest, Error, Result};

/// A manifest that is to be served. Its own bytes are a blob of the store.
#[derive(Debug, Clone)]
pub struct NewManifest<'a> {
    /// What it is.
    pub manifest: ServedManifest,
    /// The manifest that it says something about; it need not be here.
    pub subject: Option<Digest>,
    /// The blobs that it names, with their sizes, without those that are kept elsewhere.
    pub blobs: &'a [(Digest, u64)],
    /// The manifests that it names.
    pub manifests: &'a [Digest],
    /// Blobs that may be read through the repository though they are not linked there.
    pub known: &'a HashSet<Digest>,
    /// The tag that is to stand for it.
    pub tag: Option<NewTag<'a>>,
}

/// A tag that is to stand for a manifest.
#[derive(Debug, Clone, Copy)]
pub struct NewTag<'a> {
    /// The tag.
    pub tag: &'a str,
    /// Whether it is made once and never moved.
    pub fixed: bool,
    /// A name of the store, as space and name, that is the same tag: what is fixed may not differ from it.
    pub same_as: Option<(&'a str, &'a str)>,
}

/// A manifest of a repository, as a descriptor has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The kind of artifact, or the media type of its config.
    pub artifact_type: Option<String>,
    /// Its annotations, as a JSON object.
    pub annotations: Option<String>,
}

/// What became of a manifest that was to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It is served, and its tag stands for it.
    Done,
    /// These blobs are not in the repository.
    MissingBlobs(Vec<Digest>),
    /// These manifests are not in the repository.
    MissingManifests(Vec<Digest>),
    /// A blob has another size.
    WrongSize {
        /// The blob.
        blob: Digest,
        /// What the manifest says.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// The tag is fixed and stands for another manifest.
    Taken(Digest),
}

/// What became of a manifest or tag that was to be taken out of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is no longer there.
    Done,
    /// It was not there.
    Absent,
    /// This tag stands for it, or for something that it is a part of.
    Protected(String),
}

impl Store {
    /// Serves a manifest: checks that everything it names is in the repository and in the store, and makes or moves its tag. All of it or
    /// nothing, and on disk when it returns.
    ///
    /// # Errors
    /// [`Error::MissingBlob`] for the manifest's own bytes; the database or the disk fails.
    pub fn serve_manifest(&self, repository: &str, new: &NewManifest<'_>) -> Result<Served> {
        self.change_served(|db| {
            if let Some(refused) = self.refuses(db, repository, new)? {
                return Ok(refused);
            }
            write(db, repository, new)?;
            Ok(Served::Done)
        })
    }

    /// Why a manifest cannot be served.
    fn refuses(&self, db: &Connection, repository: &str, new: &NewManifest<'_>) -> Result<Option<Served>, Failure> {
        let own = new.manifest.digest;
        if self.blobs.size(&own)?.is_none() {
            return Err(Error::MissingBlob(own).into());
        }
        let mut linked = db.prepare_cached("SELECT 1 FROM served_blobs WHERE repository = ?1 AND digest = ?2")?;
        let mut missing = Vec::new();
        for (blob, expected) in new.blobs {
            let is_known = new.known.contains(blob) || linked.exists((repository, blob.to_string()))?;
            match self.blobs.size(blob)?.filter(|_| is_known) {
                Some(actual) if actual != *expected => {
                    return Ok(Some(Served::WrongSize { blob: *blob, expected: *expected, actual }));
                }
                Some(_) => {}
                None => missing.push(*blob),
            }
        }
        if !missing.is_empty() {
            return Ok(Some(Served::MissingBlobs(missing)));
        }
        let mut served = db.prepare_cached("SELECT 1 FROM served_manifests WHERE repository = ?1 AND digest = ?2")?;
        for manifest in new.manifests {
            if !served.exists((repository, manifest.to_string()))? || self.blobs.size(manifest)?.is_none() {
                missing.push(*manifest);
            }
        }
        if !missing.is_empty() {
            return Ok(Some(Served::MissingManifests(missing)));
        }
        let Some(tag) = new.tag.filter(|tag| tag.fixed) else { return Ok(None) };
        let existing = match tag_digest(db, repository, tag.tag)? {
            Some(existing) => Some(existing),
            None => elsewhere(db, tag)?,
        };
        Ok(existing.filter(|existing| *existing != own).map(Served::Taken))
    }

    /// A manifest of a repository.
    ///
    /// # Errors
    /// The database fails.
    pub fn served_manifest(&self, repository: &str, manifest: &Digest) -> Result<Option<ServedManifest>> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT digest, media, size, artifact, annotations FROM served_manifests
                 WHERE repository = ?1 AND digest = ?2",
            )?
            .query_row((repository, manifest.to_string()), served)
            .optional()
        })
    }

    /// The manifests of a repository that say something about another, sorted by digest, from the one after `last`; those of one kind of artifact where one is
    /// asked for. It stops when their annotations have more than `bytes`, and says whether there are more.
    ///
    /// # Errors
    /// The database fails.
    pub fn served_referrers(
        &self,
        repository: &str,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: &str,
        bytes: usize,
    ) -> Result<(Vec<ServedManifest>, bool)> {
        self.query(|db| {
            let mut query = db.prepare_cached(
                "SELECT digest, media, size, artifact, annotations FROM served_manifests
                 WHERE repository = ?1 AND subject = ?2 AND digest > ?3 AND (?4 IS NULL OR artifact = ?4)
                 ORDER BY digest",
            )?;
            let (mut found, mut sum) = (Vec::new(), 0);
            for row in query.query_map(params![repository, subject.to_string(), last, artifact_type], served)? {
                if sum > bytes {
                    return Ok((found, true));
                }
                let row = row?;
                // A descriptor without annotations has about as much.
                sum += 250 + row.annotations.as_ref().map_or(0, String::len);
                found.push(row);
            }
            Ok((found, false))
        })
    }

    /// Takes a manifest out of a repository, with the tags that stand for it. Not when `is_protected` says so of a tag that stands for it or for
    /// an index that it is in.
    ///
    /// # Errors
    /// The database fails.
    pub fn unserve_manifest(
        &self,
        repository: &str,
        manifest: &Digest,
        is_protected: impl Fn(&str) -> bool,
    ) -> Result<Removed> {
        self.change_served(|db| {
            let row = (repository, manifest.to_string());
            let mut above = db.prepare_cached(
                "WITH RECURSIVE above (digest) AS (
                     VALUES (?2) UNION
                     SELECT p.manifest FROM served_parts p JOIN above a ON p.part = a.digest WHERE p.repository = ?1)
                 SELECT tag FROM served_tags WHERE repository = ?1 AND digest IN above ORDER BY tag",
            )?;
            for tag in above.query_map((repository, manifest.to_string()), |row| row.get::<_, String>(0))? {
                let tag = tag?;
                if is_protected(&tag) {
                    return Ok(Removed::Protected(tag));
                }
            }
            db.execute(
                "DELETE FROM served_tags WHERE repository = ?1 AND digest = ?2",
                (repository, manifest.to_string()),
            )?;
            let gone = db.execute("DELETE FROM served_manifests WHERE repository = ?1 AND digest = ?2", row)?;
            Ok(if gone == 0 { Removed::Absent } else { Removed::Done })
        })
    }
}

fn write(db: &Connection, repository: &str, new: &NewManifest<'_>) -> rusqlite::Result<()> {
    let (now, own) = (now(), new.manifest.digest.to_string());
    let mut link = db.prepare_cached("INSERT OR IGNORE INTO served_blobs VALUES (?1, ?2, ?3)")?;
    for (blob, _) in new.blobs.iter().filter(|(blob, _)| new.known.contains(blob)) {
        link.execute((repository, blob.to_string(), now))?;
    }
    let ServedManifest { media_type, size, artifact_type, annotations, .. } = &new.manifest;
    let subject = new.subject.map(|digest| digest.to_string());
    // Who pushes it again under another media type does not change what others were given.
    db.prepare_cached(
        "INSERT INTO served_manifests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (repository, digest) DO UPDATE SET pushed = excluded.pushed",
    )?
    .execute(params![repository, own, media_type, *size as i64, subject, artifact_type, annotations, now])?;
    let mut part = db.prepare_cached("INSERT OR IGNORE INTO served_parts VALUES (?1, ?2, ?3)")?;
    for digest in new.blobs.iter().map(|(blob, _)| blob).chain(new.manifests) {
        part.execute((repository, &own, digest.to_string()))?;
    }
    if let Some(NewTag { tag, .. }) = new.tag {
        db.prepare_cached("INSERT OR REPLACE INTO served_tags VALUES (?1, ?2, ?3, ?4)")?
            .execute((repository, tag, &own, now))?;
    }
    Ok(())
}

fn tag_digest(db: &Connection, repository: &str, tag: &str) -> rusqlite::Result<Option<Digest>> {
    db.prepare_cached("SELECT digest FROM served_tags WHERE repository = ?1 AND tag = ?2")?
        .query_row((repository, tag), |row| digest(row, 0))
        .optional()
}

fn elsewhere(db: &Connection, tag: NewTag<'_>) -> rusqlite::Result<Option<Digest>> {
    let Some((space, name)) = tag.same_as else { return Ok(None) };
    let value: Option<String> = db
        .prepare_cached("SELECT value FROM names WHERE space = ?1 AND name = ?2")?
        .query_row([space, name], |row| row.get(0))
        .optional()?;
    // What cannot be read is an error, and no permission.
    value.map(|text| parse(0, text)).transpose()
}

fn served(row: &Row<'_>) -> rusqlite::Result<ServedManifest> {
    Ok(ServedManifest {
        digest: digest(row, 0)?,
        media_type: row.get(1)?,
        size: row.get::<_, i64>(2)? as u64,
        artifact_type: row.get(3)?,
        annotations: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lab {
        _home: tempfile::TempDir,
        store: Store,
        known: HashSet<Digest>,
    }

    fn lab() -> Lab {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        Lab { _home: home, store, known: HashSet::new() }
    }

    impl Lab {
        fn put(&self, text: &str, parts: (&[(Digest, u64)], &[Digest]), tag: Option<(&str, bool)>) -> Result<Served> {
            let digest = self.store.blobs().put(text.as_bytes()).unwrap();
            let manifest = ServedManifest {
                digest,
                media_type: "m".to_owned(),
                size: text.len() as u64,
                artifact_type: None,
                annotations: None,
            };
            let same_as = Some(("tag", "docker.io/campus/x:fixed"));
            let tag = tag.map(|(tag, fixed)| NewTag { tag, fixed, same_as });
            let (blobs, manifests) = parts;
            let new = NewManifest { manifest, subject: None, blobs, manifests, known: &self.known, tag };
            self.store.serve_manifest("r", &new)
        }
    }

    #[test]
    fn a_manifest_is_served_when_all_that_it_names_is_in_its_repository() {
        let mut lab = lab();
        let (blob, absent) = (lab.store.blobs().put(b"x").unwrap(), Digest::of(b"absent"));
        let put = |lab: &Lab, size| lab.put("m", (&[(blob, size)], &[]), None).unwrap();
        assert_eq!(put(&lab, 1), Served::MissingBlobs(vec![blob]), "in the store, but not of this repository");
        lab.store.link_blob("r", &blob).unwrap();
        assert_eq!(put(&lab, 2), Served::WrongSize { blob, expected: 2, actual: 1 });
        assert_eq!(lab.put("i", (&[], &[absent]), None).unwrap(), Served::MissingManifests(vec![absent]));
        assert_eq!(lab.store.served_manifest("r", &Digest::of(b"m")).unwrap(), None);
        assert_eq!(put(&lab, 1), Served::Done);
        assert_eq!(lab.put("i", (&[], &[Digest::of(b"m")]), None).unwrap(), Served::Done);
        let known = lab.store.blobs().put(b"known").unwrap();
        lab.known.insert(known);
        lab.known.insert(absent);
        assert_eq!(lab.put("k", (&[(known, 5)], &[]), None).unwrap(), Served::Done);
        assert_eq!(lab.store.linked_blob("r", &known).unwrap(), Some(5));
        assert_eq!(lab.put("l", (&[(absent, 1)], &[]), None).unwrap(), Served::MissingBlobs(vec![absent]));
    }

    #[test]
    fn a_fixed_tag_is_made_once_and_others_move() {
        let lab = lab();
        let put = |text: &str, fixed| lab.put(text, (&[], &[]), Some(("t", fixed))).unwrap();
        assert_eq!(put("a", true), Served::Done);
        assert_eq!(put("a", true), Served::Done);
        assert_eq!(put("b", true), Served::Taken(Digest::of(b"a")));
        assert_eq!(lab.store.served_manifest("r", &Digest::of(b"b")).unwrap(), None, "all or nothing");
        assert_eq!(put("b", false), Served::Done);
        assert_eq!(lab.store.served_tag("r", "t").unwrap(), Some(Digest::of(b"b")));
    }

    #[test]
    fn a_fixed_tag_that_the_store_has_under_another_name_does_not_differ_from_it() {
        let lab = lab();
        let put = |text: &str| lab.put(text, (&[], &[]), Some(("fixed", true)));
        lab.store.set_name("tag", "docker.io/campus/x:fixed", &Digest::of(b"a").to_string()).unwrap();
        assert_eq!(put("b").unwrap(), Served::Taken(Digest::of(b"a")));
        lab.store.set_name("tag", "docker.io/campus/x:fixed", "damaged").unwrap();
        assert!(put("b").is_err(), "a look-up that fails is no permission");
        lab.store.set_name("tag", "docker.io/campus/x:fixed", &Digest::of(b"b").to_string()).unwrap();
        assert_eq!(put("b").unwrap(), Served::Done);
    }

    #[test]
    fn what_a_protected_tag_stands_for_stays_and_so_does_what_is_in_it() {
        let lab = lab();
        let blob = lab.store.blobs().put(b"x").unwrap();
        lab.store.link_blob("r", &blob).unwrap();
        let [child, index, outer] = ["child", "index", "outer"].map(|t| Digest::of(t.as_bytes()));
        lab.put("child", (&[(blob, 1)], &[]), None).unwrap();
        lab.put("index", (&[], &[child]), None).unwrap();
        lab.put("outer", (&[], &[index]), Some(("t", true))).unwrap();
        let remove = |digest, fixed| lab.store.unserve_manifest("r", &digest, |_| fixed).unwrap();
        for digest in [child, index, outer] {
            assert_eq!(remove(digest, true), Removed::Protected("t".to_owned()));
        }
        assert_eq!(lab.store.unlink_blob("r", &blob).unwrap(), super::super::Unlinked::Needed(child));
        assert_eq!(remove(outer, false), Removed::Done);
        assert_eq!(remove(outer, false), Removed::Absent);
        assert_eq!(lab.store.served_tag("r", "t").unwrap(), None);
        assert_eq!(remove(child, true), Removed::Done, "no tag leads to it now");
        assert_eq!(lab.store.unlink_blob("r", &blob).unwrap(), super::super::Unlinked::Done);
    }
}
