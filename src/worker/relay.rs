//! Progress of a build elsewhere, shown here.
//!
//! On a terminal the build writes each event as `--progress json` does, and they are shown as those of a build on this machine. What is no event is for people. Anywhere
//! else all goes through as it is.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use serde::Deserialize;
use shiplap_builder::build::{Event, Outcome, StepId, StepInfo, Watch};
use shiplap_builder::sandbox::Stream;
use shiplap_cache::{Digest, LayerId};
use shiplap_registry::{Event as Transfer, Progress as _};

use crate::cli::ProgressKind;
use crate::failure::{Failure, Kind, Result};
use crate::progress::Progress;

/// Shows what a build writes to standard error.
pub struct Relay {
    there: ProgressKind,
    /// None where all goes through as it is.
    progress: Option<Arc<Progress>>,
    watches: BTreeMap<Option<String>, Arc<dyn Watch>>,
    /// The beginning of a line.
    partial: Vec<u8>,
}

/// An event of a build, as `src/progress/json.rs` writes it.
#[derive(Debug, Deserialize)]
struct OfBuild {
    image: Option<String>,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Fetching {
        what: String,
        bytes: Option<(u64, u64)>,
    },
    Fetched {
        what: String,
    },
    Planned {
        steps: Vec<StepInfo>,
    },
    Started {
        step: StepId,
    },
    Output {
        step: StepId,
        stream: String,
        text: String,
    },
    Finished {
        step: StepId,
        #[serde(flatten)]
        outcome: Outcome,
    },
    Failed {
        step: StepId,
    },
}

/// An event of bytes that move.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum OfTransfer {
    Transfer { blob: Digest, done: u64, total: u64, up: bool },
    Present { blob: Digest, total: u64, up: bool },
    Unpack { blob: Digest },
    Unpacked { blob: Digest },
    Pack { layer: LayerId, total: u64 },
    Packed { layer: LayerId, blob: Digest, size: u64 },
    Retry { what: String, why: String },
}

impl Relay {
    /// For a way of showing it. Explanations of steps are no events that can be read back, so they are shown in plain lines.
    pub fn of(kind: ProgressKind, explain: bool) -> Self {
        let moves = match kind {
            ProgressKind::Auto => std::io::stderr().is_terminal(),
            kind => kind == ProgressKind::Tty,
        };
        match (moves, explain) {
            (true, false) => Self::showing(Arc::new(Progress::new(ProgressKind::Tty))),
            (true, true) => Self::through(ProgressKind::Plain),
            (false, _) => Self::through(kind),
        }
    }

    fn showing(progress: Arc<Progress>) -> Self {
        Self { progress: Some(progress), ..Self::through(ProgressKind::Relay) }
    }

    fn through(there: ProgressKind) -> Self {
        Self { there, progress: None, watches: BTreeMap::new(), partial: Vec::new() }
    }

    /// How the build has to tell it.
    pub fn kind_there(&self) -> ProgressKind {
        self.there
    }

    /// Shows some of it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(progress) = self.progress.clone() else { return print(bytes) };
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            if !self.replay(&progress, &line) {
                progress.finish();
                print(&line)?;
            }
        }
        Ok(())
    }

    /// Takes moving lines off the screen, for something else.
    pub fn rest(&self) {
        if let Some(progress) = &self.progress {
            progress.finish();
        }
    }

    /// Shows the end of it.
    pub fn end(&mut self) -> Result<()> {
        self.rest();
        print(&std::mem::take(&mut self.partial))
    }

    /// Whether a line is an event, which is shown then.
    fn replay(&mut self, progress: &Arc<Progress>, line: &[u8]) -> bool {
        if let Ok(OfBuild { image, what }) = serde_json::from_slice(line) {
            let watch = self.watches.entry(image);
            let watch = watch.or_insert_with_key(|image| progress.watch(image.as_deref()));
            watch.event(what.event());
            return true;
        }
        match serde_json::from_slice::<OfTransfer>(line) {
            Ok(event) => progress.event(event.event()),
            Err(_) => return false,
        }
        true
    }
}

