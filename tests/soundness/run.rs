//! Runs one case: each of its states is built with reuse and by force, and both images are compared.

use std::ops::AddAssign;

use shiplap_builder::build::{Built, Outcome};

use crate::case::{Case, Round, State};
use crate::compare::differences;
use crate::lab::{Ended, Lab};

/// What `RUN` steps of second and later builds came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub rounds: usize,
    /// Nothing below them had changed.
    pub cached: usize,
    /// On another parent.
    pub reused: usize,
    pub ran: usize,
    /// Builds that failed, with and without reuse.
    pub failed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.cached += other.cached;
        self.reused += other.reused;
        self.ran += other.ran;
        self.failed += other.failed;
    }
}

impl Tally {
    /// How many of a hundred steps were reused, of those that stood on another parent than before.
    pub fn reused_percent(&self) -> usize {
        self.reused * 100 / (self.reused + self.ran).max(1)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rounds, cached, reused, ran, failed } = self;
        let percent = self.reused_percent();
        write!(
            f,
            "{rounds} rounds; RUN steps: {reused} reused on another parent, {ran} run again ({percent} % reused), "
        )?;
        write!(f, "{cached} on the same parent; {failed} builds failed, as they had to")
    }
}

/// Something that must not be.
#[derive(Debug, Clone)]
pub struct Finding {
    pub kind: Problem,
    /// In which round; 1 is the first one after the beginning.
    pub round: usize,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The result that was reused is not the one that a run makes.
    Stale,
    /// Two forced runs differ: the case says nothing, and the fuzzer is to be mended.
    Random,
    /// A state that was built before was built anew.
    NotReused,
}

/// Builds every state of a case. `mark` tells its steps from all others in the lab's stores.
pub fn run(lab: &Lab, case: &Case, mark: &str) -> Result<Tally, Box<Finding>> {
    let dockerfile = case.dockerfile.text(mark);
    let states = case.states();
    let mut tally = Tally::default();
    let mut forced_before: Vec<(&State, Ended)> = Vec::new();
    let mut reused_before: Vec<bool> = Vec::new();
    for (number, state) in states.iter().enumerate() {
        lab.write_context(state);
        let reused = lab.build_reusing(&dockerfile);
        reused_before.push(reused.is_ok());
        if number == 0 {
            continue;
        }
        let forced = match forced_before.iter().find(|(before, _)| *before == state) {
            Some((_, ended)) => ended.clone(),
            None => lab.build_forced(&dockerfile),
        };
        forced_before.push((state, forced.clone()));
        tally.rounds += 1;
        let found = |kind, lines| Err(Box::new(Finding { kind, round: number, lines }));
        let lines = difference(lab, case, &reused, &forced);
        if !lines.is_empty() {
            let again = lab.build_forced(&dockerfile);
            let apart = apart(lab, case, &forced, &again);
            return if apart.is_empty() { found(Problem::Stale, lines) } else { found(Problem::Random, apart) };
        }
        let Ok(built) = &reused else {
            tally.failed += 1;
            continue;
        };
        let before = tally;
        count(built, &mut tally);
        if let Round::Back(to) = case.rounds[number - 1]
            && reused_before[to.min(number - 1)]
            && tally.ran > before.ran
        {
            return found(Problem::NotReused, vec![format!("everything is as it was in round {to}, but steps ran")]);
        }
    }
    Ok(tally)
}

fn count(built: &Built, tally: &mut Tally) {
    for (step, outcome) in &built.steps {
        match outcome {
            _ if !step.text.starts_with("RUN") => {}
            Outcome::Cached => tally.cached += 1,
            Outcome::Reused => tally.reused += 1,
            Outcome::Ran { .. } => tally.ran += 1,
        }
    }
}

fn difference(lab: &Lab, case: &Case, reused: &Ended, forced: &Ended) -> Vec<String> {
    match (reused, forced) {
        (Ok(reused), Ok(forced)) => {
            let mut lines = differences(&lab.reused_tree(reused), &lab.forced_tree(forced));
            // What the steps saw says most.
            for path in lines.clone().iter().filter_map(|l| l.lines().next()).filter(|p| p.starts_with("/results/")) {
                for (name, image, is_forced) in [("reused", reused, false), ("forced", forced, true)] {
                    if let Some(bytes) = lab.read(is_forced, image, path) {
                        lines.push(format!("{name} {path}:\n{}", String::from_utf8_lossy(&bytes)));
                    }
                }
            }
            lines
        }
        (reused, forced) => failures(case, reused, forced),
    }
}

fn apart(lab: &Lab, case: &Case, one: &Ended, other: &Ended) -> Vec<String> {
    match (one, other) {
        (Ok(one), Ok(other)) => differences(&lab.forced_tree(one), &lab.forced_tree(other)),
        (one, other) => failures(case, one, other),
    }
}

/// At least one of two builds failed. With several stages, which of them fails first is chance.
fn failures(case: &Case, reused: &Ended, forced: &Ended) -> Vec<String> {
    let show = |ended: &Ended| match ended {
        Ok(_) => "an image".to_owned(),
        Err(words) => words.clone(),
    };
    let step = |words: &str| words.split(" failed").next().unwrap_or_default().to_owned();
    match (reused, forced) {
        (Err(_), Err(_)) if case.dockerfile.stages.len() > 1 => Vec::new(),
        (Err(one), Err(other)) if step(one) == step(other) => Vec::new(),
        _ => vec![format!("reused: {}\nforced: {}", show(reused), show(forced))],
    }
}
