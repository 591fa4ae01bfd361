//! How a `RUN` gets at its layers: as directories, or the lower ones as a served tree whose files come one by one.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shiplap_cache::{Contents, LayerId, Store};

use super::error::StepError;
use crate::sandbox::{Cancel, Exit, Lower, SandboxError};
use crate::served::{self, ServedTree};

/// How the layers of one step are reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    served: Option<Served>,
}

#[derive(Debug, Clone)]
struct Served {
    contents: Arc<dyn Contents>,
    missing: Arc<HashSet<LayerId>>,
}

impl Reach {
    /// These layers are not here, and their files come from `contents`; so do those of all layers below one of them.
    pub(crate) fn by_files(contents: Arc<dyn Contents>, missing: HashSet<LayerId>) -> Self {
        Self { served: Some(Served { contents, missing: Arc::new(missing) }) }
    }

    /// A stack, bottom first, as the sandbox takes it, topmost first. Layers above the topmost missing one are directories; from there to the bottom there
    /// is one tree, which is added to `trees`.
    pub(crate) fn lower(
        &self,
        store: &Store,
        stack: &[LayerId],
        trees: &mut Vec<ServedTree>,
    ) -> Result<Vec<Lower>, StepError> {
        let topmost = self.served.as_ref().and_then(|served| {
            let missing = stack.iter().rposition(|layer| served.missing.contains(layer))?;
            Some((missing + 1, &served.contents))
        });
        let (below, contents) = topmost.unzip();
        let (below, above) = stack.split_at(below.unwrap_or_default());
        let mut lower: Vec<_> = above.iter().rev().map(|layer| Lower::Directory(store.layer_dir(layer))).collect();
        if let Some(contents) = contents {
            lower.push(Lower::Served(trees.len()));
            trees.push(ServedTree { tree: store.tree(below)?, contents: contents.clone() });
        }
        Ok(lower)
    }
}

/// The trees that are served to a step while it runs.
pub(crate) struct Serving<'a> {
    trees: &'a [ServedTree],
    /// Thrown with the build's, and when a file cannot be given.
    cancel: Cancel,
    whole: &'a Cancel,
    running: Vec<served::Serving>,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(trees: &'a [ServedTree], whole: &'a Cancel) -> Result<Self, StepError> {
        let cancel = whole.below().map_err(SandboxError::from)?;
        Ok(Self { trees, cancel, whole, running: Vec::new() })
    }

    /// The switch that ends the step.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Answers for a tree from now on. One that cannot be answered for has no device any more, and the step is told so by the kernel.
    pub(crate) fn serve(&mut self, tree: usize, device: OwnedFd) {
        let cancel = self.cancel.clone();
        // Whatever the step makes without a file that is in its tree is worth nothing, so it need not go on.
        match self.trees[tree].serve(device, move || cancel.cancel()) {
            Ok(serving) => self.running.push(serving),
            Err(error) => tracing::warn!(%error, "cannot serve a tree"),
        }
    }

    /// Nobody waits for files any more.
    pub(crate) fn stop(&self) {
        self.running.iter().for_each(served::Serving::stop);
    }

    /// How the step ended, if it saw every file that it asked for.
    pub(crate) fn whole(self, exit: Result<Exit, SandboxError>) -> Result<Exit, StepError> {
        if self.whole.is_cancelled() {
            return Err(SandboxError::Cancelled.into());
        }
        let lost: BTreeSet<LayerId> = self.trees.iter().flat_map(|tree| tree.contents.lost()).collect();
        if !lost.is_empty() {
            return Err(StepError::Gone(lost.into_iter().collect()));
        }
        match self.running.iter().find_map(served::Serving::failure) {
            Some((path, source)) => Err(StepError::Served { path, source }),
            None => Ok(exit?),
        }
    }
}
