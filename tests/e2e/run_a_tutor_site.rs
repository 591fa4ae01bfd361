//! A site with real Tutor, release 18 and releases 20 to 22: begun, released, deployed, rendered and taken back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::tutor_site::Project;

/// The files that `tutor local` starts services from, and those that it adds for jobs, in Tutor's order (`tutor/commands/local.py`).
const LOCAL: [&str; 4] = [
    "local/docker-compose.yml",
    "local/docker-compose.prod.yml",
    "local/docker-compose.override.yml",
    "local/docker-compose.prod.override.yml",
];
const JOBS: [&str; 2] = ["local/docker-compose.jobs.yml", "local/docker-compose.jobs.override.yml"];

/// The files of the jobs of `tutor dev` (`tutor/commands/dev.py`).
const DEV_JOBS: [&str; 4] = [
    "local/docker-compose.jobs.yml",
    "dev/docker-compose.jobs.yml",
    "local/docker-compose.jobs.override.yml",
    "dev/docker-compose.jobs.override.yml",
];

fn life_of_a_site(release: u32) {
    let Some(project) = Project::new(release) else { return };
    let begun = project.shiplap(&["--json", "init", "campus", "--repository", "reg.example.org/campus"]).ok().json();
    let names: Vec<_> = begun["images"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, ["hello", "mfe", "notes", "openedx"]);
    project.shiplap(&["tutor", "install", "--enable"]).ok().says("enabled in");
    let repo = project.with_small_images();
    project.home.run(["plan", "campus"]).ok();

    let release = |version: &str, colour: &str| {
        repo.write("small/openedx/theme.css", colour);
        repo.commit(colour);
        digests(&project.shiplap(&["--json", "release", "campus", version]).ok().json())
    };
    // Nothing is pushed: no such registry is there.
    let toml = std::fs::read_to_string(project.home.work().join("shiplap.toml")).unwrap();
    repo.write("shiplap.toml", toml + "[release]\npush = false\n");
    let first = release("1.0.0", "red");
    let second = release("1.1.0", "blue");
    assert_ne!(first["openedx"], second["openedx"]);

    project.shiplap(&["deploy", "campus", "1.0.0"]).ok();
    runs_exactly(&project, &first);
    let ran = project.shiplap(&["deploy", "campus", "1.1.0"]).ok();
    assert!(!ran.out.contains("shiplap tutor install"), "{}", ran.out);
    runs_exactly(&project, &second);
    project.shiplap(&["rollback", "campus"]).ok();
    runs_exactly(&project, &first);
    project.shiplap(&["status", "--exit-code"]).ok();

    // Disabled, the plugin leaves the cluster with tags.
    project.shiplap(&["tutor", "uninstall"]).ok();
    assert!(project.containers_by_rule().iter().all(|image| !image.contains('@')));
    project.shiplap(&["deploy", "campus", "1.1.0"]).ok().says("shiplap tutor install");
}

/// After `tutor config save`, each place that names an image of the release resolves to its digest, and there are as many as there must be.
#[track_caller]
fn runs_exactly(project: &Project, release: &BTreeMap<String, String>) {
    project.tutor(&["config", "save"]);
    let of_site: Vec<&str> = release.values().map(String::as_str).collect();
    let repository = |pinned: &str| pinned.split(':').next().unwrap().to_owned();
    let pinned = |image: &str| of_site.iter().find(|pinned| repository(pinned) == repository(image)).copied();

    let all: Vec<&str> = LOCAL.iter().chain(&JOBS).copied().collect();
    let before = project.services(&["local/docker-compose.yml", "local/docker-compose.prod.yml", JOBS[0]]);
    let after = project.services(&all);
    assert_eq!(before.len(), after.len(), "an override adds no service");
    let mut places = 0;
    for (service, image) in &before {
        assert_eq!(after[service], pinned(image).unwrap_or(image), "{service}");
        places += usize::from(pinned(image).is_some());
    }
    // lms, cms, their workers, the beat and two jobs; mfe; notes and its job; hello and its job.
    assert_eq!(places, 12, "{after:?}");

    let rendered = project.containers();
    let wanted: Vec<String> = rendered.iter().map(|image| pinned(image).unwrap_or(image).to_owned()).collect();
    let by_rule = project.containers_by_rule();
    assert_eq!(by_rule, sorted(wanted));
    // Four deployments, two jobs and the init container; mfe; notes and its job; hello.
    assert_eq!(by_rule.iter().filter(|image| of_site.contains(&image.as_str())).count(), 11, "{by_rule:?}");
    match project.containers_by_kubectl() {
        Some(images) => assert_eq!(images, by_rule),
        None => eprintln!("there is no kubectl: kustomize's rule was applied by the test alone"),
    }

    // Development stays as it was.
    let dev = project.services(&DEV_JOBS);
    assert!(dev["lms-job"].starts_with("openedx-dev:"), "{dev:?}");
}

fn sorted(mut images: Vec<String>) -> Vec<String> {
    images.sort();
    images
}

/// What each image of a release is pinned to.
fn digests(release: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let images = release["images"].as_array().unwrap().iter();
    images
        .map(|image| (text(&image["name"]), format!("{}@{}", text(&image["reference"]), text(&image["digest"]))))
        .collect()
}

#[test]
fn a_site_with_tutor_20_runs_what_was_released() {
    life_of_a_site(20);
}

#[test]
fn a_site_with_tutor_21_runs_what_was_released() {
    life_of_a_site(21);
}

#[test]
fn a_site_with_tutor_22_runs_what_was_released() {
    life_of_a_site(22);
}

/// The last release without an override file of its own for `tutor local`.
#[test]
fn a_site_with_tutor_18_runs_what_was_released() {
    life_of_a_site(18);
}
