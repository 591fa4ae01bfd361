//! `shiplap pull`

use std::process::ExitCode;

use shiplap_registry::Reference;

use crate::app::App;
use crate::commands::build::flags::platform;
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Pull an image from its registry into the store
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    name: Reference,
    /// Which platform of a multi-platform image
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
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
    let platform = platform(args.platform.as_deref())?.to_string();
    let platform = platform.parse().map_err(|e| Failure::new(Kind::Usage, format!("the platform {platform}: {e}")))?;
    let images = app.images()?;
    let pulled = app.client().pull(&images, &args.name, &platform).await?;
    if args.name.tag().is_some() {
        images.name(&args.name, &pulled.image)?;
    }
    app.progress.finish();
    if app.global.json {
        output::json(
            &serde_json::json!({"name": args.name.to_string(), "id": pulled.image, "digest": pulled.manifest}),
        )?;
    } else {
        output::line(&format!("{}@{}", args.name.familiar(), pulled.index.unwrap_or(pulled.manifest)));
    }
    Ok(ExitCode::SUCCESS)
}
