//! Watches what a step asks of the tree below it: seccomp user notification (seccomp_unotify(2)), always continued.
//!
//! The kernel stops each call of a step that takes a path and tells us; we note the path and let the call go on as it is. It observes,
//! it is no security boundary. The way of a call:
//!
//! ```text
//! filter     which calls are told, which are refused: installed in the step         filter.rs
//! listener   threads that receive and continue calls                                 listener.rs
//!   calls    which argument is a path, and what the call wants to know of it          calls.rs
//!   caller   the path's bytes and the caller's directories, from its memory and /proc caller.rs
//!   recorder the path's way through the parent tree, as observations                  recorder.rs
//!     memory     what was asked already                                               memory.rs
//!     programs   what executing a file reads besides the file                         programs.rs
//! changes    what the finished layer does to the parent, as observations              changes.rs
//! ```
//!
//! What an observation is worth is computed from the parent's index, never from what the call returned: there is no race to lose, and
//! a step's own files cost nothing. `docs/tracing.md` has the rules and why they are enough.

mod caller;
mod calls;
mod changes;
mod filter;
mod listener;
mod memory;
mod programs;
mod recorder;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use shiplap_cache::{LayerIndex, PathSet, Question, StepResult, Tree, TreePath};
use shiplap_registry::remote::Parts;

pub(crate) use filter::{Mode, install};
use recorder::Recorder;

/// Watches one run of a step.
#[derive(Debug)]
pub struct Tracer<'t> {
    recorder: Mutex<Recorder<'t>>,
}

/// What was seen.
#[derive(Debug)]
pub struct Trace {
    /// What the step depends on.
    pub set: PathSet,
    /// Whether it spoke to the network.
    pub network: bool,
    /// Why not all could be seen, if so: then the set is the whole parent.
    pub untraced: Option<String>,
    /// How many calls were seen.
    pub calls: u64,
    /// The parts of cache mounts that it used, by target. Nothing where not all could be seen.
    pub caches: HashMap<String, Parts>,
}

impl Trace {
    /// What of it belongs to the step's result.
    pub(crate) fn result(&self) -> StepResult {
        StepResult { network: self.network, untraced: self.untraced.clone(), ..StepResult::default() }
    }
}

impl<'t> Tracer<'t> {
    /// A tracer for a step on a tree, with what is mounted over it.
    pub fn new<'m>(tree: &'t Tree, mounts: impl IntoIterator<Item = &'m str>) -> Self {
        let mut recorder = Recorder::new(tree);
        mounts.into_iter().for_each(|target| recorder.mount(target));
        Self { recorder: Mutex::new(recorder) }
    }

    /// Notes what the builder itself reads for the step.
    pub fn ask(&self, path: &str, question: Question) {
        // A path that cannot be in a tree is refused by the sandbox.
        if let Ok(path) = TreePath::new(path.as_bytes()) {
            self.recorder().watcher.ask(&path, true, question);
        }
    }

    /// What is mounted at a target is a cache: which parts of it are used is noted.
    pub fn cache(&self, target: &str) {
        self.recorder().cache(target);
    }

    /// Notes that the step cannot be watched.
    pub fn give_up(&self, why: impl Into<String>) {
        self.recorder().give_up(why);
    }

    /// Receives the step's calls on threads of their own, until the step's last process is gone.
    pub fn follow<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: OwnedFd) {
        listener::follow(scope, &self.recorder, listener, listener::kernel_wakes());
    }

    /// As [`Tracer::follow`], in the way of kernels before 6.11.
    pub fn follow_by_polling<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: OwnedFd) {
        listener::follow(scope, &self.recorder, listener, false);
    }

    /// The step is over and this is the layer that it made.
    pub fn finish(self, layer: &LayerIndex) -> Trace {
        let mut recorder = self.recorder.into_inner().unwrap_or_else(PoisonError::into_inner);
        changes::note(&mut recorder.watcher, layer);
        let Recorder { watcher, network, untraced, calls, caches, .. } = recorder;
        let caches = if untraced.is_some() { HashMap::new() } else { caches.into_values().collect() };
        let set = if untraced.is_some() { PathSet::whole_parent() } else { watcher.path_set() };
        Trace { set, network, untraced, calls, caches }
    }

    fn recorder(&self) -> std::sync::MutexGuard<'_, Recorder<'t>> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
