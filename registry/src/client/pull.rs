//! Pulling an image.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::{Digest, ImageId, LayerBlob};

use super::{Access, Client, Session};
use crate::adopt::{self, Step};
use crate::image::ConfigFile;
use crate::media::{self, Document, Index, Manifest};
use crate::remote::Remote;
use crate::{Error, Event, Images, Platform, Reference, Result, origin};

/// A config is read into memory: some kilobytes, never this much.
const MAX_CONFIG: u64 = 64 << 20;

/// Indices in one another, and side by side, that are looked into for an image. Nobody makes more than a few.
const MAX_INDICES: usize = 32;

/// An image that was pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Its manifest.
    pub manifest: Digest,
    /// The index that the name stands for, if it is one.
    pub index: Option<Digest>,
}

impl Client {
    /// Pulls an image: manifest, config, layers, each checked against its digest; unpacks the layers. What is in the store is not
    /// fetched again. Gives no name to the image.
    ///
    /// # Errors
    /// The registry cannot be reached, refuses, or sends something else than it should; the disk is full, ... Nothing half is kept.
    pub async fn pull(&self, images: &Images, reference: &Reference, platform: &Platform) -> Result<Pulled> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let Chosen { manifest, digest, index } = session.choose(images, reference, platform).await?;
        let image = session.image(images, &manifest, digest).await?;
        Ok(Pulled { image, manifest: digest, index })
    }

    /// As [`Client::pull`], without the layers: what is in them is known from tiers, and they are fetched when somebody needs them. None when a layer of
    /// the image is not known.
    ///
    /// # Errors
    /// As [`Client::pull`].
    pub async fn pull_known(
        &self,
        images: &Images,
        remote: &Remote,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Pulled>> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let Chosen { manifest, digest, index } = session.choose(images, reference, platform).await?;
        adopt::check_types(&manifest, digest)?;
        let config = session.config(images, &manifest, digest).await?;
        let config = ConfigFile::parse(&config, manifest.config.digest)?;
        adopt::check_layers(&manifest, digest, &config)?;
        let store = images.store();
        let (mut layers, mut nothing) = (Vec::new(), Vec::new());
        for (blob, chain) in adopt::blobs_of(&manifest, &config).into_iter().zip(origin::chain(&config.diff_ids)) {
            match origin::unpacked_anywhere(store, [&blob.diff_id, &chain])? {
                Some(origin::Unpacked::Layer(id)) if remote.knows(&id)? => layers.push((id, blob)),
                Some(origin::Unpacked::Nothing) => {
                    nothing.push(true);
                    continue;
                }
                _ => return Ok(None),
            }
            nothing.push(false);
        }
        for (id, blob) in &layers {
            remote.note_base_layer(id, blob)?;
            origin::set_layer(store, id, blob)?;
            store.set_name(super::push::SOURCES, &blob.digest.hex(), &reference.repository().to_string())?;
        }
        let ids: Vec<_> = layers.iter().map(|(id, _)| *id).collect();
        remote.note_base(&reference.repository().with_digest(digest), platform, &ids);
        let image = adopt::record(images, config, ids, &nothing, Some(manifest.config.digest), Some(digest))?;
        Ok(Some(Pulled { image, manifest: digest, index }))
    }

    /// The configuration of an image as its registry has it, in JSON; no layer is fetched.
    ///
    /// # Errors
    /// As [`Client::pull`].
    pub async fn config(&self, images: &Images, reference: &Reference, platform: &Platform) -> Result<Vec<u8>> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let Chosen { manifest, digest, .. } = session.choose(images, reference, platform).await?;
        session.config(images, &manifest, digest).await
    }
}

/// The image that a name stands for.
struct Chosen {
    manifest: Manifest,
    digest: Digest,
    index: Option<Digest>,
}

impl Session {
    /// The manifest of a name, of an index the one for the platform.
    async fn choose(&self, images: &Images, reference: &Reference, platform: &Platform) -> Result<Chosen> {
        let (document, digest) = self.document(images, reference).await?;
        match document {
            Document::Manifest(manifest) => Ok(Chosen { manifest, digest, index: None }),
            Document::Index(index) => {
                let (manifest, chosen) = self.pick(images, reference, index, platform).await?;
                Ok(Chosen { manifest, digest: chosen, index: Some(digest) })
            }
        }
    }

