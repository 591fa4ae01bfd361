//! `shiplap copy`

use std::process::ExitCode;

use shiplap_registry::Reference;

use super::push::report;
use crate::app::App;
use crate::failure::Result;
use crate::supply::exchange;

/// Copy an image from one registry to another, as it is
///
/// All platforms of it, byte by byte. Its blobs go through the store and stay there; what the other registry has already is not sent. A
/// release tag that stands for another image there is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image in its registry
    from: Reference,
    /// What it is to be called
    to: Reference,
    /// Print the name and digest and nothing else
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    /// Whether nothing but the result is wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let (images, client) = (app.images()?, app.client());
    let copied = client.pull_artifact(&images, &args.from).await?;
    let pushed = exchange::push_whole(&client, &images, &copied.digest, &args.to).await?;
    app.progress.finish();
    report(app, &[(args.to.clone(), pushed)], false, args.quiet)?;
    Ok(ExitCode::SUCCESS)
}
