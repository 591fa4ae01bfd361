//! `shiplap push`

use std::process::ExitCode;

use shiplap_registry::Reference;

use super::export::find;
use crate::app::App;
use crate::commands::build::packing::{CompressionKind, Packing};
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::supply::exchange;

/// Push an image of the store to its registry
///
/// Only what the registry lacks is sent. Documents that are attached to the image, and its signatures, go with it. A release tag that stands for another image there is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by a name or, with --as, by its id
    name: Reference,
    /// Push it under this name instead
    #[arg(long = "as", value_name = "NAME")]
    other: Option<Reference>,
    /// How layers are compressed
    #[arg(long, value_name = "KIND")]
    compression: Option<CompressionKind>,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let named = images.resolve(&args.name)?.is_some() || images.tag_digest(&args.name)?.is_some();
    if args.other.is_none() && !named && find(&images, &args.name).is_ok() {
        let why = format!("{} is the id of an image and no name to push it under", args.name.repository().familiar());
        return Err(Failure::new(Kind::Usage, why).hint("give one with --as REGISTRY/NAME:TAG"));
    }
    let digest = match images.tag_digest(&args.name)? {
        // What was released is pushed as it is.
        Some(digest) => digest,
        None => Packing::plain(args.compression)?.pack(app, &images, &find(&images, &args.name)?)?.manifest.digest,
    };
    let target = args.other.as_ref().unwrap_or(&args.name);
    let client = app.client();
    let mut pushed = client.push(&images, &digest, target).await?;
    exchange::copy_signatures(&images, args.name.repository(), target.repository(), &digest)?;
    pushed.sent +=
        exchange::push_attached(&client, &images, target.repository(), &digest, &|text| app.note(text)).await?;
    app.progress.finish();
    if app.global.json {
        let report = serde_json::json!({"name": target.to_string(), "digest": pushed.digest, "sent": pushed.sent, "present": pushed.present});
        output::json(&report)?;
    } else {
        output::line(&format!("{}@{}", target.familiar(), pushed.digest));
        output::line(&format!("{} sent, {} were there", output::size(pushed.sent), output::size(pushed.present)));
    }
    Ok(ExitCode::SUCCESS)
}
