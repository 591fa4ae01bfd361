//! `[history]` with `kind = "registry"`: CI and operators see one history, in Debian's registry server and in `shiplap serve`.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::campus::{CONFIG, Campus};
use crate::common::{Home, Ran, Repo, sh};
use crate::registry_server::Registry;
use crate::serving::Serving;

/// A site whose history is in this registry, with 1.0.0 released.
fn shared(registry: &str) -> Campus {
    let campus = Campus::new();
    let history = format!("\n[history]\nkind = \"registry\"\nrepository = \"{registry}/campus/history\"\n");
    campus.home.write("shiplap.toml", format!("{CONFIG}{history}"));
    campus.home.write(".gitignore", "docker-compose.override.yml\n");
    campus.repo.commit("shared");
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus
}

/// Another machine: a store of its own with the same images, and a clone of the site.
fn elsewhere(campus: &Campus) -> Home {
    let home = Home::new();
    sh(Command::new("cp").arg("-a").args([campus.home.store(), home.store()]));
    for name in ["history.db", "history.db-wal", "history.db-shm", "history.registry"] {
        let path = home.store().join(name);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    let repo = Repo { path: home.work() };
    repo.git(&["clone", "-q", campus.home.work().to_str().unwrap(), "."]);
    home
}

fn hashes(home: &Home) -> Vec<String> {
    let log = home.run(["--json", "log"]).ok().out;
    log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["hash"].as_str().unwrap().to_owned()).collect()
}

/// Two stores see one history; of two operators at once one wins, and the other is told by whom.
fn one_history(registry: &str) {
    let campus = shared(registry);
    let other = elsewhere(&campus);
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    other.run(["status"]).ok().says("1.0.0");
    assert_eq!(hashes(&other), hashes(&campus.home));
    assert_eq!(hashes(&other).len(), 2);

    for _ in 0..3 {
        let before = hashes(&campus.home).len();
        let start = |home: &Home, actor: &str| {
            let mut command = home.command(["deploy", "campus", "1.0.0"]);
            command.env("SHIPLAP_ACTOR", actor).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children = [start(&campus.home, "ada"), start(&other, "grace")];
        let ran: Vec<Ran> = children.into_iter().map(|child| Ran::of(child.wait_with_output().unwrap())).collect();
        let won = ran.iter().filter(|one| one.code == Some(0)).count();
        // Who comes when the first has ended deploys after it.
        assert!(won >= 1, "{ran:?}");
        for (one, by) in ran.into_iter().zip(["grace", "ada"]).filter(|(one, _)| one.code != Some(0)) {
            one.ends_with(3).says(&format!("is being changed by {by}")).says("since");
        }
        assert_eq!(hashes(&campus.home).len(), before + won);
        assert_eq!(hashes(&other), hashes(&campus.home));
    }
    for home in [&campus.home, &other] {
        home.run(["verify", "--releases"]).ok().says("as they were written");
    }
}

#[test]
fn two_stores_see_one_history_in_a_registry_that_lets_tags_move() {
    let registry = Registry::start();
    one_history(&registry.address);
}

#[test]
fn two_stores_see_one_history_in_shiplap_serve_where_a_page_never_moves() {
    let server = Home::new();
    let serving = Serving::start(&server, &[]);
    one_history(serving.address());
    // Nobody makes a page anew, nor takes one away.
    let home = Home::with_base();
    let page = format!("{}/campus/history:shiplap-history-0000000001", serving.address());
    home.run(["push", "base:1", "--as", &page]).ends_with(3).says("shiplap-history-0000000001");
    let url = format!("http://{}/v2/campus/history/manifests/shiplap-history-0000000001", serving.address());
    let answer =
        Command::new("curl").args(["-s", "-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", &url]).output();
    let code = String::from_utf8(answer.unwrap().stdout).unwrap();
    assert!(code.starts_with("40"), "{code}");
}

#[test]
fn without_the_registry_one_can_look_and_not_deploy() {
    let mut registry = Registry::start();
    let campus = shared(&registry.address);
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    let before = (campus.target(), campus.home.json(&["status"]));
    registry.stop();
    campus.run(&["status"]).ok().says("1.0.0").says("as this store knew it last").says(&registry.address);
    campus.run(&["verify", "--releases"]).ok().says("as this store knew it last");
    campus.run(&["deploy", "campus", "1.0.0"]).ends_with(5).says("cannot be read");
    campus.run(&["release", "campus", "1.0.1"]).ends_with(5);
    assert_eq!((campus.target(), campus.home.json(&["status"])), before);
}

#[test]
fn a_page_that_was_lost_is_found() {
    let registry = Registry::start();
    let campus = shared(&registry.address);
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    let tags = registry.repository("campus/history/_manifests/tags");
    for (page, seen_at_once) in [("shiplap-history-0000000002", false), ("shiplap-history-0000000004", true)] {
        let (tag, away) = (tags.join(page), registry.repository("campus/history/away"));
        std::fs::rename(&tag, &away).unwrap();
        campus.run(&["verify", "--releases"]).ends_with(1).says(page).says("is missing");
        if seen_at_once {
            campus.run(&["status"]).ok().says(page).says("as this store knew it last");
            campus.run(&["deploy", "campus", "1.0.0"]).ends_with(6).says(page);
        }
        std::fs::rename(&away, &tag).unwrap();
        campus.run(&["verify", "--releases"]).ok();
    }
}

#[test]
fn a_repository_that_cannot_be_one_is_told() {
    let campus = Campus::new();
    for (repository, says) in
        [("\"campus/history\"", "names no registry"), ("\"x:y:z\"", "cannot be a repository"), ("7", "shiplap.toml:14")]
    {
        let history = format!("\n[history]\nkind = \"registry\"\nrepository = {repository}\n");
        campus.home.write("shiplap.toml", format!("{CONFIG}{history}"));
        campus.run(&["status"]).ends_with(2).says(says);
    }
}
