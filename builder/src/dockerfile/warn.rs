//! The checks of BuildKit's linter (`dockerfile2llb/validations.go`), made in its order: what is on one line is told in the order in
//! which it is found.

use std::collections::{BTreeSet, HashSet};

use super::expand::Found;
use super::instruction::{CommandLine, From, Instruction, Node};
use super::lines::Raw;
use super::rules::Finding;
use super::{StageNode, args};
use crate::ignore::IgnoreRules;
use crate::plan::{Env, ImageOrigin, Location, Platform, Warning};

/// Adds a warning.
pub(crate) fn push(out: &mut Vec<Warning>, at: Location, finding: &Finding) {
    out.push(Warning { code: finding.name(), message: finding.message(), at: Some(at) });
}

/// What the lines show before anybody looks at what they say.
pub(crate) fn lines(out: &mut Vec<Warning>, raws: &[Raw]) {
    for line in raws.iter().filter_map(|raw| raw.empty_continuation) {
        push(out, Location { line_start: line, line_end: line }, &Finding::NoEmptyContinuation);
    }
}

/// What one instruction shows by itself.
pub(crate) fn instruction(out: &mut Vec<Warning>, raw: &Raw, node: &Node) {
    match &node.instruction {
        Instruction::Maintainer(_) => push(out, node.at, &Finding::MaintainerDeprecated),
        Instruction::From(from) => {
            if let Some(name) = &from.cased_name {
                push(out, node.at, &Finding::StageNameCasing(name));
            }
            if let Some(as_word) = from.as_word.as_deref().filter(|word| !matches_case(&node.keyword, word)) {
                push(out, node.at, &Finding::FromAsCasing { from: &node.keyword, as_word });
            }
            let names: Vec<&str> = from.name.as_deref().into_iter().collect();
            description(out, raw, node, "FROM", &names);
        }
        Instruction::Arg(list) => {
            let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
            description(out, raw, node, "ARG", &names);
        }
        _ => {}
    }
}

/// Whether `AS` is written as `FROM` is. A `From` is no measure: that is another check's.
fn matches_case(from: &str, as_word: &str) -> bool {
    match Case::of(from) {
        Some(Case::Lower) => as_word == as_word.to_lowercase(),
        Some(Case::Upper) => as_word == as_word.to_uppercase(),
        None => true,
    }
}

/// A comment right above an `ARG` or `FROM` is shown by `--call=outline`, where it begins with the name.
fn description(out: &mut Vec<Warning>, raw: &Raw, node: &Node, keyword: &str, names: &[&str]) {
    let (Some(comment), Some(first)) = (raw.comments.last(), names.first()) else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    push(out, node.at, &Finding::InvalidDefinitionDescription { keyword, name });
}

/// What the stages show together.
pub(crate) fn stages(out: &mut Vec<Warning>, stages: &[StageNode]) {
    let mut names = HashSet::new();
    for stage in stages {
        let Some(name) = &stage.from.name else { continue };
        if matches!(name.as_str(), "scratch" | "context") {
            push(out, stage.at, &Finding::ReservedStageName(name));
        }
        if !names.insert(name) {
            push(out, stage.at, &Finding::DuplicateStageName(name));
        }
    }
    casing(out, stages);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
}

impl Case {
    fn of(word: &str) -> Option<Self> {
        if word == word.to_lowercase() {
            Some(Case::Lower)
        } else {
            (word == word.to_uppercase()).then_some(Case::Upper)
        }
    }
}

/// All instructions are to be written as most are. Upper case wins where it is as often.
fn casing(out: &mut Vec<Warning>, stages: &[StageNode]) {
    let keywords = |stage: &StageNode| {
        let body = stage.body.iter().map(|node| (node.keyword.clone(), node.at));
        std::iter::once((stage.keyword.clone(), stage.at)).chain(body).collect::<Vec<_>>()
    };
    let all: Vec<(String, Location)> = stages.iter().flat_map(keywords).collect();
    let count = |case| all.iter().filter(|(word, _)| Case::of(word) == Some(case)).count();
    let (majority, casing) = match count(Case::Lower) > count(Case::Upper) {
        true => (Case::Lower, "lowercase"),
        false => (Case::Upper, "uppercase"),
    };
    for (keyword, at) in all.iter().filter(|(word, _)| Case::of(word) != Some(majority)) {
        push(out, *at, &Finding::ConsistentInstructionCasing { keyword, casing });
    }
}

