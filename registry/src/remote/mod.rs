//! What a store has through tiers: layers and indices that are fetched when somebody needs them.
//!
//! ```text
//! Remote::sync      reads the segments that are new                  sync.rs
//! Remote::indices   fetches indices, to decide                       fetch.rs
//! Remote::layers    fetches layers, because a step must run          fetch.rs
//! Remote::on_demand prepares layers for being read file by file        demand/
//! Remote::publish   packs and sends what a build learnt              publish.rs
//! Remote::restore   what a `RUN --mount=type=cache` held elsewhere   mounts.rs
//! ```
//!
//! A tier that fails costs time and a warning, and never a build. After two failures in a row it is left alone for the rest of the process.

mod assemble;
mod bases;
mod demand;
mod elsewhere;
mod fetch;
mod mounts;
mod publish;
mod send;
mod sync;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shiplap_cache::tier::table::Table;
use shiplap_cache::tier::{Tier, TierError};
use shiplap_cache::{Digest, LayerBlob, LayerId, LayerPlace, Store, today};
use tokio::sync::OnceCell;

pub use demand::OnDemand;
pub use fetch::Gone;
pub use mounts::{Parts, UsedMount};
pub use publish::{Learnt, Published};

use crate::{Client, Images, Platform, Reference};

/// The tier, so to speak, that base images come from: their own registries.
pub(crate) const BASES: &str = "base images";

/// So many failures in a row, and a tier is left alone: each may have taken as long as we wait for an answer.
const PATIENCE: u32 = 2;

/// Blobs that are on their way at a time.
const PARALLEL: usize = 8;

/// A tier and what it is used for.
#[derive(Debug, Clone)]
pub struct TierUse {
    /// The tier.
    pub tier: Arc<dyn Tier>,
    /// Whether results are taken from it.
    pub read: bool,
    /// Whether it is told what builds learn.
    pub write: bool,
    /// Whether it gets the layers of every step (BuildKit: `mode=max`), or those of the final image alone (`mode=min`).
    pub everything: bool,
    /// Bytes that it may hold; above that, what was used longest ago is taken away.
    pub most: Option<u64>,
    /// What nobody used for so many days is taken away.
    pub days: u32,
    /// Bytes that one cache mount may have in it; none travel when that is zero.
    pub mounts: u64,
}

/// Who is told of tiers.
pub trait RemoteWatch: Send + Sync {
    /// A tier did not do what it should; the build goes on without.
    fn warn(&self, tier: &str, problem: &str);
    /// So much is fetched now, for a step that must run.
    fn fetching(&self, layers: usize, bytes: u64);
}

/// What moved so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Bytes of segments and indices that were read.
    pub read: u64,
    /// Layers that were fetched.
    pub layers: u64,
    /// Their bytes, and those of parts of layers and of cache mounts.
    pub fetched: u64,
    /// Parts of layers that were fetched.
    pub parts: u64,
    /// Files that came out of these and were opened.
    pub files: u64,
    /// Bytes of cache mounts that were fetched.
    pub mounts: u64,
    /// Bytes that were sent.
    pub sent: u64,
}

/// The tiers of a store.
pub struct Remote {
    images: Images,
    places: Vec<Place>,
    client: Client,
    watch: Arc<dyn RemoteWatch>,
    synced: OnceCell<()>,
    bases: Mutex<HashMap<LayerId, Arc<Base>>>,
    /// Layers that are being fetched: one that two stages need is fetched once.
    under_way: Mutex<HashMap<LayerId, Arc<tokio::sync::Mutex<()>>>>,
    /// Tables that were read: the steps of a build stand on the same layers.
    tables: Mutex<HashMap<Digest, Arc<Table>>>,
    /// Packs that are being fetched whole.
    packs: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    moved: Counters,
    /// Contents of single files that came.
    kept: Mutex<Option<Arc<demand::Kept>>>,
}

/// A base image whose layers are not here.
struct Base {
    reference: Reference,
    platform: Platform,
    pulled: OnceCell<()>,
}

#[derive(Default)]
struct Counters {
    read: AtomicU64,
    layers: AtomicU64,
    fetched: AtomicU64,
    parts: AtomicU64,
    files: AtomicU64,
    mounts: AtomicU64,
    sent: AtomicU64,
}

