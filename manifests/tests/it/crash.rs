//! `kill -9` at any point: the next command finishes or undoes, and nothing is half there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shiplap_manifests::observer::Progress;

use crate::site::{Site, all_there, back, built, request};

const FOLDER: &str = "SHIPLAP_TEST_FOLDER";
const VERB: &str = "SHIPLAP_TEST_VERB";
const DIE_AT: &str = "SHIPLAP_TEST_DIE_AT";

/// Not a test: what the tests below start as a process of its own, and kill.
#[test]
#[ignore = "is started by the other tests of this file"]
fn child() {
    let var = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut site = Site::open(Path::new(&var(FOLDER)));
    let die_at: u32 = var(DIE_AT).parse().unwrap();
    let steps = AtomicU32::new(0);
    let observer = |_: Progress<'_>| {
        if steps.fetch_add(1, Ordering::Relaxed) + 1 == die_at {
            // No destructor runs, no buffer is flushed: the same to the files as SIGKILL.
            std::process::abort();
        }
    };
    match var(VERB).as_str() {
        "release" => {
            let draft = site.draft("2.0.0").unwrap();
            site.history.commit(&draft, built(&draft, "2.0.0"), &all_there, &observer).unwrap();
        }
        "deploy" => {
            site.deploy_as(request("1.2.0"), &observer).unwrap();
        }
        "rollback" => {
            site.rollback_as(back(), &all_there, &observer).unwrap();
        }
        // It recovers, and then finds that it came too late.
        "recover" => {
            let mut late = request("1.2.0");
            late.expect = shiplap_manifests::Expect::Exactly(None);
            site.deploy_as(late, &observer).unwrap_err();
        }
        other => panic!("{other}"),
    }
}

pub fn start(site: &Site, verb: &str, die_at: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored"])
        .env(FOLDER, &site.folder)
        .env(VERB, verb)
        .env(DIE_AT, die_at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A site with three releases that runs the second.
fn site() -> Site {
    let mut site = Site::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        site.release(version).unwrap();
    }
    for version in ["1.0.0", "1.1.0"] {
        site.deploy(version).unwrap();
    }
    site
}

/// After the next command nothing is mixed, and the log says what the targets say.
pub fn check_whole(site: &mut Site, allowed: &[&str]) {
    let name = site.name();
    let recovered = site.history.recover(&name).unwrap();
    let says = site.says();
    assert_eq!(says.len(), 1, "the targets are mixed: {says:?}");
    assert!(allowed.contains(&says[0].as_str()), "{says:?}");
    let status = site.status();
    assert!(status.is_settled(), "{status:?}");
    assert_eq!(status.current.unwrap().version.to_string(), says[0]);
    assert_eq!(site.leftovers(), Vec::<std::path::PathBuf>::new());
    if let Some(recovered) = recovered {
        assert!(recovered.deployment.note.is_some() && recovered.deployment.finished.is_some());
    }
    site.history.verify(&name).unwrap();
}

fn kill_at_every_step(verb: &str, before: &str, after: &str, least: u32) {
    let mut steps = 0;
    loop {
        let mut site = site();
        let finished = start(&site, verb, steps + 1).wait().unwrap().success();
        let allowed = [after, before];
        check_whole(&mut site, if finished { &allowed[..1] } else { &allowed });
        // It goes on from there.
        site.deploy("1.0.0").unwrap();
        assert_eq!(site.says(), ["1.0.0"]);
        if finished {
            break;
        }
        steps += 1;
    }
    assert!(steps >= least, "only {steps} steps were seen");
}

#[test]
fn a_deploy_killed_at_every_step() {
    kill_at_every_step("deploy", "1.1.0", "1.2.0", 10);
}

#[test]
fn a_rollback_killed_at_every_step() {
    kill_at_every_step("rollback", "1.1.0", "1.0.0", 10);
}

#[test]
fn a_deploy_that_was_journaled_is_finished_by_the_next_command() {
    let mut site = site();
    // The second step is the journal's.
    assert!(!start(&site, "deploy", 2).wait().unwrap().success());
    let status = site.status();
    assert!(status.pending.as_ref().is_some_and(|pending| !pending.under_way), "{status:?}");
    assert!(!status.is_settled());
    // The next command is a rollback: it finishes the deploy first, and then goes back from it.
    let report = site.rollback(back()).unwrap();
    assert_eq!(report.deploy.recovered.unwrap().deployment.version.to_string(), "1.2.0");
    assert_eq!(site.says(), ["1.1.0"]);
}

#[test]
fn a_killed_deploy_is_undone_when_someone_wrote_a_target_meanwhile() {
    let mut site = site();
    // Killed after the first file was written.
    assert!(!start(&site, "deploy", 4).wait().unwrap().success());
    let config = site.folder.join("tutor/config.yml");
    std::fs::write(&config, "DOCKER_IMAGE_OPENEDX: theirs\n").unwrap();
    let name = site.name();
    let recovered = site.history.recover(&name).unwrap().unwrap();
    assert_eq!(recovered.deployment.outcome.as_str(), "undone");
    assert!(site.file("compose.override.yml").contains("1.1.0-g"), "the first file was taken back");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "DOCKER_IMAGE_OPENEDX: theirs\n");
    let note = recovered.deployment.note.unwrap();
    assert!(note.contains("config.yml"), "{note}");
}

#[test]
fn a_release_killed_at_every_step() {
    let mut steps = 0;
    loop {
        let mut site = site();
        let finished = start(&site, "release", steps + 1).wait().unwrap().success();
        let name = site.name();
        let visible = site.history.find(&name, &"2.0.0".parse().unwrap()).unwrap().is_some();
        assert!(visible || !finished);
        assert_eq!(site.history.verify(&name).unwrap(), if visible { 4 } else { 3 });
        // The same again makes it, or finds it.
        assert_eq!(site.release("2.0.0").unwrap().created, !visible);
        assert_eq!(site.history.verify(&name).unwrap(), 4);
        if finished {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 3);
}

#[test]
fn killed_at_any_moment_again_and_again() {
    let mut site = site();
    let started = Instant::now();
    assert!(start(&site, "deploy", 0).wait().unwrap().success());
    let whole = started.elapsed();
    site.deploy("1.1.0").unwrap();
    // One site through all of it: some are killed while they recover from the one before.
    for i in 0..60_u32 {
        let verb = ["deploy", "rollback", "release"][i as usize % 3];
        let mut child = start(&site, verb, 0);
        std::thread::sleep(Duration::from_micros(whole.as_micros() as u64 * u64::from(i * 7 % 60) / 60));
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        if i % 4 == 0 {
            check_whole(&mut site, &["1.0.0", "1.1.0", "1.2.0"]);
            site.deploy("1.1.0").unwrap();
        }
    }
    check_whole(&mut site, &["1.0.0", "1.1.0", "1.2.0"]);
}
