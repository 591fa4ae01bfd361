//! `shiplap plan`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::{Decision, Forecast, StepInfo};
use shiplap_manifests::names::ImageName;

use super::build::{Flags, What, what};
use crate::app::App;
use crate::failure::{Result, build_failure};
use crate::release_images::request;
use crate::{output, table};

/// Say what a build would do, and why; build nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory, or an instance of shiplap.toml
    #[arg(value_name = "DIR|INSTANCE")]
    what: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Serialize)]
struct Report {
    image: Option<ImageName>,
    steps: Vec<Step>,
    warnings: Vec<shiplap_builder::plan::Warning>,
}

#[derive(Debug, Serialize)]
struct Step {
    #[serde(flatten)]
    info: StepInfo,
    #[serde(flatten)]
    decision: Decision,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let mut requests = Vec::new();
    match what(app, args.what.as_deref())? {
        What::Directory(context) => requests.push((None, args.flags.request(&context)?)),
        What::Instance(name) => {
            args.flags.refuse_for_instance()?;
            let config = app.need_config()?;
            for (image, settings) in &config.instance(&name)?.1.image {
                requests.push((Some(image.clone()), args.flags.adjust(request(&config, settings)?)?));
            }
        }
    }
    let images = app.images()?;
    let mut reports = Vec::new();
    for (image, request) in requests {
        let dockerfile = request.dockerfile.clone();
        let watch = app.progress.watch(image.as_ref().map(ImageName::as_str));
        let forecast = app.builder(&images).forecast(request, watch).await;
        let Forecast { steps, warnings } = forecast.map_err(|error| {
            let text = std::fs::read_to_string(&dockerfile).unwrap_or_default();
            build_failure(error, &dockerfile, &text)
        })?;
        let steps = steps.into_iter().map(|(info, decision)| Step { info, decision }).collect();
        reports.push(Report { image, steps, warnings });
    }
    app.progress.finish();
    if app.global.json {
        output::json(&serde_json::json!({ "images": reports }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for report in &reports {
        if let Some(image) = &report.image {
            output::line(&format!("{image}:"));
        }
        show(&report.steps);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(steps: &[Step]) {
    let row = |step: &Step| {
        let (word, why) = match &step.decision {
            Decision::Cached => ("cached", String::new()),
            Decision::Reused => ("reused", String::new()),
            Decision::Run { why } => ("run", why.clone()),
            Decision::Open => ("open", "depends on a step before it".to_owned()),
        };
        let text: String = step.info.text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(64).collect();
        vec![word.to_owned(), step.info.stage.clone(), step.info.at.line_start.to_string(), text, why]
    };
    table::print(&["", "STAGE", "LINE", "STEP", "WHY"], &steps.iter().map(row).collect::<Vec<_>>());
    let count = |wanted: fn(&Decision) -> bool| steps.iter().filter(|step| wanted(&step.decision)).count();
    let reused = count(|d| matches!(d, Decision::Cached | Decision::Reused));
    output::line(&format!(
        "{reused} reused, {} to run, {} open",
        count(|d| matches!(d, Decision::Run { .. })),
        count(|d| *d == Decision::Open)
    ));
}
