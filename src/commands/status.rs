//! `shiplap status`

use std::process::ExitCode;

use shiplap_manifests::names::InstanceName;
use shiplap_manifests::{Status, target};

use crate::app::App;
use crate::failure::Result;
use crate::many::{self, One, Select};
use crate::{output, table};

/// Say what each instance runs, and whether its deploy targets say so too
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, or a pattern of names [default: all]
    instance: Option<String>,
    #[command(flatten)]
    select: Select,
    /// End with code 3 when a target says something else than was deployed
    #[arg(long)]
    exit_code: bool,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let config = app.need_config()?;
    let images = app.images()?;
    let history = app.history(&images)?;
    let instances = match (args.select.instances(&config, args.instance.as_deref())?, &args.instance) {
        (Some(instances), _) => instances,
        (None, Some(name)) => vec![config.instance(name)?.0.clone()],
        (None, None) => config.instances.keys().cloned().collect(),
    };
    let read = |name: &InstanceName| {
        let (name, settings) = config.instance(name.as_str())?;
        Ok(Status::read(&history, name, &target::of_instance(&config, settings))?)
    };
    // One whose history is damaged is told at the end, and does not hide the others.
    let (all, failed): (Vec<_>, Vec<_>) =
        many::in_turn(app, instances, read).into_iter().partition(|one| one.result.is_ok());
    let all: Vec<Status> = all.into_iter().filter_map(|one| one.result.ok()).collect();
    let settled = all.iter().all(Status::is_settled);
    if app.global.json {
        let told = all.iter().map(|status| Ok(serde_json::to_value(status)?));
        output::json(&told.chain(failed.iter().map(One::to_json)).collect::<Result<Vec<_>>>()?)?;
    } else {
        table::print(
            &["INSTANCE", "VERSION", "TAG", "SINCE", "BY", "TARGETS"],
            &all.iter().map(row).collect::<Vec<_>>(),
        );
        all.iter().for_each(remarks);
    }
    if !failed.is_empty() {
        return Ok(many::report(failed));
    }
    Ok(if args.exit_code && !settled { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn row(status: &Status) -> Vec<String> {
    let targets = match (status.is_settled(), status.current.is_some()) {
        (_, false) => "not deployed".to_owned(),
        (true, true) => format!("{} as deployed", status.targets.len()),
        (false, true) => "DRIFT".to_owned(),
    };
    let current = status.current.as_ref();
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        status.instance.to_string(),
        text(current.map(|d| d.version.to_string())),
        text(status.release.as_ref().map(|r| r.release.tag.to_string())),
        text(current.map(|d| d.started.to_string())),
        text(current.map(|d| d.actor.clone())),
        targets,
    ]
}

fn remarks(status: &Status) {
    let say = |text: String| output::line(&format!("{}: {text}", status.instance));
    if let (Some(newest), Some(current)) = (&status.newest, &status.current)
        && newest.sequence != current.release
    {
        say(format!("the newest release is {}", newest.version));
    }
    if let Some(hold) = &status.hold {
        let reason = hold.reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        say(format!("automatic deploys are held since {} by {}{reason}", hold.since, hold.actor));
    }
    if let Some(pending) = &status.pending {
        say(format!(
            "deployment {} did not end; the next deploy or rollback finishes or undoes it",
            pending.deployment.sequence.0
        ));
    }
    for target in &status.targets {
        if let Some(problem) = &target.problem {
            say(format!("{}: {problem}", target.target));
        }
        for drift in &target.drift {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            say(format!(
                "{}: {} is {}, deployed was {}",
                target.target,
                drift.place,
                text(&drift.found),
                text(&drift.wanted)
            ));
        }
    }
}
