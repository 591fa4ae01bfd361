//! Health checks: a deploy goes back by itself, a rollback does not.

use std::cell::{Cell, RefCell};

use shiplap_manifests::config::Health;
use shiplap_manifests::deployment::{Action, DeploymentSeq};
use shiplap_manifests::health::{ExecProbe, HealthCheck, Probe};
use shiplap_manifests::release::Release;
use shiplap_manifests::{Config, Deployer, Error};

use crate::site::{Site, all_there, back, request};

/// Well with every version but one, from a number of tries on.
struct Fake {
    ill: &'static str,
    from: u32,
    asked: Cell<u32>,
}

impl Probe for Fake {
    fn probe(&self, release: &Release) -> Result<(), String> {
        self.asked.set(self.asked.get() + 1);
        if release.version.to_string() == self.ill && self.asked.get() < self.from {
            return Err(format!("502 with {}", release.version));
        }
        Ok(())
    }
}

fn settings(toml: &str) -> Health {
    let toml = format!("[instance.a.image.x]\ncontext = \"x\"\nrepository = \"a/x\"\n[instance.a.health]\n{toml}\n");
    let config = Config::parse("shiplap.toml".as_ref(), &toml).unwrap();
    config.instances.into_values().next().unwrap().health.unwrap()
}

fn ran(versions: &[&str]) -> Site {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        site.release(version).unwrap();
    }
    for version in versions {
        site.deploy(version).unwrap();
    }
    site
}

/// Calls a function with a deployer and a check.
fn with<T>(
    site: &mut Site,
    health: &Health,
    probe: &dyn Probe,
    call: impl FnOnce(&mut Deployer<'_>, &HealthCheck<'_>) -> T,
) -> (T, Vec<String>) {
    let (instance, targets) = (site.name(), site.targets());
    let told = RefCell::new(Vec::new());
    let tell = |tries: u32, what: &str| told.borrow_mut().push(format!("{tries} {what}"));
    let check = HealthCheck { health, probe, told: &tell };
    let history = &mut site.history;
    let mut deployer = Deployer { history, instance: &instance, targets: &targets, check: &all_there, observer: &() };
    let result = call(&mut deployer, &check);
    (result, told.into_inner())
}

const QUICK: &str = "exec = [\"true\"]\ninterval = \"0s\"\nretries = 3";

#[test]
fn a_deploy_that_does_not_get_well_goes_back() {
    let mut site = ran(&["1.0.0"]);
    let fake = Fake { ill: "1.1.0", from: u32::MAX, asked: Cell::new(0) };
    let deploy =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.deploy_checked(request("1.1.0"), Some(check));
    let (result, told) = with(&mut site, &settings(QUICK), &fake, deploy);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unhealthy { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("asked 3 times") && text.contains("502") && text.contains("back at 1.0.0 (deployment 3)"),
        "{text}"
    );
    assert_eq!(told, ["1 502 with 1.1.0", "2 502 with 1.1.0", "3 502 with 1.1.0"]);
    assert_eq!(site.says(), ["1.0.0"]);
    let current = site.history.current(&site.name()).unwrap().unwrap();
    assert_eq!((current.action, current.rollback_of), (Action::Rollback, Some(DeploymentSeq(2))));
    assert!(current.reason.unwrap().contains("health check of deployment 2"));
}

#[test]
fn one_that_gets_well_in_time_stays() {
    let mut site = ran(&["1.0.0"]);
    let fake = Fake { ill: "1.1.0", from: 3, asked: Cell::new(0) };
    let deploy =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.deploy_checked(request("1.1.0"), Some(check));
    let (result, told) = with(&mut site, &settings(QUICK), &fake, deploy);
    result.unwrap();
    assert_eq!((told.len(), site.says()), (2, vec!["1.1.0".to_owned()]));
}

