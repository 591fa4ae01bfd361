//! Registries that are not there, refuse, or lie.

use std::fs;

use super::flip;
use super::registry::Registry;
use crate::common::Home;

#[test]
fn a_registry_that_is_not_there_is_named() {
    let home = Home::with_base();
    // Nothing listens on the port for `discard`.
    let name = "127.0.0.1:9/campus/openedx:1";
    home.write("Dockerfile", format!("FROM {name}\nRUN true\n"));
    home.run(["build", "."]).ends_with(5).says("no answer from 127.0.0.1:9").says("[./Dockerfile:1:1]");
    home.run(["pull", name]).ends_with(5).says("no answer from 127.0.0.1:9");
    home.run(["tags", "127.0.0.1:9/campus/openedx", "--remote"]).ends_with(5).says("no answer from 127.0.0.1:9");
    home.import_base(name);
    home.run(["push", name]).ends_with(5).says("no answer from 127.0.0.1:9").says("does the registry run?");
    home.write("Dockerfile", "FROM base:1\n");
    home.run(["build", ".", "-t", name, "--push"]).ends_with(5).says("no answer from 127.0.0.1:9");
}

#[test]
fn an_image_that_its_registry_does_not_have_is_told() {
    let home = Home::with_base();
    let registry = Registry::start();
    let name = registry.name("campus/nothing:1");
    home.run(["pull", &name]).ends_with(5).says(&name).says("it is not there");
}

#[test]
fn a_wrong_password_is_told_with_where_it_came_from_and_never_shown() {
    let home = Home::with_base();
    let registry = Registry::with_password("ada", "right-password");
    let name = registry.name("campus/openedx:1");
    home.import_base(&name);
    home.run(["push", &name]).ends_with(5).says("docker login");
    let login = |password: &str| {
        // base64 of ada:PASSWORD, as `docker login` writes it.
        let mut encoder = std::process::Command::new("base64")
            .arg("-w0")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut encoder.stdin.take().unwrap(), format!("ada:{password}").as_bytes()).unwrap();
        let auth = String::from_utf8(encoder.wait_with_output().unwrap().stdout).unwrap();
        let config = home.path("user/.docker/config.json");
        crate::common::write(&config, format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}", registry.host()));
    };
    login("wrong-password");
    for args in [&["push", &name][..], &["pull", &name]] {
        let ran = home.run(args).ends_with(5).says("user `ada`").says("config.json").says("docker login");
        assert!(!ran.err.contains("wrong-password"), "{}", ran.err);
    }
    login("right-password");
    home.run(["push", &name]).ok();
    home.run(["pull", &name]).ok();
}

#[test]
fn a_blob_that_is_not_what_its_registry_promised_is_not_taken() {
    let home = Home::with_base();
    let registry = Registry::start();
    let name = registry.name("campus/openedx:1");
    home.import_base(&name);
    home.run(["push", &name]).ok();
    let largest = registry.blobs().into_iter().max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap();
    flip(&largest);
    let hex = largest.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let other = Home::new();
    other.run(["pull", &name]).ends_with(5).says("something else").says(hex);
    other.write("Dockerfile", format!("FROM {name}\nRUN true\n"));
    other.run(["build", "."]).ends_with(5).says("something else").says(hex);
    assert_eq!(other.json(&["images"]).as_array().unwrap().len(), 0);
    assert!(!other.store().join("blobs/sha256").join(hex).exists());
    // It is good again, and nothing bad was kept.
    flip(&largest);
    other.run(["pull", &name]).ok();
    other.run(["build", "."]).ok();
}

/// A registry that goes away in the middle of a release: it is not there, and then it is.
#[test]
fn a_release_whose_registry_is_away_is_not_there_and_then_is() {
    let mut registry = Registry::start();
    let campus = crate::campus::Campus::new();
    let config = crate::campus::CONFIG.replace("campus/", &format!("{}/campus/", registry.host()));
    campus.home.write("shiplap.toml", config);
    campus.repo.commit("a registry");
    registry.stop();
    campus.run(&["release", "campus", "1.0.0"]).ends_with(5).says("no answer from");
    assert!(campus.releases().is_empty());
    campus.run(&["deploy", "campus", "1.0.0"]).ends_with(4);
    registry.run();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    assert_eq!(campus.deployed(), ["1.0.0"]);
}

/// A plan is worth having on a train, too.
#[test]
fn a_plan_leaves_open_what_it_cannot_fetch_and_a_build_fails() {
    let home = Home::with_base();
    let dockerfile = "FROM scratch AS code\nADD http://127.0.0.1:9/a/b.git#main /\nFROM base:1 AS file\nADD http://127.0.0.1:9/f /\n\
                      FROM base:1\nRUN true\nCOPY --from=code / /code\nCOPY --from=file /f /f\n";
    home.write("Dockerfile", dockerfile);
    home.run(["plan", "."])
        .ok()
        .says("1 to run, 4 open")
        .says("http://127.0.0.1:9/a/b.git")
        .says("cannot download http://127.0.0.1:9/f");
    home.run(["build", "."]).ends_with(5).says("127.0.0.1:9");
}
