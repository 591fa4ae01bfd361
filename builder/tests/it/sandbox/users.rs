//! Who a step is and what it may do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use shiplap_builder::sandbox::SandboxError;

use super::lab::{Lab, run};

fn as_user(lab: &Lab, user: &str, script: &str) -> String {
    let mut spec = lab.spec(script);
    spec.user = Some(user.into());
    run(&spec).unwrap().ok()
}

#[test]
fn users_groups_and_home_are_the_images() {
    let lab = Lab::new();
    let script = "id -u; id -g; id -G; echo $HOME";
    assert_eq!(lab.sh(script).ok(), "0\n0\n0 4444\n/root\n");
    assert_eq!(as_user(&lab, "bob", script), "3333\n100\n100 29 4444\n/home/bob\n");
    assert_eq!(as_user(&lab, "bob:audio", script), "3333\n29\n29\n/home/bob\n");
    assert_eq!(as_user(&lab, "7777:8", script), "7777\n8\n8\n/\n");
}

#[test]
fn an_unknown_user_is_an_error_that_says_so() {
    let lab = Lab::new();
    let mut spec = lab.spec("true");
    spec.user = Some("eve".into());
    let error = run(&spec).err().unwrap();
    assert!(matches!(error, SandboxError::SetUp { .. }));
    let text = error.to_string();
    assert!(text.contains("\"eve\"") && text.contains("/etc/passwd"), "{text}");
}

/// The masks are what `grep Cap /proc/self/status` prints in a Docker 28 build.
#[test]
fn capabilities_are_exactly_dockers() {
    let lab = Lab::new();
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
    let none = "0000000000000000";
    let docker = "00000000a80425fb";
    assert_eq!(
        lab.sh(script).ok(),
        format!("CapInh:{none}\nCapPrm:{docker}\nCapEff:{docker}\nCapBnd:{docker}\nCapAmb:{none}\nNoNewPrivs:0\n")
    );
    assert_eq!(
        as_user(&lab, "bob", script),
        format!("CapInh:{none}\nCapPrm:{none}\nCapEff:{none}\nCapBnd:{docker}\nCapAmb:{none}\nNoNewPrivs:0\n")
    );
}

#[test]
fn setuid_programs_work() {
    let lab = Lab::new();
    fs::set_permissions(lab.layers[0].join("bin/busybox"), fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(as_user(&lab, "bob", "id -u; su root -c 'id -u'"), "3333\n0\n");
}

#[test]
fn another_user_is_not_root() {
    let lab = Lab::new();
    let out = as_user(&lab, "bob", "touch /home/x 2>/dev/null || echo refused; touch /tmp/y; stat -c %u:%g /tmp/y");
    assert_eq!(out, "refused\n3333:100\n");
}

#[test]
fn the_environment_is_the_steps_alone() {
    let lab = Lab::new();
    let mut spec = lab.spec("env | sort");
    spec.env = vec![("A".into(), "1 2=3".into()), ("HOME".into(), String::new())];
    let out = run(&spec).unwrap().ok();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        out,
        format!("A=1 2=3\nHOME=/root\nPATH={path}\nPWD=/\nSHLVL=1\n")
            .replace("SHLVL=1\n", if out.contains("SHLVL") { "SHLVL=1\n" } else { "" })
    );
}

#[test]
fn the_working_directory_is_made_for_the_user() {
    let lab = Lab::new();
    let mut spec = lab.spec("readlink /proc/self/cwd; stat -c %u:%g:%a . ..");
    spec.user = Some("bob".into());
    spec.cwd = "/srv/app".into();
    let ran = run(&spec).unwrap();
    assert_eq!(ran.changed(), ["srv", "srv/app"]);
    assert_eq!(ran.ok(), "/srv/app\n3333:100:755\n3333:100:755\n");
}
