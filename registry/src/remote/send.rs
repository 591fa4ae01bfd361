//! Sending layers: a blob with its table, or only the contents that a tier has nowhere yet.

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::tier::segment::{INDEX, Layer, Segment};
use shiplap_cache::tier::table::{PACK, Pack, TABLE};
use shiplap_cache::tier::{Part, TierBlob};
use shiplap_cache::{LayerBlob, LayerId, LayerPlace, Store};

use super::elsewhere::{Known, Plan, plan};
use super::publish::{Learnt, Trouble};
use super::{PARALLEL, Place, Remote, blocking};
use crate::error::At;
use crate::tarball::Checked;
use crate::{NoProgress, PackOptions, Result};

/// Layers of more than this are sent one after the other, for the next may have the same contents.
const LARGE: u64 = 8 << 20;

/// So many packs of other builds are looked into.
const OTHERS: usize = 64;

/// What was sent: the record of a layer, and the bytes.
pub(super) type Sent = (Layer, u64);

impl Remote {
    /// Sends these layers. Those of the image go whole, for they are pushed and mounted; of the others only what is in no pack that the tier has.
    pub(super) async fn send_layers(
        &self,
        place: &Place,
        learnt: &Learnt,
        layers: Vec<LayerId>,
    ) -> std::result::Result<Vec<Sent>, Trouble> {
        let (image, others): (Vec<LayerId>, Vec<LayerId>) =
            layers.into_iter().partition(|layer| learnt.image.contains(layer));
        let mut sent = self.send_whole(place, image).await?;
        let is_large = |layer: &LayerId| self.store().index(layer).is_ok_and(|index| index.content_size() > LARGE);
        let (large, small): (Vec<LayerId>, Vec<LayerId>) = others.into_iter().partition(is_large);
        if !large.is_empty() {
            let mut known = self.known_packs(place, learnt, &sent).await?;
            for layer in large {
                let Some(done) = self.send_layer(place, &layer, &known).await? else { continue };
                for source in &done.0.contents {
                    self.add_known(&mut known, (*source).into()).await;
                }
                sent.push(done);
            }
        }
        sent.extend(self.send_whole(place, small).await?);
        Ok(sent)
    }

    async fn send_whole(&self, place: &Place, layers: Vec<LayerId>) -> std::result::Result<Vec<Sent>, Trouble> {
        let sent: Vec<Option<Sent>> = futures::stream::iter(layers)
            .map(|layer| async move { self.send_layer(place, &layer, &[]).await })
            .buffer_unordered(2 * PARALLEL)
            .try_collect()
            .await?;
        Ok(sent.into_iter().flatten().collect())
    }

    /// The packs of a tier whose tables are here: of the image first, then of this build, then of others.
    async fn known_packs(&self, place: &Place, learnt: &Learnt, sent: &[Sent]) -> Result<Vec<Known>> {
        let tier = place.used.tier.name();
        let mut packs: Vec<Pack> =
            sent.iter().flat_map(|(layer, _)| &layer.contents).copied().map(Into::into).collect();
        let steps = learnt.steps.iter().flat_map(|step| &step.result.layers);
        for layer in learnt.image.iter().chain(steps) {
            packs.extend(self.store().place_in(tier, layer)?.into_iter().flat_map(|place| place.contents));
        }
        packs.extend(self.store().packs_of(tier, OTHERS)?);
        let mut known = Vec::new();
        for pack in packs {
            self.add_known(&mut known, pack).await;
        }
        Ok(known)
    }

    /// Adds a pack whose table is here.
    async fn add_known(&self, known: &mut Vec<Known>, pack: Pack) {
        if known.iter().all(|(other, _)| *other != pack)
            && let Some(table) = self.table_here(&pack).await
        {
            known.push((pack, table));
        }
    }

