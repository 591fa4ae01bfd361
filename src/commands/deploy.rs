//! `shiplap deploy`

use std::process::ExitCode;

use shiplap_manifests::deploy::{DeployReport, DeployRequest, TargetChange};
use shiplap_manifests::images::Unchecked;

use crate::app::App;
use crate::commands::diff::summary;
use crate::commands::rollback;
use crate::deploying::{Deploying, Flags, Outlook};
use crate::failure::{Failure, Kind, Result};
use crate::many::{self, Select};
use crate::output;

/// Point an instance at a release
///
/// Writes the release's images into each deploy target of shiplap.toml, all of them or none, and records who did it and why. Running
/// containers go on until they are started again. Where `[instance.NAME.health]` says how, it is then asked whether the site is well; if it is not, the instance goes
/// back to the release before.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, or a pattern of names; left out with --all
    #[arg(required_unless_present = "all")]
    instance: Option<String>,
    /// The version of the release
    #[arg(required_unless_present = "all")]
    version: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    flags: Flags,
    /// Say what would change in each target, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// This is a machine's doing: refused while a hold is on
    #[arg(long)]
    automatic: bool,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let config = app.need_config()?;
    let (word, version) = words(&args.select, args.instance.as_deref(), args.version.as_deref())?;
    let version = version.ok_or_else(|| Failure::new(Kind::Usage, "which version?"))?;
    let version = shiplap_manifests::version::parse(version).map_err(shiplap_manifests::Error::from)?;
    let images = app.images()?;
    let several = args.select.instances(&config, word)?;
    let deploying = Deploying { app, config: &config, images: &images, flags: &args.flags };
    if args.dry_run {
        let accept = args.flags.accept_unchecked;
        let ask = |name: &str| deploying.preview(name, |deployer| deployer.preview_deploy(&version, accept));
        return match several {
            Some(instances) => {
                many::finish(app, many::in_turn(app, instances, |name| ask(name.as_str())), preview_in_short)
            }
            None => preview(app, &ask(word.unwrap_or_default())?),
        };
    }
    let request = DeployRequest {
        version,
        actor: app.actor(),
        reason: args.flags.reason.clone(),
        expect: args.flags.expect(),
        automatic: args.automatic,
        accept_unchecked: args.flags.accept_unchecked,
    };
    let deploy =
        |name: &str| deploying.alone(name, |deployer, well| Ok(deployer.deploy_checked(request.clone(), well)?));
    if let Some(instances) = several {
        return many::finish(app, many::in_turn(app, instances, |name| deploy(name.as_str())), in_short);
    }
    let report = deploy(word.unwrap_or_default())?;
    if app.global.json {
        output::json(&report)?;
    } else {
        show(&report, "deployed");
    }
    Ok(ExitCode::SUCCESS)
}

/// Instance and version of a command line; with `--all` the first word is the version.
pub fn words<'a>(
    select: &Select,
    first: Option<&'a str>,
    second: Option<&'a str>,
) -> Result<(Option<&'a str>, Option<&'a str>)> {
    match (select.is_all(), first, second) {
        (false, instance, version) => Ok((instance, version)),
        (true, version, None) => Ok((None, version)),
        (true, Some(instance), Some(_)) => {
            Err(Failure::new(Kind::Usage, format!("--all means every instance, and `{instance}` is one"))
                .hint("leave one of them out"))
        }
        (true, None, Some(version)) => Ok((None, Some(version))),
    }
}

/// What a deploy did, in a line of a table.
pub fn in_short(report: &DeployReport) -> String {
    format!("{} (deployment {})", report.release.release.tag, report.deployment.sequence)
}

/// What a deploy or rollback would do, in a line of a table.
pub fn preview_in_short(outlook: &Outlook) -> String {
    let preview = &outlook.preview;
    let from = preview.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    format!("from {from} to {}", preview.to.release.tag)
}

/// Prints what a deploy or rollback would do.
pub fn preview(app: &App, outlook: &Outlook) -> Result<ExitCode> {
    if app.global.json {
        output::json(outlook)?;
        return Ok(ExitCode::SUCCESS);
    }
    let preview = &outlook.preview;
    let (release, from) = (&preview.to.release, preview.from.as_ref());
    let from = from.map_or("nothing".to_owned(), ToString::to_string);
    output::line(&format!("{} would go from {from} to {}", release.instance, release.tag));
    if let Some(deployment) = preview.unfinished {
        output::line(&format!("deployment {deployment} did not end: it would be finished or undone first"));
    }
    unchecked(&preview.unchecked);
    preview.changes.iter().for_each(change);
    if let Some(differences) = &outlook.differences {
        summary::show(differences);
    }
    if let Some(migrations) = &preview.migrations {
        rollback::migrations(migrations);
        rollback::not_rolled_back(&preview.not_rolled_back);
    }
    Ok(ExitCode::SUCCESS)
}

fn unchecked(images: &[Unchecked]) {
    for Unchecked { image, why } in images {
        output::line(&format!("not looked up in its registry: {image}: {why}"));
    }
}

fn change(change: &TargetChange) {
    let nothing = if change.diff.is_empty() { ": says so already" } else { "" };
    output::line(&format!("  {}{nothing}", change.target));
    for line in change.diff.lines() {
        output::line(&format!("    {line}"));
    }
}

/// Prints what a deploy or rollback did.
pub fn show(report: &DeployReport, word: &str) {
    if let Some(recovered) = &report.recovered {
        let (deployment, what) = (recovered.deployment.sequence.0, recovered.recovery);
        output::line(&format!(
            "deployment {deployment}, which an earlier command left half done, was {}",
            format!("{what:?}").to_lowercase()
        ));
    }
    let release = &report.release.release;
    output::line(&format!("{} {} {word} (deployment {})", release.instance, release.tag, report.deployment.sequence.0));
    unchecked(&report.unchecked);
    report.changes.iter().for_each(change);
    for advice in &report.advice {
        output::line(&format!("next: {advice}"));
    }
}
