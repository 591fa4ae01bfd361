//! Deploying.

use std::cell::RefCell;
use std::sync::Barrier;

use shiplap_manifests::deployment::{Action, DeploymentSeq, Outcome};
use shiplap_manifests::history::Recovery;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_manifests::observer::Progress;
use shiplap_manifests::{Deployer, Error, Expect};

use crate::site::{Site, Steps, back, request};

#[test]
fn a_deploy_writes_every_target_and_the_log() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    let report = site.deploy("1.0.0").unwrap();
    assert_eq!(site.says(), ["1.0.0"]);
    let entry = site.history.current(&site.name()).unwrap().unwrap();
    assert_eq!(entry, report.deployment);
    assert_eq!((entry.action, entry.outcome, entry.expected), (Action::Deploy, Outcome::Succeeded, None));
    assert_eq!((entry.actor.as_str(), entry.reason.as_deref()), ("ada", Some("a test")));
    assert_eq!(entry.targets.len(), 2);
    let diff: String = report.changes.iter().map(|change| change.diff.clone()).collect();
    assert!(diff.contains("+DOCKER_IMAGE_OPENEDX: campus/openedx:1.0.0-g") && !diff.contains("hunter2"), "{diff}");
    let config = site.file("tutor/config.yml");
    assert!(
        config.starts_with("# the site's own\nDOCKER_IMAGE_OPENEDX: campus/openedx:1.0.0-g3f2c1ab09d4e # as it came\n"),
        "{config}"
    );
    assert!(site.status().is_settled());
    serde_json::to_string(&report).unwrap();
}

#[test]
fn a_second_deploy_of_the_same_changes_nothing_and_is_in_the_log() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    let report = site.deploy("1.0.0").unwrap();
    assert!(report.changes.iter().all(|change| change.diff.is_empty()));
    assert_eq!(report.deployment.sequence, DeploymentSeq(2));
}

#[test]
fn drift_is_shown_and_put_right() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    let config = site.file("tutor/config.yml");
    std::fs::write(
        site.folder.join("tutor/config.yml"),
        config.replace("campus/openedx:1.0.0", "campus/openedx:0.9.0"),
    )
    .unwrap();
    std::fs::remove_file(site.folder.join("compose.override.yml")).unwrap();
    let status = site.status();
    let drift: Vec<_> = status.targets.iter().flat_map(|target| &target.drift).map(|d| d.place.as_str()).collect();
    assert_eq!(drift, ["cms", "lms", "mfe", "config.yml DOCKER_IMAGE_OPENEDX"]);
    assert!(!status.is_settled());
    site.deploy("1.0.0").unwrap();
    assert!(site.status().is_settled());
    assert_eq!(site.file("tutor/config.yml"), config);
}

#[test]
fn a_deploy_that_expects_another_deployment_is_told_who_came_first() {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        site.release(version).unwrap();
    }
    site.deploy("1.0.0").unwrap();
    let seen = site.history.current(&site.name()).unwrap().map(|d| d.sequence);
    let mut by_eve = request("1.1.0");
    by_eve.actor = "eve".to_owned();
    site.deploy_as(by_eve, &()).unwrap();
    let mut late = request("1.2.0");
    late.expect = Expect::Exactly(seen);
    let error = site.deploy_as(late, &()).unwrap_err();
    assert!(matches!(&error, Error::Superseded { actor, found: DeploymentSeq(2), .. } if actor == "eve"), "{error}");
    assert_eq!(site.says(), ["1.1.0"]);

    let mut fresh = Site::new();
    fresh.release("1.0.0").unwrap();
    let mut early = request("1.0.0");
    early.expect = Expect::Exactly(Some(DeploymentSeq(7)));
    assert!(matches!(fresh.deploy_as(early, &()), Err(Error::NothingToReplace { .. })));
}

#[test]
fn of_two_deploys_at_once_the_second_is_told_who_is_at_it() {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0"] {
        site.release(version).unwrap();
    }
    let folder = site.folder.clone();
    let second = RefCell::new(Vec::new());
    let observer = |step: Progress<'_>| {
        if matches!(step, Progress::Journaled | Progress::Journaling) {
            let mut other = Site::open(&folder);
            second.borrow_mut().push(other.deploy("1.1.0").unwrap_err());
            if matches!(step, Progress::Journaled) {
                assert!(other.status().pending.is_some_and(|pending| pending.under_way));
                assert!(matches!(other.history.recover(&other.name()), Err(Error::Busy { .. })));
            }
        }
    };
    site.deploy_as(request("1.0.0"), &observer).unwrap();
    for error in second.borrow().iter() {
        assert!(matches!(error, Error::Busy { actor: Some(actor), since: Some(_), .. } if actor == "ada"), "{error}");
    }
    assert_eq!(second.borrow().len(), 2);
    assert_eq!(site.says(), ["1.0.0"]);
}

