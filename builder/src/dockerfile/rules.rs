//! What BuildKit's linter checks, with its names, texts and pages (`frontend/dockerfile/linter/ruleset.go`).

/// A check.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name that `# check=skip=` takes.
    pub name: &'static str,
    /// What it is about.
    pub description: &'static str,
    /// The page that explains it; empty where there is none.
    pub url: &'static str,
    /// Only checked where `# check=experimental=` asks for it.
    pub experimental: bool,
}

/// What a check found, with the words that its message needs.
#[derive(Debug)]
pub(crate) enum Finding<'a> {
    StageNameCasing(&'a str),
    FromAsCasing { from: &'a str, as_word: &'a str },
    NoEmptyContinuation,
    ConsistentInstructionCasing { keyword: &'a str, casing: &'a str },
    DuplicateStageName(&'a str),
    ReservedStageName(&'a str),
    JsonArgsRecommended(&'a str),
    MaintainerDeprecated,
    UndefinedArgInFrom { name: &'a str, near: Option<&'a str> },
    WorkdirRelativePath(&'a str),
    UndefinedVar { name: &'a str, near: Option<&'a str> },
    MultipleInstructionsDisallowed(&'a str),
    LegacyKeyValueFormat(&'a str),
    InvalidBaseImagePlatform { image: &'a str, expected: &'a str, actual: &'a str },
    RedundantTargetPlatform(&'a str),
    SecretsUsedInArgOrEnv { keyword: &'a str, name: &'a str },
    InvalidDefaultArgInFrom(&'a str),
    FromPlatformFlagConstDisallowed(&'a str),
    CopyIgnoredFile { verb: &'a str, file: &'a str },
    InvalidDefinitionDescription { keyword: &'a str, name: &'a str },
    ExposeProtoCasing(&'a str),
    ExposeInvalidFormat(&'a str),
}

macro_rules! url {
    ($page:literal) => {
        concat!("https://docs.docker.com/go/dockerfile/rule/", $page, "/")
    };
}

/// All of them.
const RULES: [Rule; 22] = [
    rule("StageNameCasing", "Stage names should be lowercase", url!("stage-name-casing")),
    rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", url!("from-as-casing")),
    rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
        url!("no-empty-continuation"),
    ),
    rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        url!("consistent-instruction-casing"),
    ),
    rule("DuplicateStageName", "Stage names should be unique", url!("duplicate-stage-name")),
    rule("ReservedStageName", "Reserved words should not be used as stage names", url!("reserved-stage-name")),
    rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        url!("json-args-recommended"),
    ),
    rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        url!("maintainer-deprecated"),
    ),
    rule("UndefinedArgInFrom", "FROM command must use declared ARGs", url!("undefined-arg-in-from")),
    rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image \
         changes",
        url!("workdir-relative-path"),
    ),
    rule("UndefinedVar", "Variables should be defined before their use", url!("undefined-var")),
    rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
        url!("multiple-instructions-disallowed"),
    ),
    rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
        url!("legacy-key-value-format"),
    ),
    rule("InvalidBaseImagePlatform", "Base image platform does not match expected target platform", ""),
    rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        url!("redundant-target-platform"),
    ),
    rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
        url!("secrets-used-in-arg-or-env"),
    ),
    rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
        url!("invalid-default-arg-in-from"),
    ),
    rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
        url!("from-platform-flag-const-disallowed"),
    ),
    experimental(rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
        url!("copy-ignored-file"),
    )),
    experimental(rule(
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not \
         intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        url!("invalid-definition-description"),
    )),
    rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", url!("expose-proto-casing")),
    rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future \
         release",
        url!("expose-invalid-format"),
    ),
];

const fn rule(name: &'static str, description: &'static str, url: &'static str) -> Rule {
    Rule { name, description, url, experimental: false }
}

const fn experimental(rule: Rule) -> Rule {
    Rule { experimental: true, ..rule }
}

impl Rule {
    /// The check of this name.
    pub fn named(name: &str) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.name == name)
    }
}

