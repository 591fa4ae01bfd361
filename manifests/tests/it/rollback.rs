//! Rolling back.

use shiplap_cache::Digest;
use shiplap_manifests::deployment::{Action, DeploymentSeq, Outcome};
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_manifests::rollback::Migrations;
use shiplap_manifests::{Error, Expect};

use crate::site::{Site, back, back_to, request};

/// A site that ran these versions, in this order.
fn ran(versions: &[&str]) -> Site {
    let mut site = Site::new();
    for version in versions {
        site.release(version).unwrap();
        site.deploy(version).unwrap();
    }
    site
}

#[test]
fn a_rollback_goes_back_to_what_ran_before_and_says_what_it_leaves() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let report = site.rollback(back()).unwrap();
    assert_eq!((report.from.to_string(), report.to.to_string()), ("1.1.0".to_owned(), "1.0.0".to_owned()));
    assert_eq!(site.says(), ["1.0.0"]);
    assert!(report.not_rolled_back.iter().any(|what| what.contains("MySQL")));
    assert_eq!(report.migrations, Migrations::Unknown);
    let entry = site.history.current(&site.name()).unwrap().unwrap();
    assert_eq!((entry.action, entry.outcome), (Action::Rollback, Outcome::Succeeded));
    assert_eq!((entry.rollback_of, entry.restores), (Some(DeploymentSeq(2)), Some(DeploymentSeq(1))));
    assert_eq!((entry.actor.as_str(), entry.reason.as_deref()), ("grace", Some("it broke")));
    assert!(site.status().is_settled());
    serde_json::to_string(&report).unwrap();
}

#[test]
fn the_files_are_byte_for_byte_as_they_were() {
    let files = [
        "compose.override.yml",
        "tutor/config.yml",
        "tutor/env/local/docker-compose.prod.override.yml",
        "tutor/env/local/docker-compose.jobs.override.yml",
        "tutor/shiplap-images.json",
    ];
    let mut site = ran(&["1.0.0"]);
    let before: Vec<_> = files.iter().map(|file| site.file(file)).collect();
    site.release("1.1.0").unwrap();
    site.deploy("1.1.0").unwrap();
    site.rollback(back()).unwrap();
    assert_eq!(files.iter().map(|file| site.file(file)).collect::<Vec<_>>(), before);
}

#[test]
fn a_second_rollback_goes_further_back_and_not_forward_again() {
    let mut site = ran(&["1.0.0", "1.1.0", "1.2.0"]);
    site.deploy("1.2.0").unwrap();
    for version in ["1.1.0", "1.0.0"] {
        assert_eq!(site.rollback(back()).unwrap().to.to_string(), version);
    }
    assert!(matches!(site.rollback(back()), Err(Error::NothingEarlier { .. })));
    assert_eq!(site.says(), ["1.0.0"]);
    // A new deploy begins a new line: back from it is to what it replaced.
    site.deploy("1.2.0").unwrap();
    assert_eq!(site.rollback(back()).unwrap().to.to_string(), "1.0.0");
}

#[test]
fn a_version_can_be_named_if_it_ran() {
    let mut site = ran(&["1.0.0", "1.1.0", "1.2.0"]);
    assert_eq!(site.rollback(back_to("1.0.0")).unwrap().to.to_string(), "1.0.0");
    assert!(matches!(site.rollback(back_to("1.0.0")), Err(Error::AlreadyCurrent { .. })));
    assert!(matches!(site.rollback(back_to("9.0.0")), Err(Error::UnknownRelease { .. })));
    site.release("1.3.0").unwrap();
    let error = site.rollback(back_to("1.3.0")).unwrap_err();
    assert!(
        matches!(error, Error::NotDeployedBefore { .. }) && error.to_string().contains("shiplap deploy"),
        "{error}"
    );
}

#[test]
fn with_nothing_deployed_or_nothing_earlier_it_says_so() {
    let mut site = Site::new();
    site.release("1.0.0").unwrap();
    assert!(matches!(site.rollback(back()), Err(Error::NeverDeployed(_))));
    site.deploy("1.0.0").unwrap();
    site.deploy("1.0.0").unwrap();
    assert!(matches!(site.rollback(back()), Err(Error::NothingEarlier { .. })));
}

#[test]
fn every_image_is_looked_up_and_a_missing_one_stops_it() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let wanted = site.history.release(&site.name(), &"1.0.0".parse().unwrap()).unwrap().release;
    for missing in &wanted.images {
        let check = |_: &Reference, digest: &Digest| {
            if *digest == missing.digest {
                Err(ImageProblem::Incomplete("a layer is missing".to_owned()))
            } else {
                Ok(())
            }
        };
        let error = site.rollback_as(back(), &check, &()).unwrap_err();
        assert!(matches!(&error, Error::Image { image, .. } if *image == missing.name), "{error}");
        assert!(error.to_string().contains("a layer is missing"), "{error}");
    }
    assert_eq!(site.says(), ["1.1.0"]);
}

#[test]
fn migrations_that_the_older_release_lacks_stop_it_until_they_are_accepted() {
    let mut site = Site::new();
    site.release_with_migrations("1.0.0", &["0001_initial"]);
    site.release_with_migrations("1.1.0", &["0001_initial", "0002_add"]);
    for version in ["1.0.0", "1.1.0"] {
        site.deploy(version).unwrap();
    }
    let error = site.rollback(back()).unwrap_err().to_string();
    assert!(error.contains("plugin (0002_add)") && error.contains("--accept-migrations"), "{error}");
    assert_eq!(site.says(), ["1.1.0"]);
    let mut accepted = back();
    accepted.accept_migrations = true;
    let report = site.rollback(accepted).unwrap();
    assert!(matches!(&report.migrations, Migrations::Beyond(beyond) if beyond.len() == 1));
    // The other way nothing is lacking.
    assert_eq!(site.rollback(back_to("1.1.0")).unwrap().migrations, Migrations::Beyond(vec![]));
}

#[test]
fn a_rollback_can_hold_automatic_deploys_off() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let mut held = back();
    held.hold = true;
    site.rollback(held).unwrap();
    let mut automatic = request("1.1.0");
    automatic.automatic = true;
    assert!(matches!(site.deploy_as(automatic, &()), Err(Error::Held { actor, .. }) if actor == "grace"));
    assert_eq!(site.says(), ["1.0.0"]);
}

#[test]
fn a_rollback_of_a_deployment_that_is_no_longer_current_is_refused() {
    let mut site = ran(&["1.0.0", "1.1.0"]);
    let mut late = back();
    late.expect = Expect::Exactly(Some(DeploymentSeq(1)));
    assert!(matches!(site.rollback(late), Err(Error::Superseded { .. })));
}
