//! Telling tiers what a build learnt.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::tier::merge::{Retention, merge, without};
use shiplap_cache::tier::segment::{Mount, Segment};
use shiplap_cache::tier::{SegmentName, TierError, TierResult};
use shiplap_cache::{Digest, LayerId, UsedStep, today};

use super::mounts::UsedMount;
use super::{PARALLEL, Place, Remote};
use crate::{Image, Result};

/// From so many segments on, a tier's are put together.
const MANY: usize = 24;

/// What a build learnt.
#[derive(Debug, Clone, Default)]
pub struct Learnt {
    /// Its steps.
    pub steps: Vec<UsedStep>,
    /// Names whose values are true everywhere, as space and name.
    pub names: Vec<(String, String)>,
    /// The layers of the final image.
    pub image: Vec<LayerId>,
    /// The images that it started from.
    pub bases: Vec<Image>,
    /// Whether a file of these is read of an image once it is built, by its path, for its record or its bill of materials: who releases it elsewhere reads it too.
    pub looked_at: Option<fn(&[u8]) -> bool>,
    /// The cache mounts of steps that ran.
    pub mounts: Vec<UsedMount>,
    /// Those of steps that were reused: nothing is new in them, so they are sent only where there is nothing of them.
    pub idle_mounts: Vec<UsedMount>,
}

/// What a tier was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The tier.
    pub tier: String,
    /// Layers that it did not have.
    pub layers: usize,
    /// Bytes that were sent.
    pub bytes: u64,
}

impl Remote {
    /// Tells every tier that may be written to what it does not know yet. A tier that fails is warned of.
    ///
    /// # Errors
    /// The store fails.
    pub async fn publish(&self, learnt: &Learnt) -> Result<Vec<Published>> {
        self.sync().await?;
        let mut published = Vec::new();
        for place in &self.places {
            let known = place.known.load(Ordering::Acquire);
            if !place.used.write || !place.works() || !known {
                continue;
            }
            match self.publish_to(place, learnt).await {
                Ok(Some(done)) => published.push(done),
                Ok(None) => {}
                Err(Trouble::Tier(error)) => {
                    self.failed(place, "be told what this build learnt", &error);
                    continue;
                }
                Err(Trouble::Here(error)) => return Err(error),
            }
            if let Err(error) = self.tidy(place).await {
                self.failed(place, "be tidied", &error);
            }
        }
        Ok(published)
    }

    async fn publish_to(&self, place: &Place, learnt: &Learnt) -> std::result::Result<Option<Published>, Trouble> {
        let (tier, store) = (&place.used.tier, self.store());
        let mut names = learnt.names.clone();
        names.extend(self.names_of(&learnt.bases)?);
        let (mut segment, mut lacking) = store.to_tell(tier.name(), &learnt.steps, &names)?;
        let bases: HashSet<LayerId> = learnt.bases.iter().flat_map(|base| base.layers.iter().copied()).collect();
        if !place.used.everything {
            lacking.retain(|layer| learnt.image.contains(layer));
        }
        for layer in &learnt.image {
            // One that was only put together from others would have to be put together again for each push.
            let has_blob = store.place_in(tier.name(), layer)?.is_none_or(|place| place.files.is_some());
            if !has_blob && store.has_layer(layer)? && !lacking.contains(layer) {
                lacking.push(*layer);
            }
        }
        lacking.retain(|layer| !bases.contains(layer));
        let mut mounts: Vec<&UsedMount> = learnt.mounts.iter().collect();
        for mount in &learnt.idle_mounts {
            if !self.has_mount(place, mount)? {
                mounts.push(mount);
            }
        }
        // What a base image holds must be known where it is not.
        let (layers, of_bases, mounts) = tokio::try_join!(
            self.send_layers(place, learnt, lacking),
            self.send_bases(place, learnt, &bases),
            self.send_mounts(place, mounts),
        )?;
        let count = layers.len();
        let mut sent = 0;
        for (layer, bytes) in layers.into_iter().chain(of_bases) {
            sent += bytes;
            segment.layers.push(layer);
        }
        for (parts, bytes) in mounts {
            sent += bytes;
            segment.mounts.extend(parts);
        }
        if segment.is_empty() {
            return Ok(None);
        }
        segment.layers.sort_by_key(|layer| layer.id);
        let (name, bytes) = self.announce(place, &segment).await?;
        store.learn(tier.name(), &name, &segment, place.used.read)?;
        sent += bytes;
        self.moved.sent.fetch_add(sent, Ordering::Relaxed);
        place.succeeded();
        Ok(Some(Published { tier: tier.name().to_owned(), layers: count, bytes: sent }))
    }

