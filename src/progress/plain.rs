//! Every line of every step, for logs.

use std::collections::BTreeMap;

use shiplap_builder::build::{Event, Outcome, StepId};
use shiplap_registry::Event as Transfer;

use super::{Build, Face};
use crate::{explain, output};

#[derive(Default)]
pub(super) struct Plain {
    /// The beginning of a line whose end has not come yet.
    partial: BTreeMap<(Option<String>, StepId), Vec<u8>>,
}

impl Face for Plain {
    fn build(&mut self, build: &Build, event: &Event<'_>) {
        match event {
            Event::Fetching { what, bytes: None } => eprintln!("{what}"),
            Event::Fetching { .. } | Event::Fetched { .. } | Event::Planned { .. } => {}
            Event::Explained { step, why } => {
                for line in explain::long(why, true) {
                    eprintln!("{} WHY {line}", build.label(*step));
                }
            }
            Event::Started(step) => eprintln!("{} {}", build.label(*step), build.text(*step)),
            Event::Output { step, bytes, .. } => {
                let partial = self.partial.entry((build.image.clone(), *step)).or_default();
                partial.extend_from_slice(bytes);
                while let Some(end) = partial.iter().position(|&b| b == b'\n') {
                    let line: Vec<u8> = partial.drain(..=end).collect();
                    show(build, *step, &line);
                }
            }
            Event::Finished { step, outcome } => {
                self.flush(build, *step);
                match outcome {
                    Outcome::Cached => eprintln!("{} CACHED {}", build.label(*step), build.text(*step)),
                    Outcome::Reused => eprintln!("{} REUSED {}", build.label(*step), build.text(*step)),
                    Outcome::Ran { millis } => eprintln!("{} DONE {}", build.label(*step), output::duration(*millis)),
                }
            }
            Event::Failed(step) => {
                self.flush(build, *step);
                eprintln!("{} FAILED after {:.1}s", build.label(*step), build.elapsed(*step));
            }
        }
    }

    fn transfer(&mut self, event: &Transfer) {
        match event {
            Transfer::Present { blob, total, up: true } => {
                eprintln!("{} is there already ({})", &blob.hex()[..12], output::size(*total));
            }
            Transfer::Transfer { blob, done, total, up } if done == total => {
                let what = if *up { "pushed" } else { "pulled" };
                eprintln!("{what} {} ({})", &blob.hex()[..12], output::size(*total));
            }
            Transfer::Packed { blob, size, .. } => eprintln!("packed {} ({})", &blob.hex()[..12], output::size(*size)),
            Transfer::Retry { what, why } => eprintln!("trying again: {what}: {why}"),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        eprintln!("{text}");
    }

    fn finish(&mut self) {}
}

impl Plain {
    fn flush(&mut self, build: &Build, step: StepId) {
        if let Some(rest) = self.partial.remove(&(build.image.clone(), step)).filter(|rest| !rest.is_empty()) {
            show(build, step, &rest);
        }
    }
}

fn show(build: &Build, step: StepId, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    // A progress bar of a step rewrites its line: the last state counts.
    let text = text.trim_end_matches(['\n', '\r']);
    let text = text.rsplit('\r').next().unwrap_or(text);
    eprintln!("{} {:.1} {text}", build.label(step), build.elapsed(step));
}
