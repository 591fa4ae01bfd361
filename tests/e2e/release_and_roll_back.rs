//! `release`, `deploy`, `rollback`, `status`: the life of a site.

use serde_json::{Value, json};

use crate::site::Site;

#[test]
fn a_release_is_made_deployed_followed_by_another_and_taken_back() {
    let site = Site::new();
    let commit = site.repo.git(&["rev-parse", "HEAD"]);
    let first = site.home.json(&["release", "campus", "1.0.0"]);
    let tag = format!("1.0.0-g{}", &commit[..12]);
    assert_eq!((&first["tag"], &first["made"]), (&json!(tag), &json!(true)));
    assert!(first["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    assert_eq!(first["git"]["commit"], json!(commit));
    assert_eq!(first["creator"].as_str().unwrap().split('@').next(), Some("ada"));
    assert_eq!(names(&first), ["mfe", "openedx"]);
    assert_eq!(first["steps"]["run"], 4);
    site.home.run(["deploy", "campus", "1.0.0", "-m", "go"]).ok().says(&tag);
    let written = site.deployed();
    assert_eq!(written.matches(&digest(&first, "openedx")).count(), 2, "{written}");
    assert_eq!(written.matches(&digest(&first, "mfe")).count(), 1, "{written}");

    site.edit("blue");
    let second = site.home.json(&["release", "campus", "--bump", "patch"]);
    assert_eq!((&second["version"], &second["sequence"]), (&json!("1.0.1"), &json!(2)));
    assert_eq!((&second["steps"]["run"], &second["steps"]["reused"]), (&json!(2), &json!(2)));
    assert_eq!(second["previous"], first["digest"]);
    // What did not change is the same image under another tag.
    assert_eq!(digest(&second, "mfe"), digest(&first, "mfe"));
    assert_ne!(digest(&second, "openedx"), digest(&first, "openedx"));
    // A release alone changes nothing that runs.
    assert_eq!(site.deployed(), written);
    site.home.run(["deploy", "campus", "1.0.1"]).ok();
    assert!(site.deployed().contains(&digest(&second, "openedx")));
    let status = site.home.json(&["status"]);
    assert_eq!(status[0]["current"]["version"], "1.0.1");
    site.home.run(["status"]).ok().says("1.0.1").says("1 as deployed");

    let back = site.home.json(&["rollback", "campus", "-m", "too blue"]);
    assert_eq!((&back["from"], &back["to"]), (&json!("1.0.1"), &json!("1.0.0")));
    assert!(!back["not_rolled_back"].as_array().unwrap().is_empty());
    assert_eq!(site.deployed(), written);
    let status = site.home.json(&["status", "campus", "--exit-code"]);
    let current = &status[0]["current"];
    assert_eq!(current["version"], "1.0.0");
    assert_eq!((&current["action"], &current["reason"]), (&json!("rollback"), &json!("too blue")));
    assert_eq!(status[0]["newest"]["version"], "1.0.1");
    site.home.run(["status"]).ok().says("the newest release is 1.0.1");

    let releases = site.home.json(&["releases"]);
    let versions: Vec<_> = releases.as_array().unwrap().iter().map(|r| r["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["1.0.1", "1.0.0"]);
    let tags = site.home.json(&["tags"]);
    assert_eq!(tags.as_array().unwrap().len(), 4);
    let openedx = site.home.json(&["tags", "campus/openedx"]);
    assert_eq!(openedx[0]["digest"].as_str().unwrap(), digest(&first, "openedx"));
    site.home.run(["releases", "campus"]).ok().says("deployed");
}

#[test]
fn the_same_release_again_changes_nothing() {
    let site = Site::new();
    let first = site.home.json(&["release", "campus", "1.0.0"]);
    let again = site.home.json(&["release", "1.0.0"]);
    assert_eq!((&again["digest"], &again["made"]), (&first["digest"], &json!(false)));
    assert_eq!(again["steps"], first["steps"], "the record is the old one");
    site.home.run(["release", "1.0.0"]).ok().says("was released already");
    assert_eq!(site.home.json(&["releases"]).as_array().unwrap().len(), 1);
    // Of another commit it is another release, and the version is taken.
    site.edit("blue");
    site.home.run(["release", "campus", "1.0.0"]).ends_with(3).says("1.0.0");
    assert_eq!(site.home.json(&["tags"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_dirty_tree_is_released_only_when_that_is_said_and_the_tag_says_it() {
    let site = Site::new();
    site.repo.write("openedx/theme.css", "green");
    site.home.run(["release", "campus", "1.0.0"]).ends_with(3).says("theme.css");
    assert_eq!(site.home.json(&["tags"]), json!([]));
    let dirty = site.home.json(&["release", "campus", "1.0.0", "--allow-dirty"]);
    assert!(dirty["tag"].as_str().unwrap().contains("-dirty."), "{dirty}");
    // What a deploy writes makes no tree dirty, ignored by git or not.
    site.repo.write(".gitignore", "");
    site.repo.commit("green");
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    site.home.run(["release", "campus", "1.1.0"]).ok();
}

#[test]
fn a_hold_keeps_machines_away_until_it_is_lifted() {
    let site = Site::new();
    for (version, colour) in [("1.0.0", "blue"), ("1.1.0", "green")] {
        site.edit(colour);
        site.home.run(["release", "campus", version]).ok();
        site.home.run(["deploy", "campus", version, "--automatic"]).ok();
    }
    site.home.run(["rollback", "campus", "--hold", "-m", "broken"]).ok();
    site.home.run(["deploy", "campus", "1.1.0", "--automatic"]).ends_with(3).says("broken");
    site.home.run(["status"]).ok().says("held");
    site.home.run(["rollback", "campus", "--unhold"]).ok();
    site.home.run(["deploy", "campus", "1.1.0", "--automatic"]).ok();
    site.home.run(["rollback", "campus", "--unhold"]).ends_with(4);
}

#[test]
fn a_deploy_that_expects_another_one_is_refused() {
    let site = Site::new();
    for version in ["1.0.0", "1.1.0"] {
        site.edit(version);
        site.home.run(["release", "campus", version]).ok();
    }
    site.home.run(["deploy", "campus", "1.0.0", "--expect", "0"]).ok();
    let before = site.deployed();
    site.home.run(["deploy", "campus", "1.1.0", "--expect", "0"]).ends_with(3);
    assert_eq!(site.deployed(), before);
    site.home.run(["deploy", "campus", "1.1.0", "--expect", "1"]).ok();
    site.home.run(["rollback", "campus", "--expect", "1"]).ends_with(3);
}

#[test]
fn drift_is_shown_and_the_next_deploy_puts_it_right() {
    let site = Site::new();
    let release = site.home.json(&["release", "campus", "1.0.0"]);
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    let written = site.deployed();
    site.home
        .write(crate::site::OVERRIDE, written.replace(&digest(&release, "mfe"), &format!("sha256:{}", "0".repeat(64))));
    let ran = site.home.run(["status", "--exit-code"]).ends_with(3);
    ran.says("DRIFT").says("mfe");
    site.edit("blue");
    site.home.run(["release", "campus", "1.1.0"]).ok();
    site.home.run(["deploy", "campus", "1.1.0"]).ok();
    site.home.run(["status", "--exit-code"]).ok();
    site.home.run(["rollback", "campus"]).ok();
    assert_eq!(site.deployed(), written);
}

/// A configuration that `init` writes is one that the other commands read.
#[test]
fn init_begins_a_site() {
    let site = Site::new();
    std::fs::remove_file(site.home.work().join("shiplap.toml")).unwrap();
    site.home.run(["build", "campus"]).ends_with(4).says("shiplap init");
    site.home.run(["init", "campus"]).ok().says("openedx").says("mfe");
    site.home.run(["init", "campus"]).ends_with(3);
    let built = site.home.json(&["build"]);
    assert_eq!(built["images"].as_array().unwrap().len(), 2);
    assert_eq!(site.home.json(&["build", "--image", "mfe"])["images"][0]["ran"], 0);
    site.repo.commit("init");
    site.home.run(["release", "0.1.0"]).ok();
}

fn names(release: &Value) -> Vec<&str> {
    release["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect()
}

fn digest(release: &Value, name: &str) -> String {
    let images = release["images"].as_array().unwrap();
    images.iter().find(|image| image["name"] == name).unwrap()["digest"].as_str().unwrap().to_owned()
}
