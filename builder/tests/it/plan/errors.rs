//! Every error names file, line and what to do.

use shiplap_builder::dockerfile;

use super::{args, target, try_plan};

fn message(text: &str) -> String {
    try_plan(text, &args(&[])).expect_err(text).to_string()
}

#[test]
fn errors_show_the_line_and_a_hint() {
    assert_eq!(
        message("FROM a\n\nRNU echo\n"),
        "Dockerfile:3: unknown instruction: RNU\n  | RNU echo\nhint: did you mean RUN?"
    );
}

#[test]
fn mistakes_and_what_is_said_of_them() {
    for (text, line, say) in [
        ("", 1, "has no FROM"),
        ("ARG A=1\n", 1, "has no FROM"),
        ("RUN x\nFROM a\n", 1, "no build stage yet"),
        ("FROM a\nCOPY --form=b x y\n", 2, "did you mean --from?"),
        ("FROM a\nRUN --muont=type=cache,target=/a x\n", 2, "did you mean --mount?"),
        ("FROM a\nRUN --security=insecure x\n", 2, "--security=insecure is not supported"),
        ("FROM a\nRUN --device=nvidia.com/gpu x\n", 2, "--device is not supported"),
        ("FROM a\nRUN --network=bridge x\n", 2, "default, none or host"),
        ("FROM a\nRUN --mount=type=cahce,target=/x true\n", 2, "did you mean cache?"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "end it with a line that holds only EOF"),
        ("FROM a\nRUN []\n", 2, "RUN needs a program"),
        ("FROM a\nCOPY x\n", 2, "a source and a destination"),
        ("FROM a AS builder\nFROM a\nCOPY --from=9 x y\n", 3, "there is no stage 9"),
        ("FROM a\nCOPY --from=$X x y\n", 2, "cannot hold variables"),
        ("FROM a\nCOPY https://x/y z\n", 2, "use ADD"),
        ("FROM a\nARG U=https://x/y.git\nCOPY $U z\n", 3, "use ADD"),
        ("FROM a\nENV x\n", 2, "ENV x=..."),
        ("FROM a\nENV A=1 B\n", 2, "there is no ="),
        ("FROM a\nENV A=\"1\nRUN x\n", 2, "double quote is not closed"),
        ("FROM a\nENV A=\"${B:?set B}\"\n", 2, "B: set B"),
        ("FROM a AS 1x\n", 1, "cannot name a stage"),
        ("FROM a b\n", 1, "FROM IMAGE AS NAME"),
        ("FROM a AS\n", 1, "FROM IMAGE AS NAME"),
        ("ARG B\nFROM $B\n", 2, "is empty"),
        ("FROM Ubuntu\n", 1, "lower case"),
        ("FROM --platform=linux/am*d a\n", 1, "not a platform"),
        ("FROM a\nSHELL bash -c\n", 2, "JSON list"),
        ("FROM a\nCMD [1]\n", 2, "strings only"),
        ("FROM a\nEXPOSE http\n", 2, "not a port"),
        ("FROM a\nSTOPSIGNAL SIGTREM\n", 2, "did you mean TERM?"),
        ("FROM a\nHEALTHCHECK CDM x\n", 2, "HEALTHCHECK CMD or"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x\n", 2, "30s"),
        ("FROM a\nHEALTHCHECK NONE x\n", 2, "takes no arguments"),
        ("FROM a\nRUN --mount=type=tmpfs true\n", 2, "cannot cover the root directory"),
        ("FROM a\nONBUILD ONBUILD RUN x\n", 2, "not allowed"),
        ("FROM a\nONBUILD FROM x\n", 2, "not allowed"),
        ("FROM a\nONBUILD RNU x\n", 2, "did you mean RUN?"),
        ("FROM a\nVOLUME [\"\"]\n", 2, "not empty"),
        ("FROM a\nCOPY --chmod=999 x y\n", 2, "not a mode"),
        ("FROM a\nADD --checksum=sha256:12 https://x/y z\n", 2, "not a digest"),
        ("FROM a\nADD --checksum=sha256:12 x z\n", 2, "neither"),
        ("FROM a\nADD --parents x z\n", 2, "has no flag --parents"),
        ("FROM a\nADD https://x/y.git?rf=1 z\n", 2, "did you mean ref?"),
        ("# escape=x\nFROM a\n", 1, "invalid escape"),
    ] {
        let message = message(text);
        assert!(message.starts_with(&format!("Dockerfile:{line}: ")), "{text:?}: {message}");
        assert!(message.contains(say), "{text:?}: {message}");
    }
}

#[test]
fn a_stage_further_down_cannot_be_copied_from() {
    let text = "FROM a AS one\nCOPY --from=two x y\nFROM a AS two\n";
    let error = try_plan(text, &target("one")).unwrap_err().to_string();
    assert!(error.contains("Dockerfile:2: stage \"two\" is defined further down"), "{error}");
    let error = try_plan("FROM a AS one\nRUN --mount=from=one,target=/x y\n", &args(&[])).unwrap_err().to_string();
    assert!(error.contains("cannot copy from itself"), "{error}");
}

#[test]
fn an_image_that_is_almost_a_stage_says_so() {
    let text = "FROM a AS builder\nFROM bulder\nCOPY --from=biulder x y\nCOPY --from=busybox x y\n";
    let graph = dockerfile::parse("Dockerfile", text).unwrap().resolve(&args(&[])).unwrap();
    let uses: Vec<_> = graph.images().unwrap().into_iter().map(|u| (u.at.line_start, u.near_stage)).collect();
    let builder = Some("builder".to_owned());
    assert_eq!(uses, [(2, builder.clone()), (3, builder), (4, None)]);
    let error = graph.error_at(uses_at(&graph), "it is not there", None).to_string();
    assert_eq!(error, "Dockerfile:2: it is not there\n  | FROM bulder");
}

fn uses_at(graph: &dockerfile::Graph) -> shiplap_builder::plan::Location {
    graph.images().unwrap()[0].at
}

#[test]
fn an_unknown_target_gets_a_suggestion() {
    let text = "FROM a AS production\nFROM production AS final\n";
    let error = try_plan(text, &target("prodction")).unwrap_err().to_string();
    assert_eq!(error, "Dockerfile has no stage \"prodction\" to build\nhint: did you mean production?");
    let error = try_plan(text, &target("zzz")).unwrap_err().to_string();
    assert!(error.contains("its stages are production, final"), "{error}");
    // As in Docker, a number is no name.
    assert!(try_plan(text, &target("0")).is_err());
}
