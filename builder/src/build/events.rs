//! What a build tells whoever watches it.

use serde::{Deserialize, Serialize};

use super::Why;
use crate::plan::{Location, Warning};
use crate::sandbox::Stream;

/// Which step of a build: its stage and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId {
    /// The stage's place in the plan.
    pub stage: usize,
    /// The step's place in the stage.
    pub step: usize,
}

/// A step, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInfo {
    /// Which one.
    pub id: StepId,
    /// The name of its stage.
    pub stage: String,
    /// The instruction as it is written.
    pub text: String,
    /// Where it stands.
    pub at: Location,
}

impl StepInfo {
    /// The instruction on one line.
    pub fn one_line(&self) -> String {
        on_one_line(&self.text)
    }
}

pub(crate) fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names steps: by a line of the Dockerfile (`41`), a stage (`production`), both (`production:41`), or words of the instruction (`npm ci`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSelector(String);

impl StepSelector {
    /// The steps that a text names.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a step is meant.
    pub fn matches(&self, step: &StepInfo) -> bool {
        let lines = step.at.line_start..=step.at.line_end.max(step.at.line_start);
        // A number is a line and nothing else: many an instruction has one among its words.
        if let Ok(line) = self.0.parse::<usize>() {
            return lines.contains(&line);
        }
        let in_stage =
            |(stage, line): (&str, &str)| step.stage == stage && line.parse().is_ok_and(|line| lines.contains(&line));
        let wanted = words(&self.0);
        self.0.rsplit_once(':').is_some_and(in_stage)
            || step.stage == self.0
            || !wanted.is_empty() && words(&step.text).contains(&wanted)
    }
}

impl std::fmt::Display for StepSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn words(text: &str) -> String {
    on_one_line(text).to_lowercase()
}

/// How a step came to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Nothing below it changed.
    Cached,
    /// Something below it changed, nothing that it looks at.
    Reused,
    /// It ran.
    Ran {
        /// How long, in milliseconds.
        millis: u64,
    },
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Something other than a step takes time: "pulling ...".
    Fetching {
        /// What.
        what: &'a str,
        /// Bytes so far and in all, where known.
        bytes: Option<(u64, u64)>,
    },
    /// What `Fetching` said is done.
    Fetched {
        /// What.
        what: &'a str,
    },
    /// The steps are known.
    Planned {
        /// All steps that may do something, stage by stage.
        steps: &'a [StepInfo],
        /// What the author of the Dockerfile should know.
        warnings: &'a [Warning],
    },
    /// Why a step is about to run, where that was asked for.
    Explained {
        /// Which step.
        step: StepId,
        /// Why.
        why: &'a Why,
    },
    /// A step runs.
    Started(StepId),
    /// A step wrote something.
    Output {
        /// Which step.
        step: StepId,
        /// Where to.
        stream: Stream,
        /// The bytes as they came.
        bytes: &'a [u8],
    },
    /// A step has its result.
    Finished {
        /// Which step.
        step: StepId,
        /// How.
        outcome: Outcome,
    },
    /// A step failed.
    Failed(StepId),
}

/// Somebody who watches a build. Called from several threads.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_by_line_stage_both_or_words() {
        let step = StepInfo {
            id: StepId { stage: 0, step: 1 },
            stage: "production".to_owned(),
            text: "RUN npm ci --cpu=41 && \\\n    NPM run  webpack".to_owned(),
            at: Location { line_start: 10, line_end: 12 },
        };
        let matches = |text: &str| StepSelector::new(text).matches(&step);
        for text in
            ["10", "11", "12", "production", "production:10", "production:12", "npm ci", "npm  run webpack", "RUN"]
        {
            assert!(matches(text), "{text}");
        }
        // 41 is among its words and is no line of it.
        for text in ["9", "13", "41", "0", "prod", "production:13", "production:", "other:10", "npm cii", "", " "] {
            assert!(!matches(text), "{text}");
        }
    }

    #[test]
    fn an_instruction_of_one_line_need_not_say_where_it_ends() {
        let at = Location { line_start: 3, line_end: 0 };
        let id = StepId { stage: 0, step: 0 };
        let step = StepInfo { id, stage: "0".to_owned(), text: "RUN true".to_owned(), at };
        assert!(StepSelector::new("3").matches(&step) && !StepSelector::new("4").matches(&step));
    }
}
