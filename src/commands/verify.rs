//! `shiplap verify`

mod steps;
mod store;

use std::process::ExitCode;

use super::build::Flags;
use crate::app::App;
use crate::failure::Result;

/// Read everything in the store again, or run reused steps again
///
/// Reads every blob and compares its bytes with its name, and with --layers every file of every layer. What is damaged is moved away, so that a
/// push, a pull or a build makes it anew, and the tags and releases that lack something are named.
///
/// With --steps it builds as `shiplap build` does, and runs each reused RUN step once more on the tree that it stands on. Where the result differs it
/// runs a second time: what differs between these two is not deterministic, what they agree on and the reused layer lacks is stale. A stale
/// result is dropped, and what was made now takes its place.
///
/// The command ends with 1 when something was damaged, missing or stale.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// With --steps: a directory, an instance of shiplap.toml, a URL, or `-`
    #[arg(value_name = "DIR|INSTANCE|URL|-", requires = "steps")]
    what: Option<String>,
    /// Run reused steps again and compare what they make with what is reused
    #[arg(long)]
    steps: bool,
    /// Only so many steps, the first that come
    #[arg(long, value_name = "N", requires = "steps")]
    sample: Option<usize>,
    /// Read the files of layers too
    #[arg(long, conflicts_with = "steps")]
    layers: bool,
    #[command(flatten)]
    flags: Flags,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    match args.steps {
        true => steps::run(app, args).await,
        false => store::run(app, args),
    }
}
