//! `shiplap push`

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use shiplap_cache::Digest;
use shiplap_registry::remote::Remote;
use shiplap_registry::signature::is_signature_tag;
use shiplap_registry::{Images, Pushed, Reference, Repository};

use super::export::{find, find_whole};
use crate::app::App;
use crate::commands::build::packing::{CompressionKind, Packing};
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::supply::exchange;
use crate::tiers::CacheFlags;

/// Push an image of the store to its registry
///
/// Only what the registry lacks is sent, also where the tag is there already: a push makes an image whole again that lost something. Documents that are attached to the image, and its signatures, go with it. A release tag
/// that stands for another image there is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by a name or, with --as, by its id
    name: Reference,
    /// Push it under this name instead
    #[arg(long = "as", value_name = "NAME")]
    other: Option<Reference>,
    /// Push every tag that the store has of the image's repository
    #[arg(short, long, conflicts_with = "other")]
    all_tags: bool,
    /// How layers are compressed
    #[arg(long, value_name = "KIND")]
    compression: Option<CompressionKind>,
    /// Where layers are that a build reused and that are not here, as --cache-from of `shiplap build` names places [default: the caches in
    /// shiplap.toml]
    #[arg(long, value_name = "SPEC")]
    cache_from: Vec<String>,
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
    if !args.cache_from.is_empty() {
        app.use_cache(&CacheFlags::reading(args.cache_from.clone()))?;
    }
    let images = app.images()?;
    let names = if args.all_tags { all_tags(&images, &args.name)? } else { vec![args.name.clone()] };
    let client = app.client();
    let mut done = Vec::new();
    for name in names {
        let named = images.resolve(&name)?.is_some() || images.tag_digest(&name)?.is_some();
        if args.other.is_none() && !named && find(&images, &name).is_ok() {
            let why = format!("{} is the id of an image and no name to push it under", name.repository().familiar());
            return Err(Failure::new(Kind::Usage, why).hint("give one with --as REGISTRY/NAME:TAG"));
        }
        let (digest, remote) = match images.tag_digest(&name)? {
            // What was released is pushed as it is.
            Some(digest) if images.elsewhere(&digest)?.is_empty() => (digest, None),
            // Layers of it are in caches alone, and go from there.
            Some(digest) => {
                let remote = app.remote(&images)?;
                if let Some(remote) = &remote {
                    remote.sync().await?;
                }
                (digest, remote)
            }
            None => packed(app, &images, args, &name).await?,
        };
        let repository = name.repository().clone();
        let target = args.other.clone().unwrap_or(name);
        let mut pushed = match &remote {
            Some(_) => client.push_from(&images, remote.as_deref(), &digest, &target).await?,
            None => exchange::push_whole(&client, &images, &digest, &target).await?,
        };
        exchange::copy_signatures(&images, &repository, target.repository(), &digest)?;
        pushed.sent +=
            exchange::push_attached(&client, &images, target.repository(), &digest, &|text| app.note(text)).await?;
        done.push((target, pushed));
    }
    app.progress.finish();
    report(app, &done, args.all_tags, args.quiet)?;
    Ok(ExitCode::SUCCESS)
}

/// Packs an image. Where layers that it reused are in a cache elsewhere alone and can be mounted from there, that comes along, and they do not come here.
async fn packed(app: &App, images: &Images, args: &Args, name: &Reference) -> Result<(Digest, Option<Arc<Remote>>)> {
    let packing = Packing::plain(args.compression)?;
    let image = find(images, name)?;
    if !packing.changes_layers()
        && !images.has_layers(&image)?
        && let Some(remote) = app.remote(images)?
    {
        remote.sync().await?;
        remote.with_blobs(&image.layers).await?;
        match packing.clone().with_layers_elsewhere(true).pack(app, images, &image) {
            // The cache does not have any more what it had: then what is left of it must come here.
            Err(error) if error.kind() == Kind::Store => {}
            packed => return Ok((packed?.manifest.digest, Some(remote))),
        }
    }
    let image = find_whole(app, images, name).await?;
    Ok((packing.pack(app, images, &image)?.manifest.digest, None))
}

/// The tags that images of the store have in a repository, by name or by release.
fn all_tags(images: &Images, name: &Reference) -> Result<Vec<Reference>> {
    let repository: &Repository = name.repository();
    if name.digest().is_some() || name.tag().is_some_and(|tag| tag != "latest") {
        return Err(Failure::new(
            Kind::Usage,
            format!("{} is one tag, and --all-tags is all of them", name.familiar()),
        )
        .hint(format!("shiplap push --all-tags {}", repository.familiar())));
    }
    let named = images.list()?.into_iter().map(|(name, _)| name).filter(|name| name.repository() == repository);
    // Signatures go along with what they sign.
    let tags = images.tags(repository)?.into_iter().filter(|(tag, _)| !is_signature_tag(tag));
    let released = tags.map(|(tag, _)| repository.tagged(&tag));
    let mut all: BTreeSet<Reference> = released.collect::<std::result::Result<_, _>>()?;
    all.extend(named.filter(|name| name.tag().is_some()));
    if all.is_empty() {
        return Err(Failure::new(Kind::Missing, format!("the store has no tag of {}", repository.familiar())));
    }
    Ok(all.into_iter().collect())
}

/// Says what was pushed: one thing, or a list of them.
pub fn report(app: &App, done: &[(Reference, Pushed)], list: bool, quiet: bool) -> Result<()> {
    if app.global.json {
        let of = |(target, pushed): &(Reference, Pushed)| {
            let name = target.to_string();
            json!({"name": name, "digest": pushed.digest, "sent": pushed.sent, "present": pushed.present})
        };
        return match done {
            [one] if !list => output::json(&of(one)),
            all => output::json(&all.iter().map(of).collect::<Vec<_>>()),
        };
    }
    for (target, pushed) in done {
        output::line(&format!("{}@{}", target.familiar(), pushed.digest));
        if !quiet {
            output::line(&format!("{} sent, {} were there", output::size(pushed.sent), output::size(pushed.present)));
        }
    }
    Ok(())
}
