//! `[history]` with `kind = "git"`: CI and operators, each with a store of its own, see one history.

use serde_json::Value;

use crate::campus::{CONFIG, Campus};
use crate::common::{Home, Repo, sh};

const SHARED: &str = "\n[history]\nkind = \"git\"\n";

/// A site whose repository has a remote, and the folder of that.
fn shared() -> (Campus, std::path::PathBuf) {
    let campus = Campus::new();
    campus.home.write("shiplap.toml", format!("{CONFIG}{SHARED}"));
    campus.home.write(".gitignore", "docker-compose.override.yml\n");
    campus.repo.commit("shared");
    let remote = campus.home.path("remote.git");
    campus.repo.git(&["clone", "-q", "--bare", ".", remote.to_str().unwrap()]);
    campus.repo.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
    (campus, remote)
}

/// Another machine: a store of its own, and a clone of the site.
fn elsewhere(remote: &std::path::Path) -> (Home, Repo) {
    let home = Home::with_base();
    let repo = Repo { path: home.work() };
    repo.git(&["clone", "-q", "-b", "main", remote.to_str().unwrap(), "."]);
    (home, repo)
}

fn hashes(home: &Home) -> Vec<String> {
    let log = home.run(["--json", "log"]).ok().out;
    log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["hash"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_released_and_deployed_here_is_known_elsewhere() {
    let (campus, remote) = shared();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    let (other, repo) = elsewhere(&remote);
    assert_eq!(hashes(&other).len(), 2);
    other.run(["status"]).ok().says("1.0.0");
    // The next version follows from the one that was made on the other machine.
    repo.write("openedx/text", "two");
    repo.commit("two");
    let made = other.json(&["release", "campus", "--bump", "minor"]);
    assert_eq!((made["version"].as_str(), made["sequence"].as_u64()), (Some("1.1.0"), Some(2)));
    assert_eq!(hashes(&campus.home), hashes(&other));
    campus.run(&["verify", "--releases"]).ok().says("3 entries as they were written");
    // The branch of the site is as its people left it.
    assert_eq!(sh(std::process::Command::new("git").arg("-C").arg(&remote).args(["rev-list", "--count", "main"])), "2");
}

#[test]
fn an_instance_that_somebody_is_changing_is_left_alone() {
    let (campus, remote) = shared();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    let clone = campus.home.path("clone");
    campus.repo.git(&["clone", "-q", "-b", "shiplap", remote.to_str().unwrap(), clone.to_str().unwrap()]);
    let repo = Repo { path: clone };
    repo.write(
        "releases/campus/claim.json",
        r#"{"actor":"grace@night","since":"2026-11-21T10:00:00Z","store":"another"}"#,
    );
    repo.commit("claim");
    repo.git(&["push", "-q"]);
    campus.run(&["deploy", "campus", "1.0.0"]).ends_with(3).says("grace@night since 2026-11-21T10:00:00Z");
    assert_eq!(campus.target(), "");
    repo.git(&["rm", "-q", "releases/campus/claim.json"]);
    repo.commit("gone");
    repo.git(&["push", "-q"]);
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
}

#[test]
fn without_the_remote_one_can_look_and_not_deploy() {
    let (campus, remote) = shared();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    let away = remote.with_extension("away");
    std::fs::rename(&remote, &away).unwrap();
    campus.run(&["status"]).ok().says("1.0.0").says("as this store knew it last");
    let before = campus.target();
    campus.run(&["deploy", "campus", "1.0.0"]).ends_with(5).says("cannot be read");
    campus.run(&["release", "campus", "1.0.1"]).ends_with(5);
    assert_eq!(campus.target(), before);
    std::fs::rename(&away, &remote).unwrap();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
}

#[test]
fn a_place_that_cannot_be_is_told() {
    let campus = Campus::new();
    campus.home.write("shiplap.toml", format!("{CONFIG}{SHARED}"));
    campus.run(&["status"]).ends_with(2).says("git remote add origin URL");
    campus.home.write("shiplap.toml", format!("{CONFIG}{SHARED}branch = \"--upload-pack=x\"\n"));
    campus.run(&["status"]).ends_with(2).says("history.branch");
    campus.home.write("shiplap.toml", format!("{CONFIG}{SHARED}path = \"../x\"\n"));
    campus.run(&["status"]).ends_with(2).says("history.path");
}
