//! Files of layers that are not here, one by one, as a step opens them.
//!
//! ```text
//! Remote::on_demand   looks which packs have them, and begins with what the step read the last time     plan.rs
//! OnDemand::open      gives a file, which waits until it is here                                        mod.rs
//!                     what it waits for: a table, some frames, or the layer whole                       state.rs
//!                     fetching that                                                                     work.rs
//!                     frames become contents, each found by its hash                                    heap.rs
//! ```
//!
//! Nobody believes a pack: contents are kept under the hash that was computed of them, and a file is given when the hash in its layer's index is there. A pack that has
//! something else, or a tier that does not answer, is left alone; when none is left, the layer is fetched whole.

mod heap;
mod kept;
mod plan;
mod state;
mod unit;
mod work;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use shiplap_cache::tier::table::Pack;
use shiplap_cache::{ContentHash, Contents, Kind, LayerId, LayerIndex, Piece, TreePath};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::Remote;
use state::{Next, State};
use work::Work;

pub(super) use heap::Heap;
pub(super) use kept::Kept;
use plan::Urgency;
pub(super) use unit::{Unit, bytes, units};

/// Layers whose files come as somebody opens them. What has come is kept for the next, as long as the tiers are in use.
pub struct OnDemand {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDemand").field("layers", &self.shared.layers.len()).finish_non_exhaustive()
    }
}

/// What those who wait and those who fetch know together.
struct Shared {
    remote: Arc<Remote>,
    /// Who opens files has a thread of its own; fetching is the runtime's.
    runtime: Handle,
    /// The layers that were not here.
    layers: HashMap<LayerId, Missing>,
    packs: Vec<Place>,
    kept: Arc<Kept>,
    urgency: Urgency,
    state: Mutex<State>,
    changed: Condvar,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A layer that was not here.
struct Missing {
    index: Arc<LayerIndex>,
    /// The packs that have contents of it, in the order in which they are asked.
    packs: Vec<usize>,
}

/// A pack in a tier.
struct Place {
    tier: String,
    pack: Pack,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches something while others go on. Whatever becomes of it, who waits is told.
    fn start(self: &Arc<Self>, work: Work) {
        let mut ending = work::Ending::new(self.clone(), work);
        let task = self.runtime.spawn(async move { ending.go().await });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
    }

    fn in_layer(&self, layer: &LayerId, path: &TreePath) -> io::Result<Piece> {
        Piece::open(&path.below(&self.remote.store().layer_dir(layer)))
    }

    /// Waits until contents are here. Gives where they are.
    fn wait(self: &Arc<Self>, layer: &LayerId, path: &TreePath, hash: &ContentHash, size: u64) -> io::Result<Piece> {
        let mut state = self.state();
        loop {
            let next = state.next(self, layer, hash, size);
            state = match next {
                Next::Kept(piece) => return Ok(piece),
                Next::Whole => return self.in_layer(layer, path),
                Next::Lost => return Err(io::Error::other(format!("layer {} cannot be had any more", layer.short()))),
                Next::Wait => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Next::Start(work) => {
                    // A runtime that is shut down gives the work up at once, which takes the lock.
                    drop(state);
                    self.start(work);
                    self.state()
                }
            };
        }
    }
}

impl Contents for OnDemand {
    fn open(&self, layer: &LayerId, path: &TreePath) -> io::Result<Piece> {
        let shared = &self.shared;
        let Some(missing) = shared.layers.get(layer) else { return shared.in_layer(layer, path) };
        let entry = missing.index.find(path.as_bytes()).map(|at| missing.index.entry(at));
        let Some(Kind::File { size, hash, .. }) = entry.map(|entry| entry.kind) else {
            let why = format!("{path} is no file of layer {}", layer.short());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
        shared.wait(layer, path, &hash, size)
    }

    fn lost(&self) -> Vec<LayerId> {
        self.shared.state().lost()
    }
}

impl Drop for OnDemand {
    /// Nobody waits any more, so what is under way is given up.
    fn drop(&mut self) {
        self.shared.state().clear();
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}
