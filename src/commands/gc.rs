//! `shiplap gc`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use shiplap_cache::Store;
use shiplap_cache::collect::{
    Amount, Collected, Dead, Need, Needs, OnDisk, Policy, References, Stale, Survey, Thing, Why,
};
use shiplap_manifests::config::{Age, GcSection, Size};
use shiplap_manifests::history::Releases;
use shiplap_manifests::{Config, History, target};
use shiplap_registry::{Collector, Reference, Root, ServedPolicy};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::{output, table};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How much of an id is shown.
const SHORT: usize = 19;

/// Take space back that nothing needs
///
/// Goes: blobs and layers that no release, tag, name, deploy target or step result refers to, and, where that is asked for, step results
/// and cache mounts that were not used for long or are too many. Never goes: what a release of any instance needs. It may run beside builds,
/// pushes and pulls.
///
/// What goes is unlinked in two steps: first references go, and blobs are put aside; a day later, and when no command runs any more that may have seen
/// them, the bytes go. Until then whoever needs something finds it. Settings are in [gc] of shiplap.toml; flags go before them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say what would go and why, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// List every single thing
    #[arg(short, long)]
    verbose: bool,
    /// What is younger stays [default: 24h]
    #[arg(long, value_name = "TIME")]
    grace: Option<Age>,
    /// How long something stays aside before it is unlinked; 0s takes the space back at once [default: 24h]
    #[arg(long, value_name = "TIME")]
    quarantine: Option<Age>,
    /// Step results and cache mounts that nobody used for so long go, as in 30d
    #[arg(long, value_name = "TIME")]
    unused_for: Option<Age>,
    /// How large the store may be, as in 50GB; step results and cache mounts go, those used longest ago first
    #[arg(long, value_name = "SIZE", visible_alias = "keep-storage")]
    max_used_space: Option<Size>,
    /// Manifests that were pushed to `shiplap serve`, have no tag and belong to nothing go when they are so old
    #[arg(long, value_name = "TIME")]
    untagged: Option<Age>,
    /// Go on when a manifest is missing or damaged: what only it needs goes
    #[arg(long)]
    ignore_damaged: bool,
}

impl Args {
    fn settings(&self, config: Option<&Config>) -> GcSection {
        let of_file = config.map(|config| config.gc.clone()).unwrap_or_default();
        GcSection {
            grace: self.grace.or(of_file.grace),
            quarantine: self.quarantine.or(of_file.quarantine),
            unused_for: self.unused_for.or(of_file.unused_for),
            max_used_space: self.max_used_space.or(of_file.max_used_space),
            untagged: self.untagged.or(of_file.untagged),
        }
    }
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let (config, images) = (app.config()?, app.images()?);
    let settings = args.settings(config.as_ref());
    if config.is_none() {
        app.note("there is no shiplap.toml here: no deploy target is asked what it runs; --config FILE names one");
    }
    let age = |age: Option<Age>| age.map(|age| age.0);
    let policy = Policy {
        grace: age(settings.grace).unwrap_or(DAY),
        quarantine: age(settings.quarantine).unwrap_or(DAY),
        unused_for: age(settings.unused_for),
        max_used_space: settings.max_used_space.map(|size| size.0),
    };
    let served = ServedPolicy { grace: policy.grace, untagged: age(settings.untagged) };
    let keepers = Keepers {
        collector: Collector::new(images.clone(), served, args.ignore_damaged),
        history: app.history(&images)?,
        releases: Releases::default(),
        config,
        store: images.store(),
        ignore_damaged: args.ignore_damaged,
    };
    let store = images.store();
    let survey = store.survey(&keepers, &policy)?;
    if args.dry_run {
        if app.global.json {
            output::json(&survey)?;
        } else {
            plan(&survey, args.verbose, "would go");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !app.global.json {
        plan(&survey, args.verbose, "goes");
    }
    let collected = store.collect(&keepers, &policy)?;
    if app.global.json {
        output::json(&collected)?;
    } else {
        done(&collected);
    }
    Ok(ExitCode::SUCCESS)
}

/// Everybody who refers to something in the store.
struct Keepers<'a> {
    collector: Collector,
    history: History,
    releases: Releases,
    config: Option<Config>,
    store: &'a Store,
    ignore_damaged: bool,
}

impl Keepers<'_> {
    /// Images that deploy targets name by their digest, whoever wrote that there.
    fn targets(&self) -> Result<Vec<Root>> {
        let mut roots = Vec::new();
        let Some(config) = &self.config else { return Ok(roots) };
        for instance in config.instances.values() {
            for target in target::of_instance(config, instance) {
                let state = match target.read() {
                    Ok(state) => state,
                    Err(_) if self.ignore_damaged => continue,
                    Err(error) => {
                        let why = format!("the deploy target {} cannot be asked what it runs: {error}", target.name());
                        return Err(Failure::new(Kind::Failed, why));
                    }
                };
                let images = state.0.into_values().flatten().filter_map(|image| image.parse::<Reference>().ok());
                for digest in images.filter_map(|image| image.digest()) {
                    if self.store.blobs().size(&digest)?.is_some() {
                        roots.push(Root { digest, is_manifest: true, need: Need::Target, name: target.name() });
                    }
                }
            }
        }
        Ok(roots)
    }
}

