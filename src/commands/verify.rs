//! `shiplap verify`

mod releases;
mod steps;
mod store;

use std::process::ExitCode;

use shiplap_cache::Digest;

use super::build::Flags;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::many::Select;

/// Read everything in the store again, or the history, or run reused steps again
///
/// Reads every blob and compares its bytes with its name, and with --layers every file of every layer. What is damaged is moved away, so that a
/// push, a pull or a build makes it anew, and the tags and releases that lack something are named; but not for layers that never came here, as of a release on a
/// machine that had them in a cache elsewhere.
///
/// With --steps it builds as `shiplap build` does, and runs each reused RUN step once more on the tree that it stands on. Where the result differs it
/// runs a second time: what differs between these two is not deterministic, what they agree on and the reused layer lacks is stale. A stale
/// result is dropped, and what was made now takes its place.
///
/// With --releases it reads the history of an instance, or of all: every entry of its log (`shiplap log`), the releases and deployments that they tell
/// of, and the manifests. It names what was changed, removed, inserted or moved.
///
/// The command ends with 1 when something was damaged, missing, changed or stale.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// With --steps: a directory, an instance of shiplap.toml, a URL, or `-`. With --releases: an instance, or a pattern of names
    #[arg(value_name = "DIR|INSTANCE|URL|-", requires = "other")]
    what: Option<String>,
    /// Run reused steps again and compare what they make with what is reused
    #[arg(long, group = "other")]
    steps: bool,
    /// Read the history again: the log, the releases and deployments, the manifests
    #[arg(long, group = "other")]
    releases: bool,
    /// With --releases: a hash that `shiplap log --head` printed once, which must still be that of an entry
    #[arg(long, value_name = "HASH", requires = "releases")]
    expect: Option<Digest>,
    #[command(flatten)]
    select: Select,
    /// Only so many steps, the first that come
    #[arg(long, value_name = "N", requires = "steps")]
    sample: Option<usize>,
    /// Read the files of layers too
    #[arg(long, conflicts_with = "other")]
    layers: bool,
    #[command(flatten)]
    flags: Flags,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    if args.select.is_all() && !args.releases {
        return Err(Failure::new(Kind::Usage, "--all goes with --releases"));
    }
    match (args.steps, args.releases) {
        (true, _) => steps::run(app, args).await,
        (false, true) => releases::run(app, args),
        (false, false) => store::run(app, args),
    }
}