    /// Packs a layer and sends it with its index. None for one that is nowhere.
    async fn send_layer(
        &self,
        place: &Place,
        layer: &LayerId,
        known: &[Known],
    ) -> std::result::Result<Option<Sent>, Trouble> {
        let tier = &place.used.tier;
        let is_here = self.store().has_layer(layer)?;
        let there = self.store().place_in(tier.name(), layer)?;
        // Of what has a blob there it is told again as that.
        let has_blob = there.as_ref().is_some_and(|there| there.files.is_some());
        // What it has, and is only to be told again of, need not come here first.
        if !is_here
            && let Some(there) = &there
            && let LayerPlace { index: Some(index), files, contents, complete, .. } = there
            && there.can_be_had()
        {
            let record =
                Layer { complete: *complete, ..Layer::of(layer, *index, files.as_ref()).with_contents(contents) };
            let segment = Segment { layers: vec![record.clone()], ..Segment::default() };
            if self.gone(place, &segment).await?.is_empty() {
                return Ok(Some((record, 0)));
            }
            self.store().forget_place(layer, tier.name())?;
        }
        // An index that no tier has any more is no reason to tell nobody anything.
        if self.indices(&[*layer]).await?.is_err() {
            return Ok(None);
        }
        if is_here
            && !has_blob
            && let Some(plan) = self.plan_for(place, layer, known).await?
            && let Some(sent) = self.send_rest(place, layer, plan).await?
        {
            return Ok(Some(sent));
        }
        let Some(files) = self.packed(layer).await? else { return Ok(None) };
        let part = part(&files);
        let put = async { Ok(tier.put(self.store(), &part).await?) };
        let (bytes, (index, index_bytes), table) =
            tokio::try_join!(put, self.send_index(place, layer), self.send_table(place, &part.blob))?;
        let record = Layer::of(layer, index, Some(&files));
        Ok(Some(match table {
            Some((pack, table_bytes)) => (record.with_contents(&[pack]), bytes + index_bytes + table_bytes),
            None => (record, bytes + index_bytes),
        }))
    }

    /// How a layer is put together from what the tier has, and has surely.
    async fn plan_for(
        &self,
        place: &Place,
        layer: &LayerId,
        known: &[Known],
    ) -> std::result::Result<Option<Plan>, Trouble> {
        let index = self.store().index(layer)?;
        let mut known = known.to_vec();
        loop {
            let (index, packs) = (index.clone(), known.clone());
            let Some(made) = blocking(move || plan(&index, &packs)).await else { return Ok(None) };
            let mut gone = Vec::new();
            for pack in &made.packs {
                if !place.used.tier.has(&pack.blob).await? || !place.used.tier.has(&pack.table).await? {
                    gone.push(*pack);
                }
            }
            if gone.is_empty() {
                return Ok(Some(made));
            }
            known.retain(|(pack, _)| !gone.contains(pack));
        }
    }

