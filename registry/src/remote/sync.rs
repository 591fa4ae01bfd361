//! Reading what is new in the tiers.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use shiplap_cache::Result as StoreResult;
use shiplap_cache::tier::segment::{MOST, Segment};
use shiplap_cache::tier::{SegmentName, TierError, TierResult};

use super::{BASES, PARALLEL, Place, Remote};

impl Remote {
    /// Reads the segments of all tiers that were not read before, once in a process. From then on the store finds the results in them.
    ///
    /// # Errors
    /// The store fails. A tier that fails is left alone.
    pub async fn sync(&self) -> StoreResult<()> {
        self.synced.get_or_try_init(|| self.read_all()).await.map(|&()| ())
    }

    async fn read_all(&self) -> StoreResult<()> {
        let read = self.places.iter().map(|place| async move {
            match self.read_place(place).await {
                Ok(()) => {
                    place.known.store(true, Ordering::Release);
                    Ok(())
                }
                Err(TierError::Here(error)) => Err(error),
                Err(error) => {
                    self.failed(place, "read what it has", &error);
                    place.give_up();
                    Ok(())
                }
            }
        });
        futures::future::join_all(read).await.into_iter().collect::<StoreResult<()>>()?;
        self.use_those_that_work();
        Ok(())
    }

    /// Tells the store which tiers count.
    pub(super) fn use_those_that_work(&self) {
        let in_use = self.places.iter().filter(|place| place.works() && place.used.read);
        let names = in_use.map(|place| place.used.tier.name().to_owned());
        let names: Vec<String> = names.collect();
        // Without a tier nothing counts as being elsewhere.
        let bases = (!names.is_empty()).then(|| BASES.to_owned());
        self.store().use_tiers(names.into_iter().chain(bases));
    }

    async fn read_place(&self, place: &Place) -> TierResult<()> {
        // Somebody may put segments together at this moment: then those that were listed are gone, and there is another one.
        match self.read_segments(place).await {
            Err(TierError::Missing(_)) => self.read_segments(place).await,
            result => result,
        }
    }

    async fn read_segments(&self, place: &Place) -> TierResult<()> {
        let (tier, store) = (&place.used.tier, self.store());
        let there: HashSet<SegmentName> = tier.segments().await?.into_iter().collect();
        let mut known = store.segments_of(tier.name())?;
        if !known.is_subset(&there) {
            // What those that are gone said of layers may not be true any more.
            store.forget_tier(tier.name())?;
            known.clear();
        }
        let mut wanted: Vec<SegmentName> = there.difference(&known).copied().collect();
        // The newest first: it may stand for those before it.
        wanted.sort_unstable();
        let mut learnt: Vec<(SegmentName, Segment)> = Vec::new();
        while !wanted.is_empty() {
            let some = wanted.split_off(wanted.len().saturating_sub(PARALLEL));
            let read: Vec<_> = futures::stream::iter(some)
                .map(|name| async move { (name, self.read_segment(place, &name).await) })
                .buffered(PARALLEL)
                .collect()
                .await;
            for (name, segment) in read.into_iter().rev() {
                match segment {
                    Ok(segment) => {
                        let replaced: HashSet<SegmentName> = segment.replaces.iter().map(Into::into).collect();
                        wanted.retain(|name| !replaced.contains(name));
                        store.skip_segments(tier.name(), replaced.intersection(&there))?;
                        learnt.push((name, segment));
                    }
                    // Somebody's segment is no good: the others are. The next process asks for it again.
                    Err(error @ TierError::Corrupt { .. }) => {
                        self.failed(place, "read a part of what it has", &error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        // The oldest first: of two results the older one counts.
        for (name, segment) in learnt.iter().rev() {
            store.learn(tier.name(), name, segment, place.used.read)?;
        }
        Ok(())
    }

    /// Reads and decodes one segment.
    pub(super) async fn read_segment(&self, place: &Place, name: &SegmentName) -> TierResult<Segment> {
        let bytes = place.used.tier.segment(name, MOST).await?;
        self.moved.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Segment::decode(&bytes).map_err(|why| TierError::Corrupt { digest: name.digest, why })
    }
}
