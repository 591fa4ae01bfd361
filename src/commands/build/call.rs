//! `--call` and `--check`: questions about a Dockerfile, answered without a build.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::Request;
use shiplap_builder::dockerfile::{self, Target};

use super::DockerfilePlace;
use super::fields::words;
use super::flags::wrong;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::warnings::Ranges;
use crate::{output, table, warnings};

/// The flags that ask.
#[derive(Debug, clap::Args)]
pub struct CallFlags {
    /// Check the Dockerfile as `docker build --check` does, and build nothing; ends with 1 where a check finds something
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// Answer a question about the Dockerfile and build nothing: check, or targets; `,format=json` for programs
    #[arg(long, value_name = "METHOD[,format=json]")]
    call: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Check,
    Targets,
}

/// What is asked, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    method: Method,
    json: bool,
}

impl CallFlags {
    /// What is asked; `None` for a build.
    pub fn call(&self) -> Result<Option<Call>> {
        let Some(text) = &self.call else {
            return Ok(self.check.then_some(Call { method: Method::Check, json: false }));
        };
        let words = words("--call", text)?;
        let mut words = words.iter();
        let method = match words.next().map(String::as_str) {
            None | Some("" | "build") => None,
            Some("check" | "lint") => Some(Method::Check),
            Some("targets") => Some(Method::Targets),
            Some(_) => return Err(wrong("--call", text, "build, check or targets")),
        };
        let mut json = false;
        for word in words {
            match word.split_once('=') {
                Some(("format", "json")) => json = true,
                Some(("format", "text")) => json = false,
                _ => return Err(wrong("--call", text, "format=json or format=text behind the method")),
            }
        }
        Ok(method.map(|method| Call { method, json }))
    }
}

impl Call {
    /// Answers for each of the builds.
    pub async fn answer(self, app: &App, requests: Vec<Request>) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for request in requests {
            let clean = match self.method {
                Method::Check => self.check(app, request).await?,
                Method::Targets => self.targets(app, &request)?,
            };
            if !clean {
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }

    /// Whether the checks found nothing.
    async fn check(self, app: &App, request: Request) -> Result<bool> {
        let place = DockerfilePlace::of(&request);
        let name = shown(&request.dockerfile);
        let images = app.images()?;
        let checked = app.builder(&images)?.check(request, app.progress.watch(None)).await;
        let checked = checked.map_err(|error| place.show(app, error))?;
        app.progress.finish();
        for (image, why) in &checked.unknown {
            eprintln!("note: nothing is known of {image} ({why}): variables that it may set are not checked");
        }
        let refused = checked.refused.as_deref();
        if self.json || app.global.json {
            output::json(&warnings::report(&checked.warnings, refused, &name, &checked.text))?;
        } else {
            let text = warnings::text(&checked.warnings, &name, &checked.text);
            output::line(text.trim_end_matches('\n'));
        }
        if let Some(why) = refused {
            if !self.json && !app.global.json {
                output::line("");
            }
            return Err(Failure::new(Kind::Failed, why));
        }
        Ok(warnings::findings(&checked.warnings).is_empty())
    }

    /// The stages that a build can have as its target.
    fn targets(self, app: &App, request: &Request) -> Result<bool> {
        let place = DockerfilePlace::of(request);
        let text = match &request.dockerfile_text {
            Some(text) => text.clone(),
            None => std::fs::read_to_string(&request.dockerfile).map_err(|e| {
                Failure::new(Kind::Missing, format!("cannot read {}: {e}", request.dockerfile.display()))
            })?,
        };
        let file = dockerfile::parse(&shown(&request.dockerfile), &text).map_err(|e| place.show(app, e.into()))?;
        let targets = file.targets();
        if self.json || app.global.json {
            let targets = targets.into_iter().map(Shown::from).collect::<Vec<_>>();
            output::json(&serde_json::json!({ "targets": targets }))?;
            return Ok(true);
        }
        let row = |target: &Target| {
            let name = target.name.clone().unwrap_or_default();
            let name = match (target.default, name.is_empty()) {
                (true, true) => "(default)".to_owned(),
                (true, false) => format!("{name} (default)"),
                _ => name,
            };
            vec![name, target.description.clone().unwrap_or_default()]
        };
        table::print(&["TARGET", "DESCRIPTION"], &targets.iter().map(row).collect::<Vec<_>>());
        Ok(true)
    }
}

/// A target as BuildKit writes it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    location: Ranges,
}

impl From<Target> for Shown {
    fn from(target: Target) -> Self {
        let Target { name, default, description, base, platform, at } = target;
        Self { name, default, description, base, platform, location: at.into() }
    }
}

/// The name of a Dockerfile as it is typed.
fn shown(dockerfile: &Path) -> String {
    dockerfile.strip_prefix("./").unwrap_or(dockerfile).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Option<(bool, Option<Call>)> {
        let flags = CallFlags { check: false, call: Some(text.to_owned()) };
        flags.call().ok().map(|call| (call.is_some(), call))
    }

    #[test]
    fn methods_have_formats() {
        let check = |json| Some((true, Some(Call { method: Method::Check, json })));
        assert_eq!(call("check"), check(false));
        assert_eq!(call("lint,format=json"), check(true));
        assert_eq!(call("targets").unwrap().1.unwrap().method, Method::Targets);
        assert_eq!(call("build"), Some((false, None)));
        for text in ["outlne", "check,format=xml", "check,what", "outline"] {
            assert_eq!(call(text), None, "{text}");
        }
        assert_eq!(CallFlags { check: true, call: None }.call().unwrap(), check(false).unwrap().1);
        assert_eq!(CallFlags { check: false, call: None }.call().unwrap(), None);
    }
}
