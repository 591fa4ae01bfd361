//! `shiplap sbom`

use std::process::ExitCode;

use clap::ValueEnum;
use shiplap_cache::Digest;
use shiplap_manifests::names::ImageName;
use shiplap_manifests::{Error, sbom};
use shiplap_registry::{Image, Images, Reference, Repository};

use super::export::find;
use super::sign::manifests;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::supply::documents::bill_of_materials;

/// Print what is in an image, as a bill of materials
///
/// Tells of the packages of Debian, Alpine, Python and npm with their versions, licences and sources. The same image makes the same bytes.
/// Where the layers of an old release are gone, it prints what was attached to the image when it was released.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An image of the store, or an instance of shiplap.toml for its newest release
    #[arg(value_name = "IMAGE|INSTANCE[@VERSION]")]
    what: String,
    /// Which image of the instance
    #[arg(long, value_name = "NAME")]
    image: Option<ImageName>,
    /// The format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// CycloneDX 1.5, JSON
    #[default]
    CyclonedxJson,
}

/// What a bill of materials is asked of.
struct Subject {
    repository: Repository,
    manifest: Option<Digest>,
    /// Of an old release the blobs may be all that is left.
    image: Result<Image>,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let Format::CyclonedxJson = args.format;
    let Subject { repository, manifest, image } = subject(app, &images, args)?;
    let made = image.and_then(|image| {
        let digest = manifest.map_or_else(|| image.id().to_string(), |manifest| manifest.to_string());
        bill_of_materials(&images, &image, None, &repository, &digest)
    });
    let bytes = match (made, manifest) {
        (Ok(bytes), _) => bytes,
        (Err(error), Some(manifest)) => attached(&images, &manifest)?.ok_or(error)?,
        (Err(error), None) => return Err(error),
    };
    app.progress.finish();
    output::line(String::from_utf8_lossy(&bytes).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The document that was attached when the image was released or built.
fn attached(images: &Images, manifest: &Digest) -> Result<Option<Vec<u8>>> {
    let documents = images.referrers_of_type(manifest, sbom::MEDIA_TYPE)?;
    let blob = documents.first().and_then(|document| document.blobs.first());
    Ok(blob.map(|blob| images.store().blobs().read(&blob.digest)).transpose()?)
}

fn subject(app: &App, images: &Images, args: &Args) -> Result<Subject> {
    let (name, version) = args.what.split_once('@').map_or((args.what.as_str(), None), |(n, v)| (n, Some(v)));
    let config = app.config()?;
    let Some((instance, _)) = config.as_ref().and_then(|config| config.instance(name).ok()) else {
        if args.image.is_some() {
            return Err(Failure::new(Kind::Usage, format!("--image goes with an instance, and {name} is none")));
        }
        let name: Reference = args.what.parse()?;
        let image = find(images, &name);
        let packed = match &image {
            Ok(_) => manifests(images, &name)?.first().copied(),
            Err(_) => images.tag_digest(&name)?,
        };
        return Ok(Subject { repository: name.repository().clone(), manifest: packed, image });
    };
    let history = app.history(images)?;
    let release = match version {
        Some(text) => history.release(instance, &shiplap_manifests::version::parse(text).map_err(Error::from)?)?,
        None => {
            let newest = history.newest(instance)?.ok_or_else(|| Error::NoRelease(instance.clone()))?;
            history.release(instance, &newest.version)?
        }
    };
    let all = &release.release.images;
    let one = match (&args.image, all.as_slice()) {
        (Some(wanted), all) => all.iter().find(|image| image.name == *wanted),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let one = one.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|image| image.name.as_str()).collect();
        Failure::new(Kind::Usage, format!("which image of {instance}?"))
            .hint(format!("--image names one of {}", names.join(", ")))
    })?;
    let repository: Repository = one.reference.repository.to_string().parse()?;
    let image = find(images, &repository.with_digest(one.digest));
    Ok(Subject { repository, manifest: Some(one.digest), image })
}
