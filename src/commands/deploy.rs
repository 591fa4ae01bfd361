//! `shiplap deploy`

use std::path::PathBuf;
use std::process::ExitCode;

use semver::Version;
use shiplap_manifests::deploy::{DeployReport, DeployRequest, Deployer, Expect};
use shiplap_manifests::deployment::DeploymentSeq;
use shiplap_manifests::{Config, target};
use shiplap_registry::Images;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::many::{self, Select};
use crate::output;
use crate::supply::SignedCheck;

/// Point an instance at a release
///
/// Writes the release's images into each deploy target of shiplap.toml, all of them or none, and records who did it and why. Running
/// containers go on until they are started again.
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
    if let Some(instances) = args.select.instances(&config, word)? {
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
    let mut deployer = Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() };
    Ok(deployer.deploy(DeployRequest {
        version,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: expect(args.expect),
        automatic: args.automatic,
    })?)
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
    for change in &report.changes {
        output::line(&format!("  {}", change.target));
        for line in change.diff.lines() {
            output::line(&format!("    {line}"));
        }
    }
    for advice in &report.advice {
        output::line(&format!("next: {advice}"));
    }
}
