//! Looking into an image whose layers are in a cache and not here: its files come one by one.

use std::sync::Arc;

use shiplap_cache::{Contents as Files, Digest};
use shiplap_manifests::contents::{self, Contents, ContentsError};
use shiplap_manifests::inspect::{self, Facts};
use shiplap_registry::remote::{Gone, OnDemand, Remote};
use shiplap_registry::{Image, Images};

use crate::failure::{Failure, Kind, Result};

/// Such an image.
pub struct Away {
    images: Images,
    image: Image,
    files: Arc<OnDemand>,
}

impl Away {
    /// Begins to fetch what a release reads of an image, with `packages` also what a bill of materials does. None when its layers are here, which they are when
    /// single files cannot be had.
    pub async fn of(images: &Images, remote: &Arc<Remote>, image: &Image, packages: bool) -> Result<Option<Self>> {
        let layers = &image.layers;
        if remote.missing(layers)?.is_empty() {
            return Ok(None);
        }
        whole(remote.indices(layers).await?)?;
        let reads = inspect::reads(images.store(), layers, packages).map_err(failure)?;
        let Some(files) = remote.on_demand(layers, &reads).await? else {
            whole(remote.layers(layers).await?)?;
            return Ok(None);
        };
        Ok(Some(Self { images: images.clone(), image: image.clone(), files }))
    }

    /// As [`inspect::facts`].
    pub async fn facts(&self, manifest: &Digest) -> Result<Facts> {
        let (images, id, manifest) = (self.images.clone(), self.image.id(), *manifest);
        let read = move |files: &dyn Files| inspect::facts(&images, &id, &manifest, Some(files));
        self.read(read, |error| Failure::of(Kind::Store, &error)).await
    }

    /// As [`contents::read`].
    pub async fn packages(&self) -> Result<Contents> {
        let (images, layers) = (self.images.clone(), self.image.layers.clone());
        self.read(move |files| contents::read(images.store(), &layers, Some(files)), failure).await
    }

    /// Who reads waits for what is fetched, so that is not done where others wait for their turn.
    async fn read<T: Send + 'static, E: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Files) -> std::result::Result<T, E> + Send + 'static,
        why: impl FnOnce(E) -> Failure,
    ) -> Result<T> {
        let files = self.files.clone();
        let done = tokio::task::spawn_blocking(move || read(&*files)).await;
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        // What was read of the rest is not all.
        match self.files.lost().first() {
            Some(layer) => Err(shiplap_cache::Error::MissingLayer(*layer).into()),
            None => done.map_err(why),
        }
    }
}

/// Why the contents of an image cannot be told.
pub fn failure(error: ContentsError) -> Failure {
    match error {
        ContentsError::Store(error) => error.into(),
        error => Failure::of(Kind::Store, &error),
    }
}

fn whole(fetched: std::result::Result<(), Gone>) -> Result<()> {
    match fetched.err().and_then(|Gone(layers)| layers.first().copied()) {
        Some(layer) => Err(shiplap_cache::Error::MissingLayer(layer).into()),
        None => Ok(()),
    }
}
