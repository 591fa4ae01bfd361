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
fn all_tags_of_a_repository_are_pushed_and_copied_to_another_registry() {
    let (registry, other) = (Registry::start(), Registry::start());
    let (here, there) = (Home::with_base(), Home::new());
    let name = |tag: &str| registry.name(&format!("campus/app:{tag}"));
    here.build(&name("1"), "FROM base:1\nRUN echo one >/n\n", &[]);
    here.build(&name("2"), "FROM base:1\nRUN echo two >/n\n", &[]);
    here.build("else:1", "FROM base:1\n", &[]);
    let repository = registry.name("campus/app");
    let pushed = here.json(&["push", "--all-tags", &repository]);
    assert_eq!((&pushed[0]["name"], &pushed[1]["name"]), (&json!(name("1")), &json!(name("2"))));
    let tags = here.json(&["tags", "--remote", &repository]);
    assert_eq!((&tags[0]["tag"], &tags[1]["tag"], &tags[2]), (&json!("1"), &json!("2"), &json!(null)));
    here.run(["push", "-a", &name("1")]).ends_with(2).says("is one tag");
    here.run(["push", "-a", &registry.name("campus/none")]).ends_with(4).says("no tag");

    let copy = other.name("mirror/app:1");
    let copied = there.json(&["copy", &name("1"), &copy]);
    assert_eq!(copied["digest"], pushed[0]["digest"]);
    there.run(["pull", "-q", &copy]).ok();
    assert_eq!(there.files(&copy), here.files(&name("1")));
    let line = there.run(["copy", "--quiet", &name("1"), &copy]);
    assert_eq!(line.ok().out.trim(), format!("{copy}@{}", pushed[0]["digest"].as_str().unwrap()));

    let release = other.name("mirror/app:1.0.0-g0123456789ab");
    there.run(["copy", &name("1"), &release]).ok();
    there.run(["copy", &name("2"), &release]).ends_with(3).says("never moves");
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
