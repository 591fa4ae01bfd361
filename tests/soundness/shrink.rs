//! Makes a case that fails smaller, as long as it fails in the same way.

use std::time::{Duration, Instant};

use crate::case::{Case, Round};
use crate::dockerfile::Step;
use crate::lab::Lab;
use crate::run::{Finding, run};

const PATIENCE: Duration = Duration::from_secs(60);

/// The smallest case that was found in a minute, and what it shows.
pub fn shrink(lab: &Lab, case: &Case, finding: Box<Finding>) -> (Case, Box<Finding>) {
    let (mut best, mut shown) = (case.clone(), finding);
    best.rounds.truncate(shown.round);
    let began = Instant::now();
    let mut attempt = 0;
    loop {
        let mut smaller = false;
        let mut which = 0;
        while let Some(candidate) = without(&best, which) {
            attempt += 1;
            if began.elapsed() > PATIENCE {
                return (best, shown);
            }
            match run(lab, &candidate, &format!("{}-{attempt}", case.seed)) {
                Err(found) if found.kind == shown.kind => {
                    (best, shown, smaller) = (candidate, found, true);
                }
                _ => which += 1,
            }
        }
        if !smaller {
            return (best, shown);
        }
    }
}

/// The case without its `which`th part, the big ones first; none when there are no more parts.
fn without(case: &Case, which: usize) -> Option<Case> {
    let mut which = which;
    let mut take = |count: usize| {
        let here = which < count;
        let number = which;
        which = which.wrapping_sub(if here { 0 } else { count });
        here.then_some(number)
    };
    let mut smaller = case.clone();
    if let Some(round) = take(case.rounds.len()) {
        smaller.rounds.remove(round);
        return Some(smaller);
    }
    if case.dockerfile.stages.len() > 1
        && let Some(stage) = take(case.dockerfile.stages.len())
    {
        smaller.dockerfile.stages.remove(stage);
        return Some(smaller);
    }
    for (stage, steps) in case.dockerfile.stages.iter().enumerate() {
        if let Some(step) = take(steps.len()) {
            smaller.dockerfile.stages[stage].remove(step);
            return Some(smaller);
        }
    }
    for (stage, steps) in case.dockerfile.stages.iter().enumerate() {
        for (number, step) in steps.iter().enumerate() {
            let Step::Run { program, mounts, .. } = step else { continue };
            let Step::Run { program: shorter, mounts: fewer, .. } = &mut smaller.dockerfile.stages[stage][number]
            else {
                continue;
            };
            if let Some(line) = take(program.lines.len()) {
                shorter.lines.remove(line);
                return Some(smaller);
            }
            if let Some(mount) = take(mounts.len()) {
                fewer.remove(mount);
                return Some(smaller);
            }
        }
    }
    for (number, round) in case.rounds.iter().enumerate() {
        if let (Round::Change(mutations), Round::Change(fewer)) = (round, &mut smaller.rounds[number])
            && let Some(mutation) = take(mutations.len())
        {
            fewer.remove(mutation);
            return Some(smaller);
        }
    }
    let paths: Vec<_> = case.base.paths().cloned().collect();
    if let Some(path) = take(paths.len()) {
        smaller.base.remove(&paths[path]);
        return Some(smaller);
    }
    let paths: Vec<_> = case.context.paths().cloned().collect();
    let path = take(paths.len())?;
    smaller.context.remove(&paths[path]);
    Some(smaller)
}
