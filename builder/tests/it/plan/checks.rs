//! The checks of BuildKit's linter. `tests/e2e/docker/check.rs` compares them with an engine's.

use shiplap_builder::dockerfile::{self, BuildOptions};
use shiplap_builder::ignore::IgnoreRules;
use shiplap_builder::plan::{ImageConfig, ImageRef};

use super::{args, base, target, try_plan};

/// The findings of a check of all stages, with their lines.
fn check_with(text: &str, ignore: &str, options: &BuildOptions) -> Vec<String> {
    let options = BuildOptions { all_stages: options.target.is_none(), ..options.clone() };
    let graph = dockerfile::parse("Dockerfile", text).and_then(|file| file.resolve(&options));
    let graph = graph.unwrap_or_else(|error| panic!("{error}")).ignoring(IgnoreRules::parse(ignore).unwrap());
    let plan = graph.lower(&|_: &ImageRef| Some(base())).unwrap_or_else(|error| panic!("{error}"));
    let line = |w: &shiplap_builder::plan::Warning| w.at.map_or(0, |at| at.line_start);
    plan.warnings.iter().map(|w| format!("{} {}: {}", line(w), w.code, w.message)).collect()
}

fn check(text: &str) -> Vec<String> {
    check_with(text, "", &args(&[]))
}

#[test]
fn each_check_says_what_docker_says() {
    for (text, expected) in [
        ("FROM a AS Up\n", "1 StageNameCasing: Stage name 'Up' should be lowercase"),
        ("FROM a as up\n", "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"),
        ("from a AS up\n", "1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"),
        ("FROM a\nRUN x \\\n\n  y\n", "4 NoEmptyContinuation: Empty continuation line"),
        (
            "FROM a\nrun x\nUSER x\n",
            "2 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)",
        ),
        (
            "FROM a\nrun x\n",
            "2 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)",
        ),
        (
            "from a\nRun x\n",
            "2 ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (lowercase)",
        ),
        (
            "FROM a AS x\nFROM a AS x\n",
            "2 DuplicateStageName: Duplicate stage name \"x\", stage names should be unique",
        ),
        (
            "FROM a AS scratch\n",
            "1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\"",
        ),
        (
            "FROM a\nCMD x\n",
            "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ),
        (
            "from a\nentrypoint x\n",
            "2 JSONArgsRecommended: JSON arguments recommended for entrypoint to prevent unintended behavior related to OS signals",
        ),
        (
            "FROM a\nMAINTAINER me\n",
            "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
        ),
        ("FROM a:x$V\n", "1 UndefinedArgInFrom: FROM argument 'V' is not declared"),
        ("ARG VER=1\nFROM a:x$VRE\n", "2 UndefinedArgInFrom: FROM argument 'VRE' is not declared (did you mean VER?)"),
        (
            "FROM a\nWORKDIR x\n",
            "2 WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes",
        ),
        ("FROM a\nCOPY $none x\n", "2 UndefinedVar: Usage of undefined variable '$none'"),
        (
            "FROM a\nCOPY $FROM_BSE x\n",
            "2 UndefinedVar: Usage of undefined variable '$FROM_BSE' (did you mean $FROM_BASE?)",
        ),
        (
            "FROM a\nCMD [\"x\"]\nCMD [\"y\"]\n",
            "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last \
             one will be used",
        ),
        (
            "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n",
            "2 MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage because only \
             the last one will be used",
        ),
        (
            "FROM a\nENV A b\n",
            "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        (
            "from a\nlabel A b\n",
            "2 LegacyKeyValueFormat: \"label key=value\" should be used instead of legacy \"label key value\" format",
        ),
        (
            "FROM --platform=$TARGETPLATFORM a\n",
            "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default \
             behavior",
        ),
        (
            "FROM --platform=linux/amd64 a\n",
            "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"",
        ),
        (
            "FROM a\nARG DB_PASSWORD\n",
            "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")",
        ),
        (
            "FROM a\nENV token=1\n",
            "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"token\")",
        ),
        (
            "FROM a\nEXPOSE 80/TCP\n",
            "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
        ),
        (
            "FROM a\nEXPOSE 1:80\n",
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:80'",
        ),
        (
            "# check=experimental=all\n# what\nFROM a AS x\n",
            "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# x <description>`",
        ),
        (
            "# check=experimental=all\n#\n# what\n\nARG x=1 y=2\nFROM a\n",
            "5 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
        ),
    ] {
        assert_eq!(check(text), [expected], "{text}");
    }
    let given = args(&[("BASE", "a")]);
    assert_eq!(
        check_with("ARG BASE\nFROM ${BASE}\n", "", &given),
        ["2 InvalidDefaultArgInFrom: Default value for ARG ${BASE} results in empty or invalid base image name"]
    );
}