    /// Sends what is in no other pack, in a pack of its own. None where it cannot be read.
    async fn send_rest(
        &self,
        place: &Place,
        layer: &LayerId,
        plan: Plan,
    ) -> std::result::Result<Option<Sent>, Trouble> {
        let tier = &place.used.tier;
        let (store, id, rest) = (self.store().clone(), *layer, plan.clone());
        let own = match blocking(move || pack_rest(&store, &id, &rest)).await {
            Ok(own) => own,
            Err(error @ crate::Error::DamagedLayer { .. }) => {
                tracing::warn!(%error, "a layer is not sent to caches");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let (mut packs, mut sent, mut needed) = (plan.packs, 0, plan.bytes);
        if let Some(blob) = own {
            sent += tier.put(self.store(), &Part { blob, media_type: PACK.to_owned() }).await?;
            let Some((pack, bytes)) = self.send_table(place, &blob).await? else { return Ok(None) };
            (sent, needed) = (sent + bytes, needed + blob.size);
            packs.insert(0, pack);
        }
        let (index, index_bytes) = self.send_index(place, layer).await?;
        let record = Layer { complete: Some(needed), ..Layer::of(layer, index, None).with_contents(&packs) };
        Ok(Some((record, sent + index_bytes)))
    }

    /// Sends the table of a pack that the tier has now. None where the pack has none: another program made it, or an older version.
    pub(super) async fn send_table(
        &self,
        place: &Place,
        pack: &TierBlob,
    ) -> std::result::Result<Option<(Pack, u64)>, Trouble> {
        let Some(table) = self.store().pack_table(&pack.digest)? else { return Ok(None) };
        let is_here = self.store().blobs().size(&table.digest)? == Some(table.size);
        if !is_here && !self.blob(&table.digest, table.size).await? {
            return Ok(None);
        }
        let part = Part { blob: table, media_type: TABLE.to_owned() };
        let bytes = place.used.tier.put(self.store(), &part).await?;
        Ok(Some((Pack { blob: *pack, table }, bytes)))
    }

    /// The blob of a layer, packed now if it never was, or fetched from the tier that has it.
    async fn packed(&self, layer: &LayerId) -> Result<Option<LayerBlob>> {
        if self.store().has_layer(layer)? {
            let (store, layer) = (self.store().clone(), *layer);
            let packed =
                blocking(move || crate::pack::pack_layer(&store, &layer, &PackOptions::default(), &NoProgress));
            return match packed.await {
                Ok(files) => Ok(Some(files)),
                // A tar cannot hold everything that a layer can. Then its step runs elsewhere too.
                Err(error @ (crate::Error::ReservedName { .. } | crate::Error::DamagedLayer { .. })) => {
                    tracing::warn!(%error, "a layer is not sent to caches");
                    Ok(None)
                }
                Err(error) => Err(error),
            };
        }
        let places = self.store().layer_places(layer)?;
        for files in places.iter().filter_map(|place| place.files.as_ref()) {
            if self.blob(&files.digest, files.size).await? {
                return Ok(Some(files.clone()));
            }
        }
        // Another tier can give what it is put together from.
        if places.iter().any(|place| place.complete.is_some()) && self.layers(&[*layer]).await?.is_ok() {
            return Box::pin(self.packed(layer)).await;
        }
        Ok(None)
    }

    pub(super) async fn send_index(
        &self,
        place: &Place,
        layer: &LayerId,
    ) -> std::result::Result<(TierBlob, u64), Trouble> {
        let (store, id) = (self.store().clone(), *layer);
        let blob =
            blocking(move || -> Result<TierBlob> {
                let packed = zstd::bulk::compress(store.index(&id)?.as_bytes(), 9)
                    .map_err(|source| crate::Error::Io { what: "pack", path: store.home().join("indices"), source })?;
                let digest = store.blobs().put(&packed)?;
                Ok(TierBlob { digest, size: packed.len() as u64 })
            });
        let blob = blob.await?;
        let part = Part { blob, media_type: INDEX.to_owned() };
        let bytes = place.used.tier.put(self.store(), &part).await?;
        Ok((blob, bytes))
    }
}

fn part(files: &LayerBlob) -> Part {
    let blob = TierBlob { digest: files.digest, size: files.size };
    Part { blob, media_type: files.media_type.clone() }
}

/// Packs the contents of a layer that are nowhere else, one after the other. None where there are none.
pub(super) fn pack_rest(store: &Store, layer: &LayerId, plan: &Plan) -> Result<Option<TierBlob>> {
    if plan.rest.is_empty() {
        return Ok(None);
    }
    let (index, dir) = (store.index(layer)?, store.layer_dir(layer));
    let made = crate::pack::frames(store, |out| {
        for (path, hash, size) in &plan.rest {
            let missing = || shiplap_cache::Error::MissingLayer(*layer);
            let entry = index.entry(index.find(path.as_bytes()).ok_or_else(missing)?);
            let at = path.below(&dir);
            out.entry().at("pack", &at)?;
            out.contents(hash, *size);
            let mut file = Checked::open(&at, *layer, &entry, *size)?;
            std::io::copy(&mut std::io::Read::take(&mut file, *size), out).at("pack", &at)?;
            file.end(*layer, &entry, *hash)?;
        }
        Ok(())
    })?;
    made.keep_table(store)?;
    Ok(Some(TierBlob { digest: made.digest, size: made.size }))
}
