//! What the checks of a Dockerfile found, as people and tools meet it: a line each in a build, the form of `docker build --check`, and
//! that of `--call=check,format=json`.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use shiplap_builder::dockerfile::Rule;
use shiplap_builder::plan::{Location, Warning};

/// Says each of them once, on standard error.
pub fn tell(warnings: &[Warning]) {
    for (index, warning) in warnings.iter().enumerate() {
        if warnings[..index].contains(warning) {
            continue;
        }
        let at = warning.at.map(|at| format!(" (line {})", at.line_start)).unwrap_or_default();
        if warning.code == Warning::SYNTAX {
            eprintln!("note: {}{at}", warning.message);
        } else {
            eprintln!("warning: {}: {}{at}", warning.code, warning.message);
        }
    }
}

/// Those that `--check` counts: the checks of BuildKit.
pub fn findings(warnings: &[Warning]) -> Vec<(&'static Rule, &Warning)> {
    warnings.iter().filter_map(|warning| Some((Rule::named(warning.code)?, warning))).collect()
}

/// `docker build --check` writes this.
pub fn text(warnings: &[Warning], dockerfile: &str, source: &str) -> String {
    let findings = findings(warnings);
    let mut out = match findings.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for (rule, warning) in findings {
        let page = if rule.url.is_empty() { String::new() } else { format!(" - {}", rule.url) };
        let _ = writeln!(out, "\nWARNING: {}{page}\n{}", rule.name, warning.message);
        if let Some(at) = warning.at {
            excerpt(&mut out, dockerfile, source, at);
        }
    }
    out
}

/// The lines and some around them (BuildKit's `errdefs.Source.Print`).
fn excerpt(out: &mut String, dockerfile: &str, source: &str, at: Location) {
    let lines: Vec<&str> = source.split('\n').collect();
    let (mut start, mut end) = (at.line_start, at.line_end.max(at.line_start).min(lines.len()));
    if start < 1 || start > lines.len() {
        return;
    }
    let pad = if start == end { 4 } else { 2 };
    let mut padded = 0;
    while padded < pad {
        if start > 1 {
            start -= 1;
            padded += 1;
        }
        if end != lines.len() {
            end += 1;
            padded += 1;
        }
        padded += 1;
    }
    let rule = "--------------------";
    let _ = writeln!(out, "{dockerfile}:{}\n{rule}", at.line_start);
    for number in start..=end {
        let mark = if (at.line_start..=at.line_end).contains(&number) { ">>>" } else { "   " };
        let _ = writeln!(out, " {number:3} | {mark} {}", lines[number - 1]);
    }
    let _ = writeln!(out, "{rule}");
}

/// What `--call=check,format=json` writes. Docker adds to a source how it was loaded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    warnings: Vec<Finding<'a>>,
    sources: Vec<Source<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_error: Option<Error<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'a> {
    rule_name: &'static str,
    description: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'static str,
    detail: &'a str,
    location: Ranges,
}

/// A place, as all subrequests of BuildKit write it.
#[derive(Debug, Default, Serialize)]
pub struct Ranges {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
}

#[derive(Debug, Serialize)]
struct Range {
    start: Line,
    end: Line,
}

#[derive(Debug, Serialize)]
struct Line {
    line: usize,
}

impl From<Location> for Ranges {
    fn from(at: Location) -> Self {
        Self { ranges: vec![Range { start: Line { line: at.line_start }, end: Line { line: at.line_end } }] }
    }
}

#[derive(Debug, Serialize)]
struct Source<'a> {
    filename: &'a str,
    data: String,
    language: &'static str,
}

#[derive(Debug, Serialize)]
struct Error<'a> {
    message: &'a str,
    location: Ranges,
}

/// The findings for a program.
pub fn report<'a>(warnings: &'a [Warning], refused: Option<&'a str>, dockerfile: &'a str, source: &str) -> Report<'a> {
    let finding = |(rule, warning): (&'static Rule, &'a Warning)| Finding {
        rule_name: rule.name,
        description: rule.description,
        url: rule.url,
        detail: &warning.message,
        location: warning.at.map(Ranges::from).unwrap_or_default(),
    };
    Report {
        warnings: findings(warnings).into_iter().map(finding).collect(),
        sources: vec![Source { filename: dockerfile, data: BASE64_STANDARD.encode(source), language: "Dockerfile" }],
        build_error: refused.map(|message| Error { message, location: Ranges::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(line_start: usize, line_end: usize) -> Warning {
        let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
        Warning { code: "MaintainerDeprecated", message, at: Some(Location { line_start, line_end }) }
    }

    /// As Docker 28.5 prints it.
    #[test]
    fn findings_come_with_their_lines() {
        let source = "FROM scratch\nCMD x\n";
        let head = "Check complete, 1 warning has been found!\n\nWARNING: MaintainerDeprecated - \
                    https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\nMaintainer instruction is deprecated in favor \
                    of using label\n";
        assert_eq!(
            text(&[warning(2, 2)], "Dockerfile", source),
            format!(
                "{head}Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> CMD x\n   3 |     \n\
                 --------------------\n"
            )
        );
        let source = "1\n2\n3\n4\n5\n6\n7\n";
        let lines = |at: Warning| {
            let text = text(&[at], "Dockerfile", source);
            text.lines()
                .filter_map(|line| line.split_once(" | ").map(|(number, _)| number.trim().to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(warning(4, 4)), ["2", "3", "4", "5", "6"]);
        assert_eq!(lines(warning(3, 5)), ["2", "3", "4", "5", "6"]);
        assert_eq!(lines(warning(1, 1)), ["1", "2", "3"]);
        assert_eq!(text(&[], "Dockerfile", source), "Check complete, no warnings found.\n");
        let own = Warning { code: "UnusedBuildArg", message: String::new(), at: None };
        assert_eq!(text(&[own], "Dockerfile", source), "Check complete, no warnings found.\n");
    }

    #[test]
    fn a_program_reads_them_as_from_docker() {
        let json = serde_json::to_value(report(&[warning(1, 2)], Some("no"), "D", "FROM a\n")).unwrap();
        assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
        assert_eq!(json["warnings"][0]["location"]["ranges"][0]["end"]["line"], 2);
        assert_eq!(json["sources"][0]["data"], "RlJPTSBhCg==");
        assert_eq!(json["buildError"]["message"], "no");
    }
}
