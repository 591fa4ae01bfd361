//! An image on its way into an engine.

use std::collections::HashSet;
use std::sync::Arc;

use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use shiplap_cache::{Digest, Store};

use super::archive::archive;
use super::endpoint::Endpoint;
use super::error::told;
use super::parts::Parts;
use super::{Engine, EngineError, Keeps};
use crate::tag::ReleaseTag;
use crate::{Event, Image, Progress, Reference, Result as ImageResult, origin};

/// How many images are asked about at once.
const ASKED: usize = 8;

/// What an engine was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// `Docker 28.5.2`.
    pub engine: String,
    /// The image's id there.
    pub id: String,
    /// How it got there.
    pub way: Way,
    /// How many layers the image has.
    pub layers: usize,
    /// How many of them were sent.
    pub layers_sent: usize,
    /// Bytes of all layers.
    pub bytes: u64,
    /// Bytes of those that were sent.
    pub bytes_sent: u64,
}

/// How an image got into an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It pulled from this process.
    Pulled,
    /// It was sent an archive.
    Sent,
    /// It was sent an archive, since it did not reach this process: so it said.
    SentInstead(String),
}

impl Engine {
    /// Gives an image to the engine under these names, and only the layers that it lacks. Without a name it can be found by its id. No time in a
    /// new layer or in the config is later than `clamp`.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with what the engine says, [`EngineError::TagExists`], or the store fails.
    pub async fn hand_over(
        &self,
        store: &Arc<Store>,
        image: &Image,
        names: &[Reference],
        clamp: Option<i64>,
        progress: Arc<dyn Progress>,
    ) -> Result<HandedOver, EngineError> {
        // Nothing of it may be collected meanwhile.
        let lease = store.lease()?;
        let parts = {
            let (store, image, reads_zstd) = (store.clone(), image.clone(), self.reads_zstd());
            Arc::new(blocking(move || Parts::of(&store, &image, clamp, reads_zstd)).await?)
        };
        let names: Vec<&Reference> = names.iter().filter(|name| name.tag().is_some()).collect();
        self.check_names(&names, &parts).await?;
        // A pulled image has a name, and would be gone with it.
        let pulls = self.address.is_near() && self.keeps() != Keeps::Podman && !names.is_empty();
        let pulled = if pulls { self.pull(store, &parts, &names, &progress).await? } else { Pulled::NotTried };
        let (way, (layers_sent, bytes_sent)) = match pulled {
            Pulled::Done(sent) => (Way::Pulled, sent),
            Pulled::NotTried => (Way::Sent, self.send(store, &parts, &names, &progress).await?),
            Pulled::NotReached(why) => (Way::SentInstead(why), self.send(store, &parts, &names, &progress).await?),
        };
        drop(lease);
        let id = match (names.first(), self.keeps()) {
            (Some(name), _) => self.inspect(&name.to_string()).await?.and_then(|found| found.id).unwrap_or_default(),
            (None, Keeps::Content) => parts.manifest.0.digest.to_string(),
            (None, _) => parts.config.0.digest.to_string(),
        };
        let (layers, bytes) = (parts.layers.len(), parts.size());
        Ok(HandedOver { engine: self.to_string(), id, way, layers, layers_sent, bytes, bytes_sent })
    }

    /// A release's tag stays where it is.
    async fn check_names(&self, names: &[&Reference], parts: &Parts) -> Result<(), EngineError> {
        let wanted: Vec<String> = parts.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        for name in names.iter().filter(|name| name.tag().is_some_and(ReleaseTag::is_release)) {
            let Some(found) = self.inspect(&name.to_string()).await? else { continue };
            let existing = found.id.clone().unwrap_or_default();
            let same_config = self.keeps() == Keeps::Content || bare(&existing) == parts.config.0.digest.hex();
            if !same_config || layers_of(&found) != wanted {
                return Err(EngineError::TagExists {
                    engine: self.to_string(),
                    name: Box::new((*name).clone()),
                    existing,
                    wanted: parts.config.0.digest,
                });
            }
        }
        Ok(())
    }

