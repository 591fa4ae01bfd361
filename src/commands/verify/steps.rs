//! Running reused steps again.

use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::{Request, StepInfo, Verdict};
use shiplap_manifests::names::ImageName;

use super::Args;
use crate::app::App;
use crate::commands::build::{What, build, requests};
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// How many paths of a difference are shown.
const SHOWN: usize = 10;

#[derive(Debug, Serialize)]
struct Judged {
    image: Option<ImageName>,
    #[serde(flatten)]
    info: StepInfo,
    #[serde(flatten)]
    verdict: Verdict,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let mut judged = Vec::new();
    for (image, request) in requests(app, &images, What::of(app, args.what.as_deref())?, &args.flags).await? {
        let request = Request { verify: args.sample.unwrap_or(usize::MAX), ..request };
        let built = build(app, &images, request, image.as_ref().map(ImageName::as_str)).await?;
        for (info, verdict) in built.verdicts {
            judged.push(Judged { image: image.clone(), info, verdict });
        }
    }
    app.progress.finish();
    let stale = judged.iter().filter(|judged| matches!(judged.verdict, Verdict::Stale { .. })).count();
    if app.global.json {
        output::json(&serde_json::json!({ "steps": judged }))?;
    } else {
        judged.iter().for_each(show);
        output::line(&format!("{} steps run again, {stale} stale", judged.len()));
    }
    match stale {
        0 => Ok(ExitCode::SUCCESS),
        n => Err(Failure::new(Kind::Failed, format!("stale results were dropped: {n}"))
            .hint("this is a bug of Shiplap: please report the steps and the paths above")),
    }
}

fn show(judged: &Judged) {
    let (word, paths) = match &judged.verdict {
        Verdict::Same => ("same", &[][..]),
        Verdict::NotDeterministic { paths } => ("not deterministic", paths.as_slice()),
        Verdict::Stale { paths } => ("STALE", paths.as_slice()),
    };
    let text: String = judged.info.one_line().chars().take(70).collect();
    output::line(&format!("{word}: {}:{} {text}", judged.info.stage, judged.info.at.line_start));
    for path in paths.iter().take(SHOWN) {
        output::line(&format!("  {path}"));
    }
    if paths.len() > SHOWN {
        output::line(&format!("  and {} more", paths.len() - SHOWN));
    }
}
