//! A moving line for each running step, for terminals.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shiplap_builder::build::{Event, Outcome, StepId};
use shiplap_cache::Digest;
use shiplap_registry::Event as Transfer;

use super::{Build, Face};
use crate::{explain, output};

/// How much of a step's output is kept to be shown when it fails.
const KEPT: usize = 400;

type Key = (Option<String>, StepId);

pub(super) struct Tty {
    bars: MultiProgress,
    steps: BTreeMap<Key, Running>,
    /// Reused steps are counted on one line, so that those that ran stand out.
    reused: BTreeMap<Option<String>, (ProgressBar, usize)>,
    fetching: BTreeMap<String, ProgressBar>,
    blobs: BTreeMap<Digest, ProgressBar>,
}

struct Running {
    bar: ProgressBar,
    lines: VecDeque<String>,
    partial: String,
}

impl Tty {
    pub(super) fn new() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15)),
            steps: BTreeMap::new(),
            reused: BTreeMap::new(),
            fetching: BTreeMap::new(),
            blobs: BTreeMap::new(),
        }
    }

    fn bar(&self, template: &str) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style(template));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn say(&self, line: &str) {
        // Without a terminal that can be drawn on, indicatif would swallow the line.
        if self.bars.println(line).is_err() || self.bars.is_hidden() {
            eprintln!("{line}");
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

const STEP: &str = "{spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg}";

impl Face for Tty {
    fn build(&mut self, build: &Build, event: &Event<'_>) {
        match event {
            Event::Fetching { what, bytes } => {
                if !self.fetching.contains_key(*what) {
                    let bar = self.bar("{spinner:.cyan} {wide_msg}");
                    self.fetching.insert((*what).to_owned(), bar);
                }
                let bytes = bytes.map(|(done, total)| format!(" {} of {}", output::size(done), output::size(total)));
                self.fetching[*what].set_message(format!("{what}{}", bytes.unwrap_or_default()));
            }
            Event::Fetched { what } => {
                if let Some(bar) = self.fetching.remove(*what) {
                    bar.finish_and_clear();
                }
            }
            Event::Planned { .. } => {}
            Event::Explained { step, why } => {
                self.say(&format!("  {} {}", build.label(*step), clip(&build.text(*step), 90)));
                explain::long(why, true).iter().for_each(|line| self.say(&format!("      {line}")));
            }
            Event::Started(step) => {
                let bar = self.bar(STEP);
                bar.set_prefix(build.label(*step));
                bar.set_message(build.text(*step));
                let running = Running { bar, lines: VecDeque::new(), partial: String::new() };
                self.steps.insert((build.image.clone(), *step), running);
            }
            Event::Output { step, bytes, .. } => {
                if let Some(running) = self.steps.get_mut(&(build.image.clone(), *step)) {
                    running.output(bytes, &build.text(*step));
                }
            }
            Event::Finished { step, outcome: Outcome::Ran { millis } } => {
                if let Some(running) = self.steps.remove(&(build.image.clone(), *step)) {
                    running.bar.finish_and_clear();
                }
                self.say(&format!(
                    "  {} {:>6} {}",
                    build.label(*step),
                    output::duration(*millis),
                    clip(&build.text(*step), 90)
                ));
            }
            Event::Finished { .. } => {
                if !self.reused.contains_key(&build.image) {
                    let bar = self.bar("  {wide_msg:.dim}");
                    self.reused.insert(build.image.clone(), (bar, 0));
                }
                if let Some((bar, count)) = self.reused.get_mut(&build.image) {
                    *count += 1;
                    let image = build.image.as_ref().map(|i| format!("{i}: ")).unwrap_or_default();
                    bar.set_message(format!("{image}{count} steps reused"));
                }
            }
            Event::Failed(step) => {
                if let Some(running) = self.steps.remove(&(build.image.clone(), *step)) {
                    running.bar.finish_and_clear();
                    let last = Some(running.partial).filter(|p| !p.is_empty());
                    for line in running.lines.into_iter().chain(last) {
                        self.say(&format!("  {} {line}", build.label(*step)));
                    }
                }
            }
        }
    }

    fn transfer(&mut self, event: &Transfer) {
        match event {
            Transfer::Transfer { blob, done, total, up } => {
                if !self.blobs.contains_key(blob) {
                    let bar = self.bars.add(ProgressBar::new(*total));
                    let what = if *up { "push" } else { "pull" };
                    bar.set_style(style(&format!("  {what} {{prefix}} {{bar:30}} {{decimal_bytes}}/{{decimal_total_bytes}} {{decimal_bytes_per_sec}}")));
                    bar.set_prefix(blob.hex()[..12].to_owned());
                    self.blobs.insert(*blob, bar);
                }
                self.blobs[blob].set_position(*done);
                if done == total
                    && let Some(bar) = self.blobs.remove(blob)
                {
                    bar.finish_and_clear();
                }
            }
            Transfer::Retry { what, why } => self.say(&format!("  trying again: {what}: {why}")),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        Self::say(self, text);
    }

    fn finish(&mut self) {
        for (image, (bar, count)) in std::mem::take(&mut self.reused) {
            bar.finish_and_clear();
            let image = image.map(|i| format!("{i}: ")).unwrap_or_default();
            self.say(&format!("  {image}{count} steps reused"));
        }
        self.steps.clear();
        let _ = self.bars.clear();
    }
}

impl Running {
    fn output(&mut self, bytes: &[u8], text: &str) {
        self.partial.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned());
        }
        if let Some(last) = self.lines.iter().rev().find(|line| !line.trim().is_empty()) {
            self.bar.set_message(format!("{} | {}", clip(text, 40), last.trim()));
        }
    }
}

/// The beginning of a text, as long as there is room.
fn clip(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
