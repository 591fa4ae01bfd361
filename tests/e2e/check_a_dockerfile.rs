//! `--check`, `--call`, and the warnings of other commands. `docker/check.rs` compares the findings with Docker's.

use serde_json::Value;

use crate::common::{BASE, Home};

#[test]
fn findings_are_told_and_nothing_is_built() {
    let home = Home::new();
    home.write("Dockerfile", "FROM scratch AS one\nCMD x\nFROM scratch\nCOPY none /\nENV a b\n");
    let ran = home.run(["build", "--check", "."]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.out,
        concat!(
            "Check complete, 2 warnings have been found!\n",
            "\nWARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n",
            "Dockerfile:2\n--------------------\n   1 |     FROM scratch AS one\n   2 | >>> CMD x\n   3 |     FROM scratch\n",
            "   4 |     COPY none /\n--------------------\n",
            "\nWARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/\n",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format\n",
            "Dockerfile:5\n--------------------\n   3 |     FROM scratch\n   4 |     COPY none /\n   5 | >>> ENV a b\n   6 |     \n",
            "--------------------\n",
        )
    );
    let ran = home.run(["build", "--call=check,format=json", "--target=one", "."]);
    assert_eq!(ran.code, Some(1));
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(json["warnings"][0]["ruleName"], "JSONArgsRecommended");
    home.write("Dockerfile", "FROM scratch\nCMD [\"x\"]\n");
    let ran = home.run(["build", "--check", "."]).ok();
    assert_eq!(ran.out, "Check complete, no warnings found.\n");
    // Neither image nor layer is in the store.
    assert_eq!(home.json(&["images"]), serde_json::json!([]));
}

#[test]
fn a_base_that_cannot_be_had_is_taken_as_it_may_be() {
    let home = Home::new();
    // Nobody listens there.
    let text =
        "FROM 127.0.0.1:1/none AS one\nFROM one\nCOPY $SET_BELOW $TYPO /\nENV a b\nCMD x\nFROM scratch\nCOPY $TYPO /\n";
    home.write("Dockerfile", text);
    let ran = home.run(["build", "--check", "."]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("nothing is known of 127.0.0.1:1/none"), "{}", ran.err);
    let found: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("WARNING")).collect();
    assert!(found.len() == 2 && found[0].contains("LegacyKeyValue") && found[1].contains("UndefinedVar"), "{found:?}");
}

#[test]
fn stages_are_listed() {
    let home = Home::new();
    home.write("Dockerfile", "# one is the first\nFROM scratch AS one\nFROM one\n");
    let ran = home.run(["build", "--call=targets", "."]).ok();
    assert_eq!(ran.out, "TARGET     DESCRIPTION\none        is the first\n(default)\n");
    let ran = home.run(["build", "--call=targets,format=json", "."]).ok();
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["targets"][0]["description"], "is the first");
    assert_eq!(json["targets"][1]["default"], true);
    let ran = home.run(["build", "--call=outlin", "."]);
    assert!(ran.code == Some(2) && ran.err.contains("check or targets"), "{}", ran.err);
}

#[test]
fn plans_and_builds_that_fail_tell_warnings_too() {
    let home = Home::with_base();
    home.write("Dockerfile", format!("# syntax=docker/dockerfile:1\nFROM {BASE}\nENV a b\nCOPY none /\n"));
    let warning = "warning: LegacyKeyValueFormat: \"ENV key=value\" should be used";
    let ran = home.run(["build", "."]);
    assert!(ran.code != Some(0) && ran.err.contains(warning), "{}", ran.err);
    assert!(ran.err.contains("note: docker/dockerfile:1 is not fetched"), "{}", ran.err);
    home.write("none", "");
    let ran = home.run(["plan", "."]).ok();
    assert!(ran.err.contains(warning), "{}", ran.err);
    let ran = home.run(["build", "."]).ok();
    assert_eq!(ran.err.matches("LegacyKeyValueFormat").count(), 1, "{}", ran.err);
}

#[test]
fn warnings_can_be_errors() {
    let home = Home::new();
    home.write("Dockerfile", "# check=error=true\nFROM scratch\nENV a b\n");
    for command in [&["build", "."][..], &["build", "--check", "."]] {
        let ran = home.run(command);
        assert_eq!(ran.code, Some(1), "{command:?}");
        assert!(ran.err.contains("lint violation found for rules: LegacyKeyValueFormat"), "{}", ran.err);
        assert!(format!("{}{}", ran.out, ran.err).contains("\"ENV key=value\" should be used"), "{command:?}");
    }
    home.run(["build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "."]).ok();
}

#[test]
fn another_frontend_is_refused() {
    let home = Home::new();
    home.write("Dockerfile", "# syntax=acme/frontend:2\nFROM scratch\n");
    let ran = home.run(["build", "."]);
    assert!(ran.code == Some(2) && ran.err.contains("cannot run the frontend acme/frontend:2"), "{}", ran.err);
    home.run(["build", "--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1", "."]).ok();
}
