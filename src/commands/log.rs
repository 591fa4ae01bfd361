//! `shiplap log`

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shiplap_manifests::History;
use shiplap_manifests::config::Age;
use shiplap_manifests::history::{Head, Logged};
use shiplap_manifests::log::{LogEvent, Origin};
use shiplap_manifests::names::InstanceName;

use crate::app::App;
use crate::failure::Result;
use crate::many::Select;
use crate::{output, table};

/// Say who released, deployed and rolled back what, when and from where, newest first
///
/// Each entry has the hash of the one before, so that `shiplap verify --releases` finds one that was changed, removed, inserted or moved. Whoever
/// can write the history can also write all of it anew: keep what --head prints elsewhere, and give it to `verify --releases --expect`.
///
/// With --json, an object a line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, or a pattern of names [default: all that have a history]
    instance: Option<String>,
    #[command(flatten)]
    select: Select,
    /// At most so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    /// Only what happened since then: 12h, 7d, 2w, 2026-11-21, 2026-11-21T10:00:00Z
    #[arg(long, value_name = "AGE|TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Print the hash of the newest entry of each instance, to be kept elsewhere
    #[arg(long, conflicts_with_all = ["limit", "since"])]
    head: bool,
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(Age(age)) = text.parse::<Age>() {
        return Timestamp::now().checked_sub(age).map_err(|_| format!("`{text}` is too long ago"));
    }
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let date = text.parse::<Date>().ok().and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    date.map(|midnight| midnight.timestamp())
        .ok_or_else(|| format!("`{text}` is no time: write it as 12h, 7d, 2026-11-21 or 2026-11-21T10:00:00Z"))
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let history = app.history(&images)?;
    let instances = instances(app, &history, &args.select, args.instance.as_deref())?;
    if args.head {
        let heads: Vec<Head> =
            instances.iter().filter_map(|name| history.head(name).transpose()).collect::<Result<_, _>>()?;
        return show_heads(app, &heads);
    }
    let mut all = Vec::new();
    for instance in &instances {
        all.extend(history.log(instance, Some(args.limit))?);
    }
    all.retain(|logged| args.since.is_none_or(|since| logged.entry.at() >= since));
    // Of one instance they are in order; clocks only order those of several.
    if instances.len() > 1 {
        all.sort_by_key(|logged| std::cmp::Reverse(logged.entry.at()));
    }
    all.truncate(args.limit as usize);
    if app.global.json {
        for logged in &all {
            output::line(&serde_json::to_string(logged)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = all.iter().map(|logged| row(&history, logged)).collect();
    table::print(&["TIME", "INSTANCE", "WHAT", "BY", "FROM", "WHY"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// The instances that are meant: also those that shiplap.toml has no more, for their history is still there.
pub fn instances(app: &App, history: &History, select: &Select, word: Option<&str>) -> Result<Vec<InstanceName>> {
    let word = match word {
        Some(word) => word,
        None => return Ok(history.instances()?),
    };
    if let Some(instances) = select.instances(&app.need_config()?, Some(word))? {
        return Ok(instances);
    }
    match history.instances()?.into_iter().find(|name| name.as_str() == word) {
        Some(name) => Ok(vec![name]),
        None => Ok(vec![app.need_config()?.instance(word)?.0.clone()]),
    }
}

fn show_heads(app: &App, heads: &[Head]) -> Result<ExitCode> {
    if app.global.json {
        output::json(&heads)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |head: &Head| vec![head.instance.to_string(), head.position.to_string(), head.hash.to_string()];
    table::print(&["INSTANCE", "ENTRIES", "HASH"], &heads.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

fn row(history: &History, logged: &Logged) -> Vec<String> {
    let entry = &logged.entry;
    let (what, why) = match &entry.event {
        LogEvent::Release(release) => (format!("released {}", release.tag), String::new()),
        LogEvent::Deployment(deployment) => {
            let what = format!("{} {} {}", deployment.action, deployment.version, deployment.outcome);
            let texts = [&deployment.reason, &deployment.note];
            (what, texts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("; "))
        }
    };
    let actor = entry.actor().map(str::to_owned).or_else(|| creator(history, logged));
    vec![
        entry.at().to_string(),
        entry.instance.to_string(),
        what,
        actor.unwrap_or_else(|| "?".to_owned()),
        entry.origin().map_or_else(String::new, from),
        why,
    ]
}

/// Who made a release that is older than the log, as its manifest says.
fn creator(history: &History, logged: &Logged) -> Option<String> {
    let LogEvent::Release(release) = &logged.entry.event else { return None };
    let stored = history.release_by_sequence(&logged.entry.instance, release.sequence);
    stored.ok().map(|stored| stored.release.creator)
}

fn from(origin: &Origin) -> String {
    let place = origin.job.as_deref().or(origin.pipeline.as_deref());
    [Some(origin.system.as_str()), place].into_iter().flatten().collect::<Vec<_>>().join(" ")
}
