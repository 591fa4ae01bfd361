//! What the builds of one process share: how many steps run at once, and whose turn it is where two are about to do the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use shiplap_cache::{Stack, StepKey, TreeId};
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::lock;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// Turns of builds that go on side by side. Of steps that are equal and stand on equal trees one runs, and the others take its result: two
/// instances whose images share stages build those once. A clone shares them too.
#[derive(Debug, Clone)]
pub struct Together(Arc<Turns>);

#[derive(Debug)]
struct Turns {
    /// Steps that run.
    running: Semaphore,
    /// Steps that run ahead.
    ahead: Semaphore,
    /// Steps that are looked up, run or copied by somebody.
    taken: Mutex<HashMap<(StepKey, TreeId), Turn>>,
}

impl Default for Together {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let (running, ahead) = (Semaphore::new(cores.max(2)), Semaphore::new(cores));
        Self(Arc::new(Turns { running, ahead, taken: Mutex::default() }))
    }
}

impl Together {
    pub(crate) fn running(&self) -> &Semaphore {
        &self.0.running
    }

    pub(crate) fn ahead(&self) -> &Semaphore {
        &self.0.ahead
    }

    /// Waits until nobody else makes the same.
    pub(crate) async fn alone(&self, step: &StepKey, stack: &Stack) -> OwnedMutexGuard<()> {
        let turn = lock(&self.0.taken).entry((*step, stack.id())).or_default().clone();
        turn.lock_owned().await
    }
}
