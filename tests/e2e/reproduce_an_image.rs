//! The same image on two machines.

use std::process::Command;

use serde_json::Value;

use crate::common::{Home, Ran, sh};
use crate::registry_server::Registry;
use crate::site::Site;

const DOCKERFILE: &str = "
FROM base:1 AS one
COPY page /srv/page
RUN mkdir /made && sha256sum /srv/page >/made/sum && chmod 600 /made/sum
FROM base:1
COPY --from=one --chown=bob:bob /made /made
RUN ln -s made/sum /link; rm /bin/wget
ENV A=b
";

/// Builds and packs, with or without a clock that stands still, and gives the manifest's digest.
fn digest(home: &Home, epoch: Option<&str>) -> String {
    home.write("page", "hello");
    home.write("Dockerfile", DOCKERFILE);
    for args in [&["build", "-t", "app:1", "."][..], &["export", "app:1", "layout"]] {
        let mut command = home.command(args);
        command.envs(epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch)));
        Ran::of(command.output().unwrap()).ok();
    }
    let index = std::fs::read(home.work().join("layout/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Steps that do the same write the same bytes; only the times are of the day. `SOURCE_DATE_EPOCH` takes those away.
#[test]
fn two_builds_from_nothing_differ_in_nothing_but_times() {
    let homes = [Home::with_base(), Home::with_base()];
    let clamped: Vec<_> = homes.iter().map(|home| digest(home, Some("1700000000"))).collect();
    assert_eq!(clamped[0], clamped[1]);
    assert_eq!(homes[0].files("app:1"), homes[1].files("app:1"));
    // A second export of the same build is the same without it too.
    let first = digest(&Home::with_base(), None);
    assert_ne!(first, clamped[0]);
}

/// As an argument it is for the configuration, and the steps that ask for it.
#[test]
fn the_time_of_the_source_as_an_argument() {
    let home = Home::with_base();
    let flags = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
    home.build("app:1", "FROM base:1\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/epoch\n", &flags);
    assert_eq!(home.file("app:1", "epoch"), "1700000000\n");
    let config = home.config("app:1");
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let history = config["history"].as_array().unwrap();
    assert!(
        history.iter().all(|line| line["created"].as_str().unwrap_or_default() <= "2023-11-14T22:13:20Z"),
        "{history:?}"
    );
    // The environment says the same.
    let mut command = home.command(["build", "-t", "app:2", "."]);
    Ran::of(command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap()).ok();
    assert_eq!(home.config("app:2"), config);
    home.run(["build", "--build-arg", "SOURCE_DATE_EPOCH=now", "."]).says("SOURCE_DATE_EPOCH is `now`");
}

/// Two clones of a repository, two stores, and the second has the step results of the first.
#[test]
fn a_machine_with_the_results_of_another_makes_the_same_release() {
    let (here, there) = (Site::new(), Home::new());
    let first = here.home.json(&["release", "campus", "1.0.0"]);
    let clone = |from: &std::path::Path, to: &std::path::Path| sh(Command::new("cp").arg("-aT").arg(from).arg(to));
    clone(&here.home.store(), &there.store());
    sh(Command::new("git").arg("clone").arg("-q").arg(&here.repo.path).arg(there.path("clone")));
    std::fs::remove_dir(there.work()).unwrap();
    std::fs::rename(there.path("clone"), there.work()).unwrap();
    let again = there.json(&["release", "campus", "1.0.1"]);
    assert_eq!((&again["steps"]["run"], &again["steps"]["reused"]), (&0.into(), &4.into()));
    for (one, other) in first["images"].as_array().unwrap().iter().zip(again["images"].as_array().unwrap()) {
        assert_eq!(one["digest"], other["digest"]);
    }
}

/// Who pulls the base has the base that was pushed: what is built on it with the same results is the same.
#[test]
fn an_image_that_went_through_a_registry_packs_to_the_same_digest() {
    let registry = Registry::start();
    let (here, there) = (Home::with_base(), Home::new());
    let built = digest(&here, None);
    let name = registry.name("campus/app:1");
    here.run(["push", "app:1", "--as", &name]).ok();
    assert_eq!(there.json(&["pull", &name])["digest"], built.as_str());
    there.run(["export", &name, "layout"]).ok();
    let index = std::fs::read_to_string(there.work().join("layout/index.json")).unwrap();
    assert!(index.contains(&built), "{index}");
}
