//! What steps read of base images, for runners that have none of these.
//!
//! Base images are not copied into a tier: their own registries have them. But a step that runs on a fresh runner reads some files of them, an interpreter and its
//! libraries, and these few are sent: for each layer of a base image a pack with the contents that the steps of a build read, and with those that are read of the image
//! once it is built.

use std::collections::{HashMap, HashSet};

use shiplap_cache::tier::segment::Layer;
use shiplap_cache::tier::table::PACK;
use shiplap_cache::tier::{Part, TierBlob};
use shiplap_cache::{Asked, Kind, LayerId, LayerIndex, LayerPlace, RENEW, Store, UsedStep, today};

use super::elsewhere::{Contents, Plan};
use super::publish::{Learnt, Trouble};
use super::send::{Sent, pack_rest};
use super::{Place, Remote, blocking};
use crate::Result;

impl Remote {
    /// Sends what a tier does not know of base images yet: indices, and the contents that steps read.
    pub(super) async fn send_bases(
        &self,
        place: &Place,
        learnt: &Learnt,
        bases: &HashSet<LayerId>,
    ) -> std::result::Result<Vec<Sent>, Trouble> {
        // Of others nothing can be sent.
        let mut here = HashSet::new();
        for layer in bases {
            if self.store().has_layer(layer)? {
                here.insert(*layer);
            }
        }
        let (store, learnt) = (self.store().clone(), learnt.clone());
        let mut read = match place.used.everything {
            true => blocking(move || read_of(&store, &learnt, &here)).await?,
            // Without the layers of all steps none of them runs there by itself.
            false => HashMap::new(),
        };
        let mut sent = Vec::new();
        for layer in bases {
            let there = self.store().place_in(place.used.tier.name(), layer)?;
            let own = match read.remove(layer) {
                Some(contents) => self.send_read(place, layer, there.as_ref(), contents).await?,
                None => None,
            };
            let is_known = there.is_some_and(|there| there.day >= today().saturating_sub(RENEW));
            if (is_known && own.is_none()) || self.store().index(layer).is_err() {
                continue;
            }
            let (index, bytes) = self.send_index(place, layer).await?;
            let record = Layer::of(layer, index, None);
            sent.push(match own {
                Some((pack, own_bytes)) => (record.with_contents(&[pack]), bytes + own_bytes),
                None => (record, bytes),
            });
        }
        Ok(sent)
    }

    /// Sends contents of a layer that are in no pack of it yet. None where there are none.
    async fn send_read(
        &self,
        place: &Place,
        layer: &LayerId,
        there: Option<&LayerPlace>,
        mut contents: Vec<Contents>,
    ) -> std::result::Result<Option<(shiplap_cache::tier::table::Pack, u64)>, Trouble> {
        for pack in there.into_iter().flat_map(|there| &there.contents) {
            // One whose table is gone has nothing to offer to anybody.
            if let Ok(table) = self.pack_table(place, pack).await {
                contents.retain(|(_, hash, size)| table.find(hash, *size).is_none());
            }
        }
        let (store, id, plan) = (self.store().clone(), *layer, Plan { rest: contents, ..Plan::default() });
        let packed: Result<Option<TierBlob>> = blocking(move || pack_rest(&store, &id, &plan)).await;
        let blob = match packed {
            Ok(Some(blob)) => blob,
            Ok(None) => return Ok(None),
            Err(error @ crate::Error::DamagedLayer { .. }) => {
                tracing::warn!(%error, "a layer of a base image is not sent to caches");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let bytes = place.used.tier.put(self.store(), &Part { blob, media_type: PACK.to_owned() }).await?;
        let table = self.send_table(place, &blob).await?;
        Ok(table.map(|(pack, table_bytes)| (pack, bytes + table_bytes)))
    }
}

/// The contents of files of these layers that steps read and of those that are looked at, each once and in the order of the layer's index, so that the same reads make
/// the same pack.
fn read_of(store: &Store, learnt: &Learnt, layers: &HashSet<LayerId>) -> Result<HashMap<LayerId, Vec<Contents>>> {
    let mut read: HashMap<LayerId, HashMap<usize, Contents>> = HashMap::new();
    let mut add = |index: &LayerIndex, at: usize| {
        let entry = index.entry(at);
        if let Kind::File { size, hash, .. } = entry.kind
            && size > 0
        {
            read.entry(index.id()).or_default().insert(at, (entry.path, hash, size));
        }
    };
    for (image, looked_at) in learnt.bases.iter().filter_map(|image| Some((image, learnt.looked_at?))) {
        if !image.layers.iter().any(|layer| layers.contains(layer)) {
            continue;
        }
        let Ok(tree) = store.tree(&image.layers) else { continue };
        for found in tree.visible() {
            let index = &tree.layers()[found.layer];
            if looked_at(index.path(found.entry)) && layers.contains(&index.id()) {
                add(index, found.entry);
            }
        }
    }
    for UsedStep { step, parent, .. } in &learnt.steps {
        if !parent.layers().iter().any(|layer| layers.contains(layer)) {
            continue;
        }
        let Some(set) = store.path_sets(step)?.into_iter().find(|set| !set.is_whole_parent()) else { continue };
        // Of a tree whose indices are not all here nothing was decided, and nothing ran on it.
        let Ok(tree) = store.tree(parent.layers()) else { continue };
        for observation in set.observations().into_iter().filter(|observation| observation.asked == Asked::Content) {
            let Some(found) = tree.find(&observation.path) else { continue };
            let index = &tree.layers()[found.layer];
            if layers.contains(&index.id()) {
                add(index, found.entry);
            }
        }
    }
    let sorted = |files: HashMap<usize, Contents>| {
        let mut files: Vec<(usize, Contents)> = files.into_iter().collect();
        files.sort_by_key(|(at, _)| *at);
        let mut seen = HashSet::new();
        files.into_iter().map(|(_, contents)| contents).filter(|(_, hash, _)| seen.insert(*hash)).collect()
    };
    Ok(read.into_iter().map(|(layer, files)| (layer, sorted(files))).collect())
}
