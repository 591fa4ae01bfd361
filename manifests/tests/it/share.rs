//! Two stores and a git repository between them.

use std::path::Path;
use std::process::Command;

use shiplap_manifests::share::{GitPlace, ShareError, Standing, claim, pull};
use shiplap_manifests::{Error, Expect};
use tempfile::TempDir;

use crate::crash::start;
use crate::site::{Site, back, request};

/// A bare repository.
fn repository() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--bare"]);
    dir
}

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=Eve", "-c", "user.email=eve@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").arg("-C").arg(folder).args(identity).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn place(site: &Site, repository: &TempDir) -> GitPlace {
    let url = repository.path().to_str().unwrap();
    GitPlace::open(&site.folder.join("store/history.git"), &site.folder, url, "shiplap", "ops/releases").unwrap()
}

/// Does something under a claim and publishes it.
fn publish<T>(
    site: &mut Site,
    repository: &TempDir,
    actor: &str,
    work: impl FnOnce(&mut Site) -> T,
) -> Result<T, Error> {
    let (place, name) = (place(site, repository), site.name());
    let claimed = claim(&mut site.history, &place, &name, actor, Standing::Respected)?;
    let done = work(site);
    claimed.publish(&mut site.history)?;
    Ok(done)
}

fn head(site: &Site) -> String {
    site.history.head(&site.name()).unwrap().unwrap().hash.to_string()
}

fn whole(site: &Site) {
    assert_eq!(site.history.audit(&site.name(), None).unwrap().problems, Vec::<String>::new());
}

/// What somebody does to the files of the branch by hand.
fn by_hand(repository: &TempDir, change: impl FnOnce(&Path)) {
    let clone = tempfile::tempdir().unwrap();
    git(clone.path(), &["clone", "-q", "-b", "shiplap", repository.path().to_str().unwrap(), "."]);
    change(&clone.path().join("ops/releases/campus"));
    git(clone.path(), &["add", "-A"]);
    git(clone.path(), &["commit", "-q", "-m", "by hand"]);
    git(clone.path(), &["push", "-q"]);
}

#[test]
fn what_one_store_records_the_other_knows() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    // What was there before it was shared is published with the first thing that is.
    one.release("1.0.0").unwrap();
    publish(&mut one, &repository, "ada", |site| site.deploy("1.0.0").unwrap()).unwrap();
    let place_of_other = place(&other, &repository);
    pull(&mut other.history, &place_of_other).unwrap();
    assert_eq!(head(&other), head(&one));
    assert_eq!(other.history.current(&other.name()).unwrap(), one.history.current(&one.name()).unwrap());
    // The other goes on where the one stopped.
    publish(&mut other, &repository, "grace", |site| {
        site.release("1.1.0").unwrap();
        site.deploy("1.1.0").unwrap();
    })
    .unwrap();
    publish(&mut one, &repository, "ada", |site| {
        assert_eq!(site.rollback(back()).unwrap().from.to_string(), "1.1.0");
    })
    .unwrap();
    pull(&mut other.history, &place_of_other).unwrap();
    assert_eq!(head(&other), head(&one));
    assert_eq!(other.history.log(&other.name(), None).unwrap().len(), 5);
    whole(&one);
    whole(&other);
    let files = git(repository.path(), &["ls-tree", "-r", "--name-only", "shiplap"]);
    assert_eq!(files.lines().filter(|file| file.starts_with("ops/releases/campus/log/00000")).count(), 5, "{files}");
    assert_eq!(files.lines().count(), 7, "{files}");
}

#[test]
fn of_two_at_once_one_wins_and_the_other_is_told_by_whom() {
    let repository = repository();
    for _ in 0..5 {
        let sites = [Site::new(), Site::new()];
        let barrier = std::sync::Barrier::new(2);
        let results: Vec<Option<String>> = std::thread::scope(|scope| {
            let start = |(n, mut site): (usize, Site)| {
                let (barrier, repository) = (&barrier, &repository);
                scope.spawn(move || {
                    let (place, name) = (place(&site, repository), site.name());
                    barrier.wait();
                    let claimed = claim(&mut site.history, &place, &name, ["ada", "grace"][n], Standing::Respected);
                    // Nobody ends before both have tried.
                    barrier.wait();
                    match claimed {
                        Ok(claimed) => {
                            claimed.publish(&mut site.history).unwrap();
                            None
                        }
                        Err(Error::Share(ShareError::Claimed { actor, .. })) => Some(actor),
                        Err(other) => panic!("{other}"),
                    }
                })
            };
            let threads: Vec<_> = sites.into_iter().enumerate().map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let expected = match &results[0] {
            None => [None, Some("ada".to_owned())],
            Some(_) => [Some("grace".to_owned()), None],
        };
        assert_eq!(results, expected);
    }
}

#[test]
fn who_decided_by_an_older_picture_is_told_what_came_first() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    publish(&mut one, &repository, "ada", |site| {
        site.release("1.0.0").unwrap();
        site.deploy("1.0.0").unwrap();
    })
    .unwrap();
    let late = publish(&mut other, &repository, "grace", |site| {
        site.deploy_as(shiplap_manifests::DeployRequest { expect: Expect::Exactly(None), ..request("1.0.0") }, &())
    });
    assert!(matches!(late.unwrap(), Err(Error::Superseded { actor, .. }) if actor == "ada"));
    // Nothing happened, and the claim is gone.
    assert_eq!(head(&other), head(&one));
    publish(&mut one, &repository, "ada", |_| ()).unwrap();
}

#[test]
fn what_a_dead_process_recorded_is_published_by_the_next_of_its_store() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    publish(&mut one, &repository, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    let (place_of_one, name) = (place(&one, &repository), one.name());
    drop(claim(&mut one.history, &place_of_one, &name, "ada", Standing::Respected).unwrap());
    one.deploy("1.0.0").unwrap();
    one.history.set_hold(&name, "ada", Some("night")).unwrap();
    // It died before it published: others wait, and looking takes nothing back.
    let refused = publish(&mut other, &repository, "grace", |_| ()).unwrap_err();
    assert!(refused.to_string().contains("being changed by ada since"), "{refused}");
    pull(&mut one.history, &place_of_one).unwrap();
    assert!(one.history.hold(&name).unwrap().is_some());
    publish(&mut one, &repository, "ada", |_| ()).unwrap();
    publish(&mut other, &repository, "grace", |_| ()).unwrap();
    assert_eq!(head(&other), head(&one));
    assert_eq!(other.history.hold(&name).unwrap().unwrap().actor, "ada");
}

#[test]
fn a_hold_is_everybody_s_until_somebody_lifts_it() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    let name = one.name();
    publish(&mut one, &repository, "ada", |site| {
        site.release("1.0.0").unwrap();
        site.history.set_hold(&name, "ada", None).unwrap();
    })
    .unwrap();
    publish(&mut other, &repository, "grace", |site| assert!(site.history.lift_hold(&name).unwrap())).unwrap();
    assert!(one.history.hold(&name).unwrap().is_some());
    let place = place(&one, &repository);
    pull(&mut one.history, &place).unwrap();
    assert!(one.history.hold(&name).unwrap().is_none());
}

