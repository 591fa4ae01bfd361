//! `--all` and patterns: one command on several instances.

use serde_json::{Value, json};

use crate::common::{Home, Repo};

/// Three instances whose images begin with the same step, and a place where each is deployed.
struct Fleet {
    home: Home,
    repo: Repo,
}

const NAMES: [&str; 3] = ["campus-a", "campus-b", "school"];

/// Slow enough for the others to come to it meanwhile, and other each time.
const SHARED: &str = "FROM base:1 AS shared\nRUN cat /proc/uptime >/shared && sleep 1\n";

impl Fleet {
    fn new() -> Self {
        let home = Home::with_base();
        let mut toml = String::new();
        for name in NAMES {
            toml += &format!(
                "[instance.{name}.image.openedx]\ncontext = \"{name}\"\nrepository = \"{name}/openedx\"\n\
                 [[instance.{name}.deploy]]\nkind = \"compose\"\nfile = \"deploy/{name}.yml\"\nservices = {{ lms = \"openedx\" }}\n"
            );
            home.write(&format!("{name}/Dockerfile"), format!("{SHARED}FROM shared\nRUN echo {name} >/name\n"));
        }
        home.write("shiplap.toml", toml);
        home.write("deploy/.gitignore", "*.yml\n");
        let repo = Repo::of(&home.work());
        Self { home, repo }
    }

    fn edit(&self, name: &str, dockerfile: &str) {
        self.repo.write(&format!("{name}/Dockerfile"), dockerfile);
        self.repo.commit(name);
    }

    /// The version that an instance's target says.
    fn deployed(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.home.work().join(format!("deploy/{name}.yml"))).ok()?;
        let tag = text.split(&format!("{name}/openedx:")).nth(1)?;
        Some(tag.split("-g").next()?.to_owned())
    }
}

fn codes(list: &Value) -> Vec<(&str, u64)> {
    let one = |one: &'_ Value| one["exit_code"].as_u64().unwrap();
    list.as_array().unwrap().iter().map(|item| (item["instance"].as_str().unwrap(), one(item))).collect()
}

#[test]
fn a_step_that_instances_share_runs_once_however_many_are_built_at_once() {
    let fleet = Fleet::new();
    let done = fleet.home.json(&["build", "--all", "--jobs", "3"]);
    assert_eq!(codes(&done), [("campus-a", 0), ("campus-b", 0), ("school", 0)]);
    let steps = done.as_array().unwrap().iter().flat_map(|one| one["result"][0]["steps"].as_array().unwrap());
    let ran: Vec<&str> = steps.filter(|s| s["outcome"] == "ran").map(|s| s["text"].as_str().unwrap()).collect();
    assert_eq!(ran.iter().filter(|text| text.contains("/shared")).count(), 1, "{ran:?}");
    assert_eq!(ran.len(), 4, "{ran:?}");
    for name in NAMES {
        assert_eq!(fleet.home.file(&format!("shiplap.local/{name}/openedx:latest"), "name").trim(), name);
    }
    fleet.home.run(["plan", "campus-*"]).ok().says("2 reused, 0 to run, 0 open");
}

#[test]
fn an_instance_that_fails_stops_no_other_and_the_exit_code_says_so() {
    let fleet = Fleet::new();
    fleet.edit("campus-b", "FROM base:1\nRUN false\n");
    let ran = fleet.home.run(["--json", "build", "--all", "--jobs", "3"]).ends_with(1);
    assert_eq!(codes(&ran.json()), [("campus-a", 0), ("campus-b", 1), ("school", 0)]);
    let ran = ran.says("1 of 3 instances failed: campus-b (failed)");
    assert!(ran.json()[1]["error"].is_string() && ran.json()[1].get("result").is_none());
    // In a table too.
    fleet.home.run(["build", "campus-*"]).ends_with(1).says("campus-a done 1 images, 2 steps reused, 0 run");
}

#[test]
fn a_fleet_is_released_deployed_and_taken_back() {
    let fleet = Fleet::new();
    let released = fleet.home.json(&["release", "--all", "1.0.0"]);
    assert_eq!(codes(&released).len(), 3);
    assert_eq!(released[2]["result"]["version"], json!("1.0.0"));
    fleet.home.run(["deploy", "--all", "1.0.0"]).ok().says("school done 1.0.0-g");
    fleet.edit("school", "FROM base:1\nRUN echo two >/name\n");
    fleet.home.run(["release", "--all", "--bump", "minor"]).ok();

    // Somebody holds one of them: a machine's deploy is refused there, and goes on elsewhere.
    fleet.home.run(["deploy", "campus-a", "1.1.0"]).ok();
    fleet.home.run(["rollback", "campus-a", "--hold"]).ok();
    let ran = fleet.home.run(["--json", "deploy", "--all", "1.1.0", "--automatic"]).ends_with(3);
    assert_eq!(codes(&ran.json()), [("campus-a", 3), ("campus-b", 0), ("school", 0)]);
    assert_eq!(NAMES.map(|name| fleet.deployed(name).unwrap()), ["1.0.0", "1.1.0", "1.1.0"]);

    // Two go back. What has nothing to go back to says so (4), which is the highest code of the three.
    fleet.home.run(["rollback", "--all", "-m", "slow"]).ends_with(4).says("campus-a missing").says("from 1.1.0");
    assert_eq!(NAMES.map(|name| fleet.deployed(name).unwrap()), ["1.0.0"; 3]);
    let versions = fleet.home.json(&["status", "--all"]);
    assert_eq!(versions.as_array().unwrap().len(), 3);
    assert_eq!(fleet.home.json(&["status", "campus-*"]).as_array().unwrap().len(), 2);
    fleet.home.run(["rollback", "--all", "--unhold"]).ends_with(4).says("the hold on campus-a is lifted");
    fleet.home.run(["status", "--exit-code"]).ok();
}

#[test]
fn what_means_no_instance_or_two_things_is_told() {
    let fleet = Fleet::new();
    fleet.home.run(["status", "uni-*"]).ends_with(4).says("campus-a, campus-b, school");
    fleet.home.run(["deploy", "--all"]).ends_with(2).says("which version?");
    fleet.home.run(["deploy", "campus-a", "1.0.0", "--all"]).ends_with(2).says("--all means every instance");
    fleet.home.run(["build", "campus-a", "--all"]).ends_with(2).says("leave one of them out");
    fleet.home.run(["build", "--all", "--iidfile", "id"]).ends_with(2).says("name one instance");
    fleet.home.run(["release", "--all", "1.0.0", "--bump", "minor"]).ends_with(2);
}

#[test]
fn a_dirty_tree_refuses_every_instance_and_says_so_for_each() {
    let fleet = Fleet::new();
    fleet.home.write("new", "not committed");
    let ran = fleet.home.run(["--json", "release", "--all", "1.0.0"]).ends_with(3);
    assert_eq!(codes(&ran.json()), NAMES.map(|name| (name, 3)));
}
