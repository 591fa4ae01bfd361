//! shiplap.toml.

use crate::campus::CONFIG;
use crate::common::Home;

#[test]
fn a_wrong_shiplap_toml_is_told_with_line_and_column() {
    let home = Home::new();
    for (line, wrong, says) in [
        (
            "context = \"openedx\"",
            "contxt = \"openedx\"",
            &["shiplap.toml:2:1: unknown field `contxt`", "did you mean `context`?"][..],
        ),
        ("context = \"openedx\"", "context = 3", &["shiplap.toml:2:11: invalid type: integer `3`"]),
        ("[instance.campus.image.openedx]", "[instance.campus.image.openedx", &["shiplap.toml:1:31"]),
        ("kind = \"compose\"", "kind = \"composee\"", &["shiplap.toml:10:8", "did you mean `compose`?"]),
        ("lms = \"openedx\"", "lms = \"opendx\"", &["`opendx` is not an image", "did you mean `openedx`?"]),
        ("repository = \"campus/mfe\"", "repository = \"campus/mfe:1\"", &["shiplap.toml:7:14", "without a tag"]),
        (
            "repository = \"campus/mfe\"",
            "repository = \"campus/openedx\"",
            &["instance.campus.image.mfe", "each image needs its own"],
        ),
    ] {
        assert!(CONFIG.contains(line), "{line}");
        home.write("shiplap.toml", CONFIG.replacen(line, wrong, 1));
        for command in ["build", "status", "releases"] {
            says.iter().fold(home.run([command]).ends_with(2), |ran, text| ran.says(text));
        }
    }
}

/// Two images of one name would be one another's releases.
#[test]
fn two_instances_cannot_share_a_repository() {
    let home = Home::new();
    home.write(
        "shiplap.toml",
        format!("{CONFIG}\n[instance.other.image.openedx]\ncontext = \"openedx\"\nrepository = \"campus/openedx\"\n"),
    );
    home.run(["status"]).ends_with(2).says("campus/openedx").says("instance.other").says("each image needs its own");
}

#[test]
fn an_instance_or_image_that_is_not_there_is_told_with_those_that_are() {
    let home = Home::new();
    home.write("shiplap.toml", CONFIG);
    for args in [
        &["build", "campsu"][..],
        &["plan", "campsu"],
        &["release", "campsu", "1.0.0"],
        &["releases", "campsu"],
        &["deploy", "campsu", "1.0.0"],
        &["rollback", "campsu"],
        &["status", "campsu"],
    ] {
        home.run(args).ends_with(4).says("no instance `campsu`").says("did you mean `campus`?");
    }
    home.run(["build", "campus", "--image", "notes"]).ends_with(4).says("it has mfe, openedx");
    home.run(["build", "campus", "-t", "x:1"]).ends_with(2).says("--tag goes with a directory");
}
