//! One command on several instances: which ones, one after the other or side by side, and what came of each.

use futures::StreamExt;
use globset::GlobBuilder;
use serde::Serialize;
use serde_json::{Value, json};
use shiplap_manifests::Config;
use shiplap_manifests::names::InstanceName;
use std::process::ExitCode;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::{output, table};

/// Flags of commands that can be about several instances.
#[derive(Debug, Clone, clap::Args)]
pub struct Select {
    /// All instances of shiplap.toml. A pattern in the place of the instance, as 'campus-*', means those that match
    #[arg(long)]
    all: bool,
}

/// How many instances at once.
#[derive(Debug, Clone, clap::Args)]
pub struct Jobs {
    /// Of several instances, so many at once; steps that two of them share still run once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    jobs: usize,
}

/// What came of the command for one instance.
pub struct One<T> {
    pub instance: InstanceName,
    pub result: Result<T>,
}

/// Whether a word is a pattern of names. No name of an instance and no URL is one.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '[', '{']) && !word.contains(['/', ':'])
}

impl Select {
    /// Whether all instances are meant; the words of the command line are then all behind the instance.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// The instances that are meant; none where the word is the name of one, or is left out.
    pub fn instances(&self, config: &Config, word: Option<&str>) -> Result<Option<Vec<InstanceName>>> {
        let known: Vec<InstanceName> = config.instances.keys().cloned().collect();
        if self.all {
            return match known.is_empty() {
                true => Err(missing(format!("{} has no instance", config.path.display()))),
                false => Ok(Some(known)),
            };
        }
        let Some(pattern) = word.filter(|word| is_pattern(word)) else { return Ok(None) };
        let glob = GlobBuilder::new(pattern).build();
        let glob = glob.map_err(|e| Failure::new(Kind::Usage, format!("`{pattern}` is no pattern: {}", e.kind())))?;
        let matcher = glob.compile_matcher();
        let matching: Vec<_> = known.iter().filter(|name| matcher.is_match(name.as_str())).cloned().collect();
        if matching.is_empty() {
            let names: Vec<_> = known.iter().map(InstanceName::as_str).collect();
            let there = format!("{} has {}", config.path.display(), names.join(", "));
            return Err(missing(format!("no instance is called as `{pattern}`")).hint(there));
        }
        Ok(Some(matching))
    }
}

impl Jobs {
    /// How many of so many instances go side by side.
    pub fn of(&self, instances: usize) -> usize {
        self.jobs.min(instances)
    }
}

fn missing(why: String) -> Failure {
    Failure::new(Kind::Missing, why)
}

/// One after the other. One that fails does not stop the next.
pub fn in_turn<T>(app: &App, instances: Vec<InstanceName>, work: impl Fn(&InstanceName) -> Result<T>) -> Vec<One<T>> {
    let one = |instance: InstanceName| {
        let result = if app.cancel.is_cancelled() { Err(cancelled()) } else { work(&instance) };
        One { instance, result }
    };
    instances.into_iter().map(one).collect()
}

/// So many at once. One that fails does not stop the others.
pub async fn at_once<T>(
    app: &App,
    instances: Vec<InstanceName>,
    jobs: usize,
    work: impl AsyncFn(&InstanceName) -> Result<T>,
) -> Vec<One<T>> {
    let work = &work;
    let begun = instances.into_iter().enumerate().map(|(place, instance)| async move {
        let result = if app.cancel.is_cancelled() { Err(cancelled()) } else { work(&instance).await };
        (place, One { instance, result })
    });
    let mut all: Vec<_> = futures::stream::iter(begun).buffer_unordered(jobs).collect().await;
    app.progress.finish();
    // As they are in shiplap.toml, whichever was done first.
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, one)| one).collect()
}

fn cancelled() -> Failure {
    Failure::new(Kind::Cancelled, "cancelled before it began")
}

/// Shows what came of each instance, and ends with the highest exit code among them.
pub fn finish<T: Serialize>(app: &App, all: Vec<One<T>>, words: impl Fn(&T) -> String) -> Result<ExitCode> {
    if app.global.json {
        output::json(&all.iter().map(One::to_json).collect::<Result<Vec<_>>>()?)?;
    } else {
        let row = |one: &One<T>| match &one.result {
            Ok(done) => vec![one.instance.to_string(), "done".to_owned(), words(done)],
            Err(failure) => vec![one.instance.to_string(), failure.kind().word().to_owned(), failure.in_short()],
        };
        table::print(&["INSTANCE", "RESULT", ""], &all.iter().map(row).collect::<Vec<_>>());
    }
    Ok(report(all))
}

/// Tells every failure in full and how many there are; the exit code is the highest.
pub fn report<T>(all: Vec<One<T>>) -> ExitCode {
    let (count, mut code, mut names) = (all.len(), 0, Vec::new());
    for One { instance, result } in all {
        let Err(failure) = result else { continue };
        let kind = failure.kind();
        code = code.max(kind as u8);
        eprintln!("{instance}:");
        failure.report();
        names.push(format!("{instance} ({})", kind.word()));
    }
    if !names.is_empty() {
        eprintln!("{} of {count} instances failed: {}", names.len(), names.join(", "));
    }
    ExitCode::from(code)
}

impl<T: Serialize> One<T> {
    /// What a program is told of it.
    pub fn to_json(&self) -> Result<Value> {
        Ok(match &self.result {
            Ok(done) => json!({ "instance": self.instance, "exit_code": 0, "result": done }),
            Err(failure) => json!({
                "instance": self.instance,
                "exit_code": failure.kind() as u8,
                "error": failure.to_string(),
                "hint": failure.advice(),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(word: Option<&str>, all: bool) -> Result<Option<Vec<String>>> {
        let one =
            |name: &str| format!("[instance.{name}.image.openedx]\ncontext = \"x\"\nrepository = \"{name}/openedx\"\n");
        let toml: String = ["campus-a", "campus-b", "school"].map(one).concat();
        let config = Config::parse(Path::new("shiplap.toml"), &toml).unwrap();
        let found = Select { all }.instances(&config, word)?;
        Ok(found.map(|found| found.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_pattern_means_those_that_match_and_a_name_is_none() {
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(Some("campus-*"), false).unwrap(), some(&["campus-a", "campus-b"]));
        assert_eq!(names(Some("{school,campus-?}"), false).unwrap(), some(&["campus-a", "campus-b", "school"]));
        assert_eq!(names(None, true).unwrap(), some(&["campus-a", "campus-b", "school"]));
        assert_eq!(names(Some("1.0.0"), true).unwrap(), some(&["campus-a", "campus-b", "school"]));
        assert_eq!(names(Some("campus"), false).unwrap(), None);
        assert_eq!(names(None, false).unwrap(), None);
    }

    #[test]
    fn a_pattern_that_nothing_matches_and_one_that_is_none_are_told() {
        assert_eq!(names(Some("uni-*"), false).unwrap_err().kind(), Kind::Missing);
        assert_eq!(names(Some("campus-[a"), false).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn urls_and_folders_are_no_patterns() {
        for word in ["https://example.org/x.tar?y=1", "./a*", "github.com/a/b", "campus"] {
            assert!(!is_pattern(word), "{word}");
        }
    }
}
