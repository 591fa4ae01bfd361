//! `verify`: everything is read again; what is damaged is named, put away, and can be had anew.

use serde_json::json;

use crate::common::Home;
use crate::serving::Serving;
use crate::site::Site;

/// Changes a byte of a blob and leaves its size.
fn damage(home: &Home, digest: &str) {
    let path = home.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The digests of the layers of a released image.
fn layers(home: &Home, digest: &str) -> Vec<String> {
    let path = home.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_store_without_damage_is_whole() {
    let site = Site::new();
    site.home.run(["release", "campus", "1.0.0"]).ok();
    let report = site.home.json(&["verify", "--layers"]);
    assert_eq!(
        (&report["damaged"], &report["damaged_layers"], &report["broken"]),
        (&json!([]), &json!([]), &json!([]))
    );
    assert!(report["blobs"].as_u64().unwrap() >= 8 && report["layers"].as_u64().unwrap() >= 4, "{report}");
    site.home.run(["verify"]).ok().says("blobs read");
}

#[test]
fn a_damaged_blob_is_named_with_the_releases_that_need_it_and_is_made_anew() {
    let site = Site::new();
    let release = site.home.json(&["release", "campus", "1.0.0"]);
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    let images = release["images"].as_array().unwrap();
    let (mfe, openedx) = (images[0]["digest"].as_str().unwrap(), images[1]["digest"].as_str().unwrap());
    let damaged = layers(&site.home, openedx).pop().unwrap();
    assert!(!layers(&site.home, mfe).contains(&damaged));
    damage(&site.home, &damaged);
    let ran = site.home.run(["verify"]).ends_with(1).says(&format!("damaged: blob {damaged}"));
    let ran = ran.says("not whole: release campus 1.0.0").says("not whole: tag docker.io/campus/openedx:1.0.0-g");
    assert!(!ran.out.contains("campus/mfe"), "{}", ran.out);
    assert!(site.home.store().join("damaged").join(damaged.trim_start_matches("sha256:")).exists());
    // Once more: nothing is damaged any more, and it is still not whole.
    site.home.run(["verify"]).ends_with(1).says("0 damaged, 2 not whole").says(&format!("lacks {damaged}"));
    site.home.run(["deploy", "campus", "1.0.0"]).ends_with(6).says("is missing");
    let name = format!("campus/openedx:{}", release["tag"].as_str().unwrap());
    site.home.run(["export", &name, "--format", "oci-layout", "out"]).ok();
    site.home.run(["verify"]).ok();
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
}

#[test]
fn a_damaged_layer_is_forgotten_and_its_step_runs_again() {
    let site = Site::new();
    site.home.run(["build", "campus"]).ok();
    let file = std::fs::read_dir(site.home.store().join("layers")).unwrap().flatten();
    let file = file.map(|layer| layer.path().join("static.css")).find(|path| path.exists()).unwrap();
    std::fs::write(file, "blu").unwrap();
    site.home.run(["verify"]).ok();
    site.home.run(["verify", "--layers"]).ends_with(1).says("damaged: layer");
    site.home.run(["verify", "--layers"]).ok();
    let built = site.home.json(&["build", "campus"]);
    let openedx = built["images"].as_array().unwrap().iter().find(|image| image["image"] == "openedx").unwrap();
    let ran = openedx["steps"].as_array().unwrap().iter().filter(|step| step["outcome"] == "ran").count();
    assert_eq!(ran, 1, "{openedx}");
    assert_eq!(site.home.file("shiplap.local/campus/openedx", "static.css"), "red");
}

#[test]
fn what_a_served_repository_lacks_is_named_and_a_push_brings_it_back() {
    let (server, home) = (Home::new(), Home::with_base());
    let serving = Serving::start(&server, &[]);
    home.build("app:1", "FROM base:1\nRUN echo one >/one\n", &[]);
    let name = format!("{}/campus/openedx:1.0.0-g0123456789ab", serving.address());
    let pushed = home.json(&["push", "app:1", "--as", &name]);
    let damaged = layers(&server, pushed["digest"].as_str().unwrap()).pop().unwrap();
    damage(&server, &damaged);
    let said = server.run(["verify"]).ends_with(1).says("not whole: served campus/openedx:1.0.0-g0123456789ab");
    said.says(&format!("lacks {damaged}"));
    // While it is missing, it is said to be missing, and not sent damaged.
    Home::with_base().run(["pull", &name]).ends_with(5);
    let again = home.json(&["push", "app:1", "--as", &name]);
    assert!(again["sent"].as_u64().unwrap() > 0, "{again}");
    server.run(["verify"]).ok();
    Home::with_base().run(["pull", &name]).ok();
}

#[test]
fn a_release_that_is_made_again_brings_back_what_its_registry_lost() {
    let server = Home::new();
    let serving = Serving::start(&server, &[]);
    let site = Site::with_registry(&format!("{}/", serving.address()));
    let release = site.home.json(&["release", "campus", "1.0.0"]);
    let lost = layers(&server, release["images"][1]["digest"].as_str().unwrap()).pop().unwrap();
    damage(&server, &lost);
    server.run(["verify"]).ends_with(1).says(&format!("lacks {lost}"));
    let again = site.home.json(&["release", "campus", "1.0.0"]);
    assert_eq!((&again["made"], &again["tag"]), (&json!(false), &release["tag"]), "{again}");
    server.run(["verify"]).ok();
}
