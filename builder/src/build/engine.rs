//! Base images that a container engine has.
//!
//! An engine's names move with whatever is built there, so they count only where that was asked for, and the store does not learn them: a later build
//! without the engine asks the registry again. What an engine's image becomes is remembered by its id.

use std::collections::BTreeMap;
use std::sync::Mutex;

use shiplap_registry::archive::{self, ImportOptions};
use shiplap_registry::engine::Engine;
use shiplap_registry::{Image, Platform, Reference};

use super::events::{Event, Watch};
use super::images::Cause;
use super::{Builder, lock, sources};

/// The space of names for images of engines: `id; platform` to an image of the store.
const SPACE: &str = "engine-image";

/// An engine whose images may be bases, and those that were taken.
#[derive(Debug)]
pub struct EngineBases {
    engine: Engine,
    taken: Mutex<BTreeMap<String, String>>,
}

impl EngineBases {
    /// Base images come from this engine, where it has one of that name.
    pub fn new(engine: Engine) -> Self {
        Self { engine, taken: Mutex::default() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What was taken: the name, and the id that the image has in the engine.
    pub fn taken(&self) -> BTreeMap<String, String> {
        lock(&self.taken).clone()
    }
}

impl Builder {
    /// The image that a name stands for in an engine; none when it has none for the platform.
    pub(super) async fn engine_image(
        &self,
        bases: &EngineBases,
        name: &Reference,
        platform: &Platform,
        watch: &dyn Watch,
    ) -> Result<Option<Image>, Cause> {
        let Some(found) = bases.engine.find(name).await? else { return Ok(None) };
        if !found.platform.matches(platform) {
            return Ok(None);
        }
        lock(&bases.taken).insert(name.familiar(), found.id.clone());
        let key = format!("{}; {platform}", found.id);
        let known = self.store().name(SPACE, &key)?.and_then(|id| id.parse().ok());
        if let Some(id) = known {
            // Nobody has to keep it for us.
            if let Ok(image) = self.images.load_with_layers(&id)
                && self.images.has_layers(&image)?
            {
                return Ok(Some(image));
            }
        }
        let what = format!("taking {} from {}", name.familiar(), bases.engine);
        watch.event(Event::Fetching { what: &what, bytes: None });
        let folder = self.store().temporary()?;
        let path = folder.path().join("image.tar");
        let saved = bases.engine.save(&found.id, &path).await;
        let (images, platform) = (self.images.clone(), platform.clone());
        let imported = match saved {
            Err(error) => Err(Cause::from(error)),
            Ok(()) => {
                let options = ImportOptions { platform, ..ImportOptions::default() };
                match sources::blocking(move || Ok(archive::import(&images, &path, &options))).await {
                    Ok(imported) => imported.map_err(Cause::from),
                    Err(error) => Err(error.into()),
                }
            }
        };
        watch.event(Event::Fetched { what: &what });
        let image = imported?.image;
        drop(folder);
        self.store().set_name(SPACE, &key, &image.hex())?;
        Ok(Some(self.images.load(&image)?))
    }
}
