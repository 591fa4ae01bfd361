//! Checks that BuildKit's linter makes too, under its names.

use std::collections::HashSet;

use super::Dockerfile;
use super::error::closest;
use super::instruction::{CommandLine, Instruction, Node};
use super::lines::Raw;
use crate::plan::{Env, Location, Warning};

/// Adds a warning.
pub(crate) fn push(out: &mut Vec<Warning>, code: &'static str, at: Location, message: impl Into<String>) {
    out.push(Warning { code, message: message.into(), at: Some(at) });
}

/// What one instruction shows by itself.
pub(crate) fn instruction(out: &mut Vec<Warning>, raw: &Raw, node: &Node) {
    let at = node.at;
    if raw.empty_continuation {
        push(out, "NoEmptyContinuation", at, "empty continuation line");
    }
    match &node.instruction {
        Instruction::Env { pairs, old_form } => {
            if *old_form {
                push(
                    out,
                    "LegacyKeyValueFormat",
                    at,
                    "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
                );
            }
            for pair in pairs {
                secret(out, "ENV", &pair.name, at);
            }
        }
        Instruction::Arg(args) => {
            for (name, _) in args {
                secret(out, "ARG", name, at);
            }
        }
        Instruction::Label { old_form: true, .. } => {
            push(
                out,
                "LegacyKeyValueFormat",
                at,
                "\"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            );
        }
        Instruction::Maintainer(_) => {
            push(out, "MaintainerDeprecated", at, "MAINTAINER is deprecated in favor of using a label");
        }
        Instruction::From(from) => {
            if let Some(name) = &from.cased_name {
                push(out, "StageNameCasing", at, format!("stage name '{name}' should be lowercase"));
            }
            if matches!(from.name.as_deref(), Some("scratch" | "context")) {
                push(out, "ReservedStageName", at, "the stage name is reserved");
            }
        }
        _ => {}
    }
}

/// What the stages show together.
pub(crate) fn stages(file: &mut Dockerfile) {
    let mut names = HashSet::new();
    for stage in &file.stages {
        let out = &mut file.warnings;
        if let Some(name) = stage.from.name.as_ref().filter(|name| !names.insert(*name)) {
            let message = format!("duplicate stage name {name:?}, stage names should be unique");
            push(out, "DuplicateStageName", stage.at, message);
        }
        for (keyword, is_it) in [
            ("CMD", (|i| matches!(i, Instruction::Cmd(_))) as fn(&Instruction) -> bool),
            ("ENTRYPOINT", |i| matches!(i, Instruction::Entrypoint(_))),
            ("HEALTHCHECK", |i| matches!(i, Instruction::Healthcheck(_))),
        ] {
            let all: Vec<&Node> = stage.body.iter().filter(|n| is_it(&n.instruction)).collect();
            for node in all.iter().rev().skip(1) {
                let message = format!("multiple {keyword} instructions in one stage: only the last one counts");
                push(out, "MultipleInstructionsDisallowed", node.at, message);
            }
        }
    }
}

/// `CMD` and `ENTRYPOINT` in shell form get no signals.
pub(crate) fn shell_form(out: &mut Vec<Warning>, keyword: &str, line: &CommandLine, shell_set: bool, at: Location) {
    if matches!(line, CommandLine::Shell(_)) && !shell_set {
        let message =
            format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals");
        push(out, "JSONArgsRecommended", at, message);
    }
}

/// Variables that were used and are not there.
pub(crate) fn undefined<'a>(
    out: &mut Vec<Warning>,
    code: &'static str,
    names: impl IntoIterator<Item = &'a String>,
    declared: &[(String, Option<String>)],
    env: &Env,
    at: Location,
) {
    for name in names {
        if name.is_empty() || declared.iter().any(|(n, _)| n == name) {
            continue;
        }
        let mut message = format!("usage of undefined variable '${name}'");
        if let Some(near) = closest(name, env.iter().map(|(n, _)| n)) {
            message.push_str(&format!(" (did you mean ${near}?)"));
        }
        let warning = Warning { code, message, at: Some(at) };
        if !out.contains(&warning) {
            out.push(warning);
        }
    }
}

/// BuildKit's list of words in names that look like secrets.
fn secret(out: &mut Vec<Warning>, keyword: &str, name: &str, at: Location) {
    const WORDS: [&str; 9] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret"];
    let lower = name.to_lowercase();
    let parts: Vec<&str> = lower.split('_').collect();
    if parts.iter().any(|p| WORDS.contains(p) || *p == "token") && !parts.contains(&"public") {
        let message = format!("do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})");
        push(out, "SecretsUsedInArgOrEnv", at, message);
    }
}