#[test]
fn of_many_who_saw_the_same_deployment_exactly_one_replaces_it() {
    let mut site = Site::new();
    for i in 0..7 {
        site.release(&format!("1.{i}.0")).unwrap();
    }
    site.deploy("1.0.0").unwrap();
    let barrier = Barrier::new(6);
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |i: usize| {
            let (barrier, folder) = (&barrier, &site.folder);
            scope.spawn(move || {
                let mut site = Site::open(folder);
                let mut request = request(&format!("1.{i}.0"));
                request.expect = Expect::Exactly(Some(DeploymentSeq(1)));
                barrier.wait();
                site.deploy_as(request, &())
            })
        };
        let threads: Vec<_> = (1..7).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<_> = results.iter().flatten().map(|report| report.deployment.version.to_string()).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert!(
        results
            .iter()
            .filter_map(|r| r.as_ref().err())
            .all(|e| matches!(e, Error::Busy { .. } | Error::Superseded { .. }))
    );
    assert_eq!(site.says(), winners);
    assert!(site.status().is_settled());
}

#[test]
fn an_image_that_is_not_there_stops_it_before_anything_is_written() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    let (instance, targets) = (site.name(), site.targets());
    let check = |reference: &Reference, _: &shiplap_cache::Digest| match reference.repository.as_str() {
        "campus/mfe" => Err(ImageProblem::Missing),
        _ => Ok(()),
    };
    let steps = Steps::default();
    let mut deployer = Deployer {
        history: &mut site.history,
        instance: &instance,
        targets: &targets,
        check: &check,
        observer: &steps,
    };
    let error = deployer.deploy(request("1.0.0")).unwrap_err();
    assert!(matches!(&error, Error::Image { image, .. } if image.as_str() == "mfe"), "{error}");
    assert!(steps.0.borrow().is_empty());
    assert!(site.history.deployments(&site.name(), None).unwrap().is_empty());
}

#[test]
fn without_a_target_there_is_nothing_to_deploy_to() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    let instance = site.name();
    let check = crate::site::all_there;
    let mut deployer =
        Deployer { history: &mut site.history, instance: &instance, targets: &[], check: &check, observer: &() };
    assert!(matches!(deployer.deploy(request("1.0.0")), Err(Error::NoTarget(_))));
}

#[test]
fn a_target_that_cannot_be_written_takes_the_others_back() {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0"] {
        site.release(version).unwrap();
    }
    site.deploy("1.0.0").unwrap();
    let (theirs, config) = ("DOCKER_IMAGE_OPENEDX: theirs\n", site.folder.join("tutor/config.yml"));
    let observer = |step: Progress<'_>| match step {
        // Someone saves config.yml in the moment before it is written.
        Progress::Acting(act) if act.to_string().ends_with("config.yml") => std::fs::write(&config, theirs).unwrap(),
        _ => {}
    };
    let error = site.deploy_as(request("1.1.0"), &observer).unwrap_err();
    assert!(matches!(&error, Error::Undone { why, .. } if why.contains("config.yml")), "{error}");
    assert!(site.file("compose.override.yml").contains("1.0.0-g"));
    assert_eq!(site.file("tutor/config.yml"), theirs);
    let log = site.history.deployments(&site.name(), None).unwrap();
    assert_eq!((log[0].outcome, log[1].outcome), (Outcome::Failed, Outcome::Succeeded));
    assert!(log[0].note.is_some());
    // The failed one is not what runs, and not what a rollback goes to.
    assert_eq!(site.status().current.unwrap().sequence, DeploymentSeq(1));
    assert!(matches!(site.rollback(back()), Err(Error::NothingEarlier { .. })));
    site.deploy("1.1.0").unwrap();
    assert_eq!(site.says(), ["1.1.0"]);
}

#[test]
fn what_can_be_neither_finished_nor_undone_waits_in_the_journal() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    let (local, aside) = (site.folder.join("tutor/env/local"), site.folder.join("aside"));
    let observer = |step: Progress<'_>| match step {
        // The folder goes away, as a mount does, and something else is in its place.
        Progress::Acting(act) if act.to_string().contains(local.to_str().unwrap()) => {
            std::fs::rename(&local, &aside).unwrap();
            std::fs::write(&local, "").unwrap();
        }
        _ => {}
    };
    let error = site.deploy_as(request("1.0.0"), &observer).unwrap_err();
    assert!(matches!(error, Error::NotUndone { .. }), "{error}");
    let pending = site.status().pending.unwrap();
    assert!(!pending.under_way);
    assert!(matches!(site.deploy("1.0.0"), Err(Error::NotUndone { .. })));

    std::fs::remove_file(&local).unwrap();
    std::fs::rename(&aside, &local).unwrap();
    let recovered = site.history.recover(&site.name()).unwrap().unwrap();
    assert_eq!((recovered.recovery, recovered.deployment.outcome), (Recovery::Finished, Outcome::Succeeded));
    assert_eq!(site.says(), ["1.0.0"]);
    assert_eq!(site.history.recover(&site.name()).unwrap(), None);
}

#[test]
fn a_hold_keeps_automatic_deploys_away_and_no_others() {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0"] {
        site.release(version).unwrap();
    }
    let name = site.name();
    site.history.set_hold(&name, "grace", Some("incident 7")).unwrap();
    let mut automatic = request("1.0.0");
    automatic.automatic = true;
    let error = site.deploy_as(automatic.clone(), &()).unwrap_err().to_string();
    assert!(error.contains("grace") && error.contains("incident 7"), "{error}");
    site.deploy("1.1.0").unwrap();
    assert_eq!(site.status().hold.unwrap().actor, "grace");
    assert!(site.history.lift_hold(&name).unwrap());
    assert!(!site.history.lift_hold(&name).unwrap());
    site.deploy_as(automatic, &()).unwrap();
}
