//! The store's folder, `SHIPLAP_HOME`.
//!
//! ```text
//! cache.db            SQLite, WAL: layers, steps, names; safe for several processes
//! blobs/sha256/<hex>  OCI blobs: packed layers, configurations, manifests
//! layers/<hex>/       layer directories, as overlayfs left them; never written again
//! indices/<hex>       their indices
//! sources/<hex>       what a build context's files were
//! mounts/<hex>/       `RUN --mount=type=cache` directories
//! quarantine/<hex>    blobs that nothing refers to any more, before they are unlinked
//! tmp/<lease>/        layers being made; swept when their process is gone
//! ```
//!
//! Layers are not synced to disk one by one: a layer of an earlier boot that was never [synced](Store::sync) is read and
//! checked against its name before it is used again.

mod doomed;
mod layers;
mod lease;
mod mounts;
mod names;
mod served;
mod tiers;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

pub(crate) use doomed::{BLOB, LAYER, restore_layer};
pub use layers::{LayerBlob, PendingLayer};
pub use lease::Lease;
pub use served::{LINK_REST, NewManifest, NewTag, Removed, Served, ServedManifest, Unlinked};
pub use tiers::{GUESSES, LayerPlace, MOUNT_PARTS, MountPlace, RENEW, UsedStep, today};

use crate::error::At;
use crate::{BlobStore, Error, LayerId, LayerIndex, Overlay, Result, Tree, TreeId};

/// The version of the database and the folder's layout.
const VERSION: u32 = 5;