/// A tier of this process.
struct Place {
    used: TierUse,
    failures: AtomicU32,
    off: AtomicBool,
    /// It could be read at the beginning: what it has is known.
    known: AtomicBool,
    /// It gives nothing in part.
    whole_alone: AtomicBool,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("tiers", &self.places.len()).finish_non_exhaustive()
    }
}

impl Remote {
    /// These tiers, in this order. The client fetches layers of base images from their registries.
    pub fn new(images: Images, tiers: Vec<TierUse>, client: Client, watch: Arc<dyn RemoteWatch>) -> Self {
        let place = |used| Place {
            used,
            failures: AtomicU32::new(0),
            off: AtomicBool::new(false),
            known: AtomicBool::new(false),
            whole_alone: AtomicBool::new(false),
        };
        Self {
            images,
            places: tiers.into_iter().map(place).collect(),
            client,
            watch,
            synced: OnceCell::new(),
            bases: Mutex::default(),
            under_way: Mutex::default(),
            tables: Mutex::default(),
            packs: Mutex::default(),
            moved: Counters::default(),
            kept: Mutex::default(),
        }
    }

    /// What moved so far.
    pub fn moved(&self) -> Moved {
        let Counters { read, layers, fetched, parts, files, mounts, sent } = &self.moved;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (parts, files, mounts) = (get(parts), get(files), get(mounts));
        Moved { read: get(read), layers: get(layers), fetched: get(fetched), parts, files, mounts, sent: get(sent) }
    }

    /// Where contents of single files are kept.
    fn kept(&self) -> crate::Result<Arc<demand::Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept {
            return Ok(kept.clone());
        }
        Ok(kept.insert(Arc::new(demand::Kept::new(self.store())?)).clone())
    }

    fn store(&self) -> &Arc<Store> {
        self.images.store()
    }

    /// The tier of a name, if it is in use and works.
    fn place(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.used.tier.name() == name && place.works())
    }

    /// A tier failed at something.
    fn failed(&self, place: &Place, what: &str, error: &TierError) {
        let name = place.used.tier.name();
        // One thing that is missing says nothing about the tier.
        let counts = matches!(error, TierError::Unreachable(_) | TierError::Denied(_) | TierError::Full(_));
        let many = counts && place.failures.fetch_add(1, Ordering::AcqRel) + 1 >= PATIENCE;
        if many && !place.off.swap(true, Ordering::AcqRel) {
            self.use_those_that_work();
            self.watch.warn(name, &format!("cannot {what}: {error}; it is left alone from here on"));
        } else if place.works() {
            self.watch.warn(name, &format!("cannot {what}: {error}"));
        }
    }

    /// Uses no tier from here on.
    pub fn leave_alone(&self) {
        self.places.iter().for_each(Place::give_up);
        self.store().use_tiers([]);
    }

    /// Whether what a layer holds can be known.
    pub(crate) fn knows(&self, layer: &LayerId) -> crate::Result<bool> {
        let places =
            || Ok::<_, crate::Error>(self.store().layer_places(layer)?.iter().any(|place| place.index.is_some()));
        Ok(self.store().has_layer(layer)? || places()?)
    }

    /// Remembers the blob that a layer of a base image is in its registry.
    pub(crate) fn note_base_layer(&self, layer: &LayerId, blob: &LayerBlob) -> crate::Result<()> {
        let place = LayerPlace {
            tier: BASES.to_owned(),
            index: None,
            files: Some(blob.clone()),
            contents: Vec::new(),
            complete: None,
            day: today(),
        };
        Ok(self.store().note_layer(layer, &place)?)
    }

    fn base(&self, layer: &LayerId) -> Option<Arc<Base>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    /// Remembers where the layers of a base image come from, of which none need be here.
    pub(crate) fn note_base(&self, reference: &Reference, platform: &Platform, layers: &[LayerId]) {
        let base = Arc::new(Base { reference: reference.clone(), platform: platform.clone(), pulled: OnceCell::new() });
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            bases.entry(*layer).or_insert_with(|| base.clone());
        }
    }
}

impl Place {
    fn works(&self) -> bool {
        !self.off.load(Ordering::Acquire)
    }

    fn succeeded(&self) {
        self.failures.store(0, Ordering::Release);
    }

    /// Turns it off at once: what it has is not known.
    fn give_up(&self) {
        self.off.store(true, Ordering::Release);
    }
}

/// Runs something that reads and writes many files on a thread where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
