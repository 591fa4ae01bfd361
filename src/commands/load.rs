//! `shiplap load`

use std::process::ExitCode;
use std::sync::Arc;

use shiplap_registry::engine::{Engine, HandedOver, Way};
use shiplap_registry::{Image, Images, Reference};

use super::build::packing::Packing;
use super::export;
use crate::app::App;
use crate::failure::Result;
use crate::{engine, output};

/// Give an image of the store to the container engine
///
/// The engine is the one that `docker` talks to: DOCKER_HOST, DOCKER_CONTEXT, `docker context use`, CONTAINER_HOST for Podman, or the usual
/// socket. One on this machine pulls from a port on loopback that is there for this image alone, and moves only the layers that it lacks. One
/// that does not reach it is sent an archive. docs/docker.md has more.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by a name or by its id
    name: Reference,
    /// A name for it in the engine; can be given several times [default: the image's name here]
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<Reference>,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let engine = engine::connect(app).await?;
    let images = app.images()?;
    let image = export::find_whole(app, &images, &args.name).await?;
    let names = match (args.tags.is_empty(), images.resolve(&args.name)?) {
        (false, _) => args.tags.clone(),
        (true, Some(_)) => vec![args.name.clone()],
        // An id is no name.
        (true, None) => Vec::new(),
    };
    let clamp = Packing::plain(None)?.options.clamp;
    let handed = hand_over(app, &engine, &images, &image, &names, clamp).await?;
    app.progress.finish();
    if app.global.json {
        output::json(&handed)?;
    } else {
        output::line(&describe(&handed));
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives an image to an engine, and says how where that is not as it should be.
pub async fn hand_over(
    app: &App,
    engine: &Engine,
    images: &Images,
    image: &Image,
    names: &[Reference],
    clamp: Option<i64>,
) -> Result<HandedOver> {
    let progress: Arc<dyn shiplap_registry::Progress> = app.progress.clone();
    let handed = engine.hand_over(images.store(), image, names, clamp, progress).await?;
    if let Way::SentInstead(why) = &handed.way {
        app.progress.finish();
        app.note(&format!("{engine} does not reach this process ({why}), so it was sent an archive"));
    }
    Ok(handed)
}

/// `loaded into Docker 28.5.2: 1 of 12 layers, 4.10 kB of 1.20 GB`.
pub fn describe(handed: &HandedOver) -> String {
    let (sent, all) = (output::size(handed.bytes_sent), output::size(handed.bytes));
    format!("loaded into {}: {} of {} layers, {sent} of {all}", handed.engine, handed.layers_sent, handed.layers)
}