/// How long to wait for another process's transaction.
const PATIENCE: Duration = Duration::from_secs(60);

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE layers (id BLOB PRIMARY KEY, size INTEGER NOT NULL, entries INTEGER NOT NULL, boot TEXT,
    used INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE layer_blobs (layer BLOB NOT NULL, media TEXT NOT NULL, diff_id TEXT NOT NULL, digest TEXT NOT NULL,
    size INTEGER NOT NULL, PRIMARY KEY (layer, media)) WITHOUT ROWID;
CREATE TABLE exact (step BLOB NOT NULL, parent BLOB NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (step, parent)) WITHOUT ROWID;
CREATE TABLE names (space TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (space, name)) WITHOUT ROWID;
";

/// What traced steps need: path sets, and for each run of a step its set, the tree that it ran on and its result.
const RUNS: &str = "
CREATE TABLE path_sets (id BLOB PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE runs (input BLOB PRIMARY KEY, step BLOB NOT NULL, path_set BLOB NOT NULL, parent BLOB NOT NULL,
    result TEXT NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX runs_step ON runs (step, seq);
CREATE UNIQUE INDEX runs_seq ON runs (seq);
";

/// From version 1: results of steps were kept without what they ran on. They are a cache and start anew; layers and images stay.
const FROM_VERSION_1: &str = "
DROP TABLE path_sets;
DROP TABLE step_sets;
DROP TABLE results;
DELETE FROM exact;
";

/// From version 2: nothing was ever removed, so nobody noted when it was used. All of it was used now.
fn from_version_2() -> String {
    let used =
        format!("ALTER TABLE layers ADD COLUMN used INTEGER NOT NULL DEFAULT 0; UPDATE layers SET used = {};", now());
    [&used, served::SCHEMA, doomed::SCHEMA, mounts::SCHEMA].concat()
}

/// From version 4: results named one layer at most. They are a cache and start anew; layers and images stay.
const FROM_VERSION_4: &str = "
DELETE FROM runs;
DELETE FROM exact;
DELETE FROM path_sets;
";

/// Seconds since 1970, by the clock of this machine.
pub fn seconds() -> i64 {
    now()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    home: PathBuf,
    /// Writes. A transaction that waits for the disk keeps nobody from reading: that has a connection of its own, and sees what was committed.
    db: Mutex<Connection>,
    reader: Mutex<Connection>,
    blobs: BlobStore,
    overlay: Overlay,
    boot: String,
    /// Taken at the beginning, but by a service, which takes one for each of its deeds.
    lease: Mutex<Option<Lease>>,
    /// Layers that are known to be here and whole.
    present: Mutex<HashSet<LayerId>>,
    /// Of layers that are here or were: what runs of steps stood on is compared when it is gone too.
    indices: Mutex<HashMap<LayerId, Arc<LayerIndex>>>,
    trees: Mutex<HashMap<TreeId, Arc<Tree>>>,
    /// Layers that nobody made: a forecast needs only their indices.
    imagined: Mutex<HashMap<LayerId, Arc<LayerIndex>>>,
    /// The tiers in use, in their order.
    tiers: Mutex<Vec<String>>,
}

impl Store {
    /// Opens the store in `home`, making it if it is missing.
    ///
    /// # Errors
    /// [`Error::NewerStore`], [`Error::OtherPrivilege`], or the folder cannot be written.
    pub fn open(home: &Path) -> Result<Self> {
        let store = Self::open_as_service(home)?;
        *lock(&store.lease) = Some(store.lease()?);
        Ok(store)
    }

    /// As [`Store::open`], for a process that never ends: it holds no lease but those that it takes with [`Store::lease`] for what it does, or
    /// nothing could ever be collected beside it. It must not remember from one of its deeds to the next what is here.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_as_service(home: &Path) -> Result<Self> {
        std::fs::create_dir_all(home).at("make", home)?;
        let home = &home.canonicalize().at("find", home)?;
        for folder in ["layers", "indices", "sources", "mounts", "quarantine", "tmp"] {
            let folder = home.join(folder);
            std::fs::create_dir_all(&folder).at("make", &folder)?;
        }
        let overlay = Overlay::detect();
        let store = Self {
            db: Mutex::new(open_database(home, overlay)?),
            reader: Mutex::new(connect(home)?),
            blobs: BlobStore::open(home)?,
            overlay,
            // Where there is no boot id nothing is ever known to be of this boot, and everything is checked.
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            lease: Mutex::default(),
            present: Mutex::default(),
            indices: Mutex::default(),
            trees: Mutex::default(),
            imagined: Mutex::default(),
            tiers: Mutex::default(),
            home: home.clone(),
        };
        lease::sweep(&store.tmp())?;
        for folder in ["blobs/sha256", "sources"] {
            let folder = home.join(folder);
            crate::durable::sweep(&folder).at("read", &folder)?;
        }
        Ok(store)
    }

    /// The store's folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The OCI blobs.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Which attributes overlayfs marks its files with here.
    pub fn overlay(&self) -> Overlay {
        self.overlay
    }

    /// A new temporary folder on the store's own file system, gone when it is dropped or the process ends.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn temporary(&self) -> Result<tempfile::TempDir> {
        let mut lease = lock(&self.lease);
        if lease.is_none() {
            *lease = Some(self.lease()?);
        }
        let folder = lease.as_ref().map(Lease::folder).unwrap_or(&self.home);
        tempfile::Builder::new().prefix("").tempdir_in(folder).at("write", folder)
    }

    /// Keeps all that is in the store now on disk for as long as the lease is held.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn lease(&self) -> Result<Lease> {
        Lease::take(&self.tmp())
    }

    fn tmp(&self) -> PathBuf {
        self.home.join("tmp")
    }

    /// What the last scan of a source folder remembered; empty when nothing did.
    pub fn source_memory(&self, root: &Path) -> Vec<u8> {
        std::fs::read(self.source_file(root)).unwrap_or_default()
    }

    /// Keeps what a scan of a source folder remembers.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn set_source_memory(&self, root: &Path, memory: &[u8]) -> Result<()> {
        let path = self.source_file(root);
        crate::durable::write(&path, memory).at("write", &path)
    }

    fn source_file(&self, root: &Path) -> PathBuf {
        self.home.join("sources").join(blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex().as_str())
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        lock(&self.db)
    }

    pub(crate) fn query<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        f(&lock(&self.reader)).map_err(|e| database_error(&self.home, e))
    }

    pub(crate) fn transact<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        transact(&mut self.database(), f).map_err(|e| database_error(&self.home, e))
    }

    /// As [`Store::transact`], and on disk when it returns, with all that was committed before: the log is synced as a whole.
    pub(crate) fn transact_durably<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut db = self.database();
        let value = db
            .pragma_update(None, "synchronous", "FULL")
            .and_then(|()| transact(&mut db, f))
            .map_err(|e| database_error(&self.home, e));
        // That it stays strict costs time alone.
        let _ = db.pragma_update(None, "synchronous", "NORMAL");
        value
    }
}

