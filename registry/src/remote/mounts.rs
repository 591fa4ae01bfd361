//! Contents of `RUN --mount=type=cache`: caches of pip, npm and the like, that a fresh runner would have to fill anew.
//!
//! ```text
//! parts   which part of a cache a file is in            mounts/parts.rs
//! pack    what is in a mount, packed part by part       mounts/pack.rs
//! fill    parts that came go into a mount               mounts/fill.rs
//! held    which parts of a mount are here               mounts/held.rs
//! ```
//!
//! They are packed in a fixed number of parts. Which one a file is in depends on its path alone, and a tier knows of each part for itself: so a cache that grew a little is sent
//! again in part only, and a step gets the parts that it needs. They are worth something and never necessary: what goes wrong here is left alone.

mod fill;
mod held;
mod pack;
mod parts;

use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::tier::segment::Mount;
use shiplap_cache::tier::{MOUNT, Part as Blob, TierBlob};
use shiplap_cache::{ContentHash, MountPlace, RENEW, seconds};

use super::publish::Trouble;
use super::{PARALLEL, Place, Remote, blocking};
use crate::Result;
use held::DATA;
pub use parts::Parts;
use parts::{COUNT, Part};

/// A cache mount of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UsedMount {
    /// What it is for: its identity in the store.
    pub label: String,
    /// Owner, group and mode of its root.
    pub owner: (u32, u32, u32),
    /// Whether it begins with files from somewhere (`from=`). Steps may count on these, so all of it comes or nothing.
    pub seeded: bool,
}

impl UsedMount {
    /// The name of a part in tiers.
    fn key(&self, part: Part) -> ContentHash {
        ContentHash::of(format!("{}\npart {part} of {COUNT}", self.label).as_bytes())
    }
}

