//! `shiplap why`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::{Decision, StepInfo, StepSelector};
use shiplap_manifests::names::ImageName;

use super::build::{Flags, What, forecasts};
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::{explain, output};

/// Say why a step would run: the nearest earlier run, and what is different from it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A line of the Dockerfile, a stage, STAGE:LINE, or words of the instruction, as in `npm run webpack`
    #[arg(value_name = "STEP")]
    step: String,
    /// A directory, an instance of shiplap.toml, a URL, or `-`
    #[arg(value_name = "DIR|INSTANCE|URL|-")]
    what: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Serialize)]
struct Answer {
    image: Option<ImageName>,
    #[serde(flatten)]
    info: StepInfo,
    #[serde(flatten)]
    decision: Decision,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let wanted = StepSelector::new(args.step.clone());
    let mut answers = Vec::new();
    for (image, forecast) in forecasts(app, What::of(app, args.what.as_deref())?, &args.flags).await? {
        for (info, decision) in forecast.steps {
            if wanted.matches(&info) {
                answers.push(Answer { image: image.clone(), info, decision });
            }
        }
    }
    if answers.is_empty() {
        return Err(Failure::new(Kind::Missing, format!("no step is `{wanted}`"))
            .hint("`shiplap plan` lists the steps; name one by its line, its stage, STAGE:LINE, or words of it"));
    }
    if app.global.json {
        output::json(&serde_json::json!({ "steps": answers }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for answer in &answers {
        let image = answer.image.as_ref().map(|image| format!("{image}, ")).unwrap_or_default();
        let StepInfo { stage, at, text, .. } = &answer.info;
        output::line(&format!("{image}{stage}, line {}: {}", at.line_start, text.lines().next().unwrap_or_default()));
        for line in lines(&answer.decision) {
            output::line(&format!("  {line}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(decision: &Decision) -> Vec<String> {
    let last = match decision {
        Decision::Cached { last } | Decision::Reused { last } => last,
        Decision::Run { why, .. } => {
            let mut lines = explain::long(why, true);
            lines[0] = format!("runs: {}", lines[0]);
            return lines;
        }
        Decision::Open { why } => return vec![format!("open: {why}")],
    };
    let how = match decision {
        Decision::Cached { .. } => "reused: nothing below it changed",
        _ => "reused: what changed below it is nothing that it reads",
    };
    let ran = format!("ran {} in {}", explain::date(last.created), output::duration(last.millis));
    let mut lines = vec![how.to_owned(), ran];
    if last.network {
        lines.push(format!(
            "took something from the network, {}: --refresh network runs it again",
            explain::age(last.created)
        ));
    }
    if let Some(why) = &last.untraced {
        lines.push(format!("its whole parent is its input: {why}"));
    }
    lines
}
