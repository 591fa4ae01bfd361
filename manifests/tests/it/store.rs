//! The history as a file: newer, foreign, damaged.

use rusqlite::Connection;
use shiplap_cache::BlobStore;
use shiplap_manifests::{Error, History};

use crate::site::Site;

fn open(folder: &std::path::Path) -> Result<History, Error> {
    History::open(folder, BlobStore::open(folder).unwrap())
}

#[test]
fn a_newer_history_is_refused_and_left_as_it_is() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    let path = site.history.path().to_owned();
    drop(site.history);
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 3; CREATE TABLE future (x); PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();
    let error = open(&site.folder.join("store")).unwrap_err();
    assert!(matches!(error, Error::NewerHistory { found: 3, known: 2, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_new_history_can_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    assert!(open(dir.path()).unwrap().instances().unwrap().is_empty());
                });
            }
        });
    }
}

#[test]
fn a_database_of_something_else_and_a_file_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    assert!(matches!(open(dir.path()), Err(Error::NotAHistory(_))));
    let junk = "not a database, and long enough to be taken for one ".repeat(100);
    std::fs::write(&path, &junk).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::NotAHistory(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), junk);
}

#[test]
fn the_log_cannot_be_rewritten() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    let db = Connection::open(site.history.path()).unwrap();
    for sql in [
        "DELETE FROM releases",
        "UPDATE releases SET digest = 'x'",
        "DELETE FROM deployments",
        "UPDATE deployments SET outcome = 'failed'",
        "UPDATE deployments SET actor = 'someone else'",
    ] {
        assert!(db.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn a_manifest_that_was_changed_swapped_or_lost_is_found() {
    let mut site = Site::new();
    let first = site.release("1.0.0").unwrap().release;
    let second = site.release("1.1.0").unwrap().release;
    let blobs = BlobStore::open(&site.folder.join("store")).unwrap();
    let (path, bytes) = (blobs.path(&second.digest), second.release.to_bytes().unwrap());
    let read = || site.history.release(&site.name(), &"1.1.0".parse().unwrap());

    std::fs::write(&path, String::from_utf8(bytes.clone()).unwrap().replace("ada", "eve")).unwrap();
    assert!(matches!(read(), Err(Error::Store(shiplap_cache::Error::WrongDigest { .. }))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(read(), Err(Error::Store(shiplap_cache::Error::MissingBlob(_)))));
    std::fs::write(&path, &bytes).unwrap();
    read().unwrap();

    // Someone who can write the database replaces the first release: the second no longer follows from it.
    let mut forged = first.release;
    forged.creator = "eve".to_owned();
    let digest = blobs.put(&forged.to_bytes().unwrap()).unwrap();
    let db = Connection::open(site.history.path()).unwrap();
    db.execute_batch("DROP TRIGGER releases_do_not_change").unwrap();
    db.execute("UPDATE releases SET digest = ?1 WHERE sequence = 1", [digest.to_string()]).unwrap();
    assert!(matches!(read(), Err(Error::Damaged { .. })));
    assert!(site.history.verify(&site.name()).is_err());
}
