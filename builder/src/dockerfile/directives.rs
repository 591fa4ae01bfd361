//! The parser directives at the top of a Dockerfile: `# escape=`, `# syntax=`, `# check=` (BuildKit's
//! `parser/directives.go`).

use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;
use super::lines::At;
use super::rules::Rule;
use crate::plan::{Location, Warning};

/// What the directives say, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) escape: char,
    pub(crate) syntax: Option<(String, usize)>,
    pub(crate) check: Option<(String, usize)>,
    /// The line of the last one.
    pub(crate) end: usize,
}

struct Directive<'a> {
    line: usize,
    name: String,
    value: &'a str,
}

impl Default for Directives {
    fn default() -> Self {
        Directives { escape: '\\', syntax: None, check: None, end: 0 }
    }
}

/// Reads them. As BuildKit, which has two readers for them: `escape` may be indented; the others may not, and may stand below a
/// `#!` line.
pub(crate) fn read(text: &str) -> At<Directives> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Directives::default();
    let mut seen = BTreeSet::new();
    for directive in walk(text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_start()))) {
        let Directive { line, name, value } = directive;
        found.end = line;
        if name == "escape" {
            found.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    let fault = Fault::new(format!("invalid escape character {value:?}")).hint("use \\ or `");
                    return Err((line, fault));
                }
            };
        }
        if !seen.insert(name.clone()) {
            return Err((line, Fault::new(format!("only one {name} directive can be used"))));
        }
    }
    let shebang = usize::from(text.starts_with("#!"));
    for directive in walk(text.lines().enumerate().skip(shebang).map(|(index, line)| (index + 1, line))) {
        // What stands behind a space is an argument of the frontend, or lost.
        let value = directive.value.split(' ').next().unwrap_or_default().to_owned();
        match directive.name.as_str() {
            "syntax" if found.syntax.is_none() => found.syntax = Some((value, directive.line)),
            "check" if found.check.is_none() => found.check = Some((value, directive.line)),
            _ => {}
        }
    }
    Ok(found)
}

/// The directives up to the first line that is none.
fn walk<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> impl Iterator<Item = Directive<'a>> {
    lines.map_while(|(line, text)| {
        let (name, value) = text.strip_prefix('#')?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let name = name.to_ascii_lowercase();
        let known = matches!(name.as_str(), "syntax" | "escape" | "check");
        (known && !value.is_empty()).then_some(Directive { line, name, value })
    })
}

/// The frontend that a Dockerfile asks for, when shiplap cannot be that.
pub(crate) fn check_syntax(
    directives: &Directives,
    args: &BTreeMap<String, String>,
) -> Result<Option<Warning>, (usize, Fault)> {
    if let Some(given) = args.get("BUILDKIT_SYNTAX") {
        let name = given.split_whitespace().next().unwrap_or_default();
        return if is_standard(name) { Ok(None) } else { Err((0, foreign(name))) };
    }
    let Some((name, line)) = &directives.syntax else { return Ok(None) };
    if !is_standard(name) {
        return Err((*line, foreign(name)));
    }
    Ok(Some(Warning {
        code: Warning::SYNTAX,
        message: format!("{name} is not fetched: shiplap reads its language itself"),
        at: Some(Location { line_start: *line, line_end: *line }),
    }))
}

fn foreign(name: &str) -> Fault {
    Fault::new(format!("shiplap cannot run the frontend {name}: it reads only the language of docker/dockerfile")).hint(
        "take the syntax line away; or if the file is a plain Dockerfile say so with --build-arg \
         BUILDKIT_SYNTAX=docker/dockerfile:1",
    )
}

/// Docker's own frontend, also from a mirror, in any version.
fn is_standard(name: &str) -> bool {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    let mut parts = name[..tag.unwrap_or(name.len())].rsplit('/');
    matches!(parts.next(), Some("dockerfile" | "dockerfile-upstream")) && parts.next() == Some("docker")
}

/// Which checks are made and what comes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    skip: Names,
    experimental: Names,
    /// A finding makes the build fail.
    pub(crate) error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Some(BTreeSet<String>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Some(BTreeSet::new())
    }
}

impl Names {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Names::All,
            list => Names::Some(list.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Names::All => true,
            Names::Some(names) => names.contains(name),
        }
    }
}

impl Checks {
    /// Those of the Dockerfile, or of `BUILDKIT_DOCKERFILE_CHECK` among the build arguments.
    pub(crate) fn of(directives: &Directives, args: &BTreeMap<String, String>) -> Result<Self, (usize, Fault)> {
        let (text, line) = match (args.get("BUILDKIT_DOCKERFILE_CHECK"), &directives.check) {
            (Some(text), _) => (text, 0),
            (None, Some((text, line))) => (text, *line),
            (None, None) => return Ok(Checks::default()),
        };
        Self::parse(text).map_err(|fault| (line, fault))
    }