impl Store {
    /// Another connection to the database, on disk with each commit.
    pub(crate) fn second_connection(&self) -> Result<Connection> {
        let db = connect(&self.home)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(|e| self.database_failed(e))?;
        Ok(db)
    }

    pub(crate) fn database_failed(&self, source: rusqlite::Error) -> Error {
        database_error(&self.home, source)
    }
}

fn transact<T>(db: &mut Connection, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = f(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind our locks is whole at every point where a thread may panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn database_error(home: &Path, source: rusqlite::Error) -> Error {
    Error::Database { path: home.join("cache.db"), source }
}

fn connect(home: &Path) -> Result<Connection> {
    let fail = |e| database_error(home, e);
    let db = Connection::open(home.join("cache.db")).map_err(fail)?;
    db.busy_timeout(PATIENCE).map_err(fail)?;
    Ok(db)
}

/// Of several who change the mode of a new database at once, all but one are refused, without the wait that other locks have: a handler for
/// busy databases is not called where two who read would both write (<https://www.sqlite.org/c3ref/busy_handler.html>).
fn write_ahead(db: &Connection) -> rusqlite::Result<()> {
    let begin = Instant::now();
    loop {
        match db.pragma_update(None, "journal_mode", "WAL") {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn open_database(home: &Path, overlay: Overlay) -> Result<Connection> {
    let fail = |e| database_error(home, e);
    let mut db = connect(home)?;
    let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0));
    let found = version(&db).map_err(fail)?;
    if found < VERSION {
        if found == 0 {
            // A power cut may lose the newest entries of this file, never its consistency; they are a cache.
            write_ahead(&db).map_err(fail)?;
        }
        let new = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        // Another process may have been first.
        match version(&new).map_err(fail)? {
            0 => {
                let all = [SCHEMA, RUNS, served::SCHEMA, doomed::SCHEMA, mounts::SCHEMA, &tiers::schema()].concat();
                new.execute_batch(&all).map_err(fail)?;
                new.execute("INSERT INTO meta VALUES ('overlay', ?1)", [overlay.prefix()]).map_err(fail)?;
            }
            1 => {
                let all = [FROM_VERSION_1, RUNS, &from_version_2(), &tiers::schema()].concat();
                new.execute_batch(&all).map_err(fail)?;
            }
            2 => new.execute_batch(&[&from_version_2(), &tiers::schema(), FROM_VERSION_4].concat()).map_err(fail)?,
            3 => new.execute_batch(&[&tiers::schema(), FROM_VERSION_4].concat()).map_err(fail)?,
            4 => new.execute_batch(&[&tiers::from_version_4(), FROM_VERSION_4].concat()).map_err(fail)?,
            _ => {}
        }
        new.pragma_update(None, "user_version", VERSION).map_err(fail)?;
        new.commit().map_err(fail)?;
    }
    let found = version(&db).map_err(fail)?;
    if found > VERSION {
        return Err(Error::NewerStore { home: home.to_owned(), found, known: VERSION });
    }
    db.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
    let made: Option<String> = db
        .query_row("SELECT value FROM meta WHERE key = 'overlay'", params![], |row| row.get(0))
        .optional()
        .map_err(fail)?;
    match [Overlay::Trusted, Overlay::User].into_iter().find(|o| made.as_deref() == Some(o.prefix())) {
        Some(made) if made != overlay => {
            Err(Error::OtherPrivilege { home: home.to_owned(), made: made.people(), runs: overlay.people() })
        }
        _ => Ok(db),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_from_a_newer_version_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        drop(Store::open(home.path()).unwrap());
        let db = Connection::open(home.path().join("cache.db")).unwrap();
        db.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(db);
        assert!(matches!(Store::open(home.path()), Err(Error::NewerStore { found, .. }) if found == VERSION + 1));
        let db = Connection::open(home.path().join("cache.db")).unwrap();
        assert_eq!(db.query_row("PRAGMA user_version", [], |r| r.get::<_, u32>(0)).unwrap(), VERSION + 1);
    }

    #[test]
    fn a_store_of_the_first_version_keeps_its_layers_and_starts_its_step_cache_anew() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let pending = store.begin_layer(&Tree::default()).unwrap();
        std::fs::write(pending.upper().join("a"), "1").unwrap();
        let layer = store.commit_layer(pending, &Tree::default()).unwrap().unwrap();
        store
            .transact(|db| {
                db.execute_batch(
                    "DROP TABLE served_blobs; DROP TABLE served_manifests; DROP TABLE served_parts; DROP TABLE served_tags;
                     DROP TABLE doomed; DROP TABLE doom; DROP TABLE doom_waits; DROP TABLE mounts;
                     DROP TABLE tier_segments; DROP TABLE tier_layers; DROP TABLE tier_known; DROP TABLE tier_mounts;
                     DROP TABLE tier_contents; DROP TABLE pack_tables;
                     ALTER TABLE layers DROP COLUMN used;
                     DROP TABLE runs; CREATE TABLE step_sets (a); CREATE TABLE results (a);
                     INSERT INTO exact VALUES (x'00', x'00', ''); PRAGMA user_version = 1;",
                )
            })
            .unwrap();
        drop(store);
        let store = Store::open(home.path()).unwrap();
        assert!(store.has_layer(&layer).unwrap());
        let count = |table: &str| {
            store
                .query(|db| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get::<_, u32>(0)))
                .unwrap()
        };
        assert_eq!((count("exact"), count("runs")), (0, 0));
    }

    #[test]
    fn a_store_of_version_4_starts_its_step_cache_anew_and_keeps_what_it_knows_of_tiers() {
        let home = tempfile::tempdir().unwrap();
        let (store, layer) = (Store::open(home.path()).unwrap(), LayerId::from_bytes([1; 32]));
        store.set_name("digest", "n", "v").unwrap();
        store
            .transact(|db| {
                db.execute_batch(
                    "INSERT INTO exact VALUES (x'00', x'00', '{\"layer\":null,\"created\":1,\"millis\":1}');
                     INSERT INTO runs VALUES (x'00', x'00', x'00', x'', '', 1);
                     INSERT INTO path_sets VALUES (x'00', x'00');
                     DROP TABLE tier_contents; DROP TABLE pack_tables; ALTER TABLE tier_layers DROP COLUMN complete;
                     PRAGMA user_version = 4;",
                )?;
                let row = params![layer.as_bytes(), [2_u8; 32]];
                db.execute("INSERT INTO tier_layers VALUES (?1, 'there', ?2, 3, 'm', ?2, ?2, 5, 6)", row)
            })
            .unwrap();
        drop(store);
        let store = Store::open(home.path()).unwrap();
        for table in ["exact", "runs", "path_sets"] {
            let sql = format!("SELECT count(*) FROM {table}");
            assert_eq!(store.query(|db| db.query_row(&sql, [], |r| r.get::<_, u32>(0))).unwrap(), 0, "{table}");
        }
        assert_eq!(store.name("digest", "n").unwrap().as_deref(), Some("v"));
        let place = store.place_in("there", &layer).unwrap().unwrap();
        assert_eq!((place.files.unwrap().size, place.complete, place.contents), (5, None, Vec::new()));
    }

    #[test]
    fn a_store_of_the_other_kind_of_user_is_refused() {
        let home = tempfile::tempdir().unwrap();
        drop(Store::open(home.path()).unwrap());
        let db = Connection::open(home.path().join("cache.db")).unwrap();
        let other = if Overlay::detect() == Overlay::User { Overlay::Trusted } else { Overlay::User };
        db.execute("UPDATE meta SET value = ?1", [other.prefix()]).unwrap();
        assert!(matches!(Store::open(home.path()), Err(Error::OtherPrivilege { .. })));
    }

    #[test]
    fn who_reads_does_not_wait_for_who_waits_to_write() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        // Another process, as a collection does.
        let mut other = store.second_connection().unwrap();
        let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        std::thread::scope(|s| {
            let writer = s.spawn(|| store.set_name("a", "x", "1"));
            while store.db.try_lock().is_ok() {
                std::thread::yield_now();
            }
            assert_eq!(store.name("a", "x").unwrap(), None);
            // Had the reading waited for the writer, the writer would have given up by now.
            held.commit().unwrap();
            writer.join().unwrap().unwrap();
        });
        assert_eq!(store.name("a", "x").unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn many_processes_may_open_a_new_store_at_once() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|s| {
            let opened: Vec<_> = (0..8).map(|_| s.spawn(|| Store::open(home.path()).map(drop))).collect();
            opened.into_iter().for_each(|t| t.join().unwrap().unwrap());
        });
    }
}
