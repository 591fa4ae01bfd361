//! `FROM` and `--from` names become images in the store.

use std::sync::Arc;

use shiplap_registry::archive::{self, ImportOptions, InLayout};
use shiplap_registry::{Image, Platform, Reference};

use super::engine::EngineBases;
use super::error::BuildError;
use super::events::{Event, Watch};
use super::{Builder, sources};
use crate::plan::{ImageOrigin, ImageRef};

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Builder {
    /// The image of a name: from the store if it is there, as `docker build` does, else from its registry; with `pull` the registry
    /// is asked first. An engine, where one is given, comes before both.
    pub(crate) async fn image(
        self: &Arc<Self>,
        used: &ImageRef,
        pull: bool,
        engine: Option<&EngineBases>,
        watch: &Arc<dyn Watch>,
    ) -> Result<Image, BuildError> {
        let failed = |why: Cause| BuildError::Image { image: used.to_string(), why };
        let platform = Platform {
            os: used.platform.os.clone(),
            architecture: used.platform.arch.clone(),
            variant: used.platform.variant.clone(),
        };
        match &used.origin {
            ImageOrigin::Registry(name) => {
                let name: Reference = name.parse().map_err(|e| failed(Cause::from(e)))?;
                // A digest says what is meant, wherever it comes from.
                if let Some(engine) = engine.filter(|_| name.digest().is_none())
                    && let Some(image) = self.engine_image(engine, &name, &platform, &**watch).await.map_err(failed)?
                {
                    return Ok(image);
                }
                self.named(&name, &platform, pull, watch).await.map_err(failed)
            }
            ImageOrigin::OciLayout { path, reference } => {
                let in_layout = match reference {
                    Some(digest) if digest.contains(':') => {
                        Some(InLayout::Digest(digest.parse().map_err(|e| failed(Cause::from(e)))?))
                    }
                    Some(tag) => Some(InLayout::Tag(tag.clone())),
                    None => None,
                };
                let options = ImportOptions { in_layout, platform, ..ImportOptions::default() };
                let (images, path) = (self.images.clone(), path.clone());
                let imported = sources::blocking(move || Ok(archive::import(&images, &path, &options))).await;
                let imported = imported.map_err(|e| failed(e.into()))?.map_err(|e| failed(e.into()))?;
                self.images.load(&imported.image).map_err(|e| failed(e.into()))
            }
        }
    }

    async fn named(
        &self,
        name: &Reference,
        platform: &Platform,
        pull: bool,
        watch: &Arc<dyn Watch>,
    ) -> Result<Image, Cause> {
        let here = self.images.resolve(name)?;
        if let (Some(id), false) = (here, pull) {
            let image = self.images.load_with_layers(&id)?;
            if image.platform().is_none_or(|has| has.matches(platform)) && self.images.has_layers(&image)? {
                return Ok(image);
            }
        }
        let Some(client) = &self.client else {
            return Err(format!("{} is not in the store", name.familiar()).into());
        };
        let known = match &self.remote {
            Some(remote) => client.pull_known(&self.images, remote, name, platform).await?,
            None => None,
        };
        let pulled = match known {
            Some(pulled) => pulled,
            None => {
                let what = format!("pulling {}", name.familiar());
                watch.event(Event::Fetching { what: &what, bytes: None });
                let pulled = client.pull(&self.images, name, platform).await;
                watch.event(Event::Fetched { what: &what });
                pulled?
            }
        };
        if name.tag().is_some() && name.digest().is_none() {
            self.images.name(name, &pulled.image)?;
        }
        Ok(self.images.load(&pulled.image)?)
    }
}