    /// The image of an index for the platform. An index may hold others (image-spec, image-index.md), which are looked into when it has no image
    /// of its own that fits.
    async fn pick(
        &self,
        images: &Images,
        reference: &Reference,
        index: Index,
        platform: &Platform,
    ) -> Result<(Manifest, Digest)> {
        let name = reference.familiar();
        let (mut next, mut left, mut missing) = (VecDeque::from([index]), MAX_INDICES, None);
        while let Some(index) = next.pop_front() {
            let chosen = match index.pick(platform, &name) {
                Ok(chosen) => Some(chosen.digest),
                Err(e) => {
                    missing.get_or_insert(e);
                    None
                }
            };
            let inner = index.manifests.iter().filter(|d| media::is_index(&d.media_type)).map(|d| d.digest);
            for digest in chosen.map_or_else(|| inner.collect(), |chosen| vec![chosen]) {
                left -= 1;
                if left == 0 {
                    let why = format!("more than {MAX_INDICES} indices in one another");
                    return Err(Error::BadDocument { what: "index", digest, why });
                }
                match self.document(images, &reference.repository().with_digest(digest)).await?.0 {
                    Document::Manifest(manifest) => return Ok((manifest, digest)),
                    Document::Index(index) => next.push_back(index),
                }
            }
        }
        let none = || Error::NoPlatform { name, wanted: Box::new(platform.clone()), has: "nothing".to_owned() };
        Err(missing.unwrap_or_else(none))
    }

    async fn config(&self, images: &Images, manifest: &Manifest, digest: Digest) -> Result<Vec<u8>> {
        if manifest.config.size > MAX_CONFIG {
            let why = format!("its config has {} bytes", manifest.config.size);
            return Err(Error::BadDocument { what: "manifest", digest, why });
        }
        self.download(images.store(), &manifest.config).await?;
        Ok(images.store().blobs().read(&manifest.config.digest)?)
    }

    /// A manifest or index, from the store when the digest is known and it is there.
    pub(super) async fn document(&self, images: &Images, reference: &Reference) -> Result<(Document, Digest)> {
        let blobs = images.store().blobs();
        if let Some(digest) = reference.digest()
            && let Ok(bytes) = blobs.read(&digest)
        {
            return Ok((Document::parse(&bytes, digest)?, digest));
        }
        let (bytes, digest) = self.manifest(reference).await?;
        let document = Document::parse(&bytes, digest)?;
        blobs.put(&bytes)?;
        Ok((document, digest))
    }

    async fn image(&self, images: &Images, manifest: &Manifest, digest: Digest) -> Result<ImageId> {
        adopt::check_types(manifest, digest)?;
        let config = ConfigFile::parse(&self.config(images, manifest, digest).await?, manifest.config.digest)?;
        adopt::check_layers(manifest, digest, &config)?;
        let layers = adopt::blobs_of(manifest, &config).into_iter().zip(origin::chain(&config.diff_ids));
        let layers: Result<Vec<(Option<LayerBlob>, Step)>> = futures::stream::iter(layers)
            .map(|(blob, chain)| self.layer(images, blob, chain))
            .buffered(self.options.parallel)
            .try_collect()
            .await;
        if layers.is_err() {
            // What runs in other threads does not stop when nobody waits for it: it would leave its files behind if the process ended now.
            drop(self.running.write().await);
        }
        let layers = layers?;
        let (images, config_digest) = (images.clone(), manifest.config.digest);
        self.blocking(move || adopt::assemble(&images, config, Some(config_digest), layers, Some(digest))).await
    }

    /// Fetches a layer and unpacks it at once, beside the others.
    async fn layer(&self, images: &Images, blob: LayerBlob, chain: Digest) -> Result<(Option<LayerBlob>, Step)> {
        let descriptor = crate::Descriptor::new(&blob.media_type, blob.digest, blob.size);
        self.download(images.store(), &descriptor).await?;
        let source = self.repository.to_string();
        let (store, progress) = (images.store().clone(), self.options.progress.clone());
        self.blocking(move || {
            store.set_name(super::push::SOURCES, &blob.digest.hex(), &source)?;
            progress.event(Event::Unpack { blob: blob.digest });
            let step = adopt::unpack_blob(&store, &blob, &chain)?;
            progress.event(Event::Unpacked { blob: blob.digest });
            Ok((Some(blob), step))
        })
        .await
    }
}
