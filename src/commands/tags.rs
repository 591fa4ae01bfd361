//! `shiplap tags`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_cache::Digest;
use shiplap_registry::Repository;

use crate::app::App;
use crate::failure::Result;
use crate::{output, table};

/// List the tags in the store, or those of a repository in its registry
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The repository, as in ghcr.io/campus/openedx [default: all of the store]
    repository: Option<Repository>,
    /// Ask the repository's registry
    #[arg(long, requires = "repository")]
    remote: bool,
}

#[derive(Debug, Serialize)]
struct Tag {
    repository: String,
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let mut tags = Vec::new();
    match &args.repository {
        Some(repository) if args.remote => {
            for tag in app.client().tags(repository).await? {
                tags.push(Tag { repository: repository.familiar(), tag, digest: None });
            }
        }
        one => {
            let repositories = one.clone().map_or_else(|| images.repositories(), |one| Ok(vec![one]))?;
            for repository in repositories {
                for (tag, digest) in images.tags(&repository)? {
                    tags.push(Tag { repository: repository.familiar(), tag, digest: Some(digest) });
                }
            }
        }
    }
    if app.global.json {
        output::json(&tags)?;
    } else {
        let row = |tag: &Tag| {
            vec![tag.repository.clone(), tag.tag.clone(), tag.digest.map(|d| d.to_string()).unwrap_or_default()]
        };
        table::print(&["REPOSITORY", "TAG", "DIGEST"], &tags.iter().map(row).collect::<Vec<_>>());
    }
    Ok(ExitCode::SUCCESS)
}
