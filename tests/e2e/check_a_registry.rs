//! `deploy` and `rollback` of images that a registry is to have: all of them, whole, or nothing is written.

use std::fs;

use serde_json::Value;

use crate::common::Ran;
use crate::registry_server::Registry;
use crate::site::Site;

/// A site of a registry that ran 1.0.0 and runs 1.1.0, and the records of both.
fn site() -> (Registry, Site, [Value; 2]) {
    let registry = Registry::start();
    let site = Site::with_registry(&format!("{}/", registry.address));
    let release = |version: &str| {
        site.edit(version);
        let release = site.home.json(&["release", "campus", version]);
        site.home.run(["deploy", "campus", version]).ok();
        release
    };
    let releases = [release("1.0.0"), release("1.1.0")];
    (registry, site, releases)
}

/// The digest of an image of a release.
fn digest<'a>(release: &'a Value, image: &str) -> &'a str {
    let image = release["images"].as_array().unwrap().iter().find(|one| one["name"] == image).unwrap();
    image["digest"].as_str().unwrap()
}

/// What the registry has of a manifest's topmost layer.
fn top_layer(registry: &Registry, manifest: &str) -> std::path::PathBuf {
    let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(manifest)).unwrap()).unwrap();
    registry.blob(manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap())
}

/// It refuses to deploy and to go back, says why, and leaves the target and the log alone.
#[track_caller]
fn refuses(site: &Site, flags: &[&str], code: i32, says: &str) {
    let before = (site.deployed(), site.home.run(["--json", "log"]).ok().out);
    for command in [&["deploy", "campus", "1.0.0"][..], &["rollback", "campus"], &["rollback", "campus", "--dry-run"]] {
        let ran: Ran = site.home.run([command, flags].concat()).ends_with(code).says(says);
        assert!(ran.err.contains("nothing was changed"), "{}", ran.err);
    }
    assert_eq!((site.deployed(), site.home.run(["--json", "log"]).ok().out), before);
}

#[test]
fn what_the_registry_lacks_stops_a_deploy_and_a_rollback() {
    let (registry, site, [first, _]) = site();
    let openedx = digest(&first, "openedx");

    // A layer, and one that is too short. That is known, so nobody may go on.
    let layer = top_layer(&registry, openedx);
    let bytes = fs::read(&layer).unwrap();
    fs::write(&layer, &bytes[1..]).unwrap();
    refuses(&site, &["--accept-unchecked"], 6, "bytes in the registry");
    fs::remove_file(&layer).unwrap();
    refuses(&site, &["--accept-unchecked"], 6, "is missing in the registry");
    refuses(&site, &[], 6, "the image `openedx`");
    fs::write(&layer, bytes).unwrap();

    // The manifest behind a tag.
    let manifest = registry.blob(openedx);
    let away = manifest.with_extension("away");
    fs::rename(&manifest, &away).unwrap();
    refuses(&site, &["--accept-unchecked"], 4, "is not in its registry");
    fs::rename(&away, &manifest).unwrap();

    // The tag of another image, as if it had never been pushed.
    let tag = registry.repository("campus/mfe/_manifests/tags").join(first["tag"].as_str().unwrap());
    let away = registry.repository("campus/mfe/away");
    fs::rename(&tag, &away).unwrap();
    refuses(&site, &["--accept-unchecked"], 4, "the image `mfe`");
    fs::rename(&away, &tag).unwrap();

    // All whole again.
    site.home.run(["rollback", "campus", "--dry-run"]).ok();
    site.home.run(["rollback", "campus"]).ok();
    assert!(site.deployed().contains(":1.0.0-g"));
    let log = site.home.run(["--json", "log", "-n", "1"]).ok().json();
    assert!(log["event"]["deployment"]["note"].is_null(), "{log}");
}

#[test]
fn a_registry_that_does_not_answer_stops_it_until_that_is_accepted_and_recorded() {
    let (mut registry, site, _) = site();
    registry.stop();
    refuses(&site, &[], 5, "--accept-unchecked");
    refuses(&site, &[], 5, &registry.address);
    site.home.run(["rollback", "campus", "--dry-run", "--accept-unchecked"]).ok().says("not looked up in its registry");
    let back = site.home.json(&["rollback", "campus", "--accept-unchecked"]);
    assert!(site.deployed().contains(":1.0.0-g"));
    assert_eq!(back["unchecked"].as_array().unwrap().len(), 2, "{back}");
    let note = "not looked up in the registry, which gave no answer: mfe, openedx";
    assert_eq!(back["deployment"]["note"], note);
    // It stays in the log, under the hash of its entry.
    site.home.run(["log"]).ok().says(note);
    site.home.run(["verify", "--releases"]).ok();
    // What the store itself lacks is not accepted.
    let blobs = site.home.store().join("blobs/sha256");
    for blob in fs::read_dir(blobs).unwrap() {
        let path = blob.unwrap().path();
        if fs::read(&path).is_ok_and(|bytes| bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])) {
            fs::remove_file(path).unwrap();
        }
    }
    site.home.run(["deploy", "campus", "1.1.0", "--accept-unchecked"]).ends_with(6).says("is missing");
}

/// `[release] push = false`: somebody else brings the images to where they run.
#[test]
fn a_registry_that_releases_are_not_pushed_to_is_not_asked() {
    let site = Site::with_registry("registry.invalid/");
    let toml = fs::read_to_string(site.home.work().join("shiplap.toml")).unwrap();
    site.home.write("shiplap.toml", format!("{toml}\n[release]\npush = false\n"));
    site.repo.commit("no push");
    site.home.run(["release", "campus", "1.0.0"]).ok();
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    assert!(site.deployed().contains("registry.invalid/campus/openedx:1.0.0-g"));
}

#[test]
fn a_release_whose_images_the_registry_has_in_part_is_none() {
    let registry = Registry::start();
    let site = Site::with_registry(&format!("{}/", registry.address));
    let first = site.home.json(&["release", "campus", "1.0.0"]);
    // A layer that the next release shares is shortened: a push finds it there.
    let layer = top_layer(&registry, digest(&first, "mfe"));
    let bytes = fs::read(&layer).unwrap();
    fs::write(&layer, &bytes[1..]).unwrap();
    site.edit("blue");
    let before = site.home.run(["--json", "log"]).ok().out;
    site.home.run(["release", "campus", "1.0.1"]).ends_with(6).says("the image `mfe`").says("bytes in the registry");
    assert_eq!(site.home.run(["--json", "log"]).ok().out, before);
    fs::write(&layer, bytes).unwrap();
    site.home.run(["release", "campus", "1.0.1"]).ok();
}
