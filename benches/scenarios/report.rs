//! What came out, as a table and as JSON.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::chart;
use crate::command::Result;
use crate::equal::Equality;
use crate::machine::Machine;
use crate::side::Run;

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub scenarios: Vec<Outcome>,
}

/// What came out of a scenario.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub scenario: String,
    /// The same in words.
    pub title: String,
    pub sides: Vec<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    equality: Option<Equality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The times of one side.
#[derive(Debug, Serialize)]
pub struct Times {
    pub side: &'static str,
    pub best: Option<f64>,
    pub median: Option<f64>,
    /// Its best by the best of the first side.
    pub ratio: Option<f64>,
    pub runs: Vec<Run>,
    /// Why it could not go on.
    pub error: Option<String>,
}

impl Times {
    pub fn new(side: &'static str) -> Self {
        Self { side, best: None, median: None, ratio: None, runs: Vec::new(), error: None }
    }

    /// Takes in what a side did, with a word to who waits.
    pub fn add(&mut self, done: Result<Option<Run>>) {
        match done {
            Ok(None) => {}
            Ok(Some(run)) => {
                eprintln!("  {} {}", self.side, run);
                self.runs.push(run);
            }
            Err(why) => {
                eprintln!("  {} failed: {why}", self.side);
                self.error = Some(why.to_string());
            }
        }
    }

    fn sum_up(&mut self) {
        let mut seconds: Vec<f64> = self.runs.iter().map(|run| run.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        self.best = seconds.first().copied();
        let (low, high) = (seconds.len().saturating_sub(1) / 2, seconds.len() / 2);
        self.median = seconds.get(low).zip(seconds.get(high)).map(|(low, high)| f64::midpoint(*low, *high));
    }
}

impl Outcome {
    pub fn of(mut sides: Vec<Times>) -> Self {
        sides.iter_mut().for_each(Times::sum_up);
        let first = sides.first().and_then(|side| side.best);
        for side in &mut sides {
            side.ratio = side.best.zip(first).map(|(best, first)| best / first);
        }
        Self { sides, ..Self::default() }
    }

    pub fn equality(self, equality: Equality) -> Self {
        Self { equality: Some(equality), ..self }
    }

    pub fn note(self, note: String) -> Self {
        Self { note: Some(note), ..self }
    }

    fn well(&self) -> bool {
        let equal = self.equality.as_ref().is_none_or(|equality| equality.differences.is_empty());
        equal && self.error.is_none() && self.sides.iter().all(|side| side.error.is_none())
    }
}

impl Report {
    pub fn new(machine: Machine) -> Self {
        Self { machine, scenarios: Vec::new() }
    }

    pub fn add(&mut self, scenario: String, title: &str, outcome: Result<Outcome>) -> &Outcome {
        let outcome = outcome.unwrap_or_else(|why| Outcome { error: Some(why.to_string()), ..Outcome::default() });
        self.scenarios.push(Outcome { scenario, title: title.to_owned(), ..outcome });
        &self.scenarios[self.scenarios.len() - 1]
    }

    pub fn well(&self) -> bool {
        self.scenarios.iter().all(Outcome::well)
    }

    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::write(out.join("scenarios.json"), serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(out.join("scenarios.svg"), chart::draw(self))?;
        Ok(())
    }
}

/// How many differing files are shown; the JSON has all.
const SHOWN: usize = 40;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        for Times { side, best, median, ratio, runs, error } in &self.sides {
            if let (Some(best), Some(median), Some(ratio)) = (best, median, ratio) {
                write!(f, "  {side:22} best {best:9.3} s  median {median:9.3} s  {ratio:7.2}x  of {}", runs.len())?;
                // Of the fastest run, as the times are.
                let fastest = runs.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
                match fastest.and_then(|run| run.steps) {
                    Some(steps) => writeln!(f, ", {steps}")?,
                    None => writeln!(f)?,
                }
            }
            error.iter().try_for_each(|why| writeln!(f, "  {side:22} failed: {}", gist(why)))?;
        }
        if let Some(Equality { paths, left_out, differences }) = &self.equality {
            writeln!(f, "  {paths} paths compared, {left_out} left out, {} differ", differences.len())?;
            differences.iter().take(SHOWN).try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        self.note.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        self.error.iter().try_for_each(|why| writeln!(f, "  failed: {}", gist(why)))
    }
}

/// The line that says what is wrong. All of it is in the JSON.
fn gist(text: &str) -> &str {
    let error = |line: &&str| line.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("error"));
    let last = || text.trim_end().lines().next_back();
    text.lines().rev().find(error).or_else(last).unwrap_or_default()
}
