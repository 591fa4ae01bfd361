//! Images whose registry gives no answer: nobody goes on by himself, and who does leaves a note.

use std::cell::Cell;

use shiplap_cache::Digest;
use shiplap_manifests::health::{HealthCheck, Probe};
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_manifests::observer::Progress;
use shiplap_manifests::release::Release;
use shiplap_manifests::{Config, Deployer, Error, RollbackRequest};

use crate::site::{Site, all_there, back, request};

const NOTE: &str = "not looked up in the registry, which gave no answer: mfe";

fn ran(versions: &[&str]) -> Site {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0"] {
        site.release(version).unwrap();
    }
    for version in versions {
        site.deploy(version).unwrap();
    }
    site
}

fn accepted() -> RollbackRequest {
    RollbackRequest { accept_unchecked: true, ..back() }
}

/// No answer for `mfe`.
fn no_answer(reference: &Reference, _: &Digest) -> Result<(), ImageProblem> {
    match reference.repository.as_str() {
        "campus/mfe" => Err(ImageProblem::NotAsked("no answer".to_owned())),
        _ => Ok(()),
    }
}

#[test]
fn it_stops_a_rollback_until_it_is_accepted_and_then_it_is_recorded() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let error = site.rollback_as(back(), &no_answer, &()).unwrap_err().to_string();
    assert!(error.contains("`mfe`") && error.contains("no answer"), "{error}");
    assert_eq!(site.says(), ["1.1.0"]);
    let report = site.rollback_as(accepted(), &no_answer, &()).unwrap();
    assert_eq!(report.deploy.deployment.note.as_deref(), Some(NOTE));
    assert_eq!(report.deploy.unchecked[0].why, "no answer");
    assert_eq!(site.says(), ["1.0.0"]);
    // Nor is there a release without an answer, whatever is accepted later.
    let draft = site.draft("2.0.0").unwrap();
    let built = crate::site::built(&draft, "2.0.0");
    assert!(matches!(site.history.commit(&draft, built, &no_answer, &()), Err(Error::Image { .. })));
}

#[test]
fn what_is_known_to_be_missing_goes_before_what_is_not_known() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let check = |reference: &Reference, digest: &Digest| match reference.repository.as_str() {
        "campus/openedx" => Err(ImageProblem::NotPushed),
        _ => no_answer(reference, digest),
    };
    for request in [back(), accepted()] {
        let error = site.rollback_as(request, &check, &()).unwrap_err();
        assert!(matches!(&error, Error::Image { problem: ImageProblem::NotPushed, .. }), "{error}");
    }
}

#[test]
fn the_note_stays_when_another_process_ends_it() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    // It dies after the intention was written down, as far as the history can see.
    let dies = |progress: Progress<'_>| {
        if matches!(progress, Progress::Journaled) {
            panic!("dies here");
        }
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(site.rollback_as(accepted(), &no_answer, &dies));
    }));
    caught.unwrap_err();
    let name = site.name();
    let recovered = site.history.recover(&name).unwrap().unwrap();
    let note = recovered.deployment.note.unwrap();
    assert!(note.starts_with(NOTE) && note.contains("the next command finished it"), "{note}");
    assert!(site.history.audit(&name, None).unwrap().problems.is_empty());
}

struct Ill;

impl Probe for Ill {
    fn probe(&self, release: &Release) -> Result<(), String> {
        if release.version.to_string() == "1.1.0" { Err("502".to_owned()) } else { Ok(()) }
    }
}

/// The deploy was checked; when it is ill nobody is there to decide, and the release before ran a moment ago.
#[test]
fn the_way_back_from_an_ill_deploy_is_open_and_noted() {
    let mut site = ran(&["1.0.0"]);
    let toml = "[instance.a.image.x]\ncontext = \"x\"\nrepository = \"a/x\"\n[instance.a.health]\nexec = [\"true\"]\nretries = 1\n";
    let config = Config::parse("shiplap.toml".as_ref(), toml).unwrap();
    let health = config.instances.into_values().next().unwrap().health.unwrap();
    let well = HealthCheck { health: &health, probe: &Ill, told: &|_, _| {} };
    let asked = Cell::new(0);
    let check = |reference: &Reference, digest: &Digest| {
        asked.set(asked.get() + 1);
        // The registry goes away after the two images of the deploy were looked up.
        if asked.get() <= 2 { all_there(reference, digest) } else { no_answer(reference, digest) }
    };
    let (instance, targets) = (site.name(), site.targets());
    let history = &mut site.history;
    let mut deployer = Deployer { history, instance: &instance, targets: &targets, check: &check, observer: &() };
    let error = deployer.deploy_checked(request("1.1.0"), Some(&well)).unwrap_err().to_string();
    assert!(error.contains("it is back at 1.0.0"), "{error}");
    assert_eq!(site.history.current(&instance).unwrap().unwrap().note.as_deref(), Some(NOTE));
}
