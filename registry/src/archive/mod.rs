//! Images in files: OCI layouts, `docker save` archives, root file systems.

mod docker;
mod export;
mod folder;
mod layout;
mod rootfs;
mod source;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use shiplap_cache::{Digest, ImageId};

pub(crate) use export::{blob_name, docker_files};
pub use export::{export_docker, export_layout, export_layout_tar, export_rootfs};
pub use folder::export_folder;
use source::Source;

use crate::{Error, Images, Platform, Reference, Result};

/// What kind of file an image is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An OCI image layout, a folder or a tar of it (image-spec, image-layout.md).
    OciLayout,
    /// What `docker save` writes.
    DockerArchive,
    /// A tar of a root file system, as `docker export` writes it.
    Rootfs,
}

/// How to import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Which image of an archive that holds several.
    pub name: Option<Reference>,
    /// Which image of an OCI layout, by what its index says.
    pub in_layout: Option<InLayout>,
    /// Which image of an index; what a root file system runs on.
    pub platform: Platform,
    /// For a root file system: what the image's config says (`Env`, `Cmd`, ...), in Docker's words.
    pub config: Map<String, Value>,
    /// For a root file system: when the image was made, as RFC 3339.
    pub created: Option<String>,
}

/// An image of an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InLayout {
    /// By its tag.
    Tag(String),
    /// By the digest of its manifest or index.
    Digest(Digest),
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { name: None, in_layout: None, platform: Platform::host(), config: Map::new(), created: None }
    }
}

/// An image that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The image.
    pub image: ImageId,
    /// What it was in.
    pub format: Format,
    /// The names that the archive gives it.
    pub names: Vec<Reference>,
    /// Its manifest, when it came with one that can be kept.
    pub manifest: Option<Digest>,
}

/// Imports an image from a file or a folder, whose format is told by what is in it; a file may be compressed. Gives no name to the image.
///
/// # Errors
/// It is no image, is damaged or cut short, holds several and none was named, ... Nothing half is kept.
pub fn import(images: &Images, path: &Path, options: &ImportOptions) -> Result<Imported> {
    let source = Source::open(images.store(), path)?;
    if source.has("oci-layout") && source.has("index.json") {
        return layout::import(images, &source, options);
    }
    if source.has("manifest.json") && docker::is_archive(&source)? {
        return docker::import(images, &source, options);
    }
    if path.is_dir() {
        let why = "it has no `oci-layout` and `index.json`; pack a root file system into a tar first".to_owned();
        return Err(Error::NoArchive { path: path.to_owned(), why });
    }
    rootfs::import(images, &source, options)
}

/// One image of an archive and its names.
struct Choice<T> {
    item: T,
    names: Vec<Reference>,
}

/// Picks the image that was asked for, or the only one.
fn choose<T>(path: &Path, mut all: Vec<Choice<T>>, wanted: Option<&Reference>) -> Result<Choice<T>> {
    let names =
        |all: &[Choice<T>]| all.iter().flat_map(|c| c.names.iter().map(Reference::familiar)).collect::<Vec<_>>();
    match (all.len(), wanted) {
        (0, _) => Err(Error::NoArchive { path: path.to_owned(), why: "it holds no image".into() }),
        (_, Some(wanted)) => match all.iter().position(|c| c.names.contains(wanted)) {
            Some(at) => Ok(all.swap_remove(at)),
            None => {
                let why = format!("it holds no {}, but {}", wanted.familiar(), names(&all).join(", "));
                Err(Error::NoArchive { path: path.to_owned(), why })
            }
        },
        (1, None) => Ok(all.swap_remove(0)),
        (_, None) => Err(Error::SeveralImages { path: path.to_owned(), names: names(&all) }),
    }
}

/// Reads a JSON document of an archive.
fn json<T: for<'de> Deserialize<'de>>(source: &Source, name: &str) -> Result<T> {
    let bytes = source.read(name)?;
    serde_json::from_slice(&bytes).map_err(|e| source.bad(format!("{name} cannot be read: {e}")))
}
