//! `log` and `verify --releases`: who did what, and whether that is still what was written.

use rusqlite::Connection;
use serde_json::Value;

use crate::campus::Campus;
use crate::common::Ran;

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Takes the triggers away that keep the file, as somebody would who means to change it.
fn forge(campus: &Campus, sql: &str) {
    let db = Connection::open(campus.home.store().join("history.db")).unwrap();
    let drop: Vec<String> = db
        .prepare("SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    db.execute_batch(&drop.concat()).unwrap();
    db.execute_batch(sql).unwrap();
}

#[test]
fn the_log_says_who_when_what_and_from_where() {
    let campus = Campus::new();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    let mut deploy = campus.home.command(["deploy", "campus", "1.0.0", "-m", "go live"]);
    deploy.env("GITLAB_CI", "true").env("CI_JOB_URL", "https://git.example.org/-/jobs/7").env("CI_PIPELINE_ID", "42");
    Ran::of(deploy.output().unwrap()).ok();

    let log = campus.run(&["log", "campus"]).ok();
    assert!(log.out.lines().nth(1).unwrap().contains("deploy 1.0.0 succeeded"), "{}", log.out);
    log.says("released 1.0.0-g").says("ada@").says("gitlab https://git.example.org/-/jobs/7").says("go live");

    let log = lines(&campus.run(&["--json", "log"]).ok());
    assert_eq!(log.len(), 2);
    let deployment = &log[0]["event"]["deployment"];
    assert_eq!((&deployment["origin"]["pipeline"], &deployment["reason"]), (&"42".into(), &"go live".into()));
    assert_eq!(log[0]["previous"], log[1]["hash"]);
    assert_eq!(lines(&campus.run(&["--json", "log", "-n", "1"]).ok()).len(), 1);
    assert_eq!(lines(&campus.run(&["--json", "log", "--since", "1h"]).ok()).len(), 2);
    assert_eq!(lines(&campus.run(&["--json", "log", "--since", "2100-01-01"]).ok()).len(), 0);
    campus.run(&["log", "--since", "yesterday"]).ends_with(2).says("write it as 12h");
    campus.run(&["log", "school"]).ends_with(4).says("campus");
}

#[test]
fn a_changed_record_is_found_and_a_rewritten_log_by_a_hash_that_was_kept() {
    let campus = Campus::with_two_releases();
    campus.run(&["verify", "--releases"]).ok().says("campus: 4 entries as they were written");
    let heads = campus.home.json(&["log", "--head"]);
    let kept = heads[0]["hash"].as_str().unwrap().to_owned();
    campus.run(&["log", "--head"]).ok().says(&kept);
    campus.run(&["rollback", "campus"]).ok();
    // The log goes on, and what was kept is still in it.
    campus.run(&["verify", "--releases", "campus", "--expect", &kept]).ok();

    forge(&campus, "DELETE FROM log WHERE position >= 4; DELETE FROM deployments WHERE sequence >= 2");
    campus.run(&["verify", "--releases"]).ok();
    campus.run(&["verify", "--releases", "campus", "--expect", &kept]).ends_with(1).says(&kept).says("cut off");

    forge(&campus, "UPDATE releases SET created = '2020-01-01T00:00:00Z' WHERE sequence = 1");
    let ran = campus.run(&["--json", "verify", "--releases", "campus"]).ends_with(1);
    assert_eq!(ran.json()[0]["problems"].as_array().unwrap().len(), 1, "{}", ran.out);
    campus.run(&["verify", "--releases", "campus"]).ends_with(1).says("release 1 is not what the log says of it");
}

#[test]
fn flags_of_one_kind_of_verify_go_with_no_other() {
    let campus = Campus::new();
    campus.run(&["verify", "--releases", "--steps"]).ends_with(2);
    campus.run(&["verify", "campus"]).ends_with(2);
    campus.run(&["verify", "--all"]).ends_with(2).says("--all goes with --releases");
    campus.run(&["verify", "--releases", "campus", "--expect", "7"]).ends_with(2);
}