    /// `skip=A,B;error=true;experimental=all`
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut checks = Checks::default();
        if text.trim().is_empty() {
            return Ok(checks);
        }
        for part in text.trim().splitn(3, ';') {
            let bad = |what: &str| {
                Fault::new(format!("invalid check option {what:?}"))
                    .hint("write check=skip=NAME,NAME;error=true;experimental=NAME,NAME, each once")
            };
            let (key, value) = part.split_once('=').ok_or_else(|| bad(part))?;
            match key.trim() {
                "skip" => checks.skip = Names::parse(value),
                "experimental" => checks.experimental = Names::parse(value),
                // What Go's ParseBool takes.
                "error" => {
                    checks.error = match value.trim() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(bad(part)),
                    }
                }
                other => return Err(bad(other)),
            }
        }
        Ok(checks)
    }

    /// Whether a warning is wanted.
    pub(crate) fn want(&self, warning: &Warning) -> bool {
        match Rule::named(warning.code) {
            Some(rule) if rule.experimental => self.experimental.contains(rule.name),
            Some(rule) => !self.skip.contains(rule.name),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(text: &str) -> Checks {
        let directives = read(text).unwrap();
        Checks::of(&directives, &BTreeMap::new()).unwrap()
    }

    fn wants(text: &str, code: &'static str) -> bool {
        checks(text).want(&Warning { code, message: String::new(), at: None })
    }

    #[test]
    fn directives_end_at_the_first_line_that_is_none() {
        let found = read("# escape=`\n#syntax = docker/dockerfile:1 with words\n# Check=skip=all\n").unwrap();
        assert_eq!(found.escape, '`');
        assert_eq!(found.syntax, Some(("docker/dockerfile:1".to_owned(), 2)));
        assert_eq!(found.check, Some(("skip=all".to_owned(), 3)));
        for text in ["# hello\n# syntax=a\n", "\n# syntax=a\n", "# other=1\n# syntax=a\n", " # syntax=a\n", "FROM a\n"]
        {
            let found = read(text).unwrap();
            assert_eq!((found.syntax, found.check), (None, None), "{text}");
        }
        assert_eq!(read(" # escape=`\n").unwrap().escape, '`');
        // A line for a shell may come first.
        assert_eq!(read("#!/bin/x\n# syntax=a\n").unwrap().syntax, Some(("a".to_owned(), 2)));
        assert_eq!(read("\u{feff}# syntax=a\n").unwrap().syntax, Some(("a".to_owned(), 1)));
        assert_eq!(read("# escape=x\n").unwrap_err().0, 1);
        assert_eq!(read("# check=skip=all\n# check=skip=all\n").unwrap_err().0, 2);
    }

    #[test]
    fn the_standard_frontend_has_many_names() {
        for name in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile:1.7-labs",
            "docker/dockerfile-upstream:master",
            "docker/dockerfile:1@sha256:0123",
            "mirror.example:5000/proxy/docker/dockerfile:1",
        ] {
            assert!(is_standard(name), "{name}");
        }
        for name in
            ["acme/dockerfile", "dockerfile", "docker/dockerfile-x", "acme/frontend:1", "docker:5000/dockerfile/x"]
        {
            assert!(!is_standard(name), "{name}");
        }
    }

    #[test]
    fn another_frontend_is_an_error_unless_the_command_line_names_the_standard_one() {
        let directives = read("# syntax=acme/frontend\nFROM a\n").unwrap();
        let syntax = |arg: Option<&str>| {
            let args = arg.map(|arg| ("BUILDKIT_SYNTAX".to_owned(), arg.to_owned())).into_iter().collect();
            check_syntax(&directives, &args).map_err(|(line, fault)| (line, fault.message.contains("acme")))
        };
        assert_eq!(syntax(None), Err((1, true)));
        assert_eq!(syntax(Some("docker/dockerfile:1")), Ok(None));
        assert_eq!(syntax(Some("acme/other")), Err((0, true)));
    }

    #[test]
    fn checks_are_left_out_asked_for_or_fatal() {
        assert!(wants("FROM a\n", "UndefinedVar") && !wants("FROM a\n", "CopyIgnoredFile"));
        let text = "# check=skip=UndefinedVar,StageNameCasing;experimental=CopyIgnoredFile;error=true\nFROM a\n";
        assert!(!wants(text, "UndefinedVar") && !wants(text, "StageNameCasing"));
        assert!(wants(text, "CopyIgnoredFile") && wants(text, "JSONArgsRecommended") && checks(text).error);
        assert!(!wants("# check=skip=all\n", "UndefinedVar") && wants("# check=experimental=all\n", "CopyIgnoredFile"));
        // As in BuildKit the value ends at a space, and experimental checks are not skipped.
        assert!(!wants("# check=skip=UndefinedVar, StageNameCasing\n", "UndefinedVar"));
        assert!(wants("# check=skip=UndefinedVar, StageNameCasing\n", "StageNameCasing"));
        assert!(wants("# check=skip=all;experimental=all\n", "CopyIgnoredFile"));
        for text in ["skip", "error=maybe", "what=1"] {
            assert!(Checks::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let directives = read("# check=skip=all;error=true\n").unwrap();
        let args = BTreeMap::from([("BUILDKIT_DOCKERFILE_CHECK".to_owned(), "error=false".to_owned())]);
        let checks = Checks::of(&directives, &args).unwrap();
        assert_eq!(checks, Checks::default());
    }
}
