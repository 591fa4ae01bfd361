//! `shiplap rollback`

use std::path::PathBuf;
use std::process::ExitCode;

use semver::Version;
use shiplap_manifests::deploy::Deployer;
use shiplap_manifests::rollback::{Migrations, RollbackReport, RollbackRequest};
use shiplap_manifests::{Config, target};
use shiplap_registry::Images;

use crate::app::App;
use crate::commands::deploy;
use crate::failure::{Failure, Kind, Result};
use crate::many::{self, Select};
use crate::output;
use crate::supply::SignedCheck;

/// Take an instance back to the release before, or to another that it ran
///
/// Builds nothing and pulls nothing. Every image of the release is checked first; then all deploy targets are written, or none.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, or a pattern of names; left out with --all
    #[arg(required_unless_present = "all")]
    instance: Option<String>,
    /// The version to go back to [default: that of the newest deployment before the current one that succeeded]
    version: Option<String>,
    #[command(flatten)]
    select: Select,
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
    /// Refuse automatic deploys until `--unhold`
    #[arg(long)]
    hold: bool,
    /// Only lift the hold
    #[arg(long, conflicts_with_all = ["hold", "version", "expect", "accept_migrations"])]
    unhold: bool,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let config = app.need_config()?;
    let (word, version) = deploy::words(&args.select, args.instance.as_deref(), args.version.as_deref())?;
    let images = app.images()?;
    let several = args.select.instances(&config, word)?;
    if args.unhold {
        let lift = |name: &str| {
            let (instance, _) = config.instance(name)?;
            if !app.history(&images)?.lift_hold(instance)? {
                return Err(Failure::new(Kind::Missing, format!("there is no hold on {instance}")));
            }
            Ok(format!("the hold on {instance} is lifted"))
        };
        if let Some(instances) = several {
            return many::finish(app, many::in_turn(app, instances, |name| lift(name.as_str())), String::clone);
        }
        output::line(&lift(word.unwrap_or_default())?);
        return Ok(ExitCode::SUCCESS);
    }
    let to = version.map(shiplap_manifests::version::parse).transpose().map_err(shiplap_manifests::Error::from)?;
    if let Some(instances) = several {
        let done = many::in_turn(app, instances, |name| one(app, args, &config, &images, name.as_str(), to.clone()));
        return many::finish(app, done, |report| format!("from {}, {}", report.from, deploy::in_short(&report.deploy)));
    }
    let report = one(app, args, &config, &images, word.unwrap_or_default(), to)?;
    if app.global.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&report);
    Ok(ExitCode::SUCCESS)
}

fn one(
    app: &App,
    args: &Args,
    config: &Config,
    images: &Images,
    instance: &str,
    to: Option<Version>,
) -> Result<RollbackReport> {
    let (instance, settings) = config.instance(instance)?;
    let mut history = app.history(images)?;
    let targets = target::of_instance(config, settings);
    let check = SignedCheck::new(images, app.client(), args.verify_key.as_ref(), config, settings)?;
    let mut deployer = Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() };
    Ok(deployer.rollback(RollbackRequest {
        to,
        actor: app.actor(),
        reason: args.reason.clone(),
        expect: deploy::expect(args.expect),
        accept_migrations: args.accept_migrations,
        hold: args.hold,
    })?)
}

fn show(report: &RollbackReport) {
    deploy::show(&report.deploy, &format!("is back (from {})", report.from));
    match &report.migrations {
        Migrations::Unknown => {
            output::line("migrations: not known; check that the older code runs on the newer database");
        }
        Migrations::Beyond(migrations) if migrations.is_empty() => {}
        Migrations::Beyond(migrations) => {
            let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
            output::line(&format!("migrations that stay applied: {}", names.join(", ")));
        }
    }
    output::line("not rolled back:");
    report.not_rolled_back.iter().for_each(|what| output::line(&format!("  {what}")));
}
