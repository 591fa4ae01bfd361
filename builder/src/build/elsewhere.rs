//! What is not here and a tier has: fetched when a step needs it.
//!
//! To decide, a build needs indices, and only where a step did not stand on the very same tree before. To run, a step needs the layers below it, and a
//! copy those that it copies from. Without tiers there is nothing to fetch, and all of this does nothing.

use std::collections::HashSet;

use shiplap_cache::{Contents, Entry, Kind, LayerId, Lookup, Stack, StepKey, TreePath, UsedStep};
use shiplap_registry::remote::{Gone, Learnt, UsedMount};

use super::error::StepError;
use super::events::StepId;
use super::key::Keyed;
use super::reach::Reach;
use super::run::Mounted;
use super::sources::blocking;
use super::stage::Work;
use super::{Builder, Fetch, Run, by_files, caches, explain, known, lock, owner};
use crate::plan::{MountKind, Op};

/// What a build was told and made, for the tiers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    steps: Vec<UsedStep>,
    pub(super) names: Vec<(String, String)>,
    mounts: Vec<UsedMount>,
    /// Mounts of all steps, also of those that did not run.
    pub(super) idle_mounts: Vec<UsedMount>,
}

impl Builder {
    /// Fetches the indices of layers that are not here.
    pub(crate) async fn know(&self, layers: &[LayerId]) -> Result<(), StepError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        gone(remote.indices(layers).await?)
    }

    async fn fetch(&self, layers: &[LayerId]) -> Result<(), StepError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        gone(remote.layers(layers).await?)
    }
}

fn gone(fetched: Result<(), Gone>) -> Result<(), StepError> {
    fetched.map_err(|Gone(layers)| StepError::Gone(layers))
}

impl Run {
    /// [`Store::lookup`](shiplap_cache::Store::lookup), with the indices that it needs.
    pub(crate) async fn lookup(&self, step: &StepKey, stack: &Stack) -> Result<Option<Lookup>, StepError> {
        let store = self.builder.store();
        if self.builder.remote.is_some() {
            if let Some(found) = store.lookup_exact(step, stack)? {
                return Ok(Some(found));
            }
            if !store.can_compare(step)? {
                return Ok(None);
            }
            self.builder.know(stack.layers()).await?;
        }
        Ok(store.lookup(step, stack)?)
    }

    /// Fetches what a step needs to run, now that its files are known, and says how it gets at its layers.
    pub(crate) async fn ready(
        &self,
        id: StepId,
        keyed: &Keyed,
        work: &Work,
        stack: &Stack,
    ) -> Result<Reach, StepError> {
        let Some(remote) = &self.builder.remote else { return Ok(Reach::default()) };
        self.builder.know(stack.layers()).await?;
        match work {
            Work::Run { mounted } => {
                let mounted = mounted.as_deref().unwrap_or_default();
                let Op::Run(op) = &self.step(id).op else { return Ok(Reach::default()) };
                let mut layers = by_files::below(op, mounted, stack);
                let mut copied = Vec::new();
                for (mount, files) in op.mounts.iter().zip(mounted) {
                    if let (Mounted::Files(files, _), MountKind::Cache { .. }) = (files, &mount.kind) {
                        copied.extend(files.layers());
                    }
                }
                let mounts = caches::all(op, mounted);
                let fetch = async {
                    if let Some(reach) = self.by_files(keyed, stack, mounted, &layers).await? {
                        self.builder.fetch(&copied).await?;
                        return Ok(reach);
                    }
                    layers.extend(copied);
                    self.builder.fetch(&layers).await?;
                    Ok(Reach::default())
                };
                // Both take their time with the network.
                let restore = async {
                    for cache in &mounts {
                        remote.restore(&cache.mount, self.likely_parts(&keyed.key, cache)?).await?;
                    }
                    Ok::<_, StepError>(())
                };
                let (reach, restored) = tokio::join!(fetch, restore);
                let reach = restored.and(reach)?;
                lock(&self.notes).mounts.extend(mounts.into_iter().map(|cache| cache.mount));
                Ok(reach)
            }
            Work::Copy { .. } => {
                self.owners_known(work, stack).await?;
                let parent = self.builder.store().tree(stack.layers())?;
                self.builder.fetch(&known::sources(self, work, &parent)?).await?;
                // The times of what did not change are those of the layer that the step made before.
                if let Some(last) = explain::last_result(self, id, keyed)? {
                    let _ = self.builder.know(&last.layers).await;
                }
                Ok(Reach::default())
            }
            Work::Folder { .. } => self.owners_known(work, stack).await.map(|()| Reach::default()),
        }
    }

