//! `shiplap deploy`

use std::path::PathBuf;
use std::process::ExitCode;

use semver::Version;
use shiplap_manifests::deploy::{DeployReport, DeployRequest, Deployer, Expect, TargetChange};
use shiplap_manifests::deployment::DeploymentSeq;
use shiplap_manifests::preview::Preview;
use shiplap_manifests::{Config, target};
use shiplap_registry::Images;

use crate::app::App;
use crate::commands::rollback;
use crate::failure::{Failure, Kind, Result};
use crate::many::{self, Select};
use crate::supply::SignedCheck;
use crate::{health, output, shared};

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
    let (word, version) = words(&args.select, args.instance.as_deref(), args.version.as_deref())?;
    let version = version.ok_or_else(|| Failure::new(Kind::Usage, "which version?"))?;
    let version = shiplap_manifests::version::parse(version).map_err(shiplap_manifests::Error::from)?;
    let images = app.images()?;
    let several = args.select.instances(&config, word)?;
    if args.dry_run {
        let ask = |name: &str| preview_one(app, args, &config, &images, name, &version);
        return match several {
            Some(instances) => {
                many::finish(app, many::in_turn(app, instances, |name| ask(name.as_str())), preview_in_short)
            }
            None => preview(app, &ask(word.unwrap_or_default())?),
        };
    }
    if let Some(instances) = several {
        let done =
            many::in_turn(app, instances, |name| one(app, args, &config, &images, name.as_str(), version.clone()));
        return many::finish(app, done, in_short);
    }
    let report = one(app, args, &config, &images, word.unwrap_or_default(), version)?;
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

fn one(
    app: &App,
    args: &Args,
    config: &Config,
    images: &Images,
    instance: &str,
    version: Version,
) -> Result<DeployReport> {
    let (instance, settings) = config.instance(instance)?;
    let mut history = app.history(images)?;
    let targets = target::of_instance(config, settings);
    let check = SignedCheck::new(images, app.client(), args.verify_key.as_ref(), config, settings)?;
    let request = DeployRequest {
        version,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: expect(args.expect),
        automatic: args.automatic,
    };
    let probe = health::probe(config, settings, args.no_health)?;
    let told = |tries: u32, what: &str| app.note(&format!("not well yet (try {tries}): {what}"));
    let well = probe.as_ref().map(|probe| probe.check(&told));
    shared::alone(app, config, &mut history, instance, |history| {
        let mut deployer = Deployer { history, instance, targets: &targets, check: &check, observer: &() };
        Ok(deployer.deploy_checked(request, well.as_ref())?)
    })
}

fn preview_one(
    app: &App,
    args: &Args,
    config: &Config,
    images: &Images,
    instance: &str,
    version: &Version,
) -> Result<Preview> {
    let (instance, settings) = config.instance(instance)?;
    let mut history = app.history(images)?;
    shared::look(app, Some(config), &mut history)?;
    let targets = target::of_instance(config, settings);
    let check = SignedCheck::new(images, app.client(), args.verify_key.as_ref(), config, settings)?;
    let deployer = Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() };
    Ok(deployer.preview_deploy(version)?)
}

/// What a deploy or rollback would do, in a line of a table.
pub fn preview_in_short(preview: &Preview) -> String {
    let from = preview.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    format!("from {from} to {}", preview.to.release.tag)
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
