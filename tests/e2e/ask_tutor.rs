//! `init` and `tutor` with real Tutor: what it is asked, and what it does with the plugin.

use std::fs;

use crate::played_engine::PlayedEngine;
use crate::tutor_site::Project;

#[test]
fn init_writes_what_tutor_says_of_each_image() {
    for release in [20, 22] {
        let Some(project) = Project::new(release) else { return };
        let printed = project.shiplap(&["init", "campus", "--print"]).ok().out;
        project.shiplap(&["init", "campus"]).ok().says("hello, mfe, notes, openedx").says("next: shiplap build campus");
        let path = project.home.work().join("shiplap.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(printed.trim_end(), text.trim_end());
        for line in [
            "tutor-root = \"tutor\"",
            "context = \"tutor/env/build/openedx\"",
            "context = \"tutor/env/plugins/mfe/build/mfe\"",
            "build-contexts = { edx-platform = \"edx-platform\" }",
            "build-args = { COLOUR = \"blue\" }",
            "target = \"final\"",
            "images = { hello = \"HELLO_DOCKER_IMAGE\" }",
            "services = { hello = \"hello\", hello-job = \"hello\" }",
            "# [instance.campus.image.openedx-dev]",
            "# [instance.campus.image.permissions]",
            "# Tutor builds it with --network=host too, which has no place here",
            "# 1 of Tutor's flags hold a secret and are left out: use `secrets`",
            "# The mount my-lib is part of no image: Tutor mounts it when it runs",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains(&format!("# As Tutor {release}.")) && text.contains("indigo "), "{text}");
        // The machine's paths and the site's secrets are not in a file that is committed.
        assert!(!text.contains(&project.home.path("").display().to_string()), "{text}");
        let config = fs::read_to_string(project.home.work().join("tutor/config.yml")).unwrap();
        let secrets = config.lines().filter(|line| line.contains("PASSWORD:") || line.contains("TOKEN:"));
        let secrets: Vec<_> = secrets.filter_map(|line| line.split(": ").nth(1)).collect();
        assert!(secrets.len() > 3, "{config}");
        assert!(secrets.iter().all(|secret| !text.contains(secret)));
        let said = project.shiplap(&["--json", "init", "campus", "--print"]).ok();
        for said in [&text, &said.out, &said.err] {
            assert!(!said.contains("not-for-a-commit"), "{said}");
        }
        // What is there stays.
        project.shiplap(&["init", "campus"]).ends_with(3).says("is there already");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_name_that_the_operator_gave_is_the_repository() {
    let Some(project) = Project::new(22) else { return };
    project.tutor(&["config", "save", "--set", "DOCKER_IMAGE_OPENEDX=reg.example.org:5000/campus/openedx:7"]);
    let text = project.shiplap(&["init", "campus", "--print"]).ok().out;
    assert!(text.contains("repository = \"reg.example.org:5000/campus/openedx\""), "{text}");
    // Nobody can push to the plugin's author.
    assert!(
        text.contains("repository = \"campus/mfe\"") && text.contains("docker.io/overhangio/openedx-mfe"),
        "{text}"
    );
}

#[test]
fn without_tutor_init_looks_at_what_was_rendered() {
    let Some(project) = Project::new(22) else { return };
    let text = project.shiplap(&["init", "campus", "--print", "--no-tutor", "--tutor-root", "tutor"]).ok().out;
    for part in ["Tutor was not asked", "[instance.campus.image.openedx]", "[instance.campus.image.hello]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("docker.io/"), "{text}");
    // The one-file binary can be asked for names at least.
    let binary = project.binary();
    let text = project.shiplap(&["init", "campus", "--print", "--tutor", binary.to_str().unwrap()]).ok().out;
    for part in
        ["Tutor was not asked", "docker.io/somebody/hello", "services = { hello = \"hello\", hello-job = \"hello\" }"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    project.shiplap(&["init", "--tutor-root", "nowhere"]).ends_with(4).says("config save");
    project.shiplap(&["init", "--tutor", "nowhere"]).ends_with(4).says("there is no program nowhere");
}

#[test]
fn tutor_builds_with_shiplap_which_loads_the_image() {
    for release in [20, 22] {
        let Some(project) = Project::new(release) else { return };
        let engine = PlayedEngine::start();
        project.shiplap(&["tutor", "install", "--enable"]).ok();
        project.asked();
        let flags = ["-a", "COLOUR=green", "--no-cache", "--cache-to-registry", "--add-host", "a:10.0.0.1"];
        let flags = [&flags[..], &["-d", "--platform=linux/amd64"]].concat();
        let words = [&["images", "build"], &flags[..], &["hello"]].concat();
        project.try_tutor(&words, Some(&engine.address())).ok().says("loaded into Podman 1");
        let asked = project.asked();
        assert!(asked.len() == 2 && asked[0].starts_with("version") && asked[1] == "--version", "{asked:?}");
        // The plugin's own argument comes after that of the command line, as with docker.
        let tag = project.tutor(&["images", "printtag", "hello"]);
        assert_eq!(project.home.file(&tag, "colour"), "blue\n");
        let manifest = engine.loaded_file("manifest.json").unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0].as_str().unwrap(), tag);
    }
}

#[test]
fn without_an_engine_the_image_is_in_the_store_and_a_release_tag_is_not_built() {
    let Some(project) = Project::new(22) else { return };
    project.shiplap(&["tutor", "install", "--enable"]).ok();
    project.asked();
    project.try_tutor(&["images", "build", "hello"], None).ok().says("no Docker engine answers");
    assert_eq!(project.asked(), ["--version"]);
    let engine = PlayedEngine::start();
    let address = engine.address();
    let engine = Some(address.as_str());
    project.try_tutor(&["images", "build", "--output=type=cacheonly", "hello"], engine).ok();
    assert_eq!(project.asked(), ["--version"]);
    // A build that fails is an error of Tutor's, and nothing is loaded.
    let ran = project.try_tutor(&["images", "build", "-d", "--no-such-flag", "hello"], engine);
    assert_ne!(ran.code, Some(0));
    assert!(project.asked().iter().all(|words| words.starts_with("version")));
    project.tutor(&["config", "save", "--set", "HELLO_DOCKER_IMAGE=campus/hello:1.0.0-g3f2c1ab09d4e"]);
    let ran = project.try_tutor(&["images", "build", "hello"], engine);
    assert_ne!(ran.code, Some(0));
    ran.says("is the tag of a release");
    assert_eq!(project.asked(), Vec::<String>::new());
}

#[test]
fn the_plugin_is_installed_once_kept_when_edited_and_removed() {
    let Some(project) = Project::new(22) else { return };
    project.shiplap(&["tutor", "status"]).ok().says("not installed");
    project.shiplap(&["tutor", "install"]).ok().says("plugins enable shiplap");
    project.shiplap(&["tutor", "install", "--enable"]).ok().says("installed already").says("enabled in");
    let status = project.shiplap(&["--json", "tutor", "status"]).ok().json();
    assert_eq!((&status["current"], &status["enabled"]), (&true.into(), &true.into()));
    assert!(project.tutor(&["plugins", "list"]).contains("shiplap"));
    let path = project.home.path("plugins/shiplap.py");
    let ours = fs::read_to_string(&path).unwrap();
    fs::write(&path, ours.clone() + "# mine\n").unwrap();
    project.shiplap(&["tutor", "install"]).ends_with(3).says("edited by hand");
    project.shiplap(&["tutor", "uninstall"]).ends_with(3);
    project.shiplap(&["tutor", "status"]).ok().says("edited by hand").says("enabled in");
    project.shiplap(&["tutor", "install", "--force"]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), ours);
    project.shiplap(&["tutor", "uninstall"]).ok().says("removed");
    assert!(!path.exists());
    let config = fs::read_to_string(project.home.work().join("tutor/config.yml")).unwrap();
    assert!(!config.contains("- shiplap"), "{config}");
}
