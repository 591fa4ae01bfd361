//! The log: what is told, what an audit finds, and how a history without one gets it.

use rusqlite::Connection;
use shiplap_cache::{BlobStore, Digest};
use shiplap_manifests::log::{LogEvent, Origin};
use shiplap_manifests::names::InstanceName;
use shiplap_manifests::{Error, History};

use crate::site::{Site, back, open_history, request};

/// Two releases, three deployments: ada's 1.0.0 and 1.1.0, grace's way back.
fn site() -> Site {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    site.release("1.1.0").unwrap();
    site.deploy("1.1.0").unwrap();
    site.rollback(back()).unwrap();
    site
}

fn words(history: &History, name: &InstanceName) -> Vec<String> {
    let mut log = history.log(name, None).unwrap();
    log.reverse();
    let word = |event: &LogEvent| match event {
        LogEvent::Release(release) => format!("release {}", release.version),
        LogEvent::Deployment(d) => format!("{} {} {} by {}", d.action, d.version, d.outcome, d.actor),
    };
    log.iter().map(|logged| word(&logged.entry.event)).collect()
}

const TOLD: [&str; 5] = [
    "release 1.0.0",
    "deploy 1.0.0 succeeded by ada",
    "release 1.1.0",
    "deploy 1.1.0 succeeded by ada",
    "rollback 1.0.0 succeeded by grace",
];

#[test]
fn each_release_and_deployment_follows_from_the_one_before() {
    let mut site = site();
    assert_eq!(words(&site.history, &site.name()), TOLD);
    let log = site.history.log(&site.name(), None).unwrap();
    for pair in log.windows(2) {
        assert_eq!(pair[0].entry.previous, Some(pair[1].hash));
        assert_eq!(pair[1].hash, Digest::of(&pair[1].entry.to_bytes().unwrap()));
    }
    let head = site.history.head(&site.name()).unwrap().unwrap();
    assert_eq!((head.position.0, head.hash), (5, log[0].hash));
    // The same release again, and a deploy that is refused, are no events.
    site.release("1.1.0").unwrap();
    site.deploy("9.0.0").unwrap_err();
    let audit = site.history.audit(&site.name(), Some(&head.hash)).unwrap();
    assert_eq!((audit.entries, audit.problems), (5, Vec::new()));
}

#[test]
fn a_machine_s_job_is_in_what_it_records() {
    let mut site = Site::new();
    let job = Origin { system: "gitlab".to_owned(), job: Some("https://x/7".to_owned()), pipeline: None };
    site.history.set_origin(Some(job.clone()));
    site.release("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    for logged in site.history.log(&site.name(), None).unwrap() {
        assert_eq!(logged.entry.origin(), Some(&job));
    }
    assert_eq!(site.history.current(&site.name()).unwrap().unwrap().origin, Some(job));
}

/// All that keeps a program from changing the file.
const WITHOUT_TRIGGERS: &str = "
    DROP TRIGGER releases_stay; DROP TRIGGER releases_do_not_change; DROP TRIGGER deployments_stay;
    DROP TRIGGER ended_deployments_do_not_change; DROP TRIGGER the_log_stays; DROP TRIGGER the_log_does_not_change;
    DROP TRIGGER releases_are_logged; DROP TRIGGER new_deployments_are_logged; DROP TRIGGER ended_deployments_are_logged;";

