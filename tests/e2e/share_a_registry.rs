//! `push`, `pull` and releases with a registry between two machines.

use serde_json::json;

use crate::common::Home;
use crate::registry_server::Registry;
use crate::site::Site;

#[test]
fn what_one_machine_pushes_another_pulls_and_builds_on() {
    let registry = Registry::start();
    let (here, there) = (Home::with_base(), Home::new());
    here.build("app:1", "FROM base:1\nRUN echo hello >/greeting\nENV A=b\n", &[]);
    let name = registry.name("campus/app:1");
    let pushed = here.json(&["push", "app:1", "--as", &name]);
    assert!(pushed["sent"].as_u64().unwrap() > 0);
    // What is there is not sent again.
    assert_eq!(here.json(&["push", "app:1", "--as", &name])["sent"], 0);
    assert_eq!(here.json(&["tags", "--remote", &registry.name("campus/app")])[0]["tag"], "1");

    let pulled = there.json(&["pull", &name]);
    assert_eq!(pulled["digest"], pushed["digest"]);
    assert_eq!(there.files(&name), here.files("app:1"));
    assert_eq!(there.config(&name)["config"], here.config("app:1")["config"]);

    // A base image that is not in the store comes from its registry.
    let third = Home::new();
    third.build(
        "next:1",
        &format!("FROM {name}\nRUN cat /greeting >/copy\nCOPY --from={name} /greeting /again\n"),
        &[],
    );
    assert_eq!(third.file("next:1", "copy"), "hello\n");
    assert_eq!(third.file("next:1", "again"), "hello\n");
    third.run(["pull", &registry.name("campus/nothing:1")]).ends_with(5).says("campus/nothing");
}

#[test]
fn a_build_is_pushed_under_its_names() {
    let registry = Registry::start();
    let (here, there) = (Home::with_base(), Home::new());
    let names = [registry.name("a/app:1"), registry.name("b/app:2")];
    here.write("Dockerfile", "FROM base:1\nRUN touch /x\n");
    here.run(["build", "--push", "--compression", "gzip", "-t", &names[0], "-t", &names[1], "."]).ok();
    for name in &names {
        there.run(["pull", name]).ok();
        assert!(there.files(name).contains_key("x"));
    }
}

#[test]
fn a_release_is_pushed_and_its_tag_never_moves() {
    let registry = Registry::start();
    let site = Site::with_registry(&format!("{}/", registry.address));
    let first = site.home.json(&["release", "campus", "1.0.0"]);
    assert!(first["pushed_bytes"].as_u64().unwrap() > 0);
    let tag = first["tag"].as_str().unwrap();
    let openedx = registry.name("campus/openedx");
    assert_eq!(site.home.json(&["tags", "--remote", &openedx])[0]["tag"], json!(tag));
    assert_eq!(site.home.json(&["release", "campus", "1.0.0"])["pushed_bytes"], 0);

    // Another image under the tag of the release is refused, and the registry keeps what it has.
    let released = format!("{openedx}:{tag}");
    site.home.run(["push", "base:1", "--as", &released]).ends_with(3).says(tag);
    let there = Home::new();
    let pulled = there.json(&["pull", &released]);
    let image = first["images"].as_array().unwrap().iter().find(|i| i["name"] == "openedx").unwrap();
    assert_eq!(pulled["digest"], image["digest"]);

    // After a small edit little is sent.
    site.edit("blue");
    let second = site.home.json(&["release", "campus", "1.0.1"]);
    assert!(second["pushed_bytes"].as_u64().unwrap() * 10 < first["pushed_bytes"].as_u64().unwrap());
    site.home.run(["deploy", "campus", "1.0.1"]).ok();
    assert!(site.deployed().contains(&format!("{openedx}:1.0.1")));
}
