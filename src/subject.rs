//! What `inspect` and `diff` are asked of: an image of the store, or the images of a release.

use serde::Serialize;
use shiplap_cache::{Digest, ImageId};
use shiplap_manifests::inspect::{self, InspectError, Inspection};
use shiplap_manifests::names::ImageName;
use shiplap_manifests::release::StoredRelease;
use shiplap_manifests::{Error, contents::ContentsError};
use shiplap_registry::{Images, Reference, Repository};

use crate::app::App;
use crate::commands::export::find_id;
use crate::failure::{Failure, Kind, Result};

/// An image, or all images of a release.
#[derive(Debug)]
pub struct Subject {
    /// The release, if it is one.
    pub release: Option<StoredRelease>,
    /// Its images.
    pub images: Vec<SubjectImage>,
}

/// One of the images.
#[derive(Debug, Clone, Serialize)]
pub struct SubjectImage {
    /// Its name in the instance, else the name that was asked for.
    pub name: String,
    /// Where it is.
    pub reference: String,
    /// Its manifest, if it was packed.
    pub digest: Option<Digest>,
    /// Its id in the store, if its record is here.
    pub id: Option<ImageId>,
}

impl Subject {
    /// Finds `INSTANCE[@VERSION]` or an image. `version` stands for the one behind `@`.
    pub fn find(app: &App, images: &Images, what: &str, version: Option<&str>) -> Result<Self> {
        let (name, after) = what.split_once('@').map_or((what, None), |(name, version)| (name, Some(version)));
        let config = app.config()?;
        let Some((instance, _)) = config.as_ref().and_then(|config| config.instance(name).ok()) else {
            if version.is_some() {
                return Err(Failure::new(Kind::Missing, format!("there is no instance {name} in shiplap.toml"))
                    .hint("versions go with an instance; two images are compared by their names"));
            }
            let name: Reference = what.parse()?;
            let tagged = images.tag_digest(&name)?;
            let id = find_id(images, &name);
            // Of an image whose record is gone the blobs may be here.
            let (id, digest) = match (id, tagged) {
                (Ok(id), Some(digest)) => (Some(id), Some(digest)),
                (Ok(id), None) => (Some(id), images.manifests_of(&id)?.first().copied()),
                (Err(_), Some(digest)) => (None, Some(digest)),
                (Err(error), None) => return Err(error),
            };
            let one = SubjectImage { name: name.familiar(), reference: name.to_string(), digest, id };
            return Ok(Self { release: None, images: vec![one] });
        };
        let history = app.history(images)?;
        let release = match version.or(after) {
            Some(text) => history.release(instance, &shiplap_manifests::version::parse(text).map_err(Error::from)?)?,
            None => {
                let newest = history.newest(instance)?.ok_or_else(|| Error::NoRelease(instance.clone()))?;
                history.release(instance, &newest.version)?
            }
        };
        Self::of_release(images, release)
    }

    /// The images of a release.
    pub fn of_release(images: &Images, release: StoredRelease) -> Result<Self> {
        let one = |image: &shiplap_manifests::release::ReleaseImage| {
            let repository: Repository = image.reference.repository.to_string().parse()?;
            let id = images.resolve(&repository.with_digest(image.digest))?;
            let (name, reference) = (image.name.to_string(), image.reference.pinned(&image.digest));
            Ok(SubjectImage { name, reference, digest: Some(image.digest), id })
        };
        let images = release.release.images.iter().map(one).collect::<Result<_>>()?;
        Ok(Self { release: Some(release), images })
    }

    /// Keeps only this image.
    pub fn only(&mut self, wanted: Option<&ImageName>) -> Result<()> {
        let Some(wanted) = wanted else { return Ok(()) };
        let names: Vec<String> = self.images.iter().map(|image| image.name.clone()).collect();
        self.images.retain(|image| image.name == wanted.as_str());
        if self.images.is_empty() {
            return Err(Failure::new(Kind::Usage, format!("there is no image {wanted} in it"))
                .hint(format!("--image names one of {}", names.join(", "))));
        }
        Ok(())
    }
}

impl SubjectImage {
    /// Reads what it holds.
    pub fn read(&self, images: &Images) -> Result<Inspection> {
        inspect::read(images, self.id.as_ref(), self.digest.as_ref()).map_err(|error| match error {
            InspectError::Image(error) => {
                use shiplap_cache::Error::{MissingBlob, MissingLayer};
                use shiplap_registry::Error::{NoImage, Store};
                let is_gone = matches!(error, NoImage(_) | Store(MissingBlob(_) | MissingLayer(_)));
                let failure = Failure::from(error);
                match is_gone && !failure.has_hint() {
                    true => failure.hint(format!(
                        "neither the layers nor the blobs of {} are here: `shiplap pull` gets them",
                        self.name
                    )),
                    false => failure,
                }
            }
            InspectError::Contents(ContentsError::Store(error)) => error.into(),
            InspectError::Contents(error) => Failure::of(Kind::Store, &error),
        })
    }
}