    /// Lets the engine pull from an endpoint that is there for that alone.
    async fn pull(
        &self,
        store: &Arc<Store>,
        parts: &Arc<Parts>,
        names: &[&Reference],
        progress: &Arc<dyn Progress>,
    ) -> Result<Pulled, EngineError> {
        let endpoint = Endpoint::start(store.clone(), parts.clone(), progress.clone()).await;
        let endpoint = endpoint.map_err(|source| EngineError::Io { what: "listen on 127.0.0.1".into(), source })?;
        let repository = endpoint.repository();
        let there = format!("{repository}@{}", parts.manifest.0.digest);
        let options = CreateImageOptionsBuilder::default().from_image(&there).build();
        let pulled = self.patient().create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) }).await;
        if let Err(error) = pulled {
            // It knows nothing of the image: another network is between us.
            if !endpoint.was_asked() {
                return Ok(Pulled::NotReached(told(&error)));
            }
            return Err(self.refused("pull the image from this process")(error));
        }
        for name in names {
            self.tag(&there, name).await?;
        }
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        // A name too many harms nobody.
        if let Err(error) = self.docker.remove_image(&there, Some(options), None).await {
            tracing::debug!("{there} stays in the engine: {error}");
        }
        Ok(Pulled::Done(endpoint.sent()))
    }

    /// Sends an archive. Gives how many layers, and how many bytes of them.
    async fn send(
        &self,
        store: &Arc<Store>,
        parts: &Arc<Parts>,
        names: &[&Reference],
        progress: &Arc<dyn Progress>,
    ) -> Result<(usize, u64), EngineError> {
        let known = if self.keeps() == Keeps::Layers { self.known_layers(parts).await } else { 0 };
        match self.send_without(store, parts, names, known, progress).await {
            // An image may have been removed since it was asked what it has.
            Err(EngineError::Refused { .. }) if known > 0 => self.send_without(store, parts, names, 0, progress).await,
            sent => sent,
        }
    }

    async fn send_without(
        &self,
        store: &Arc<Store>,
        parts: &Arc<Parts>,
        names: &[&Reference],
        known: usize,
        progress: &Arc<dyn Progress>,
    ) -> Result<(usize, u64), EngineError> {
        // Podman takes one name from an archive.
        let first: Vec<Reference> = names.iter().take(1).map(|name| (*name).clone()).collect();
        let bytes = archive(store.clone(), parts.clone(), &first, known)?;
        let sent = &parts.layers[known..];
        let total = sent.iter().map(|layer| layer.blob.size).sum();
        let (progress, blob, mut done) = (progress.clone(), parts.manifest.0.digest, 0);
        let bytes = bytes.inspect(move |piece| {
            // Documents and headers travel along; they are no layers.
            done += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            progress.event(Event::Transfer { blob, done: done.min(total), total, up: true });
        });
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let loaded = self.patient().import_image_stream(options, bytes, None).try_for_each(|_| async { Ok(()) }).await;
        loaded.map_err(self.refused("load the image"))?;
        if let Some((first, others)) = names.split_first() {
            for name in others {
                self.tag(&first.to_string(), name).await?;
            }
        }
        Ok((sent.len(), total))
    }

    /// How many of the lowest layers the images of the engine have.
    async fn known_layers(&self, parts: &Parts) -> usize {
        let diff_ids: Vec<Digest> = parts.layers.iter().map(|layer| layer.diff_id).collect();
        let wanted = origin::chain(&diff_ids);
        let options = ListImagesOptionsBuilder::default().all(true).build();
        // What cannot be asked about is sent.
        let Ok(images) = self.docker.list_images(Some(options)).await else { return 0 };
        let inspected = images.iter().map(|image| self.docker.inspect_image(&image.id));
        let inspected: Vec<_> = futures::stream::iter(inspected).buffer_unordered(ASKED).collect().await;
        let mut known = HashSet::new();
        for image in inspected.into_iter().flatten() {
            let diff_ids: Vec<Digest> = layers_of(&image).iter().map_while(|text| text.parse().ok()).collect();
            known.extend(origin::chain(&diff_ids));
        }
        wanted.iter().take_while(|chain| known.contains(chain)).count()
    }

    async fn tag(&self, image: &str, name: &Reference) -> Result<(), EngineError> {
        let repository = name.repository().to_string();
        let options = TagImageOptionsBuilder::default().repo(&repository).tag(name.tag().unwrap_or("latest")).build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(self.refused(format!("give the image the name {}", name.familiar())))
    }

    /// What the engine knows of an image, if it has it.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        use bollard::errors::Error as E;
        match self.docker.inspect_image(name).await {
            Ok(found) => Ok(Some(found)),
            Err(E::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.refused(format!("say what {name} is"))(error)),
        }
    }
}

/// What came of a pull.
enum Pulled {
    /// The engine has the image; so many layers were sent, and so many bytes.
    Done((usize, u64)),
    /// It did not reach us, it says.
    NotReached(String),
    NotTried,
}

/// An id without its algorithm, which Podman leaves out.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn layers_of(image: &ImageInspect) -> Vec<String> {
    image.root_fs.as_ref().and_then(|root| root.layers.clone()).unwrap_or_default()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ImageResult<T> + Send + 'static) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(EngineError::Io { what: "read the image".into(), source: std::io::Error::other(error) }),
    }
}