#[test]
fn histories_that_are_not_one_are_not_mixed() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    publish(&mut one, &repository, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    other.release("2.0.0").unwrap();
    let before = head(&other);
    let refused = publish(&mut other, &repository, "grace", |_| ()).unwrap_err();
    assert!(matches!(refused, Error::Share(ShareError::Diverged { position: 1, .. })), "{refused}");
    assert_eq!(head(&other), before);
}

#[test]
fn a_file_that_was_changed_or_removed_by_hand_is_named_and_nothing_is_taken() {
    for (harm, said) in [
        (
            (|folder: &Path| {
                let file = std::fs::read_dir(folder.join("log")).unwrap().next().unwrap().unwrap().path();
                std::fs::write(file, "{}").unwrap();
            }) as fn(&Path),
            "does not have the hash of its name",
        ),
        (|folder| std::fs::remove_dir_all(folder.join("releases")).unwrap(), "is missing"),
        (
            |folder| {
                let mut files: Vec<_> =
                    std::fs::read_dir(folder.join("log")).unwrap().map(|f| f.unwrap().path()).collect();
                files.sort();
                std::fs::remove_file(&files[0]).unwrap();
            },
            "entry 1 is missing",
        ),
        (|folder| std::fs::write(folder.join("claim.json"), "not JSON").unwrap(), "cannot be read"),
    ] {
        let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
        publish(&mut one, &repository, "ada", |site| {
            site.release("1.0.0").unwrap();
            site.release("1.1.0").unwrap();
        })
        .unwrap();
        by_hand(&repository, harm);
        let refused = publish(&mut other, &repository, "grace", |_| ()).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_place_that_cannot_be_reached_is_told_without_its_password() {
    let mut site = Site::new();
    let url = "file://user:hunter2@localhost/nowhere/at/all";
    let place = GitPlace::open(&site.folder.join("store/history.git"), &site.folder, url, "shiplap", "").unwrap();
    let error = pull(&mut site.history, &place).unwrap_err();
    assert!(matches!(error, Error::Share(ShareError::Place { .. })), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_claim_that_was_ended_by_hand_while_its_machine_had_something_begun_is_told() {
    let (mut one, mut other, repository) = (Site::new(), Site::new(), repository());
    publish(&mut one, &repository, "ada", |site| {
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            site.release(version).unwrap();
        }
    })
    .unwrap();
    let (place_of_one, name) = (place(&one, &repository), one.name());
    drop(claim(&mut one.history, &place_of_one, &name, "ada", Standing::Respected).unwrap());
    // It dies with the intention written down.
    assert!(!start(&one, "deploy", 3).wait().unwrap().success());
    by_hand(&repository, |folder| std::fs::remove_file(folder.join("claim.json")).unwrap());
    publish(&mut other, &repository, "grace", |site| site.deploy("1.0.0").unwrap()).unwrap();
    let before = head(&one);
    for refused in
        [publish(&mut one, &repository, "ada", |_| ()).unwrap_err(), pull(&mut one.history, &place_of_one).unwrap_err()]
    {
        assert!(matches!(&refused, Error::Overtaken { actor, .. } if actor == "ada"), "{refused}");
        assert!(refused.to_string().contains("history.db"), "{refused}");
    }
    assert_eq!(head(&one), before);
    // The way out that it names.
    let folder = one.folder.clone();
    for file in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::rename(folder.join("store").join(file), folder.join("store").join(format!("{file}.old")));
    }
    one.history = crate::site::open_history(&folder);
    publish(&mut one, &repository, "ada", |site| site.deploy("1.1.0").unwrap()).unwrap();
    let place_of_other = place(&other, &repository);
    pull(&mut other.history, &place_of_other).unwrap();
    assert_eq!(head(&one), head(&other));
    assert_eq!(one.says(), ["1.1.0"]);
}