impl What {
    fn event(&self) -> Event<'_> {
        match self {
            Self::Fetching { what, bytes } => Event::Fetching { what, bytes: *bytes },
            Self::Fetched { what } => Event::Fetched { what },
            // What the checks found the build itself says at its end.
            Self::Planned { steps } => Event::Planned { steps, warnings: &[] },
            Self::Started { step } => Event::Started(*step),
            Self::Output { step, stream, text } => {
                let stream = if stream == "stdout" { Stream::Stdout } else { Stream::Stderr };
                Event::Output { step: *step, stream, bytes: text.as_bytes() }
            }
            Self::Finished { step, outcome } => Event::Finished { step: *step, outcome: *outcome },
            Self::Failed { step } => Event::Failed(*step),
        }
    }
}

impl OfTransfer {
    fn event(self) -> Transfer {
        match self {
            Self::Transfer { blob, done, total, up } => Transfer::Transfer { blob, done, total, up },
            Self::Present { blob, total, up } => Transfer::Present { blob, total, up },
            Self::Unpack { blob } => Transfer::Unpack { blob },
            Self::Unpacked { blob } => Transfer::Unpacked { blob },
            Self::Pack { layer, total } => Transfer::Pack { layer, total },
            Self::Packed { layer, blob, size } => Transfer::Packed { layer, blob, size },
            Self::Retry { what, why } => Transfer::Retry { what, why },
        }
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    let written = std::io::stderr().lock().write_all(bytes);
    written.map_err(|e| Failure::new(Kind::Failed, format!("cannot print what the build says: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> (Relay, Arc<Progress>) {
        let progress = Arc::new(Progress::new(ProgressKind::Quiet));
        (Relay::showing(progress.clone()), progress)
    }

    /// The lines are those that a build wrote with `--progress json`.
    #[test]
    fn events_are_read_back_and_words_are_not_taken_for_events() {
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let id = r#"{"stage":0,"step":1}"#;
        let (mut relay, progress) = relay();
        for event in [
            r#"{"event":"fetching","image":null,"what":"pulling x","bytes":[1,2]}"#.to_owned(),
            r#"{"event":"fetched","image":"mfe","what":"pulling x"}"#.to_owned(),
            format!(
                r#"{{"event":"planned","image":null,"steps":[{{"id":{id},"stage":"a","text":"RUN x","at":{{"line_start":1,"line_end":1}}}}],"warnings":[]}}"#
            ),
            format!(r#"{{"event":"started","image":null,"step":{id}}}"#),
            format!(r#"{{"event":"output","image":null,"step":{id},"stream":"stdout","text":"x\n"}}"#),
            format!(r#"{{"event":"finished","image":null,"step":{id},"outcome":"cached"}}"#),
            format!(r#"{{"event":"finished","image":null,"millis":5,"step":{id},"outcome":"ran"}}"#),
            format!(r#"{{"event":"failed","image":null,"step":{id}}}"#),
            format!(r#"{{"event":"transfer","blob":"{digest}","done":1,"total":2,"up":true}}"#),
            format!(r#"{{"event":"present","blob":"{digest}","total":2,"up":false}}"#),
            r#"{"event":"retry","what":"a","why":"b"}"#.to_owned(),
        ] {
            assert!(relay.replay(&progress, event.as_bytes()), "{event}");
        }
        for words in ["note: x", "{}", r#"{"event":"other"}"#, r#"{"a":1}"#, "", "built in 0.3s"] {
            assert!(!relay.replay(&progress, words.as_bytes()), "{words}");
        }
        assert_eq!(relay.watches.len(), 2, "of two images");
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let (mut relay, _) = relay();
        let line = r#"{"event":"fetched","image":"a","what":"x"}"#;
        relay.take(&line.as_bytes()[..10]).unwrap();
        assert!(relay.watches.is_empty());
        relay.take(&line.as_bytes()[10..]).unwrap();
        relay.take(b"\n").unwrap();
        assert!(relay.watches.contains_key(&Some("a".to_owned())) && relay.partial.is_empty());
    }

    #[test]
    fn only_moving_lines_are_made_here() {
        for (kind, explain, there) in [
            (ProgressKind::Tty, false, ProgressKind::Relay),
            (ProgressKind::Tty, true, ProgressKind::Plain),
            (ProgressKind::Plain, false, ProgressKind::Plain),
            (ProgressKind::Json, false, ProgressKind::Json),
            (ProgressKind::Quiet, false, ProgressKind::Quiet),
        ] {
            assert_eq!(Relay::of(kind, explain).kind_there(), there);
        }
        assert_eq!(ProgressKind::RawJson.name(), "rawjson");
    }
}
