//! Files and folders that are not there, or cannot be written.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::common::{Home, Ran};

#[test]
fn a_missing_dockerfile_context_or_directory_is_named() {
    let home = Home::with_base();
    home.run(["build", "."]).ends_with(4).says("there is no Dockerfile ./Dockerfile").says("--file");
    home.run(["build", ".", "-f", "other"]).ends_with(4).says("there is no Dockerfile other");
    home.run(["build", "./nothing"]).ends_with(4).says("there is no directory ./nothing");
    home.run(["build", "nothing"]).ends_with(4).says("no directory nothing").says("shiplap.toml");
    home.run(["status"]).ends_with(4).says("shiplap init");
    home.write("shiplap.toml", "[instance.campus.image.openedx]\ncontext = \"gone\"\nrepository = \"x/y\"\n");
    home.run(["build"]).ends_with(4).says("build context ./gone").says("shiplap.toml");
    home.run(["--config", "nope.toml", "build"]).ends_with(4).says("nope.toml");
    home.run(["import", "nope.tar", "x:1"]).ends_with(4).says("nope.tar");
    home.run(["export", "nope:1", "out"]).ends_with(4).says("shiplap pull");
    home.run(["export", "base:1", "no/folder/out.tar", "--format", "rootfs"]).ends_with(4).says("no/folder");
    home.run(["push", "nope:1"]).ends_with(4).says("nope:1");
}

#[test]
fn a_store_that_cannot_be_made_is_told_with_the_variable_that_moves_it() {
    let home = Home::new();
    home.write("file", "");
    for place in ["/proc/shiplap", home.work().join("file").to_str().unwrap()] {
        let ran = Ran::of(home.command(["images"]).env("SHIPLAP_HOME", place).output().unwrap());
        ran.ends_with(6).says(place).says("SHIPLAP_HOME");
    }
}

/// Nothing tells this user where to keep anything: no variable, and no line in /etc/passwd.
#[test]
fn without_a_home_the_variable_is_asked_for() {
    let home = Home::new();
    let mut command = home.command(["doctor"]);
    command.env_remove("HOME").env_remove("SHIPLAP_HOME").env_remove("XDG_DATA_HOME").uid(54_321).gid(54_321);
    Ran::of(command.output().unwrap()).ends_with(2).says("set SHIPLAP_HOME");
    // The store's own variable is enough.
    let ran = Ran::of(home.command(["images"]).env_remove("HOME").output().unwrap()).ok();
    assert!(ran.out.starts_with("NAME"), "{}", ran.out);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_output_is_one() {
    let home = Home::with_base();
    let mut child = home.command(["images"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    Ran::of(child.wait_with_output().unwrap()).ok();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = home.command(["images"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    Ran::of(child.wait_with_output().unwrap()).ends_with(1).says("No space left on device");
}

#[test]
fn a_destination_that_is_there_is_not_overwritten_by_an_oci_layout() {
    let home = Home::with_base();
    home.write("out/precious", "p");
    home.run(["export", "base:1", "out"]).ends_with(1).says("exists already");
    assert_eq!(std::fs::read_to_string(home.work().join("out/precious")).unwrap(), "p");
    assert_eq!(std::fs::read_dir(home.work()).unwrap().count(), 1, "something was left beside it");
}
