//! `shiplap plan`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::{Decision, Fetch, StepInfo};
use shiplap_builder::plan::Warning;
use shiplap_cache::StepResult;
use shiplap_manifests::names::{ImageName, InstanceName};

use super::build::{Flags, What, forecasts, several};
use crate::app::App;
use crate::failure::Result;
use crate::many::{self, Select};
use crate::{explain, output, table, warnings};

/// Say what a build would do, and why; build nothing
///
/// Each step is cached (nothing below it changed), reused (what changed below it is nothing that it reads), to run, or open: it reads
/// what a step before it would make anew, or takes what cannot be fetched now. A step that runs is taken to change the files that it
/// changed the last time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory, an instance of shiplap.toml or a pattern of their names, a URL, or `-`
    #[arg(value_name = "DIR|INSTANCE|URL|-")]
    what: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Serialize)]
struct Report {
    image: Option<ImageName>,
    steps: Vec<Step>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct Step {
    #[serde(flatten)]
    info: StepInfo,
    #[serde(flatten)]
    decision: Decision,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    if let Some(instances) = several::instances(app, &args.select, args.what.as_deref())? {
        // Nothing runs in a plan, so there is nothing to do side by side.
        let done = many::at_once(app, instances, 1, async |name: &InstanceName| {
            reports(app, args, What::Instance(name.to_string())).await
        });
        return many::finish(app, done.await, |reports| {
            let steps: Vec<&Step> = reports.iter().flat_map(|report| &report.steps).collect();
            totals(&steps)
        });
    }
    let reports = reports(app, args, What::of(app, args.what.as_deref())?).await?;
    if app.global.json {
        output::json(&serde_json::json!({ "images": reports }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for report in &reports {
        if let Some(image) = &report.image {
            output::line(&format!("{image}:"));
        }
        show(&report.steps);
        warnings::tell(&report.warnings);
    }
    Ok(ExitCode::SUCCESS)
}

async fn reports(app: &App, args: &Args, what: What) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for (image, forecast) in forecasts(app, what, &args.flags).await? {
        let steps = forecast.steps.into_iter().map(|(info, decision)| Step { info, decision }).collect();
        reports.push(Report { image, steps, warnings: forecast.warnings });
    }
    Ok(reports)
}

/// How many steps come to what.
fn totals(steps: &[&Step]) -> String {
    let count = |wanted: fn(&Decision) -> bool| steps.iter().filter(|step| wanted(&step.decision)).count();
    let reused = count(|d| matches!(d, Decision::Cached { .. } | Decision::Reused { .. }));
    format!(
        "{reused} reused, {} to run, {} open",
        count(|d| matches!(d, Decision::Run { .. })),
        count(|d| matches!(d, Decision::Open { .. }))
    )
}

fn show(steps: &[Step]) {
    let row = |step: &Step| {
        let (word, why) = match &step.decision {
            Decision::Cached { last } => ("cached", notes(last)),
            Decision::Reused { last } => ("reused", notes(last)),
            Decision::Run { why, fetch } => {
                let fetch = fetch.map(|fetch| format!("; {}", fetches(&fetch))).unwrap_or_default();
                ("run", explain::short(why) + &fetch)
            }
            Decision::Open { why } => ("open", why.clone()),
        };
        let text: String = step.info.one_line().chars().take(48).collect();
        vec![word.to_owned(), step.info.stage.clone(), step.info.at.line_start.to_string(), text, why]
    };
    table::print(&["", "STAGE", "LINE", "STEP", "WHY"], &steps.iter().map(row).collect::<Vec<_>>());
    output::line(&totals(&steps.iter().collect::<Vec<_>>()));
    let reasons = steps.iter().filter_map(|step| match &step.decision {
        Decision::Run { why, .. } => Some(why),
        _ => None,
    });
    let totals: Vec<_> = explain::totals(reasons).iter().map(|(input, n)| format!("{} ({n})", input.words())).collect();
    if !totals.is_empty() {
        output::line(&format!("steps that run, by what changed: {}", totals.join(", ")));
    }
}

/// What must come from a cache before a step can run.
fn fetches(Fetch { layers, bytes, read, by_files }: &Fetch) -> String {
    let noun = if *layers == 1 { "layer" } else { "layers" };
    if let (true, Some(read)) = (by_files, read) {
        return format!(
            "fetches files of {layers} {noun}, about {} of {}, as it reads them",
            output::size(*read),
            output::size(*bytes)
        );
    }
    let of_that =
        read.map(|read| format!(", of which it read {} the last time", output::size(read))).unwrap_or_default();
    format!("fetches {layers} {noun}, {}{of_that}", output::size(*bytes))
}

/// What a reused result is worth knowing.
fn notes(last: &StepResult) -> String {
    let mut notes = Vec::new();
    if last.network {
        notes.push(format!("from the network, {}", explain::age(last.created)));
    }
    if let Some(why) = &last.untraced {
        notes.push(format!("untraced: {why}"));
    }
    notes.join("; ")
}