impl Remote {
    /// Fills a cache mount with those of its `wanted` parts that are not here and that a tier has. Says whether it did. A mount that somebody has to himself is left alone, and so is
    /// one that was made here.
    ///
    /// # Errors
    /// The store fails.
    pub async fn restore(&self, mount: &UsedMount, wanted: Parts) -> Result<bool> {
        let folder = self.store().cache_mount(&mount.label)?;
        let is_new = !folder.join(DATA).exists();
        let here = if is_new { Parts::NONE } else { held::read(&folder) };
        let wanted = if mount.seeded { Parts::ALL } else { wanted }.without(here);
        let mut there = Vec::new();
        for part in Parts::ALL.without(here).iter() {
            let mut places = self.store().mount_places(&mount.key(part))?;
            places.retain(|found| self.place(&found.tier).is_some_and(|place| place.used.mounts > 0));
            if !places.is_empty() {
                there.push((part, places));
            }
        }
        // One of which nothing is known anywhere is made here.
        if there.is_empty() {
            return Ok(false);
        }
        there.retain(|(part, _)| wanted.has(*part));
        let _urgent = self.kept()?.urgent();
        let all = there.len();
        let fetched: Vec<Option<(Part, Option<TierBlob>)>> = futures::stream::iter(there)
            .map(|(part, places)| async move {
                Ok::<_, crate::Error>(self.fetch_part(&places).await?.map(|got| (part, got)))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let fetched: Vec<(Part, Option<TierBlob>)> = fetched.into_iter().flatten().collect();
        if mount.seeded && fetched.len() < all || fetched.is_empty() && !is_new {
            return Ok(false);
        }
        let (store, mount) = (self.store().clone(), mount.clone());
        match blocking(move || fill::fill(&store, &folder, &mount, &fetched)).await {
            Ok(filled) => Ok(filled),
            Err(error) => {
                tracing::debug!(%error, "a cache mount could not be filled");
                Ok(false)
            }
        }
    }

    /// Fetches a part from the place that has the newest. None where nobody could give it; and no blob where it is known that nothing is in it.
    async fn fetch_part(&self, places: &[MountPlace]) -> Result<Option<Option<TierBlob>>> {
        for found in places {
            let Some(place) = self.place(&found.tier) else { continue };
            let Some(blob) = found.parts.first() else { return Ok(Some(None)) };
            match place.used.tier.fetch(self.store(), blob).await {
                Ok(()) => {
                    self.moved.fetched.fetch_add(blob.size, Ordering::Relaxed);
                    self.moved.mounts.fetch_add(blob.size, Ordering::Relaxed);
                    return Ok(Some(Some(*blob)));
                }
                Err(shiplap_cache::tier::TierError::Here(error)) => return Err(error.into()),
                Err(error) => self.failed(place, "fetch a cache mount", &error),
            }
        }
        Ok(None)
    }

    /// Whether a tier has anything of a cache mount.
    pub(super) fn has_mount(&self, place: &Place, mount: &UsedMount) -> Result<bool> {
        Ok(self.known_parts(place, mount)?.iter().any(|(_, known)| known.is_some()))
    }

    /// What a tier has of each part.
    fn known_parts(&self, place: &Place, mount: &UsedMount) -> Result<Vec<(Part, Option<MountPlace>)>> {
        let of = |part| Ok((part, self.store().mount_in(place.used.tier.name(), &mount.key(part))?));
        Parts::ALL.iter().map(of).collect()
    }

    /// Packs the parts of a cache mount that are whole here, and sends those that a tier does not have so. What it has of the others stays. Gives what is
    /// to be said of them, and how many bytes went.
    pub(super) async fn send_mount(
        &self,
        place: &Place,
        mount: &UsedMount,
    ) -> std::result::Result<(Vec<Mount>, u64), Trouble> {
        let nothing = (Vec::new(), 0);
        if place.used.mounts == 0 {
            return Ok(nothing);
        }
        let skip = |error: &crate::Error| tracing::debug!(%error, mount = mount.label, "a cache mount is not packed");
        let (store, label) = (self.store().clone(), mount.label.clone());
        // What a step added to a part that did not come is sent together with the rest of it.
        match blocking(move || pack::part_here(&store, &label)).await {
            Ok(Some(touched)) => drop(self.restore(mount, touched).await?),
            Ok(None) => {}
            Err(error) => {
                skip(&error);
                return Ok(nothing);
            }
        }
        let known = self.known_parts(place, mount)?;
        let (store, label) = (self.store().clone(), mount.label.clone());
        let free = known.iter().filter(|(_, known)| known.is_none());
        let free = free.fold(Parts::NONE, |free, (part, _)| free.with(*part));
        let here = held::read(&store.cache_mount(&label)?).and(free);
        let elsewhere = known.iter().filter(|(part, _)| !here.has(*part)).filter_map(|(_, known)| known.as_ref());
        let carried: u64 = elsewhere.flat_map(|known| &known.parts).map(|blob| blob.size).sum();
        let most = place.used.mounts.saturating_sub(carried);
        let packed = match blocking(move || pack::pack(&store, &label, most, free)).await {
            Ok(packed) => packed,
            // Another build may be writing to it.
            Err(error) => {
                skip(&error);
                return Ok(nothing);
            }
        };
        let now = seconds();
        let known = &known;
        let told: Vec<Option<(Mount, u64)>> = futures::stream::iter(packed)
            .map(|(part, blob)| async move {
                let known = known.iter().find(|(of, _)| *of == part).and_then(|(_, known)| known.as_ref());
                let as_known = match known {
                    // Retention counts from when it was said last.
                    Some(known) => known.parts.as_slice() == blob.as_slice() && known.time + RENEW_AFTER > now,
                    None => blob.is_none(),
                };
                if as_known {
                    return Ok(None);
                }
                let mut sent = 0;
                if let Some(blob) = blob {
                    let blob = Blob { blob, media_type: MOUNT.to_owned() };
                    sent = place.used.tier.put(self.store(), &blob).await?;
                }
                // The newest counts, so it must be newer than what it replaces, by whichever clock that was written.
                let time = known.map_or(now, |known| now.max(known.time + 1));
                let parts = blob.into_iter().map(Into::into).collect();
                Ok::<_, Trouble>(Some((Mount { key: *mount.key(part).as_bytes(), time, parts }, sent)))
            })
            .buffered(2 * PARALLEL)
            .try_collect()
            .await?;
        let (mounts, sent): (Vec<Mount>, Vec<u64>) = told.into_iter().flatten().unzip();
        Ok((mounts, sent.iter().sum()))
    }
}

/// So many seconds after a part was sent, its tier is told of it again.
const RENEW_AFTER: i64 = RENEW as i64 * 86_400;
