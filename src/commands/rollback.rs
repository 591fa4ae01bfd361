//! `shiplap rollback`

use std::process::ExitCode;

use shiplap_manifests::History;
use shiplap_manifests::rollback::{Migrations, RollbackReport, RollbackRequest};

use crate::app::App;
use crate::commands::deploy;
use crate::deploying::{Deploying, Flags};
use crate::failure::{Failure, Kind, Result};
use crate::many::{self, Select};
use crate::{output, shared};

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
    /// The same, as a flag
    #[arg(long, value_name = "VERSION", conflicts_with = "version")]
    to: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    flags: Flags,
    /// Go back even though the current release has database migrations that the other lacks
    #[arg(long)]
    accept_migrations: bool,
    /// Say what would change in each target, and change nothing
    #[arg(long, conflicts_with = "unhold")]
    dry_run: bool,
    /// Refuse automatic deploys until `--unhold`
    #[arg(long)]
    hold: bool,
    /// Only lift the hold
    #[arg(long, conflicts_with_all = ["hold", "version", "to", "expect", "accept_migrations"])]
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
            let mut history = app.history(&images)?;
            let lift = |history: &mut History| Ok(history.lift_hold(instance)?);
            if !shared::alone(app, &config, &mut history, instance, args.flags.standing(), lift)? {
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
    let to = version
        .or(args.to.as_deref())
        .map(shiplap_manifests::version::parse)
        .transpose()
        .map_err(shiplap_manifests::Error::from)?;
    let deploying = Deploying { app, config: &config, images: &images, flags: &args.flags };
    if args.dry_run {
        let accept = args.flags.accept_unchecked;
        let ask = |name: &str| deploying.preview(name, |deployer| deployer.preview_rollback(to.as_ref(), accept));
        return match several {
            Some(instances) => {
                let done = many::in_turn(app, instances, |name| ask(name.as_str()));
                many::finish(app, done, deploy::preview_in_short)
            }
            None => deploy::preview(app, &ask(word.unwrap_or_default())?),
        };
    }
    let request = RollbackRequest {
        to,
        actor: app.actor(),
        reason: args.flags.reason.clone(),
        expect: args.flags.expect(),
        accept_migrations: args.accept_migrations,
        accept_unchecked: args.flags.accept_unchecked,
        hold: args.hold,
    };
    let go_back =
        |name: &str| deploying.alone(name, |deployer, well| Ok(deployer.rollback_checked(request.clone(), well)?));
    if let Some(instances) = several {
        let done = many::in_turn(app, instances, |name| go_back(name.as_str()));
        return many::finish(app, done, |report| format!("from {}, {}", report.from, deploy::in_short(&report.deploy)));
    }
    let report = go_back(word.unwrap_or_default())?;
    if app.global.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&report);
    Ok(ExitCode::SUCCESS)
}

fn show(report: &RollbackReport) {
    deploy::show(&report.deploy, &format!("is back (from {})", report.from));
    migrations(&report.migrations);
    not_rolled_back(&report.not_rolled_back);
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
