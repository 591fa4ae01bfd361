//! What an edit of an Open edX image costs: the image of `examples/campus` built by Shiplap, Docker's BuildKit and Buildah, side
//! by side in one run.
//!
//! ```text
//! scripts/base-image target/base.tar
//! export SHIPLAP_BENCH_BASE=$PWD/target/base.tar SHIPLAP_BENCH_DOCKER=docker SHIPLAP_BENCH_BUILDAH=buildah
//! cargo bench --bench scenarios                                 all scenarios
//! cargo bench --bench scenarios -- theme plugin --rounds 5      some of them
//! ```
//!
//! | scenario | what is timed |
//! |---|---|
//! | `cold` | a build that nothing is known of but the base image; caches for packages are empty too |
//! | `nothing` | a build in which nothing changed |
//! | `theme`, `plugin`, `requirement`, `platform`, `settings` | the build after an edit of one file, see `edits.rs` |
//! | `base` | the build after another base image took the name of the old one: it has one more file |
//! | `plugin-equals-cold` | not a time: after an edit of the plugin, is our image the one that an empty store makes? |
//! | `trace-cost` | cold builds of Shiplap with and without `--no-trace`, in turn |
//!
//! Before a warm build all sides have just built the tree without the edit, and no two rounds make the same edit. Sides take
//! turns, beginning with another one each round, and the ratio of their fastest runs is what counts.
//!
//! The variables hold commands, which may have arguments; a side whose variable is missing is left out. Docker needs buildx.
//! Buildah's own variables reach it: its runtime `crun` wants no control groups but those of version 2, and where there are others
//! `BUILDAH_RUNTIME=runc` helps. The base image's tar must not be compressed.
//!
//! `--rounds` is 3 without the option, and 1 for `cold`. All scenarios with all sides take an hour or two, and tens of gigabytes.
//!
//! `scenarios.json` and `scenarios.svg` go to `--out` (default `target/scenarios`). The builders work in a temporary folder in it,
//! so an engine in a container must see that folder under the same name. **`cold` empties the build caches of Docker and Buildah**,
//! with all that is in them from elsewhere.

mod chart;
mod command;
mod edits;
mod equal;
mod machine;
mod peers;
mod report;
mod rounds;
mod shiplap;
mod side;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use command::Result;
use report::Report;
use rounds::Bench;
use shiplap::Shiplap;

/// Builds of examples/campus by Shiplap, Docker and Buildah, side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Which scenarios [default: all]
    scenarios: Vec<Scenario>,
    /// How often each side builds [default: 3, for cold 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// The folder of the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/scenarios"))]
    out: PathBuf,
    /// Only these sides, of those that the environment has
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    sides: Vec<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Cold,
    Nothing,
    Theme,
    Plugin,
    Requirement,
    Platform,
    Settings,
    Base,
    PluginEqualsCold,
    TraceCost,
}

impl Scenario {
    fn name(self) -> String {
        self.to_possible_value().expect("every scenario has a name").get_name().to_owned()
    }

    /// What a chart says.
    fn title(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Nothing => "nothing changed",
            Self::Theme => "theme edited",
            Self::Plugin => "plugin edited",
            Self::Requirement => "requirement changed",
            Self::Platform => "platform file edited",
            Self::Settings => "settings file edited",
            Self::Base => "base image replaced",
            Self::PluginEqualsCold => "plugin edited, compared with an empty store",
            Self::TraceCost => "cold, with and without the tracer",
        }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("scenarios: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well. What came out is written even if a scenario failed.
fn run(options: &Options) -> Result<bool> {
    std::fs::create_dir_all(&options.out).map_err(|e| format!("{}: {e}", options.out.display()))?;
    let out = options.out.canonicalize().map_err(|e| format!("{}: {e}", options.out.display()))?;
    let work =
        tempfile::Builder::new().prefix("work-").tempdir_in(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let base = std::env::var_os("SHIPLAP_BENCH_BASE").ok_or("SHIPLAP_BENCH_BASE names no tar of scripts/base-image")?;
    let site = site::Site::new(work.path(), base.as_ref())?;
    let mut sides: Vec<Box<dyn side::Side>> = vec![Box::new(Shiplap::new(work.path()))];
    sides.extend(peers::of_the_environment());
    if !options.sides.is_empty() {
        sides.retain(|side| options.sides.iter().any(|name| name.eq_ignore_ascii_case(side.name())));
    }
    let mut report = Report::new(machine::facts(&sides)?);
    let mut bench = Bench::new(site, sides, work.path());
    let all = Scenario::value_variants();
    for scenario in if options.scenarios.is_empty() { all } else { &options.scenarios } {
        let rounds = options.rounds.unwrap_or(if *scenario == Scenario::Cold { 1 } else { 3 });
        eprintln!("{}", scenario.name());
        let outcome = match scenario {
            Scenario::Cold => bench.cold(rounds),
            Scenario::Nothing => bench.warm(rounds, None),
            Scenario::Theme => bench.warm(rounds, Some(&edits::THEME)),
            Scenario::Plugin => bench.warm(rounds, Some(&edits::PLUGIN)),
            Scenario::Requirement => bench.warm(rounds, Some(&edits::REQUIREMENT)),
            Scenario::Platform => bench.warm(rounds, Some(&edits::PLATFORM)),
            Scenario::Settings => bench.warm(rounds, Some(&edits::SETTINGS)),
            Scenario::Base => bench.base_replaced(rounds),
            Scenario::PluginEqualsCold => bench.plugin_equals_cold(),
            Scenario::TraceCost => bench.trace_cost(rounds),
        };
        let outcome = report.add(scenario.name(), scenario.title(), outcome);
        println!("{outcome}");
        // After each scenario, as the whole takes long.
        report.write(&out)?;
    }
    bench.clean();
    println!("{}", out.join("scenarios.json").display());
    println!("{}", out.join("scenarios.svg").display());
    Ok(report.well())
}
