//! What a build costs on a fresh runner: nothing there but a cache elsewhere. The image of `examples/campus` by Shiplap, and by Docker's BuildKit with
//! `--cache-from/--cache-to type=registry,mode=max`, side by side in one run.
//!
//! ```text
//! scripts/base-image target/base.tar
//! docker-registry serve config.yml &                             on a port of this machine
//! export SHIPLAP_BENCH_BASE=$PWD/target/base.tar SHIPLAP_BENCH_REGISTRY=127.0.0.1:5055 SHIPLAP_BENCH_DOCKER=docker
//! cargo bench --bench fresh                                      raw loopback
//! cargo bench --bench fresh -- --mbit 200 --delay 20             a network of 200 Mbit/s, 20 ms there and 20 ms back
//! cargo bench --bench fresh -- --tier registry,s3,directory      our cache in all three places, each a side of its own
//! ```
//!
//! | case | what is timed |
//! |---|---|
//! | `first` | build and push the image, on a machine with nothing, without any cache elsewhere |
//! | `export` | the same command on the same machine with `--cache-to`: all is built and the image is there, so what is left is the export |
//! | `mounts` | Shiplap alone: the same once more, with the contents of `RUN --mount=type=cache`, which `export` leaves out because BuildKit exports none |
//! | `release` | Shiplap alone, from the cache in the registry: each side forgets, and the unchanged image is released into a repository that has nothing, with the files that are read, and with all layers |
//! | the others | each side forgets all that it has on this machine, the tree is edited, a minute passes, and it builds, pushes and updates the cache |
//!
//! Images are in the registry. BuildKit's cache is there too; ours is where `--tier` says: `s3` is the server whose program is in `SHIPLAP_TEST_S3` (moto, which
//! `scripts/test` installs). Both servers are reached through proxies of this program, which count the bytes in both directions, and slow them down, all together,
//! where that is asked for. What goes to a directory and comes from it is counted by what `--json` says. Packages of pip and npm go through none of them.
//!
//! Behind each figure of ours stands what `--json` said: steps, the seconds of those that ran, and what moved between here and the cache. `--out` has it whole.
//!
//! The engine must be able to export caches: Docker with the containerd image store. **Its build cache and its unused images are removed**, with all that is in
//! them from elsewhere. Without `SHIPLAP_BENCH_DOCKER` Shiplap is measured alone.

#[path = "../scenarios/command.rs"]
mod command;
#[path = "../scenarios/edits.rs"]
#[allow(dead_code, reason = "the other bench uses more of it")]
mod edits;
mod measure;
mod proxy;
mod release;
mod s3;
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
use measure::{Measured, ratio, ratios};
use proxy::{Network, Proxy};
use sides::{BuildKit, Export, Shiplap, Side, Tier};
use site::Site;

/// Builds of examples/campus on fresh runners with a cache elsewhere.
#[derive(Debug, Parser)]
struct Options {
    /// How often each case is built
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Where our cache is; several are as many sides, one after the other in each case
    #[arg(long, value_enum, value_delimiter = ',', default_value = "registry")]
    tier: Vec<Tier>,
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
    let proxy = Proxy::new(network);
    let registry = proxy.before(&registry)?;
    let store = options.tier.contains(&Tier::S3).then(s3::Server::start).transpose()?;
    let objects = store.as_ref().map(|store| proxy.before(&store.address)).transpose()?;
    let (mut sides, mut in_registry): (Vec<Box<dyn Side>>, Option<Shiplap>) = (Vec::new(), None);
    for tier in &options.tier {
        let unique = site.next();
        let flags = tier.flags(work.path(), &registry, objects.as_deref(), unique);
        let side = Shiplap::new(work.path(), &registry, *tier, flags, unique);
        if *tier == Tier::Registry {
            in_registry = Some(side.clone());
        }
        sides.push(Box::new(side));
    }
    match std::env::var("SHIPLAP_BENCH_DOCKER") {
        Ok(docker) if !docker.is_empty() => {
            sides.push(Box::new(BuildKit::new(&docker, &registry, site.next())));
        }
        _ => println!("left out: SHIPLAP_BENCH_DOCKER is not set"),
    }
    for side in &mut sides {
        side.prepare(&site)?;
    }
    let mut measured = Measured::new(&proxy);
    forget(&mut sides)?;
    for side in &mut sides {
        measured.build("first", 0, side.as_mut(), &site, Export::Nothing)?;
        measured.build("export", 0, side.as_mut(), &site, Export::Layers)?;
        if side.has_mounts() {
            measured.build("mounts", 0, side.as_mut(), &site, Export::All)?;
        }
    }
    for round in 0..options.rounds {
        for (case, edit) in CASES {
            let unique = site.next();
            let undo = edit.map(|edit| edit.apply(&site.folder, round, unique)).transpose()?;
            forget(&mut sides)?;
            for side in &mut sides {
                measured.build(case, round, side.as_mut(), &site, Export::All)?;
            }
            if let Some(undo) = undo {
                undo.undo()?;
            }
        }
    }
    if let Some(side) = &in_registry {
        for round in 0..options.rounds {
            forget(&mut sides)?;
            for (way, name) in release::WAYS {
                let unique = site.next();
                measured.time("release", round, name, || release::release(side, &site, work.path(), way, unique))?;
            }
        }
    }
    for side in &mut sides {
        side.forget()?;
    }
    let cases = ["first", "export"].into_iter().chain(CASES.map(|(case, _)| case));
    ratios(&measured.rows, &cases.collect::<Vec<_>>());
    if in_registry.is_some() {
        ratio(&measured.rows, "release", release::WHOLE, release::FILES);
    }
    if let Some(out) = &options.out {
        let all = json!({"mbit": options.mbit, "delay": options.delay, "runs": measured.rows});
        std::fs::write(out, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// Takes away what all sides have here, and waits until that is of no consequence: for a minute ext4 without a journal gives the inodes of files that were removed to nobody and looks
/// for another one at each file that is made (`recently_deleted` in `fs/ext4/ialloc.c`). A fresh runner removed nothing.
fn forget(sides: &mut [Box<dyn Side>]) -> Result<()> {
    for side in sides {
        side.forget()?;
    }
    command::output(&mut std::process::Command::new("sync"))?;
    std::thread::sleep(std::time::Duration::from_secs(61));
    Ok(())
}