#[test]
fn what_is_well_is_not_told() {
    for text in [
        "FROM a AS x\nFROM x AS y\nRUN x\nCMD [\"x\"]\n",
        "from a as x\nrun x\n",
        // That is for the casing of instructions alone.
        "FROM a\nSHELL [\"x\"]\nCMD x\n",
        "ARG V\nFROM a:x$V\n",
        "ARG KEY=a\nFROM $KEY\n",
        "FROM a\nARG KEY_FILE PUBLIC_KEY TOKEN_VERSION keyboard\n",
        "FROM a\nWORKDIR /x\nWORKDIR y\n",
        "FROM a\nCOPY ${none:-x} /\nRUN echo $none\nEXPOSE 80 $none\n".trim_end(),
        "FROM --platform=$BUILDPLATFORM a\n",
        "FROM --platform=linux/arm64 a AS for-arm64\n",
        "# check=experimental=all\n# x what\nFROM a AS x\n# what\n#\nARG y=1\n",
        "# what\nFROM a AS x\n",
    ] {
        let found = check(text);
        let found: Vec<_> = found.iter().filter(|one| !one.contains("UndefinedVar")).collect();
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn undefined_variables_are_told_word_by_word_and_not_for_ports() {
    assert_eq!(check("FROM a\nCOPY $none $none /$other\n").len(), 3);
    assert!(check("FROM a\nEXPOSE 80 $none\nCMD [\"$none\"]\nRUN $none\n").is_empty());
    // BuildKit looks the variable up before it takes the default.
    assert_eq!(check("FROM a\nCOPY ${none:-x} /\n").len(), 1);
}

#[test]
fn files_that_are_ignored_cannot_be_copied() {
    let experimental = "# check=experimental=CopyIgnoredFile\n";
    let check =
        |line: &str, ignore: &str| check_with(&format!("{experimental}FROM a\n{line}\n"), ignore, &args(&[])).len();
    for line in ["COPY x /", "COPY ./x/ /", "COPY x/y /", "ADD x /", "COPY . /", "COPY / /"] {
        let wanted = usize::from(!matches!(line, "COPY . /" | "COPY / /"));
        assert_eq!(check(line, "x\n"), wanted, "{line}");
    }
    assert_eq!(check("COPY . /", "*\n"), 1);
    assert_eq!(check("COPY x /", "x\n!x/y\n"), 0);
    assert_eq!(check("COPY y /", "x\n") + check("COPY --from=b x /", "x\n") + check("COPY <<x /\n1\nx", "x\n"), 0);
    assert_eq!(check_with("FROM a\nCOPY x /\n", "x\n", &args(&[])).len(), 0);
}

#[test]
fn a_base_for_another_machine() {
    let arm = ImageConfig { os: "linux".to_owned(), architecture: "arm64".to_owned(), ..base() };
    let graph = dockerfile::parse("Dockerfile", "FROM a:1\n").unwrap().resolve(&args(&[])).unwrap();
    let plan = graph.lower(&|_: &ImageRef| Some(arm.clone())).unwrap();
    let [warning] = plan.warnings.as_slice() else { panic!("{:?}", plan.warnings) };
    assert_eq!(warning.code, "InvalidBaseImagePlatform");
    assert_eq!(
        warning.message,
        "Base image a:1 was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build"
    );
}

#[test]
fn all_stages_are_checked_where_no_target_is_given() {
    let text = "FROM a AS one\nCMD x\nFROM a AS two\nCMD x\n";
    assert_eq!(check(text).len(), 2);
    assert_eq!(check_with(text, "", &target("one")).len(), 1);
    // A build looks at what it builds.
    assert_eq!(try_plan(text, &args(&[])).unwrap().warnings.len(), 1);
}

#[test]
fn directives_leave_checks_out_and_make_them_errors() {
    let text = |check: &str| format!("# check={check}\nFROM a\nCMD x\nENV a b\n");
    assert_eq!(check(&text("skip=JSONArgsRecommended")).len(), 1);
    assert!(check(&text("skip=all")).is_empty());
    let given = args(&[("BUILDKIT_DOCKERFILE_CHECK", "skip=all")]);
    assert!(check_with(&text("error=true"), "", &given).is_empty());
    let graph = dockerfile::parse("Dockerfile", &text("error=true")).unwrap().resolve(&args(&[])).unwrap();
    let plan = graph.lower(&|_: &ImageRef| Some(base())).unwrap();
    let message = "lint violation found for rules: JSONArgsRecommended, LegacyKeyValueFormat";
    assert_eq!(graph.refusal(&plan.warnings).as_deref(), Some(message));
    assert_eq!(graph.refusal(&[]), None);
    let error = try_plan(&text("what"), &args(&[])).unwrap_err().to_string();
    assert!(error.contains("Dockerfile:1: invalid check option \"what\""), "{error}");
}

#[test]
fn the_frontend_of_another_is_refused() {
    let error = try_plan("# syntax=acme/frontend\nFROM a\n", &args(&[])).unwrap_err().to_string();
    assert!(error.contains("Dockerfile:1: shiplap cannot run the frontend acme/frontend"), "{error}");
    let given = args(&[("BUILDKIT_SYNTAX", "docker/dockerfile:1")]);
    assert!(try_plan("# syntax=acme/frontend\nFROM a\n", &given).is_ok());
}
