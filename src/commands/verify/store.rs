//! Reading the store again.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shiplap_cache::collect::Need;
use shiplap_manifests::history::Releases;
use shiplap_registry::{Broken, Collector, ServedPolicy, Verified, verify};

use super::Args;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    verified: Verified,
    /// Tags, releases and served manifests that lack something.
    broken: Vec<Broken>,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let store = images.store();
    // Before anything is moved away: what cannot be read afterwards is known to be needed.
    let roots = app.history(&images)?.roots(&Releases::default());
    let bar = bar(app, store.blobs().all()?.len() + if args.layers { store.layers()?.len() } else { 0 });
    let verified = verify(store, args.layers, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let policy = ServedPolicy { grace: Duration::ZERO, untagged: None };
    let mut broken = Collector::new(images.clone(), policy, true).broken(roots.as_deref().unwrap_or_default())?;
    if let Err(error) = &roots {
        broken.push(Broken { name: error.to_string(), need: Need::Release, missing: Vec::new() });
    }
    broken.sort_by(|a, b| (a.need, &a.name).cmp(&(b.need, &b.name)));
    let report = Report { verified, broken };
    if app.global.json {
        output::json(&report)?;
    } else {
        show(&report, args.layers);
    }
    let (damaged, layers) = (report.verified.damaged.len(), report.verified.damaged_layers.len());
    match (damaged + layers, report.broken.len()) {
        (0, 0) => Ok(ExitCode::SUCCESS),
        (damaged, broken) => Err(Failure::new(Kind::Failed, format!("{damaged} damaged, {broken} not whole"))
            .hint("push, pull or release what is not whole again: that brings what is missing; layers are made anew by the next build")),
    }
}

fn bar(app: &App, all: usize) -> ProgressBar {
    let bar = if app.has_words { ProgressBar::new(all as u64) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("verify {bar:30} {pos}/{len}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(report: &Report, layers: bool) {
    let verified = &report.verified;
    for damaged in &verified.damaged {
        output::line(&format!("damaged: blob {}, moved to {}", damaged.digest, damaged.moved_to.display()));
    }
    for layer in &verified.damaged_layers {
        output::line(&format!("damaged: layer {}, forgotten", layer.short()));
    }
    for broken in &report.broken {
        let what = match broken.need {
            Need::Release => "release",
            Need::Tag => "tag",
            _ => "served",
        };
        output::line(&format!("not whole: {what} {}", broken.name));
        broken.missing.iter().for_each(|digest| output::line(&format!("  lacks {digest}")));
    }
    output::line(&format!("{} blobs read, {}", verified.blobs, output::size(verified.bytes)));
    if layers {
        output::line(&format!("{} layers read", verified.layers));
    }
}
