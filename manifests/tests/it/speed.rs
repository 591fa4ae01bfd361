//! A rollback in a long history.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use shiplap_cache::{BlobStore, Digest};
use shiplap_manifests::release::{Release, ReleaseSeq};
use shiplap_manifests::version::Bump;
use shiplap_registry::tag::ReleaseTag;

use crate::site::{Site, back};

const RELEASES: u64 = 10_000;

#[test]
fn a_rollback_among_ten_thousand_releases() {
    let mut site = Site::new();
    let first = site.release("0.0.1").unwrap().release;
    let blobs = BlobStore::open(&site.folder.join("store")).unwrap();
    let mut db = Connection::open(site.history.path()).unwrap();
    // What is told of these rows is no matter here.
    let logged = ["releases_are_logged", "new_deployments_are_logged"].map(|name| format!("DROP TRIGGER {name};"));
    db.execute_batch(&logged.concat()).unwrap();
    let tx = db.transaction().unwrap();
    let (mut release, mut digest) = (first.release, first.digest);
    for sequence in 2..=RELEASES {
        let version = Bump::Patch.after(Some(&release.version));
        let tag = ReleaseTag::new(&version, release.git.commit.as_str(), None).unwrap();
        for image in &mut release.images {
            image.reference.tag = tag.clone();
        }
        release = Release { sequence: ReleaseSeq(sequence), previous: Some(digest), version, tag, ..release };
        // A rollback reads the manifests of two releases, and of those before them only the digest.
        digest = match RELEASES - sequence {
            0..10 => blobs.put(&release.to_bytes().unwrap()).unwrap(),
            _ => Digest::of(&sequence.to_le_bytes()),
        };
        let (version, tag) = (release.version.to_string(), release.tag.to_string());
        tx.prepare_cached("INSERT INTO releases VALUES ('campus', ?1, ?2, ?3, ?4, ?5, '2026-11-21T10:00:00Z')")
            .unwrap()
            .execute(params![sequence, version, tag, digest.to_string(), release.git.commit.as_str()])
            .unwrap();
        tx.prepare_cached(
            "INSERT INTO deployments VALUES ('campus', ?1, ?2, 'deploy', 'ada', NULL, NULL, NULL, NULL, 0, 'succeeded', NULL,
             '2026-11-21T10:00:00Z', '2026-11-21T10:00:00Z', '[]', NULL)",
        )
        .unwrap()
        .execute(params![sequence - 1, sequence])
        .unwrap();
    }
    tx.commit().unwrap();
    drop(db);

    let folder = site.folder.clone();
    let times: Vec<Duration> = (0..5)
        .map(|_| {
            let started = Instant::now();
            let report = Site::open(&folder).rollback(back()).unwrap();
            let took = started.elapsed();
            // From the newest to the one before, and from there on never to one that was rolled back from.
            assert!(report.deploy.release.release.sequence < ReleaseSeq(RELEASES));
            took
        })
        .collect();
    // The design's limit is 200 ms on a machine that does nothing else, which the machine of the tests is not.
    println!("rollbacks among {RELEASES} releases took {times:?}");
}