/// `ARG`s that choose a base must have defaults with which there is one.
pub(crate) fn default_base(out: &mut Vec<Warning>, written: &str, expanded: &str, at: Location) {
    if ImageOrigin::registry(expanded).is_err() {
        push(out, at, &Finding::InvalidDefaultArgInFrom(written));
    }
}

/// `ARG`s that a `FROM` uses and nobody declared.
pub(crate) fn undeclared(out: &mut Vec<Warning>, found: &Found, declared: &BTreeSet<String>, at: Location) {
    for name in found.unset.iter().filter(|name| !declared.contains(*name)) {
        let near = near(name, declared.iter().map(String::as_str));
        push(out, at, &Finding::UndefinedArgInFrom { name, near });
    }
}

/// A `--platform` that says nothing new, or always the same.
pub(crate) fn platform(out: &mut Vec<Warning>, from: &From, result: &str, found: &Found, target: &str, at: Location) {
    let written = from.platform.as_deref().unwrap_or_default();
    let only_target = found.matched.len() == 1 && found.matched.contains("TARGETPLATFORM");
    if only_target && found.unset.is_empty() && result == target {
        push(out, at, &Finding::RedundantTargetPlatform(written));
    }
    if !found.matched.is_empty() || !found.unset.is_empty() {
        return;
    }
    let Ok(platform) = result.parse::<Platform>() else { return };
    let stage = from.name.as_deref().unwrap_or_default();
    if !stage.contains(&platform.os) && !stage.contains(&platform.arch) {
        push(out, at, &Finding::FromPlatformFlagConstDisallowed(result));
    }
}

/// `CMD` and `ENTRYPOINT` in shell form get no signals.
pub(crate) fn shell_form(out: &mut Vec<Warning>, keyword: &str, line: &CommandLine, shell_set: bool, at: Location) {
    if matches!(line, CommandLine::Shell(_)) && !shell_set {
        push(out, at, &Finding::JsonArgsRecommended(keyword));
    }
}

/// Of some instructions only the last one of a stage counts; the warning is about the one before.
pub(crate) fn only_once(out: &mut Vec<Warning>, keyword: &str, before: &mut Option<Location>, at: Location) {
    if let Some(before) = before.replace(at) {
        push(out, before, &Finding::MultipleInstructionsDisallowed(keyword));
    }
}

/// Variables that were used and are not there.
pub(crate) fn undefined(
    out: &mut Vec<Warning>,
    unset: &BTreeSet<String>,
    declared: &[(String, Option<String>)],
    env: &Env,
    at: Location,
) {
    for name in unset {
        if name.is_empty() || declared.iter().any(|(n, _)| n == name) || args::is_hidden(name) {
            continue;
        }
        let near = near(name, env.iter().map(|(n, _)| n));
        push(out, at, &Finding::UndefinedVar { name, near });
    }
}

/// BuildKit's `suggest.Search`: less than three letters away.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = (3, None);
    // A name that nobody types is not mistyped, and comparing takes its length squared.
    if name.len() > 256 {
        return None;
    }
    for known in known {
        let distance = strsim::levenshtein(name, known);
        if distance == 0 {
            return None;
        }
        if distance < best.0 {
            best = (distance, Some(known));
        }
    }
    best.1
}

/// Words in names that look like secrets, and those that say that it is none.
pub(crate) fn secret(out: &mut Vec<Warning>, keyword: &str, name: &str, at: Location) {
    const WORDS: [&str; 10] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    if has(&WORDS) && !has(&HARMLESS) {
        push(out, at, &Finding::SecretsUsedInArgOrEnv { keyword, name });
    }
}

/// A source of `COPY` or `ADD` that `.dockerignore` leaves out. With a `!` in it that cannot be told.
pub(crate) fn ignored(out: &mut Vec<Warning>, verb: &str, source: &str, rules: &IgnoreRules, at: Location) {
    if rules.is_empty() || rules.has_exceptions() {
        return;
    }
    let file = super::path::clean(source);
    if matches!(file.as_str(), "." | "/") && !rules.leave_nothing() {
        return;
    }
    if rules.matches(&file) {
        push(out, at, &Finding::CopyIgnoredFile { verb, file: &file });
    }
}

/// A base that was made for another machine.
pub(crate) fn base_platform(out: &mut Vec<Warning>, image: &str, expected: &Platform, actual: &Platform, at: Location) {
    if actual.os.is_empty() || (expected.os == actual.os && expected.arch == actual.arch) {
        return;
    }
    let (expected, actual) = (expected.to_string(), actual.to_string());
    push(out, at, &Finding::InvalidBaseImagePlatform { image, expected: &expected, actual: &actual });
}