impl Finding<'_> {
    /// The name of the check.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Finding::StageNameCasing(_) => "StageNameCasing",
            Finding::FromAsCasing { .. } => "FromAsCasing",
            Finding::NoEmptyContinuation => "NoEmptyContinuation",
            Finding::ConsistentInstructionCasing { .. } => "ConsistentInstructionCasing",
            Finding::DuplicateStageName(_) => "DuplicateStageName",
            Finding::ReservedStageName(_) => "ReservedStageName",
            Finding::JsonArgsRecommended(_) => "JSONArgsRecommended",
            Finding::MaintainerDeprecated => "MaintainerDeprecated",
            Finding::UndefinedArgInFrom { .. } => "UndefinedArgInFrom",
            Finding::WorkdirRelativePath(_) => "WorkdirRelativePath",
            Finding::UndefinedVar { .. } => "UndefinedVar",
            Finding::MultipleInstructionsDisallowed(_) => "MultipleInstructionsDisallowed",
            Finding::LegacyKeyValueFormat(_) => "LegacyKeyValueFormat",
            Finding::InvalidBaseImagePlatform { .. } => "InvalidBaseImagePlatform",
            Finding::RedundantTargetPlatform(_) => "RedundantTargetPlatform",
            Finding::SecretsUsedInArgOrEnv { .. } => "SecretsUsedInArgOrEnv",
            Finding::InvalidDefaultArgInFrom(_) => "InvalidDefaultArgInFrom",
            Finding::FromPlatformFlagConstDisallowed(_) => "FromPlatformFlagConstDisallowed",
            Finding::CopyIgnoredFile { .. } => "CopyIgnoredFile",
            Finding::InvalidDefinitionDescription { .. } => "InvalidDefinitionDescription",
            Finding::ExposeProtoCasing(_) => "ExposeProtoCasing",
            Finding::ExposeInvalidFormat(_) => "ExposeInvalidFormat",
        }
    }

    /// What is said about it.
    pub(crate) fn message(&self) -> String {
        let meant = |near: &Option<&str>, sign: &str| {
            near.map_or_else(String::new, |near| format!(" (did you mean {sign}{near}?)"))
        };
        match self {
            Finding::StageNameCasing(name) => format!("Stage name '{name}' should be lowercase"),
            Finding::FromAsCasing { from, as_word } => {
                format!("'{as_word}' and '{from}' keywords' casing do not match")
            }
            Finding::NoEmptyContinuation => "Empty continuation line".to_owned(),
            Finding::ConsistentInstructionCasing { keyword, casing } => {
                format!("Command '{keyword}' should match the case of the command majority ({casing})")
            }
            Finding::DuplicateStageName(name) => {
                format!("Duplicate stage name {name:?}, stage names should be unique")
            }
            Finding::ReservedStageName(name) => {
                format!("Stage name should not use the same name as reserved stage {name:?}")
            }
            Finding::JsonArgsRecommended(keyword) => {
                format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals")
            }
            Finding::MaintainerDeprecated => "Maintainer instruction is deprecated in favor of using label".to_owned(),
            Finding::UndefinedArgInFrom { name, near } => {
                format!("FROM argument '{name}' is not declared{}", meant(near, ""))
            }
            Finding::WorkdirRelativePath(path) => {
                format!("Relative workdir {path:?} can have unexpected results if the base image changes")
            }
            Finding::UndefinedVar { name, near } => {
                format!("Usage of undefined variable '${name}'{}", meant(near, "$"))
            }
            Finding::MultipleInstructionsDisallowed(keyword) => format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            ),
            Finding::LegacyKeyValueFormat(keyword) => {
                format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format")
            }
            Finding::InvalidBaseImagePlatform { image, expected, actual } => {
                format!(
                    "Base image {image} was pulled with platform {actual:?}, expected {expected:?} for current build"
                )
            }
            Finding::RedundantTargetPlatform(written) => {
                format!("Setting platform to predefined {written} in FROM is redundant as this is the default behavior")
            }
            Finding::SecretsUsedInArgOrEnv { keyword, name } => {
                format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})")
            }
            Finding::InvalidDefaultArgInFrom(base) => {
                format!("Default value for ARG {base} results in empty or invalid base image name")
            }
            Finding::FromPlatformFlagConstDisallowed(platform) => {
                format!("FROM --platform flag should not use constant value {platform:?}")
            }
            Finding::CopyIgnoredFile { verb, file } => {
                format!("Attempting to {verb} file {file:?} that is excluded by .dockerignore")
            }
            Finding::InvalidDefinitionDescription { keyword, name } => {
                format!("Comment for {keyword} should follow the format: `# {name} <description>`")
            }
            Finding::ExposeProtoCasing(port) => {
                format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase")
            }
            Finding::ExposeInvalidFormat(port) => {
                format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'")
            }
        }
    }
}