    /// One after the other: each sends many parts at once.
    async fn send_mounts(
        &self,
        place: &Place,
        mounts: Vec<&UsedMount>,
    ) -> std::result::Result<Vec<(Vec<Mount>, u64)>, Trouble> {
        let mut sent = Vec::new();
        for mount in mounts {
            sent.push(self.send_mount(place, mount).await?);
        }
        Ok(sent)
    }

    /// What the tars of base images became here.
    fn names_of(&self, bases: &[Image]) -> Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        for base in bases {
            for tar in crate::origin::tars(self.store(), &base.id())? {
                names.push((crate::origin::UNPACKED.to_owned(), tar.hex()));
            }
        }
        Ok(names)
    }

    /// Writes a segment and makes it visible.
    async fn announce(&self, place: &Place, segment: &Segment) -> std::result::Result<(SegmentName, u64), Trouble> {
        let bytes = segment.encode()?;
        let digest = self.store().blobs().put(&bytes)?;
        let name = SegmentName { time: shiplap_cache::seconds(), digest };
        place.used.tier.publish(self.store(), &name, &segment.parts()).await?;
        Ok((name, bytes.len() as u64))
    }

    /// The blobs of a segment that the tier does not have any more.
    pub(super) async fn gone(&self, place: &Place, segment: &Segment) -> TierResult<HashSet<Digest>> {
        let looked: Vec<Option<Digest>> = futures::stream::iter(segment.parts())
            .map(|part| async move {
                let is_there = place.used.tier.has(&part.blob).await?;
                Ok::<_, TierError>((!is_there).then_some(part.blob.digest))
            })
            .buffer_unordered(2 * PARALLEL)
            .try_collect()
            .await?;
        Ok(looked.into_iter().flatten().collect())
    }

    /// Puts the segments of a tier together when there are many, or when it holds more than it may.
    async fn tidy(&self, place: &Place) -> TierResult<()> {
        let (tier, used) = (&place.used.tier, &place.used);
        let names = tier.segments().await?;
        let size = self.store().tier_size(tier.name())?;
        let mut fresh = Vec::new();
        for name in &names {
            if !self.store().is_replaced(tier.name(), name)? {
                fresh.push(*name);
            }
        }
        if fresh.len() < MANY && used.most.is_none_or(|most| size <= most) {
            return Ok(());
        }
        let mut read = Vec::new();
        for name in &fresh {
            match self.read_segment(place, name).await {
                Ok(segment) => read.push((*name, segment)),
                // Somebody else is tidying.
                Err(TierError::Missing(_)) => return Ok(()),
                // Perhaps it was damaged on the way, or a newer version wrote it. What it speaks of is not known, so nothing may go.
                Err(TierError::Corrupt { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let retention = Retention { since: today().saturating_sub(used.days), most: used.most };
        let mut merged = merge(read, retention);
        merged.replaces.retain(|name| names.contains(&name.into()));
        // A registry takes no segment that speaks of a blob that it lost, so one that is gone would keep all others from being put together.
        let gone = self.gone(place, &merged).await?;
        if !gone.is_empty() {
            tracing::warn!(tier = tier.name(), blobs = gone.len(), "a cache lost some of what it should have");
            merged = without(merged, &gone);
        }
        let (name, _) = self.announce(place, &merged).await.map_err(Trouble::into_tier)?;
        // What retention took away is not there any more.
        self.store().forget_tier(tier.name())?;
        self.store().skip_segments(tier.name(), &names)?;
        self.store().learn(tier.name(), &name, &merged, place.used.read)?;
        // Of those that came meanwhile nothing may go.
        let mut keep: HashSet<Digest> = merged.parts().iter().map(|part| part.blob.digest).collect();
        for name in tier.segments().await?.iter().filter(|name| !names.contains(name)) {
            keep.extend(self.read_segment(place, name).await?.parts().iter().map(|part| part.blob.digest));
        }
        match tier.remove(&names, &keep).await {
            Err(TierError::Unsupported(why)) => {
                tracing::debug!(tier = tier.name(), why, "segments stay in a registry that deletes nothing");
                Ok(())
            }
            result => result.map(drop),
        }
    }
}

/// Whose fault it is.
pub(super) enum Trouble {
    Tier(TierError),
    Here(crate::Error),
}

impl Trouble {
    fn into_tier(self) -> TierError {
        match self {
            Self::Tier(error) => error,
            Self::Here(error) => TierError::Unreachable(error.to_string()),
        }
    }
}

impl From<TierError> for Trouble {
    fn from(error: TierError) -> Self {
        match error {
            TierError::Here(error) => Self::Here(error.into()),
            error => Self::Tier(error),
        }
    }
}

impl From<crate::Error> for Trouble {
    fn from(error: crate::Error) -> Self {
        Self::Here(error)
    }
}

impl From<shiplap_cache::Error> for Trouble {
    fn from(error: shiplap_cache::Error) -> Self {
        Self::Here(error.into())
    }
}