#[test]
fn without_a_way_back_it_stays_and_says_so() {
    for (before, says) in [(&[][..], "nothing was deployed"), (&["1.1.0"], "the same release")] {
        let mut site = ran(before);
        let fake = Fake { ill: "1.1.0", from: u32::MAX, asked: Cell::new(0) };
        let deploy = |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| {
            deployer.deploy_checked(request("1.1.0"), Some(check))
        };
        let error = with(&mut site, &settings(QUICK), &fake, deploy).0.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(site.says(), ["1.1.0"]);
    }
    // Nor does it go back over migrations without being told to.
    let mut site = Site::new();
    site.release_with_migrations("1.0.0", &["0001"]);
    site.release_with_migrations("1.1.0", &["0001", "0002"]);
    site.deploy("1.0.0").unwrap();
    let fake = Fake { ill: "1.1.0", from: u32::MAX, asked: Cell::new(0) };
    let deploy =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.deploy_checked(request("1.1.0"), Some(check));
    let error = with(&mut site, &settings(QUICK), &fake, deploy).0.unwrap_err().to_string();
    assert!(error.contains("stays there") && error.contains("--accept-migrations"), "{error}");
    assert_eq!(site.says(), ["1.1.0"]);
}

#[test]
fn a_rollback_that_does_not_get_well_stays_where_it_is() {
    let mut site = ran(&["1.0.0", "1.1.0", "1.2.0"]);
    let fake = Fake { ill: "1.1.0", from: u32::MAX, asked: Cell::new(0) };
    let rollback =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.rollback_checked(back(), Some(check));
    let error = with(&mut site, &settings(QUICK), &fake, rollback).0.unwrap_err().to_string();
    assert!(error.contains("does not go back again"), "{error}");
    assert_eq!(site.says(), ["1.1.0"]);
    assert_eq!(site.history.deployments(&site.name(), None).unwrap().len(), 4);
}

#[test]
fn a_program_says_whether_it_is_well() {
    let mut site = ran(&["1.0.0"]);
    let folder = site.folder.clone();
    let script = r#"exec = ["sh", "-c", "test -e seen || { touch seen; exit 9; }; test $SHIPLAP_VERSION = 1.1.0"]"#;
    let health = settings(&format!("{script}\ninterval = \"0s\""));
    let probe = ExecProbe { health: &health, folder: &folder };
    let deploy =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.deploy_checked(request("1.1.0"), Some(check));
    let (result, told) = with(&mut site, &health, &probe, deploy);
    result.unwrap();
    assert!(told.len() == 1 && told[0].contains("failed with exit code 9"), "{told:?}");
}

#[test]
fn one_that_hangs_is_ended_with_all_that_it_started() {
    let mut site = ran(&["1.0.0"]);
    let folder = site.folder.clone();
    let health = settings("exec = [\"sh\", \"-c\", \"sleep 600 & echo $! >pid; wait\"]\ntimeout = \"1s\"\nretries = 1");
    let probe = ExecProbe { health: &health, folder: &folder };
    let deploy =
        |deployer: &mut Deployer<'_>, check: &HealthCheck<'_>| deployer.deploy_checked(request("1.1.0"), Some(check));
    let error = with(&mut site, &health, &probe, deploy).0.unwrap_err().to_string();
    assert!(error.contains("did not end within 1 seconds"), "{error}");
    assert_eq!(site.says(), ["1.0.0"]);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.file("pid").trim())).unwrap_or_default();
    // Gone, or dead and not yet collected.
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn settings_that_make_no_sense_are_said() {
    for (toml, says) in [
        ("", "asks nothing"),
        ("exec = [\"x\"]\nhttp = \"https://x\"", "one or the other"),
        ("exec = [\"x\"]\nexpect-status = 200", "for `http`"),
        ("http = \"x\"", "http://"),
        ("exec = [\"x\"]\nretries = 0", "--no-health"),
    ] {
        let toml =
            format!("[instance.a.image.x]\ncontext = \"x\"\nrepository = \"a/x\"\n[instance.a.health]\n{toml}\n");
        let error = Config::parse("shiplap.toml".as_ref(), &toml).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("instance.a.health"), "{error}");
    }
}
