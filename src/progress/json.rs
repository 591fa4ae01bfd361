//! A JSON object a line, for programs.

use serde_json::{Value, json};
use shiplap_builder::build::{Event, StepId};
use shiplap_builder::sandbox::Stream;
use shiplap_registry::Event as Transfer;

use super::{Build, Face};

pub(super) struct Json;

impl Face for Json {
    fn build(&mut self, build: &Build, event: &Event<'_>) {
        let step = |event: &str, id: &StepId| json!({"event": event, "image": build.image, "step": id});
        let value = match event {
            Event::Fetching { what, bytes } => {
                json!({"event": "fetching", "image": build.image, "what": what, "bytes": bytes})
            }
            Event::Fetched { what } => json!({"event": "fetched", "image": build.image, "what": what}),
            Event::Planned { steps, warnings } => {
                json!({"event": "planned", "image": build.image, "steps": steps, "warnings": warnings})
            }
            Event::Explained { step: id, why } => merge(step("explained", id), json!({"why": why})),
            Event::Started(id) => step("started", id),
            Event::Output { step: id, stream, bytes } => {
                let stream = if *stream == Stream::Stdout { "stdout" } else { "stderr" };
                let text = String::from_utf8_lossy(bytes);
                merge(step("output", id), json!({"stream": stream, "text": text}))
            }
            Event::Finished { step: id, outcome } => merge(step("finished", id), json!(outcome)),
            Event::Failed(id) => step("failed", id),
        };
        eprintln!("{value}");
    }

    fn transfer(&mut self, event: &Transfer) {
        let value = match event {
            Transfer::Transfer { blob, done, total, up } => {
                json!({"event": "transfer", "blob": blob, "done": done, "total": total, "up": up})
            }
            Transfer::Present { blob, total, up } => {
                json!({"event": "present", "blob": blob, "total": total, "up": up})
            }
            Transfer::Unpack { blob } => json!({"event": "unpack", "blob": blob}),
            Transfer::Unpacked { blob } => json!({"event": "unpacked", "blob": blob}),
            Transfer::Pack { layer, total } => json!({"event": "pack", "layer": layer, "total": total}),
            Transfer::Packed { layer, blob, size } => {
                json!({"event": "packed", "layer": layer, "blob": blob, "size": size})
            }
            Transfer::Retry { what, why } => json!({"event": "retry", "what": what, "why": why}),
        };
        eprintln!("{value}");
    }

    fn say(&mut self, text: &str) {
        eprintln!("{}", json!({"event": "note", "text": text}));
    }

    fn finish(&mut self) {}
}

fn merge(mut into: Value, from: Value) -> Value {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
    into
}