impl References for Keepers<'_> {
    fn needs(&self) -> std::result::Result<Needs, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = self.history.roots(&self.releases)?;
        roots.extend(self.targets().map_err(|failure| failure.to_string())?);
        let mut needs = self.collector.needs(&roots)?;
        for digest in shiplap_builder::build::downloads(self.store)? {
            needs.blob(digest, Need::Download);
        }
        Ok(needs)
    }

    fn stale(&self, there: &OnDisk) -> std::result::Result<Vec<Stale>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.collector.stale(there)?)
    }
}

/// Shows what goes, by why, and what stays.
fn plan(survey: &Survey, verbose: bool, goes: &str) {
    if verbose {
        let rows: Vec<Vec<String>> = survey.dead.iter().map(row).collect();
        table::print(&["KIND", "ID", "SIZE", "WHY"], &rows);
        for stale in &survey.stale {
            output::line(&reference(stale));
        }
    }
    let mut dead: BTreeMap<(&str, &str), Amount> = BTreeMap::new();
    for item in &survey.dead {
        dead.entry((kind(&item.thing), cause(&item.why))).or_default().add(item.bytes);
    }
    let count = |(what, why): (String, &str), amount: &Amount| {
        vec![what, amount.count.to_string(), output::size(amount.bytes), why.to_owned()]
    };
    let mut rows: Vec<Vec<String>> =
        dead.iter().map(|((kind, why), amount)| count((format!("{goes}: {kind}"), why), amount)).collect();
    rows.extend(
        survey
            .kept
            .iter()
            .filter(|(_, amount)| amount.count > 0)
            .map(|(need, amount)| count(("stays".to_owned(), reason(*need)), amount)),
    );
    table::print(&["WHAT", "COUNT", "SIZE", "WHY"], &rows);
    if survey.step_results > 0 {
        output::line(&format!(
            "{} step results go with their layers: these steps would run again",
            survey.step_results
        ));
    }
    if survey.dead.is_empty() {
        output::line("nothing to remove");
    }
    if let Some(above) = survey.above {
        output::line(&format!("the rest is {} larger than it may be, and all of it is needed", output::size(above)));
    }
    if survey.doomed.count > 0 {
        output::line(&format!(
            "{} in {} things are put aside from earlier",
            output::size(survey.doomed.bytes),
            survey.doomed.count
        ));
    }
}

fn done(collected: &Collected) {
    output::line(&format!("freed {}", output::size(collected.freed.bytes)));
    if collected.waiting.count == 0 {
        return;
    }
    let mut text = format!("{} put aside", output::size(collected.waiting.bytes));
    if let Some(time) = collected.next.and_then(|next| jiff::Timestamp::from_second(next).ok()) {
        text.push_str(&format!("; a `shiplap gc` after {} unlinks", time.strftime("%Y-%m-%d %H:%M UTC")));
        text.push_str(" what nobody needs by then, --quarantine 0s does so at once");
    }
    output::line(&text);
    if collected.leases > 0 {
        let what = if collected.leases == 1 { "command runs" } else { "commands run" };
        output::line(&format!("{} {what} that may still use some of it", collected.leases));
    }
}

fn row(dead: &Dead) -> Vec<String> {
    let id = match &dead.thing {
        Thing::Layer(id) => id.short(),
        Thing::Blob(digest) => digest.to_string()[..SHORT].to_owned(),
        Thing::CacheMount(label) => label.clone(),
    };
    vec![kind(&dead.thing).to_owned(), id, output::size(dead.bytes), why(&dead.why)]
}

fn kind(thing: &Thing) -> &'static str {
    match thing {
        Thing::Layer(_) => "layer",
        Thing::Blob(_) => "blob",
        Thing::CacheMount(_) => "cache mount",
    }
}

fn cause(why: &Why) -> &'static str {
    match why {
        Why::Unreferenced => "nothing refers to it",
        Why::Unused { .. } => "not used for long",
        Why::OverBudget { .. } => "the store is larger than it may be",
    }
}

fn why(why: &Why) -> String {
    let since = |seconds: &i64| jiff::Timestamp::from_second(*seconds).map(|t| t.strftime("%Y-%m-%d").to_string());
    match why {
        Why::Unreferenced => cause(why).to_owned(),
        Why::Unused { since: used } | Why::OverBudget { used } => {
            format!("{}; last used {}", cause(why), since(used).unwrap_or_default())
        }
    }
}

fn reason(need: Need) -> &'static str {
    match need {
        Need::Release => "a release",
        Need::Target => "a deploy target",
        Need::Tag => "a tag",
        Need::Name => "a name",
        Need::Served => "pushed to `shiplap serve`",
        Need::Upload => "pushed lately",
        Need::Download => "fetched by ADD",
        Need::StepResult => "step results",
        Need::CacheMount => "cache mounts",
        Need::Young => "young",
    }
}

fn reference(stale: &Stale) -> String {
    match stale {
        Stale::Name { space, name } => format!("name {space} {name}"),
        Stale::Link { repository, digest } => format!("blob {digest} of {repository}"),
        Stale::Manifest { repository, digest } => format!("manifest {digest} of {repository}"),
    }
}