#[test]
fn the_log_is_kept_by_the_database_itself() {
    let site = site();
    let db = Connection::open(site.history.path()).unwrap();
    for sql in [
        "DELETE FROM log",
        "UPDATE log SET record = '{}'",
        "INSERT INTO releases VALUES ('campus', 3, '2.0.0', 'x', 'x', 'x', 'x')",
        "INSERT INTO deployments SELECT instance, 9, release, action, actor, reason, rollback_of, restores, expected, holds, outcome, note,
         started, finished, targets, origin FROM deployments WHERE sequence = 1",
    ] {
        assert!(db.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn what_was_changed_removed_inserted_or_moved_is_named() {
    for (sql, found) in [
        ("UPDATE releases SET created = '2020-01-01T00:00:00Z' WHERE sequence = 2", "release 2 is not what the log says"),
        ("UPDATE deployments SET actor = 'eve' WHERE sequence = 1", "deployment 1 is not what the log says"),
        ("UPDATE deployments SET outcome = 'failed' WHERE sequence = 3", "deployment 3 is not what the log says"),
        ("DELETE FROM deployments WHERE sequence = 3", "deployment 3 is in the log and not in the history"),
        ("DELETE FROM deployments WHERE sequence = 2", "deployment 2 is missing"),
        (
            "INSERT INTO deployments SELECT instance, 4, release, action, 'eve', reason, rollback_of, restores, expected, holds, outcome,
             note, started, finished, targets, origin FROM deployments WHERE sequence = 1",
            "deployment 4 is not in the log: it was inserted",
        ),
        ("DELETE FROM log WHERE position = 5", "deployment 3 is not in the log"),
        ("DELETE FROM log WHERE position = 2", "one before it was removed"),
        ("DELETE FROM log WHERE position = 1", "entry 2 of the log does not follow from the one before"),
        ("UPDATE log SET record = replace(record, 'ada', 'eve') WHERE position = 2", "entry 2 of the log does not have its hash"),
        ("UPDATE log SET record = '{' WHERE position = 2", "entry 2 of the log cannot be read"),
        (
            "UPDATE log SET position = 9 WHERE position = 4; UPDATE log SET position = 4 WHERE position = 5;
             UPDATE log SET position = 5 WHERE position = 9",
            "entry 4 of the log says that it is another one: it was moved",
        ),
        (
            "INSERT INTO log SELECT instance, 6, kind, 77, hash, record FROM log WHERE position = 2",
            "entry 6 of the log tells of deployment 1 a second time",
        ),
    ] {
        let site = site();
        let db = Connection::open(site.history.path()).unwrap();
        db.execute_batch(WITHOUT_TRIGGERS).unwrap();
        db.execute_batch(sql).unwrap();
        let problems = site.history.audit(&site.name(), None).unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(found)), "{sql}: {problems:?}");
    }
}

#[test]
fn a_manifest_that_is_missing_or_damaged_is_named() {
    let mut site = site();
    let release = site.release("1.1.0").unwrap().release;
    let path = BlobStore::open(&site.folder.join("store")).unwrap().path(&release.digest);
    let problems = || site.history.audit(&site.name(), None).unwrap().problems;
    std::fs::write(&path, "{}").unwrap();
    assert!(problems()[0].starts_with("release 2: "), "{:?}", problems());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(problems().len(), 1, "{:?}", problems());
}

/// Whoever can write the file can cut its end off, or write all of it anew. A hash that is kept elsewhere tells.
#[test]
fn a_log_that_was_cut_off_does_not_have_the_hash_that_was_kept() {
    let site = site();
    let head = site.history.head(&site.name()).unwrap().unwrap();
    let db = Connection::open(site.history.path()).unwrap();
    db.execute_batch(WITHOUT_TRIGGERS).unwrap();
    db.execute_batch("DELETE FROM log WHERE position = 5; DELETE FROM deployments WHERE sequence = 3").unwrap();
    let audit = |expected| site.history.audit(&site.name(), expected).unwrap().problems;
    assert_eq!(audit(None), Vec::<String>::new());
    assert!(audit(Some(&head.hash))[0].contains("cut off"));
}

/// The site's history as version 1 had it.
fn as_version_1(site: &Site) {
    let old = site.folder.join("version-1.db");
    let db = Connection::open(&old).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch(include_str!("fixtures/history_version_1.sql")).unwrap();
    db.execute("ATTACH ?1 AS new", [site.history.path().to_str().unwrap()]).unwrap();
    db.execute_batch(
        "INSERT INTO releases SELECT * FROM new.releases;
         INSERT INTO deployments SELECT instance, sequence, release, action, actor, reason, rollback_of, restores, expected, holds, outcome,
             note, started, finished, targets FROM new.deployments;
         DETACH new;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    db.close().unwrap();
    for file in ["history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(site.folder.join("store").join(file));
    }
    std::fs::rename(old, site.history.path()).unwrap();
}

#[test]
fn a_history_of_version_1_gets_its_log_and_goes_on() {
    let before = site();
    let rows = (
        before.history.releases(&before.name(), None).unwrap(),
        before.history.deployments(&before.name(), None).unwrap(),
    );
    as_version_1(&before);
    let mut site = Site::open(&before.folder);
    drop(before.history);
    assert_eq!(words(&site.history, &site.name()), TOLD);
    let after =
        (site.history.releases(&site.name(), None).unwrap(), site.history.deployments(&site.name(), None).unwrap());
    assert_eq!(after, rows);
    assert_eq!(site.history.audit(&site.name(), None).unwrap().problems, Vec::<String>::new());
    site.release("1.2.0").unwrap();
    site.deploy_as(request("1.2.0"), &()).unwrap();
    let audit = site.history.audit(&site.name(), None).unwrap();
    assert_eq!((audit.entries, audit.problems), (7, Vec::new()));
}

#[test]
fn a_history_of_version_1_can_be_opened_by_many_at_once() {
    let site = site();
    as_version_1(&site);
    let (folder, name) = (&site.folder, &site.name());
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(words(&open_history(folder), name), TOLD);
            });
        }
    });
}

#[test]
fn a_deployment_that_did_not_end_in_version_1_is_logged_when_it_does() {
    let site = site();
    as_version_1(&site);
    let db = Connection::open(site.history.path()).unwrap();
    db.execute_batch(
        "INSERT INTO deployments SELECT instance, 4, 2, 'deploy', 'dead', reason, rollback_of, restores, 3, 0, 'pending', NULL, started, NULL,
         targets FROM deployments WHERE sequence = 1",
    )
    .unwrap();
    drop(db);
    let mut site = Site::open(&site.folder);
    assert_eq!(words(&site.history, &site.name()), TOLD);
    let name = site.name();
    site.history.recover(&name).unwrap().unwrap();
    assert_eq!(words(&site.history, &site.name())[5], "deploy 1.1.0 succeeded by dead");
    assert_eq!(site.history.audit(&name, None).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let site = site();
    as_version_1(&site);
    let db = Connection::open(site.history.path()).unwrap();
    db.execute_batch(
        "DROP TRIGGER ended_deployments_do_not_change; UPDATE deployments SET targets = '[' WHERE sequence = 2",
    )
    .unwrap();
    let opened = History::open(&site.folder.join("store"), BlobStore::open(&site.folder.join("store")).unwrap());
    assert!(matches!(opened, Err(Error::Database { .. })));
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'log'", [], |row| row.get(0)).unwrap();
    assert_eq!((version, tables), (1, 0));
}

/// An older program that had the file open meanwhile writes nothing that is not in the log.
#[test]
fn an_older_program_that_is_still_running_is_stopped() {
    let site = site();
    as_version_1(&site);
    let old = Connection::open(site.history.path()).unwrap();
    old.query_row("SELECT count(*) FROM releases", [], |_| Ok(())).unwrap();
    open_history(&site.folder);
    let insert = "INSERT INTO releases (instance, sequence, version, tag, digest, git_commit, created) VALUES ('campus', 3, '2.0.0', 'x', 'x', 'x', 'x')";
    let why = old.execute(insert, []).unwrap_err().to_string();
    assert!(why.contains("use a newer shiplap"), "{why}");
}
