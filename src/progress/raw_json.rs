//! A JSON object a line in the form of BuildKit's `SolveStatus` (client/graph.go), as `docker buildx build --progress=rawjson` prints it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use shiplap_builder::build::{Event, Outcome, StepId};
use shiplap_builder::sandbox::Stream;
use shiplap_cache::Digest;
use shiplap_registry::Event as Transfer;

use super::{Build, Face};

/// What everything that moves belongs to.
const TRANSFERS: &str = "[internal] transfers";

#[derive(Default)]
pub(super) struct RawJson {
    /// When what is under way began, by name.
    started: BTreeMap<String, Timestamp>,
}

impl Face for RawJson {
    fn build(&mut self, build: &Build, event: &Event<'_>) {
        let name = |step: &StepId| format!("{} {}", build.label(*step), build.text(*step));
        match event {
            Event::Planned { steps, .. } => {
                let all: Vec<Value> = steps.iter().map(|step| vertex(&name(&step.id))).collect();
                print(&json!({ "vertexes": all }));
            }
            Event::Fetching { what, bytes } => {
                let started = self.begin(what);
                if let Some((done, total)) = bytes {
                    status(what, what, started, (*done, *total), done == total);
                }
            }
            Event::Fetched { what } => self.end(what, &json!({})),
            // BuildKit has no word for it.
            Event::Explained { .. } => {}
            Event::Started(step) => drop(self.begin(&name(step))),
            Event::Output { step, stream, bytes } => {
                let stream = if *stream == Stream::Stdout { 1 } else { 2 };
                let data = STANDARD.encode(bytes);
                let log = json!({"vertex": digest(&name(step)), "stream": stream, "data": data, "timestamp": Timestamp::now()});
                print(&json!({ "logs": [log] }));
            }
            Event::Finished { step, outcome: Outcome::Ran { .. } } => self.end(&name(step), &json!({})),
            Event::Finished { step, .. } => self.end(&name(step), &json!({"cached": true})),
            Event::Failed(step) => self.end(&name(step), &json!({"error": "the step failed"})),
        }
    }

    fn transfer(&mut self, event: &Transfer) {
        let started = match self.started.get(TRANSFERS) {
            Some(started) => *started,
            None => self.begin(TRANSFERS),
        };
        let (id, numbers, done) = match event {
            Transfer::Transfer { blob, done, total, up } => {
                let way = if *up { "pushing" } else { "pulling" };
                (format!("{way} {blob}"), (*done, *total), done == total)
            }
            Transfer::Present { blob, total, .. } => (format!("{blob} is there"), (*total, *total), true),
            Transfer::Unpack { blob } => (format!("unpacking {blob}"), (0, 0), false),
            Transfer::Unpacked { blob } => (format!("unpacking {blob}"), (0, 0), true),
            Transfer::Pack { layer, total } => (format!("packing {layer}"), (0, *total), false),
            Transfer::Packed { layer, size, .. } => (format!("packing {layer}"), (*size, *size), true),
            Transfer::Retry { what, why } => (format!("trying again: {what}: {why}"), (0, 0), true),
        };
        status(TRANSFERS, &id, started, numbers, done);
    }

    // BuildKit has no word for it.
    fn say(&mut self, _: &str) {}

    fn finish(&mut self) {
        for name in self.started.keys().cloned().collect::<Vec<_>>() {
            self.end(&name, &json!({}));
        }
    }
}

impl RawJson {
    fn begin(&mut self, name: &str) -> Timestamp {
        if let Some(started) = self.started.get(name) {
            return *started;
        }
        let started = Timestamp::now();
        self.started.insert(name.to_owned(), started);
        print(&json!({ "vertexes": [merge(vertex(name), &json!({ "started": started }))] }));
        started
    }

    fn end(&mut self, name: &str, more: &Value) {
        let now = Timestamp::now();
        let started = self.started.remove(name).unwrap_or(now);
        let ended = merge(vertex(name), &json!({"started": started, "completed": now}));
        print(&json!({ "vertexes": [merge(ended, more)] }));
    }
}

fn vertex(name: &str) -> Value {
    json!({"digest": digest(name), "name": name})
}

/// Vertexes are told apart by a digest; here it is that of the name.
fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn status(of: &str, id: &str, started: Timestamp, (current, total): (u64, u64), done: bool) {
    let now = Timestamp::now();
    let mut value = json!({"id": id, "vertex": digest(of), "current": current, "timestamp": now, "started": started});
    if total > 0 {
        value["total"] = total.into();
    }
    if done {
        value["completed"] = json!(now);
    }
    print(&json!({ "statuses": [value] }));
}

fn print(value: &Value) {
    eprintln!("{value}");
}

fn merge(mut into: Value, from: &Value) -> Value {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
    into
}
