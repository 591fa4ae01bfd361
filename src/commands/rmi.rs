//! `shiplap rmi`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_registry::{Reference, tag::ReleaseTag};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Take names away from images in the store
///
/// The image's layers stay until `shiplap gc` finds that nothing needs them. A name in the form of a release's tag is never taken away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The names, as `shiplap images` and `shiplap tags` list them
    #[arg(required = true)]
    names: Vec<Reference>,
}

#[derive(Debug, Serialize)]
struct Removed {
    name: String,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    // All are looked at before the first is taken away.
    for name in &args.names {
        if name.tag().is_some_and(ReleaseTag::is_release) {
            let why = format!("{} is the tag of a release, which stands for one image for ever", name.familiar());
            return Err(Failure::new(Kind::Refused, why));
        }
        if name.digest().is_some() || (images.resolve(name)?.is_none() && images.tag_digest(name)?.is_none()) {
            return Err(Failure::new(
                Kind::Missing,
                format!("there is no image named {} in the store", name.familiar()),
            )
            .hint("`shiplap images` and `shiplap tags` list the names"));
        }
    }
    let mut removed = Vec::new();
    for name in &args.names {
        images.unname(name)?;
        images.untag(name)?;
        removed.push(Removed { name: name.to_string() });
        if !app.global.json {
            output::line(&format!("{} removed", name.familiar()));
        }
    }
    if app.global.json {
        output::json(&removed)?;
    }
    Ok(ExitCode::SUCCESS)
}
