//! An image's files in a folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use shiplap_registry::archive::export_folder;

use crate::fixture::home;

#[test]
fn files_come_with_modes_times_links_and_attributes_and_belong_to_the_caller() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let at = |path: &str| dir.path().join("new/root").join(path);
    let image = here.image().0;
    for clamp in [None, Some(1_450_000_000)] {
        export_folder(here.store(), &image, clamp, &at("")).unwrap();
        let tool = fs::metadata(at("usr/bin/tool")).unwrap();
        assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o4755, 1_400_000_000));
        assert_eq!(tool.ino(), fs::metadata(at("usr/bin/again")).unwrap().ino(), "one file with two names");
        assert_eq!(fs::read_to_string(at("bin/again")).unwrap(), "hello");
        assert_eq!(fs::read_link(at("bin")).unwrap(), Path::new("usr/bin"));
        assert_eq!(fs::metadata(at("usr")).unwrap().mtime(), 1_400_000_000, "of a folder that was filled later");
        assert_eq!(fs::metadata(at("large")).unwrap().mtime(), clamp.unwrap_or(1_600_000_000));
        let mut value = [0; 20];
        let length = rustix::fs::lgetxattr(at("large"), "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"line\n\nline=\0");
        assert!(!at("gone").exists() && !at("hidden/x").exists(), "what the upper layer took away");
        assert_eq!(fs::read_to_string(at("hidden/y")).unwrap(), "y");
        let own = fs::metadata(dir.path()).unwrap().uid();
        assert!(fs::read_dir(at("")).unwrap().all(|item| item.unwrap().metadata().unwrap().uid() == own));
    }
}

#[test]
fn what_stands_in_the_way_is_replaced_and_links_are_not_followed() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let (outside, to) = (dir.path().join("outside"), dir.path().join("to"));
    fs::create_dir_all(outside.join("bin")).unwrap();
    fs::write(outside.join("bin/tool"), "not ours").unwrap();
    fs::write(outside.join("large"), "not ours").unwrap();
    fs::create_dir_all(to.join("bin/deep")).unwrap();
    symlink(&outside, to.join("usr")).unwrap();
    symlink(outside.join("large"), to.join("large")).unwrap();
    fs::write(to.join("hidden"), "a file where a folder goes").unwrap();
    fs::write(to.join("other"), "stays").unwrap();
    export_folder(here.store(), &here.image().0, None, &to).unwrap();
    assert_eq!(fs::read_to_string(outside.join("bin/tool")).unwrap(), "not ours");
    assert_eq!(fs::read_to_string(outside.join("large")).unwrap(), "not ours");
    assert_eq!(fs::read_to_string(to.join("usr/bin/tool")).unwrap(), "hello");
    assert_eq!(fs::read_link(to.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::read_to_string(to.join("hidden/y")).unwrap(), "y");
    assert_eq!(fs::read_to_string(to.join("other")).unwrap(), "stays");
}

#[test]
fn a_damaged_file_is_an_error() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let image = here.image().0;
    fs::write(here.store().layer_dir(&image.layers[0]).join("usr/bin/tool"), "jello").unwrap();
    let error = export_folder(here.store(), &image, None, dir.path()).unwrap_err();
    assert!(error.to_string().contains("usr/bin/"), "{error}");
}
