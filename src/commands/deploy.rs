//! `shiplap deploy`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_manifests::deploy::{DeployReport, DeployRequest, Deployer, Expect};
use shiplap_manifests::deployment::DeploymentSeq;
use shiplap_manifests::target;

use crate::app::App;
use crate::failure::Result;
use crate::output;
use crate::supply::SignedCheck;

/// Point an instance at a release
///
/// Writes the release's images into each deploy target of shiplap.toml, all of them or none, and records who did it and why. Running
/// containers go on until they are started again.
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
    let report = deployer.deploy(DeployRequest {
        version,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: expect(args.expect),
        automatic: args.automatic,
    })?;
    if app.global.json {
        output::json(&report)?;
    } else {
        show(&report, "deployed");
    }
    Ok(ExitCode::SUCCESS)
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