    /// Fetches what a copy needs to be laid out: who the owners are that it names.
    pub(crate) async fn owners_known(&self, work: &Work, stack: &Stack) -> Result<(), StepError> {
        let names = match work {
            Work::Run { .. } => false,
            Work::Copy { to, .. } => to.chown.is_some(),
            Work::Folder { user, .. } => user.is_some(),
        };
        if !names || self.builder.remote.is_none() {
            return Ok(());
        }
        let accounts = owner::accounts(&*self.builder.store().tree(stack.layers())?)?;
        let layers: Vec<LayerId> = accounts.iter().map(|(layer, _)| *layer).collect();
        if self.accounts(accounts, &layers).await? { Ok(()) } else { self.builder.fetch(&layers).await }
    }

    /// Fetches files that name users and groups, and nothing else of their layers. Says whether that was possible.
    async fn accounts(&self, accounts: Vec<(LayerId, TreePath)>, layers: &[LayerId]) -> Result<bool, StepError> {
        let Some(remote) = self.builder.remote.as_ref().filter(|_| !self.builder.whole_layers) else {
            return Ok(false);
        };
        let Some(contents) = remote.on_demand(layers, &accounts).await? else { return Ok(false) };
        let builder = self.builder.clone();
        blocking(move || {
            for (layer, path) in &accounts {
                match contents.open(layer, path) {
                    Ok(piece) => owner::keep(builder.store(), layer, path, piece)?,
                    Err(_) => return Ok(false),
                }
            }
            Ok(true)
        })
        .await
    }

    /// Notes a step's result, for the tiers.
    pub(crate) fn used(&self, id: StepId, step: UsedStep) {
        self.note_caches(id, &step.step);
        let mut notes = lock(&self.notes);
        notes.steps.push(step);
        notes.names.extend(explain::place_for_others(self, id));
    }

    /// What this build has to tell tiers.
    pub(crate) fn learnt(&self, image: &[LayerId]) -> Learnt {
        let notes = std::mem::take(&mut *lock(&self.notes));
        let Notes { steps, mut names, mut mounts, mut idle_mounts } = notes;
        names.extend(self.sources.memos());
        mounts.sort_by(|a, b| a.label.cmp(&b.label));
        mounts.dedup();
        idle_mounts.retain(|idle| !mounts.contains(idle));
        idle_mounts.sort_by(|a, b| a.label.cmp(&b.label));
        idle_mounts.dedup();
        let bases = self.sources.images.values().cloned().collect();
        Learnt { steps, names, image: image.to_vec(), bases, mounts, idle_mounts, ..Learnt::default() }
    }
}

/// What must come before a step can run on this tree. None when nothing must.
///
/// All layers below a `RUN` come, for a program may open any file of them; or, file by file, about what it read the last time. A copy needs those that it takes files from.
pub(crate) fn cost(run: &Run, keyed: &Keyed, work: &Work, stack: &Stack) -> Result<Option<Fetch>, StepError> {
    let Some(remote) = &run.builder.remote else { return Ok(None) };
    let store = run.builder.store();
    let tree = store.tree(stack.layers())?;
    // A layer that a step before it would make is not fetched.
    let places = |layer: &LayerId| store.layer_places(layer).unwrap_or_default();
    let needed = match work {
        Work::Run { .. } => stack.layers().to_vec(),
        Work::Copy { .. } => known::sources(run, work, &tree)?,
        Work::Folder { .. } => Vec::new(),
    };
    let missing = remote.missing(&needed)?.into_iter().filter(|layer| !places(layer).is_empty());
    let missing: HashSet<LayerId> = missing.collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut bytes = 0;
    for layer in &missing {
        bytes += remote.cost(layer)?;
    }
    let size = |(_, entry): (LayerId, Entry)| match entry.kind {
        Kind::File { size, .. } => size,
        _ => 0,
    };
    let last = by_files::last_set(store, keyed)?;
    let read = last.map(|set| by_files::reads(&set, &tree, &missing).into_iter().map(size).sum());
    let in_parts = || missing.iter().any(|layer| places(layer).iter().any(|place| !place.contents.is_empty()));
    let by_files = read.is_some() && in_parts() && run.builder.serves();
    Ok(Some(Fetch { layers: missing.len(), bytes, read, by_files }))
}
