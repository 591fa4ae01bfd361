//! What a step is likely to open, and whether to fetch that or whole layers.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use futures::StreamExt;
use shiplap_cache::tier::table::{Content, Table};
use shiplap_cache::{ContentHash, Kind, LayerId, TreePath};
use tokio::runtime::Handle;

use super::super::{PARALLEL, Remote};
use super::state::{PackState, State, Whole};
use super::unit::{Unit, bytes, units};
use super::work::Work;
use super::{Missing, OnDemand, Place, Shared};
use crate::Result;

/// Of more than so many bytes in a hundred, all of them are cheaper: they come in one piece, and need not be waited for file by file.
const MOST: u64 = 60;

/// When files are likely to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// By a step that is about to run.
    Now,
    /// By one whose turn comes after another, perhaps: what is wanted now comes before it.
    Later,
}

/// Contents that a step is likely to open.
type Wanted = HashMap<LayerId, Vec<(ContentHash, u64)>>;

impl Remote {
    /// Prepares layers that are not here for being read file by file, and begins to fetch `reads` of them, the files that the step read the last time. Those that
    /// no pack has come with their layers, whole.
    ///
    /// None when there is nothing to gain: all layers are here, no tier can give single files of any of them, or what would be read is more than about 60 % of
    /// their bytes. Then [`Remote::layers`] is cheaper.
    ///
    /// # Errors
    /// The store fails.
    pub async fn on_demand(
        self: &Arc<Self>,
        layers: &[LayerId],
        reads: &[(LayerId, TreePath)],
    ) -> Result<Option<Arc<OnDemand>>> {
        self.prepare(layers, reads, Urgency::Now).await
    }

    /// Begins to fetch `reads` for a step that is likely to run when others have, whenever nothing comes for those. Ends when what is given is dropped; what has
    /// come by then is there for [`Remote::on_demand`]. No layer comes whole.
    ///
    /// # Errors
    /// The store fails.
    pub async fn ahead_of_demand(
        self: &Arc<Self>,
        layers: &[LayerId],
        reads: &[(LayerId, TreePath)],
    ) -> Result<Option<Arc<OnDemand>>> {
        self.prepare(layers, reads, Urgency::Later).await
    }

    async fn prepare(
        self: &Arc<Self>,
        layers: &[LayerId],
        reads: &[(LayerId, TreePath)],
        urgency: Urgency,
    ) -> Result<Option<Arc<OnDemand>>> {
        let missing = self.missing(layers)?;
        let kept = self.kept()?;
        let _urgent = match urgency {
            Urgency::Now => Some(kept.urgent()),
            Urgency::Later => {
                kept.idle().await;
                None
            }
        };
        if missing.is_empty() || self.indices(&missing).await?.is_err() {
            return Ok(None);
        }
        let (shared, wanted) = self.look(&missing, reads, urgency)?;
        if shared.packs.is_empty() {
            return Ok(None);
        }
        let (planned, whole) = shared.plan(&wanted).await;
        let mut total = 0;
        for layer in &missing {
            total += self.cost_of(layer)?;
        }
        let mut part: u64 = planned.iter().map(|(table, units)| bytes(table, units)).sum();
        for layer in &whole {
            part += self.cost_of(layer)?;
        }
        if part.saturating_mul(100) > total.saturating_mul(MOST) {
            return Ok(None);
        }
        if part > 0 && urgency == Urgency::Now {
            self.watch.fetching(missing.len(), part);
        }
        let queue: VecDeque<Unit> = planned.into_iter().flat_map(|(_, units)| units).collect();
        let workers = queue.len().min(PARALLEL);
        shared.begin(queue, if urgency == Urgency::Now { &whole } else { &[] });
        let shared = Arc::new(shared);
        for _ in 0..workers {
            shared.start(Work::Queue);
        }
        if urgency == Urgency::Now {
            whole.into_iter().for_each(|layer| shared.start(Work::Whole(layer)));
        }
        Ok(Some(Arc::new(OnDemand { shared })))
    }

    /// Bytes that must come for a layer; of one that nobody knows the blob of, as of an image that is pulled by its name, at most what its files have.
    fn cost_of(&self, layer: &LayerId) -> Result<u64> {
        match self.cost(layer)? {
            0 => Ok(self.store().index(layer)?.content_size()),
            bytes => Ok(bytes),
        }
    }

