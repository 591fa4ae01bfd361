//! Fetching what somebody needs: indices to decide, layers because a step runs, blobs because they go to another registry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use shiplap_cache::tier::{TierBlob, TierError, TierResult};
use shiplap_cache::{Digest, LayerBlob, LayerId, LayerPlace};

use super::{BASES, Base, PARALLEL, Place, Remote, blocking};
use crate::adopt::{self, Step};
use crate::compress::decompress;
use crate::error::At;
use crate::{Result, origin};

/// No index has more bytes than this, unpacked.
const MOST_INDEX: u64 = 1 << 30;

/// Layers that no tier could give, though it had said that it has them. The store does not count on them any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone(pub Vec<LayerId>);

impl Remote {
    /// Fetches the indices that are not here. Gives the layers whose index could not be had.
    ///
    /// # Errors
    /// The store fails.
    pub async fn indices(&self, layers: &[LayerId]) -> Result<std::result::Result<(), Gone>> {
        let missing = layers.iter().copied().filter(|id| self.store().index(id).is_err());
        each(missing.map(|id| async move { Ok((id, self.index(&id).await?)) }.boxed()).collect(), 2 * PARALLEL).await
    }

    /// Fetches the layers that are not here, and unpacks them beside each other. Gives those that could not be had.
    ///
    /// # Errors
    /// The store fails, or the registry of a base image.
    pub async fn layers(&self, layers: &[LayerId]) -> Result<std::result::Result<(), Gone>> {
        let missing = self.missing(layers)?;
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        let mut bytes = 0;
        for layer in &missing {
            bytes += self.cost(layer)?;
        }
        self.watch.fetching(missing.len(), bytes);
        let fetch = |id: LayerId| async move { Ok((id, self.layer(&id).await?)) }.boxed();
        each(missing.into_iter().map(fetch).collect(), PARALLEL).await
    }

    /// The layers that are not here.
    ///
    /// # Errors
    /// The store fails.
    pub fn missing(&self, layers: &[LayerId]) -> Result<Vec<LayerId>> {
        let mut missing = Vec::new();
        for layer in layers {
            if !missing.contains(layer) && !self.store().has_layer(layer)? {
                missing.push(*layer);
            }
        }
        Ok(missing)
    }

    /// Bytes that must come for a layer.
    ///
    /// # Errors
    /// The store fails.
    pub fn cost(&self, layer: &LayerId) -> Result<u64> {
        let places = self.store().layer_places(layer)?;
        let bytes = |place: &LayerPlace| place.files.as_ref().map(|files| files.size).or(place.complete);
        Ok(places.iter().find_map(bytes).unwrap_or(0))
    }

