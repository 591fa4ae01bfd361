//! What a build costs on a fresh runner: nothing there but a cache in a registry. The image of `examples/campus` by Shiplap, and by Docker's BuildKit with
//! `--cache-from/--cache-to type=registry,mode=max`, side by side in one run.
//!
//! ```text
//! scripts/base-image target/base.tar
//! docker-registry serve config.yml &                             on a port of this machine
//! export SHIPLAP_BENCH_BASE=$PWD/target/base.tar SHIPLAP_BENCH_REGISTRY=127.0.0.1:5055 SHIPLAP_BENCH_DOCKER=docker
//! cargo bench --bench fresh                                      raw loopback
//! cargo bench --bench fresh -- --mbit 200 --delay 20             a network of 200 Mbit/s, 20 ms there and 20 ms back
//! ```
//!
//! Each side first builds and pushes the image and its cache (`first`). Then, for each case, it forgets all that it has on this machine, the tree is
//! edited, and it builds, pushes and updates the cache: that is what is timed. Both reach the registry through a proxy of this program, which counts the
//! bytes in both directions, and slows them down where that is asked for. Packages of pip and npm do not go through it.
//!
//! The engine must be able to export caches: Docker with the containerd image store. **Its build cache and its unused images are removed**, with all that is in
//! them from elsewhere. Without `SHIPLAP_BENCH_DOCKER` Shiplap is measured alone.

#[path = "../scenarios/command.rs"]
mod command;
#[path = "../scenarios/edits.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod edits;
mod proxy;
mod sides;
#[path = "../scenarios/site.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod site;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use command::Result;
use edits::Edit;
use proxy::{Network, Proxy};
use sides::{BuildKit, Shiplap, Side};
use site::Site;

/// Builds of examples/campus on fresh runners with a cache in a registry.
#[derive(Debug, Parser)]
struct Options {
    /// How often each case is built
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Megabits a second in each direction, all connections together
    #[arg(long)]
    mbit: Option<u64>,
    /// Milliseconds that everything takes longer, in each direction
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Write what was measured to this file too, as JSON
    #[arg(long)]
    out: Option<std::path::PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

const CASES: [(&str, Option<&Edit>); 3] =
    [("nothing changed", None), ("theme edited", Some(&edits::THEME)), ("plugin edited", Some(&edits::PLUGIN))];

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fresh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let base = std::env::var_os("SHIPLAP_BENCH_BASE").ok_or("SHIPLAP_BENCH_BASE names no tar of scripts/base-image")?;
    let registry = std::env::var("SHIPLAP_BENCH_REGISTRY").map_err(|_| "SHIPLAP_BENCH_REGISTRY names no registry")?;
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let work = tempfile::Builder::new().prefix("fresh-").tempdir_in(target)?;
    let mut site = Site::new(work.path(), base.as_ref())?;
    let network = Network { mbit: options.mbit, delay: std::time::Duration::from_millis(options.delay) };
    let proxy = Proxy::start(&registry, network)?;
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Shiplap::new(work.path(), proxy.address(), site.next()))];
    match std::env::var("SHIPLAP_BENCH_DOCKER") {
        Ok(docker) if !docker.is_empty() => {
            sides.push(Box::new(BuildKit::new(&docker, proxy.address(), site.next())));
        }
        _ => println!("left out: SHIPLAP_BENCH_DOCKER is not set"),
    }
    let mut rows = Vec::new();
    for side in &mut sides {
        side.prepare(&site)?;
    }
    let mut measure = |case: &str, round: usize, side: &mut dyn Side, site: &Site| -> Result<()> {
        side.forget()?;
        let before = proxy.counts();
        let (seconds, said) = side.build(site)?;
        let moved = proxy.counts().since(before);
        let (up, down) = (moved.up as f64 / 1e6, moved.down as f64 / 1e6);
        println!("{case:16} {:9} {seconds:8.2} s  {up:9.2} MB up  {down:9.2} MB down  {said}", side.name());
        rows.push(json!({"case": case, "round": round, "side": side.name(), "seconds": seconds, "up": moved.up, "down": moved.down}));
        Ok(())
    };
    for side in &mut sides {
        measure("first", 0, side.as_mut(), &site)?;
    }
    for round in 0..options.rounds {
        for (case, edit) in CASES {
            let unique = site.next();
            let undo = edit.map(|edit| edit.apply(&site.folder, round, unique)).transpose()?;
            for side in &mut sides {
                measure(case, round, side.as_mut(), &site)?;
            }
            if let Some(undo) = undo {
                undo.undo()?;
            }
        }
    }
    for side in &mut sides {
        side.forget()?;
    }
    ratios(&rows);
    if let Some(out) = &options.out {
        let all = json!({"mbit": options.mbit, "delay": options.delay, "runs": rows});
        std::fs::write(out, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// How much more the other side takes: fastest run against fastest run.
fn ratios(rows: &[serde_json::Value]) {
    let best = |case: &str, side: &str, what: &str| {
        let of = rows.iter().filter(|row| row["case"] == case && row["side"] == side);
        of.filter_map(|row| row[what].as_f64()).fold(f64::NAN, f64::min)
    };
    println!();
    for case in ["first"].into_iter().chain(CASES.map(|(case, _)| case)) {
        let ratio = |what: &str| best(case, "BuildKit", what) / best(case, "Shiplap", what);
        let [time, up, down] = ["seconds", "up", "down"].map(ratio);
        if time.is_finite() {
            println!("{case:16} BuildKit takes {time:.1}x the time, pushes {up:.1}x and pulls {down:.1}x the bytes");
        }
    }
}
