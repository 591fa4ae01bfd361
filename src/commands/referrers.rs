//! `shiplap referrers`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_cache::Digest;
use shiplap_registry::Reference;

use super::sign::manifests;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::{output, table};

/// List what is attached to an image: bills of materials, provenance, signatures
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    name: Reference,
    /// Ask the image's registry
    #[arg(long)]
    remote: bool,
}

#[derive(Debug, Serialize)]
struct Referrer {
    artifact_type: String,
    digest: Digest,
    size: u64,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let all = if args.remote {
        let (client, repository) = (app.client(), args.name.repository());
        let digest = match args.name.digest() {
            Some(digest) => digest,
            None => client.resolve(&args.name).await?.ok_or_else(|| {
                Failure::new(Kind::Missing, format!("{} is not in its registry", args.name.familiar()))
            })?,
        };
        client.referrers(repository, &digest, None).await?
    } else {
        let mut all = Vec::new();
        for digest in manifests(&images, &args.name)? {
            all.extend(images.referrers(&digest)?.into_iter().map(|attached| attached.manifest));
        }
        all
    };
    app.progress.finish();
    let all: Vec<Referrer> = all
        .into_iter()
        .map(|one| Referrer {
            artifact_type: one.artifact_type.unwrap_or(one.media_type),
            digest: one.digest,
            size: one.size,
        })
        .collect();
    if app.global.json {
        output::json(&all)?;
    } else {
        let row = |one: &Referrer| vec![one.artifact_type.clone(), one.digest.to_string()];
        table::print(&["TYPE", "DIGEST"], &all.iter().map(row).collect::<Vec<_>>());
    }
    Ok(ExitCode::SUCCESS)
}