    pub(super) async fn index(&self, layer: &LayerId) -> Result<bool> {
        for LayerPlace { tier, index, .. } in self.store().layer_places(layer)? {
            let (Some(blob), Some(place)) = (index, self.place(&tier)) else { continue };
            match self.read_index(place, layer, &blob).await {
                Ok(()) => return Ok(true),
                Err(error) => self.lost(place, layer, "read an index", error)?,
            }
        }
        match self.base(layer) {
            Some(base) => self.pull(&base).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn read_index(&self, place: &Place, layer: &LayerId, blob: &TierBlob) -> TierResult<()> {
        let packed = place.used.tier.read(blob).await?;
        place.succeeded();
        self.moved.read.fetch_add(packed.len() as u64, Ordering::Relaxed);
        let corrupt = |why: String| TierError::Corrupt { digest: blob.digest, why };
        let plain = unpack_index(&packed).map_err(|e| corrupt(e.to_string()))?;
        match self.store().keep_index(layer, plain) {
            Err(error @ shiplap_cache::Error::DamagedIndex { .. }) => Err(corrupt(error.to_string())),
            result => Ok(result?),
        }
    }

    async fn layer(&self, layer: &LayerId) -> Result<bool> {
        let turn = {
            let mut under_way = self.under_way.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            under_way.entry(*layer).or_default().clone()
        };
        let _turn = turn.lock().await;
        if self.store().has_layer(layer)? {
            return Ok(true);
        }
        for LayerPlace { tier, files, contents, complete, .. } in self.store().layer_places(layer)? {
            let Some(files) = files else {
                if let (Some(_), Some(place)) = (complete, self.place(&tier)) {
                    match self.put_together(place, layer, &contents).await {
                        Ok(()) => return Ok(true),
                        Err(error) => self.lost(place, layer, "give what a layer is put together from", error)?,
                    }
                }
                continue;
            };
            if tier == BASES {
                // Some layers depend on those below them, and then the image is pulled.
                if self.blob(&files.digest, files.size).await? && self.unpack(layer, &files).await.is_ok() {
                    self.moved.layers.fetch_add(1, Ordering::Relaxed);
                    return Ok(true);
                }
                // A pull of the image notes it again.
                self.store().forget_place(layer, BASES)?;
                continue;
            }
            let Some(place) = self.place(&tier) else { continue };
            match self.fetch_layer(place, layer, &files).await {
                Ok(()) => return Ok(true),
                Err(error) => self.lost(place, layer, "fetch a layer", error)?,
            }
        }
        match self.base(layer) {
            Some(base) => {
                self.pull(&base).await?;
                Ok(self.store().has_layer(layer)?)
            }
            None => Ok(false),
        }
    }

    async fn fetch_layer(&self, place: &Place, layer: &LayerId, files: &LayerBlob) -> TierResult<()> {
        let blob = TierBlob { digest: files.digest, size: files.size };
        place.used.tier.fetch(self.store(), &blob).await?;
        place.succeeded();
        self.moved.fetched.fetch_add(files.size, Ordering::Relaxed);
        self.moved.layers.fetch_add(1, Ordering::Relaxed);
        self.unpack(layer, files).await
    }

    /// Unpacks a layer's blob, which is here now, if it is that layer's.
    async fn unpack(&self, layer: &LayerId, files: &LayerBlob) -> TierResult<()> {
        let blob = TierBlob { digest: files.digest, size: files.size };
        let (store, layer, files) = (self.store().clone(), *layer, files.clone());
        let corrupt = |why: String| TierError::Corrupt { digest: blob.digest, why };
        let unpacked = blocking(move || -> Result<Option<LayerId>> {
            let at = store.blobs().path(&files.digest);
            let tar = decompress(store.blobs().open_file(&files.digest)?).at("read", &at)?.0;
            let label = format!("layer {}", files.digest);
            let (step, _) = adopt::unpack_tar(&store, tar, &label, Some(&files.diff_id))?;
            let made = match step {
                Step::Done(origin::Unpacked::Layer(id)) => Some(id),
                Step::Done(origin::Unpacked::Nothing) | Step::Loose(..) => None,
            };
            if made == Some(layer) {
                store.set_layer_blob(&layer, &files)?;
            }
            Ok(made)
        });
        match unpacked.await {
            Ok(Some(made)) if made == layer => Ok(()),
            Ok(_) => Err(corrupt("it unpacks to another layer".to_owned())),
            Err(crate::Error::Store(error)) => Err(TierError::Here(error)),
            Err(error @ crate::Error::Io { .. }) => Err(TierError::Unreachable(error.to_string())),
            Err(error) => Err(corrupt(error.to_string())),
        }
    }

    /// A tier did not give what it said that it has.
    fn lost(&self, place: &Place, layer: &LayerId, what: &str, error: TierError) -> Result<()> {
        match error {
            TierError::Here(error) => Err(error.into()),
            error => {
                self.failed(place, what, &error);
                Ok(self.store().forget_place(layer, place.used.tier.name())?)
            }
        }
    }

    /// Fetches a base image whole, as without tiers.
    async fn pull(&self, base: &Arc<Base>) -> Result<()> {
        let Base { reference, platform, pulled } = &**base;
        pulled
            .get_or_try_init(|| async { self.client.pull(&self.images, reference, platform).await.map(drop) })
            .await?;
        Ok(())
    }

    /// Fetches a blob that another registry needs. Says whether it is in the store now.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let blob = TierBlob { digest: *digest, size };
        for (tier, _) in self.store().blob_places(digest)? {
            if tier == BASES {
                if let Some(source) = self.store().name(crate::client::SOURCES, &digest.hex())?
                    && let Ok(repository) = source.parse()
                    && self.client.fetch_blob(&self.images, &repository, digest, size).await.is_ok()
                {
                    self.moved.fetched.fetch_add(size, Ordering::Relaxed);
                    return Ok(true);
                }
                continue;
            }
            let Some(place) = self.place(&tier) else { continue };
            match place.used.tier.fetch(self.store(), &blob).await {
                Ok(()) => {
                    self.moved.fetched.fetch_add(size, Ordering::Relaxed);
                    return Ok(true);
                }
                Err(TierError::Here(error)) => return Err(error.into()),
                Err(error) => self.failed(place, "fetch a blob", &error),
            }
        }
        Ok(false)
    }
}

/// Does all of it, some at a time. Gives the layers that could not be had.
async fn each(
    work: Vec<BoxFuture<'_, Result<(LayerId, bool)>>>,
    parallel: usize,
) -> Result<std::result::Result<(), Gone>> {
    let got: Vec<(LayerId, bool)> = futures::stream::iter(work).buffer_unordered(parallel).try_collect().await?;
    let gone: Vec<LayerId> = got.into_iter().filter(|(_, got)| !got).map(|(layer, _)| layer).collect();
    Ok(if gone.is_empty() { Ok(()) } else { Err(Gone(gone)) })
}

fn unpack_index(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut plain = Vec::new();
    zstd::stream::read::Decoder::new(packed)?.take(MOST_INDEX).read_to_end(&mut plain)?;
    Ok(plain)
}
