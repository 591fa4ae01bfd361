//! `shiplap deploy`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_manifests::deploy::{DeployReport, DeployRequest, Deployer, Expect, TargetChange};
use shiplap_manifests::deployment::DeploymentSeq;
use shiplap_manifests::preview::Preview;
use shiplap_manifests::target;

use crate::app::App;
use crate::commands::rollback;
use crate::failure::Result;
use crate::supply::SignedCheck;
use crate::{health, output};

/// Point an instance at a release
///
/// Writes the release's images into each deploy target of shiplap.toml, all of them or none, and records who did it and why. Running
/// containers go on until they are started again. Where `[instance.NAME.health]` says how, it is then asked whether the site is well; if it is not, the instance goes
/// back to the release before.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance
    instance: String,
    /// The version of the release
    version: String,
    /// Why, for the record
    #[arg(long, short = 'm', value_name = "TEXT")]
    reason: Option<String>,
    /// Fail unless this deployment is the current one: its number, or 0 for none
    #[arg(long, value_name = "NUMBER")]
    expect: Option<u64>,
    /// Only images that are signed by this public key, as `cosign verify --key` checks it [default: `verify-key` of the instance]
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
    /// Say what would change in each target, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether the site is well afterwards
    #[arg(long)]
    no_health: bool,
    /// This is a machine's doing: refused while a hold is on
    #[arg(long)]
    automatic: bool,
}

/// What is expected to be replaced.
pub fn expect(number: Option<u64>) -> Expect {
    match number {
        None => Expect::Whatever,
        Some(0) => Expect::Exactly(None),
        Some(number) => Expect::Exactly(Some(DeploymentSeq(number))),
    }
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let config = app.need_config()?;
    let (instance, settings) = config.instance(&args.instance)?;
    let version = shiplap_manifests::version::parse(&args.version).map_err(shiplap_manifests::Error::from)?;
    let images = app.images()?;
    let mut history = app.history(&images)?;
    let targets = target::of_instance(&config, settings);
    let check = SignedCheck::new(&images, app.client(), args.verify_key.as_ref(), &config, settings)?;
    let mut deployer = Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() };
    if args.dry_run {
        return preview(app, &deployer.preview_deploy(&version)?);
    }
    let request = DeployRequest {
        version,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: expect(args.expect),
        automatic: args.automatic,
    };
    let probe = health::probe(&config, settings, args.no_health)?;
    let told = |tries: u32, what: &str| app.note(&format!("not well yet (try {tries}): {what}"));
    let check = probe.as_ref().map(|probe| probe.check(&told));
    let report = deployer.deploy_checked(request, check.as_ref())?;
    if app.global.json {
        output::json(&report)?;
    } else {
        show(&report, "deployed");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a deploy or rollback would do.
pub fn preview(app: &App, preview: &Preview) -> Result<ExitCode> {
    if app.global.json {
        output::json(preview)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (release, from) = (&preview.to.release, preview.from.as_ref());
    let from = from.map_or("nothing".to_owned(), ToString::to_string);
    output::line(&format!("{} would go from {from} to {}", release.instance, release.tag));
    if let Some(deployment) = preview.unfinished {
        output::line(&format!("deployment {deployment} did not end: it would be finished or undone first"));
    }
    preview.changes.iter().for_each(change);
    if let Some(migrations) = &preview.migrations {
        rollback::migrations(migrations);
        rollback::not_rolled_back(&preview.not_rolled_back);
    }
    Ok(ExitCode::SUCCESS)
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
    report.changes.iter().for_each(change);
    for advice in &report.advice {
        output::line(&format!("next: {advice}"));
    }
}
