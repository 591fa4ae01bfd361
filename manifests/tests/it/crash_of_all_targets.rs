//! `kill -9` at every step of a deploy and a rollback over every kind of target, and again at the steps of the recovery: finished or undone, never mixed.

use crate::all_targets::{branches, git, site};
use crate::crash::{check_whole, start};
use crate::site::Site;

/// A site with every kind of target that runs 1.1.0, after 1.0.0.
fn ready() -> Site {
    let mut site = site();
    site.deploy("1.0.0").unwrap();
    site.deploy("1.1.0").unwrap();
    site
}

/// Everything says one version: the files, the program, the branch here and there, and the log. Then all is as it was before.
fn whole(site: &mut Site, allowed: &[&str]) {
    check_whole(site, allowed);
    let version = site.says().remove(0);
    let (here, there, dirty) = branches(site);
    assert_eq!((&here, dirty.as_str()), (&there, ""), "{version}");
    let committed = git(&site.folder.join("gitops"), &["show", "main:app.yaml"]);
    assert!(committed.contains(&format!(":{version}-g")), "{version}: {committed}");
    let log = site.file("deploy.log");
    assert_eq!(log.lines().last().unwrap().split(' ').nth(1), Some(version.as_str()), "{log}");
    if version != "1.1.0" {
        site.deploy("1.1.0").unwrap();
    }
}

/// Kills a command at each of its steps, one after the other; says how many there were.
fn at_every_step(verb: &str, after: &str) -> u32 {
    let mut site = ready();
    for step in 1.. {
        let finished = start(&site, verb, step).wait().unwrap().success();
        let allowed = [after, "1.1.0"];
        whole(&mut site, if finished { &allowed[..1] } else { &allowed });
        if finished {
            return step - 1;
        }
    }
    unreachable!()
}

/// Kills a command at every `stride`th step from `first` on, and the recovery at every fifth of its own; says how many were killed.
fn at_two_steps(verb: &str, after: &str, first: u32) -> u32 {
    let (mut site, mut killed) = (ready(), 0);
    for step in (first..).step_by(2) {
        let mut recovery = 1 + step % 5;
        loop {
            if start(&site, verb, step).wait().unwrap().success() {
                whole(&mut site, &[after]);
                return killed;
            }
            let recovered = start(&site, "recover", recovery).wait().unwrap().success();
            killed += 1 + u32::from(!recovered);
            whole(&mut site, &["1.1.0", after]);
            if recovered {
                break;
            }
            recovery += 5;
        }
    }
    unreachable!()
}

#[test]
fn a_deploy_killed_at_every_step() {
    let steps = at_every_step("deploy", "1.2.0");
    assert!(steps >= 24, "only {steps} steps were seen");
}

#[test]
fn a_rollback_killed_at_every_step() {
    let steps = at_every_step("rollback", "1.0.0");
    assert!(steps >= 24, "only {steps} steps were seen");
}

#[test]
fn a_deploy_killed_and_its_recovery_killed_too() {
    let killed = at_two_steps("deploy", "1.2.0", 2);
    assert!(killed >= 80, "only {killed} were killed");
}

#[test]
fn a_rollback_killed_and_its_recovery_killed_too() {
    let killed = at_two_steps("rollback", "1.0.0", 3);
    assert!(killed >= 80, "only {killed} were killed");
}
