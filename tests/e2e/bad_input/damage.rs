//! A store with bytes in it that nobody wrote there, and stores of other versions.

use std::fs;
use std::path::PathBuf;

use super::flip;
use crate::campus::Campus;
use crate::common::Home;

/// Gives a database another version; gives the one that it had.
fn set_version(home: &Home, file: &str, version: u32) -> u32 {
    let db = rusqlite::Connection::open(home.store().join(file)).unwrap();
    let before = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    db.pragma_update(None, "user_version", version).unwrap();
    before
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let campus = Campus::with_two_releases();
    let cache = set_version(&campus.home, "cache.db", 99);
    for args in [&["images"][..], &["build"], &["release", "campus", "2.0.0"], &["rollback", "campus"]] {
        campus.run(args).ends_with(6).says("has version 99").says("use a newer shiplap");
    }
    set_version(&campus.home, "cache.db", cache);
    let history = set_version(&campus.home, "history.db", 99);
    for args in [&["status"][..], &["release", "campus", "2.0.0"], &["rollback", "campus"]] {
        campus.run(args).ends_with(6).says("has version 99").says("nothing was changed");
    }
    assert_eq!(campus.deployed(), ["1.1.0"]);
    set_version(&campus.home, "history.db", history);
    campus.run(&["rollback", "campus"]).ok();
    assert_eq!(campus.deployed(), ["1.0.0"]);
}

#[test]
fn a_database_that_is_none_is_told_and_kept() {
    let campus = Campus::new();
    for file in ["cache.db", "history.db"] {
        campus.run(&["status"]).ok();
        let path = campus.home.store().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "these are not the bytes of a database".repeat(300)).unwrap();
        let bad = fs::read(&path).unwrap();
        campus.run(&["status"]).ends_with(6).says(file);
        assert_eq!(fs::read(&path).unwrap(), bad);
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_a_blob_is_found_by_an_export_and_the_advice_helps() {
    let campus = Campus::with_two_releases();
    let (_, tag) = campus.releases().remove(0);
    let name = format!("campus/openedx:{tag}");
    campus.run(&["export", &name, "good"]).ok();
    let blob = campus.layer_blob("openedx", "1.1.0");
    flip(&blob);
    let hex = blob.file_name().unwrap().to_str().unwrap();
    for format in ["oci-layout", "oci-archive", "docker-archive"] {
        let advice = format!("remove blobs/sha256/{hex}");
        campus.run(&["export", &name, "bad", "--format", format]).ends_with(6).says("is damaged").says(&advice);
        assert!(!campus.home.work().join("bad").exists());
    }
    fs::remove_file(&blob).unwrap();
    campus.run(&["export", &name, "again"]).ok();
    let same =
        std::process::Command::new("diff").arg("-r").args(["good", "again"]).current_dir(campus.home.work()).status();
    assert!(same.unwrap().success());
}

/// The directories of the store that hold a file, by what is in it.
fn layers_with(home: &Home, name: &str) -> Vec<PathBuf> {
    let layers = fs::read_dir(home.store().join("layers")).unwrap();
    layers.map(|layer| layer.unwrap().path()).filter(|layer| layer.join(name).exists()).collect()
}

#[test]
fn a_changed_file_in_a_layer_does_not_get_into_an_image_and_the_advice_helps() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN echo good >/made\n", &[]);
    let layer = layers_with(&home, "made").remove(0);
    fs::write(layer.join("made"), "bad and longer\n").unwrap();
    let folder = layer.file_name().unwrap().to_str().unwrap();
    for format in ["oci-layout", "docker-archive", "rootfs"] {
        let ran = home.run(["export", "app:1", "bad", "--format", format]).ends_with(6);
        ran.says("/made").says("is damaged").says(&format!("remove layers/{folder}"));
        assert!(!home.work().join("bad").exists());
    }
    fs::remove_dir_all(&layer).unwrap();
    home.run(["build", ".", "-t", "app:1"]).ok().says("1 run");
    assert_eq!(home.file("app:1", "made"), "good\n");
}

/// Of the same size, and with the times of the good one.
#[test]
fn a_flipped_bit_in_a_file_of_a_layer_is_found_by_a_release() {
    let campus = Campus::new();
    campus.run(&["build"]).ok();
    let layer = layers_with(&campus.home, "copy").remove(0);
    flip(&layer.join("copy"));
    campus.run(&["release", "campus", "1.0.0"]).ends_with(6).says("/copy").says("is damaged");
    assert!(campus.releases().is_empty());
    assert_eq!(campus.home.json(&["tags"]).as_array().unwrap().len(), 0);
    fs::remove_dir_all(&layer).unwrap();
    campus.run(&["release", "campus", "1.0.0"]).ok();
}

#[test]
fn a_tar_that_is_cut_short_is_not_imported_at_any_length() {
    let home = Home::with_base();
    home.run(["export", "base:1", "rootfs.tar", "--format", "rootfs"]).ok();
    home.run(["export", "base:1", "docker.tar", "--format", "docker-archive"]).ok();
    home.run(["export", "base:1", "oci.tar", "--format", "oci-archive"]).ok();
    let fresh = Home::new();
    for archive in ["rootfs.tar", "docker.tar", "oci.tar"] {
        let bytes = fs::read(home.work().join(archive)).unwrap();
        for length in [0, 1, 511, 512, 700, bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10] {
            let file = fresh.write("cut.tar", &bytes[..length]);
            fresh.run(["import", file.to_str().unwrap(), "cut:1"]).ends_with(1).says("cut.tar");
        }
    }
    fresh.write("text.tar", "hello\n");
    fresh.run(["import", "text.tar", "cut:1"]).ends_with(1).says("text.tar");
    fresh.run(["images"]).ok();
    assert_eq!(fresh.json(&["images"]).as_array().unwrap().len(), 0);
    assert_eq!(fs::read_dir(fresh.store().join("layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(fresh.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_damaged_layout_is_not_imported() {
    let home = Home::with_base();
    home.run(["export", "base:1", "layout"]).ok();
    let blobs = fs::read_dir(home.work().join("layout/blobs/sha256")).unwrap().map(|blob| blob.unwrap().path());
    let largest = blobs.max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap();
    flip(&largest);
    let fresh = Home::new();
    let layout = home.work().join("layout");
    fresh
        .run(["import", layout.to_str().unwrap(), "bad:1"])
        .ends_with(1)
        .says(largest.file_name().unwrap().to_str().unwrap());
    assert_eq!(fresh.json(&["images"]).as_array().unwrap().len(), 0);
}
