//! `shiplap rollback`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_manifests::deploy::Deployer;
use shiplap_manifests::rollback::{Migrations, RollbackRequest};
use shiplap_manifests::target;

use crate::app::App;
use crate::commands::deploy;
use crate::failure::{Failure, Kind, Result};
use crate::supply::SignedCheck;
use crate::{health, output};

/// Take an instance back to the release before, or to another that it ran
///
/// Builds nothing and pulls nothing. Every image of the release is checked first; then all deploy targets are written, or none.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance
    instance: String,
    /// The version to go back to [default: that of the newest deployment before the current one that succeeded]
    version: Option<String>,
    /// The same, as a flag
    #[arg(long, value_name = "VERSION", conflicts_with = "version")]
    to: Option<String>,
    /// Why, for the record
    #[arg(long, short = 'm', value_name = "TEXT")]
    reason: Option<String>,
    /// Fail unless this deployment is the current one
    #[arg(long, value_name = "NUMBER")]
    expect: Option<u64>,
    /// Go back even though the current release has database migrations that the other lacks
    #[arg(long)]
    accept_migrations: bool,
    /// Only images that are signed by this public key, as `cosign verify --key` checks it [default: `verify-key` of the instance]
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
    /// Say what would change in each target, and change nothing
    #[arg(long, conflicts_with = "unhold")]
    dry_run: bool,
    /// Do not ask whether the site is well afterwards
    #[arg(long)]
    no_health: bool,
    /// Refuse automatic deploys until `--unhold`
    #[arg(long)]
    hold: bool,
    /// Only lift the hold
    #[arg(long, conflicts_with_all = ["hold", "version", "to", "expect", "accept_migrations"])]
    unhold: bool,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let config = app.need_config()?;
    let (instance, settings) = config.instance(&args.instance)?;
    let images = app.images()?;
    let mut history = app.history(&images)?;
    if args.unhold {
        if !history.lift_hold(instance)? {
            return Err(Failure::new(Kind::Missing, format!("there is no hold on {instance}")));
        }
        output::line(&format!("the hold on {instance} is lifted"));
        return Ok(ExitCode::SUCCESS);
    }
    let to = args
        .version
        .as_deref()
        .or(args.to.as_deref())
        .map(shiplap_manifests::version::parse)
        .transpose()
        .map_err(shiplap_manifests::Error::from)?;
    let targets = target::of_instance(&config, settings);
    let check = SignedCheck::new(&images, app.client(), args.verify_key.as_ref(), &config, settings)?;
    let mut deployer = Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() };
    if args.dry_run {
        return deploy::preview(app, &deployer.preview_rollback(to.as_ref())?);
    }
    let request = RollbackRequest {
        to,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: deploy::expect(args.expect),
        accept_migrations: args.accept_migrations,
        hold: args.hold,
    };
    let probe = health::probe(&config, settings, args.no_health)?;
    let told = |tries: u32, what: &str| app.note(&format!("not well yet (try {tries}): {what}"));
    let check = probe.as_ref().map(|probe| probe.check(&told));
    let report = deployer.rollback_checked(request, check.as_ref())?;
    if app.global.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    deploy::show(&report.deploy, &format!("is back (from {})", report.from));
    migrations(&report.migrations);
    not_rolled_back(&report.not_rolled_back);
    Ok(ExitCode::SUCCESS)
}

/// Prints what stays applied in the database.
pub fn migrations(migrations: &Migrations) {
    match migrations {
        Migrations::Unknown => {
            output::line("migrations: not known; check that the older code runs on the newer database");
        }
        Migrations::Beyond(migrations) if migrations.is_empty() => {}
        Migrations::Beyond(migrations) => {
            let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
            output::line(&format!("migrations that stay applied: {}", names.join(", ")));
        }
    }
}

/// Prints what a rollback leaves as it is.
pub fn not_rolled_back(what: &[&str]) {
    output::line("not rolled back:");
    what.iter().for_each(|what| output::line(&format!("  {what}")));
}