    /// Which packs have contents of these layers, and which contents are wanted of each.
    fn look(
        self: &Arc<Self>,
        missing: &[LayerId],
        reads: &[(LayerId, TreePath)],
        urgency: Urgency,
    ) -> Result<(Shared, Wanted)> {
        let mut packs: Vec<Place> = Vec::new();
        let mut layers = HashMap::new();
        for layer in missing {
            let mut own = Vec::new();
            for place in self.store().layer_places(layer)? {
                let gives = |tier: &super::super::Place| !tier.whole_alone.load(std::sync::atomic::Ordering::Acquire);
                if !self.place(&place.tier).is_some_and(gives) {
                    continue;
                }
                for pack in place.contents {
                    let known = packs.iter().position(|known| known.tier == place.tier && known.pack == pack);
                    own.push(known.unwrap_or_else(|| {
                        packs.push(Place { tier: place.tier.clone(), pack });
                        packs.len() - 1
                    }));
                }
            }
            layers.insert(*layer, Missing { index: self.store().index(layer)?, packs: own });
        }
        let kept = self.kept()?;
        let mut wanted = Wanted::new();
        let mut seen = HashSet::new();
        for (layer, path) in reads {
            let Some(Missing { index, .. }) = layers.get(layer) else { continue };
            let entry = index.find(path.as_bytes()).map(|at| index.entry(at).kind);
            if let Some(Kind::File { size, hash, .. }) = entry
                && !kept.heap.has(&hash)
                && seen.insert((*layer, hash))
            {
                wanted.entry(*layer).or_default().push((hash, size));
            }
        }
        let unread = vec![PackState::Unread; packs.len()];
        let shared = Shared {
            remote: self.clone(),
            runtime: Handle::current(),
            layers,
            packs,
            kept,
            urgency,
            state: Mutex::new(State::new(unread)),
            changed: Condvar::new(),
            tasks: Mutex::default(),
        };
        Ok((shared, wanted))
    }
}

impl Shared {
    /// Reads the tables that are needed to find what is wanted. Gives the units with it, and the layers that have something of it that is in no pack.
    async fn plan(&self, wanted: &Wanted) -> (Vec<(Arc<Table>, Vec<Unit>)>, Vec<LayerId>) {
        let mut open: Vec<(LayerId, ContentHash, u64)> = Vec::new();
        for (layer, contents) in wanted {
            open.extend(contents.iter().map(|(hash, size)| (*layer, *hash, *size)));
        }
        let mut found: HashMap<usize, Vec<(LayerId, Content)>> = HashMap::new();
        let mut tiers: Vec<&str> = self.packs.iter().map(|place| place.tier.as_str()).collect();
        tiers.dedup();
        let mut asked = HashSet::new();
        // Of the next tier only for what the one before it has not.
        for tier in tiers.into_iter().filter(|tier| asked.insert(*tier)) {
            let of_tier = |layer: &LayerId| {
                self.layers[layer].packs.iter().copied().filter(|pack| self.packs[*pack].tier == tier)
            };
            let needed: HashSet<usize> = open.iter().flat_map(|(layer, _, _)| of_tier(layer)).collect();
            futures::stream::iter(needed)
                .for_each_concurrent(2 * PARALLEL, |pack| async move {
                    let table = self.table(pack).await;
                    self.state().packs[pack] = table.map_or(PackState::Bad, PackState::Read);
                })
                .await;
            let state = self.state();
            open.retain(|(layer, hash, size)| {
                for pack in of_tier(layer) {
                    if let PackState::Read(table) = &state.packs[pack]
                        && let Some(content) = table.find(hash, *size)
                    {
                        found.entry(pack).or_default().push((*layer, content));
                        return false;
                    }
                }
                true
            });
        }
        let whole: BTreeSet<LayerId> = open.into_iter().map(|(layer, _, _)| layer).collect();
        let state = self.state();
        let mut planned: Vec<(Arc<Table>, Vec<Unit>)> = Vec::new();
        let mut found: Vec<(usize, Vec<(LayerId, Content)>)> = found.into_iter().collect();
        found.sort_by_key(|(pack, _)| *pack);
        for (pack, contents) in found {
            // What comes with its layer need not come twice.
            let contents = contents.into_iter().filter(|(layer, _)| !whole.contains(layer)).map(|(_, content)| content);
            if let PackState::Read(table) = &state.packs[pack] {
                planned.push((table.clone(), units(pack, table, contents.collect())));
            }
        }
        (planned, whole.into_iter().collect())
    }

    /// What is about to come.
    fn begin(&self, queue: VecDeque<Unit>, whole: &[LayerId]) {
        let mut state = self.state();
        state.extend(queue);
        whole.iter().for_each(|layer| state.is_whole(*layer, Whole::Coming));
    }
}
