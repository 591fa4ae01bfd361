//! Releases, deployments and rollbacks that cannot be.

use super::flip;
use crate::campus::Campus;

#[test]
fn a_version_that_is_not_semver_is_told_with_what_was_meant() {
    let campus = Campus::new();
    for (version, says) in
        [("v1.2", "did you mean 1.2.0?"), ("1.2", "did you mean 1.2.0?"), ("1.0.0+x", "a tag cannot hold a `+`")]
    {
        campus.run(&["release", "campus", version]).ends_with(2).says(version).says(says);
        // The only instance needs no name.
        campus.run(&["release", version]).ends_with(2).says(version).says(says);
        campus.run(&["deploy", "campus", version]).ends_with(2).says(version);
        campus.run(&["rollback", "campus", version]).ends_with(2).says(version);
    }
    campus.run(&["release", "campus"]).ends_with(2).says("--bump major|minor|patch");
    assert!(campus.releases().is_empty());
}

#[test]
fn a_version_that_exists_is_not_released_from_another_commit() {
    let campus = Campus::new();
    campus.run(&["release", "campus", "1.0.0"]).ok();
    let before = (campus.releases(), campus.digest("openedx", "1.0.0"));
    // The same again changes nothing.
    campus.run(&["release", "campus", "1.0.0"]).ok().says("was released already");
    campus.edit("another");
    let ran = campus.run(&["release", "campus", "1.0.0"]).ends_with(3).says("a release never changes").says("--bump");
    assert!(!ran.err.contains("RUN cat"), "it was built for nothing: {}", ran.err);
    assert_eq!((campus.releases(), campus.digest("openedx", "1.0.0")), before);
}

#[test]
fn a_dirty_tree_is_refused_or_said_in_the_tag() {
    let campus = Campus::new();
    campus.home.write("openedx/text", "not committed");
    campus.run(&["release", "campus", "1.0.0"]).ends_with(3).says("openedx/text").says("--allow-dirty");
    assert!(campus.releases().is_empty());
    campus.run(&["release", "campus", "1.0.0", "--allow-dirty"]).ok();
    let (_, tag) = &campus.releases()[0];
    assert!(tag.contains("-dirty."), "{tag}");
    // The tree changed again: it is another release, and the version is taken.
    campus.home.write("openedx/text", "not committed either");
    campus.run(&["release", "campus", "1.0.0", "--allow-dirty"]).ends_with(3).says("choose another version");
}

#[test]
fn a_folder_without_git_or_commits_is_told_what_to_do() {
    let campus = Campus::new();
    std::fs::remove_dir_all(campus.home.work().join(".git")).unwrap();
    campus.run(&["release", "campus", "1.0.0"]).ends_with(2).says("git init");
    campus.repo.git(&["init", "-q"]);
    campus.run(&["release", "campus", "1.0.0"]).ends_with(2).says("git commit");
}

#[test]
fn deploys_of_nothing_and_rollbacks_to_nothing_are_told() {
    let campus = Campus::new();
    campus.run(&["deploy", "campus", "1.0.0"]).ends_with(4).says("shiplap release campus");
    campus.run(&["rollback", "campus"]).ends_with(4).says("never deployed");
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus.run(&["deploy", "campus", "9.0.0"]).ends_with(4).says("the newest is 1.0.0").says("shiplap releases campus");
    assert_eq!(campus.target(), "");
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    campus.run(&["rollback", "campus"]).ends_with(4).says("no earlier deployment").says("1.0.0");
    campus.edit("two");
    campus.run(&["release", "campus", "1.1.0"]).ok();
    campus.run(&["rollback", "campus", "1.1.0"]).ends_with(4).says("shiplap deploy campus 1.1.0");
    campus.run(&["rollback", "campus", "1.0.0"]).ends_with(3).says("runs 1.0.0 already");
    campus.run(&["deploy", "campus", "1.1.0", "--expect", "0"]).ends_with(3).says("shiplap status campus");
    assert_eq!(campus.deployed(), ["1.0.0"]);
}

/// A set is deployed whole or not at all, in both directions; the store holds the only copy of these images.
#[test]
fn an_image_that_is_missing_or_damaged_stops_deploy_and_rollback() {
    let campus = Campus::with_two_releases();
    let before = campus.target();
    for image in ["openedx", "mfe"] {
        let manifest = campus.blob(&campus.digest(image, "1.0.0"));
        for (file, code) in [(campus.layer_blob(image, "1.0.0"), 6), (manifest, 6)] {
            let good = std::fs::read(&file).unwrap();
            for harm in [|file: &std::path::Path| std::fs::remove_file(file).unwrap(), flip] {
                harm(&file);
                for args in [&["rollback", "campus"][..], &["deploy", "campus", "1.0.0"]] {
                    campus.run(args).ends_with(code).says(image).says("nothing was changed");
                }
                assert_eq!(campus.target(), before);
                std::fs::write(&file, &good).unwrap();
            }
        }
    }
    campus.run(&["status", "--exit-code"]).ok();
    campus.run(&["rollback", "campus"]).ok();
    assert_eq!(campus.deployed(), ["1.0.0"]);
}

/// What a damaged image's message advises does help.
#[test]
fn a_missing_layer_blob_is_made_anew_by_the_same_release() {
    let campus = Campus::with_two_releases();
    let blob = campus.layer_blob("openedx", "1.1.0");
    let good = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    campus.run(&["release", "campus", "1.1.0"]).ok();
    assert_eq!(std::fs::read(&blob).unwrap(), good);
}

/// A file of the target's that cannot be written: nothing is recorded as deployed.
#[test]
fn a_deploy_target_that_cannot_be_written_is_undone() {
    let campus = Campus::with_two_releases();
    let file = campus.home.work().join(crate::campus::TARGET);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let ran = campus.run(&["deploy", "campus", "1.0.0"]);
    assert_ne!(ran.code, Some(0));
    ran.says(crate::campus::TARGET);
    std::fs::remove_dir(&file).unwrap();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    assert_eq!(campus.deployed(), ["1.0.0"]);
    campus.run(&["status", "--exit-code"]).ok();
}
