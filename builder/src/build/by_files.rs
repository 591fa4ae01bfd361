//! Whether a step gets the files of layers that are elsewhere one by one, as it reads them, or whole layers first.
//!
//! One by one is for a step that ran before: what it read then is fetched at once, and only what it reads besides is waited for. And it is for machines where the sandbox
//! can mount a served tree ([`crate::served`]).

use std::collections::HashSet;
use std::sync::Arc;

use shiplap_cache::{Asked, Entry, Kind, LayerId, PathSet, Stack, Store, Tree, TreePath};

use shiplap_registry::remote::OnDemand;

use super::able::check_serving;
use super::error::StepError;
use super::events::StepId;
use super::key::Keyed;
use super::reach::Reach;
use super::run::Mounted;
use super::sources::blocking;
use super::stage::Work;
use super::{Builder, Run};
use crate::plan::{MountKind, Op, RunOp};

impl Builder {
    /// Whether steps may get files one by one, and can.
    pub(crate) fn serves(&self) -> bool {
        !self.whole_layers
            && *self.serves.get_or_init(|| {
                let checked = check_serving(&self.sandbox, self.store());
                if let Err(why) = &checked {
                    tracing::debug!(%why, "steps cannot run on served trees here");
                }
                checked.is_ok()
            })
    }
}

impl Run {
    /// Prepares a step on these layers for reading files one by one. None where whole layers do better, or nothing else is possible.
    pub(super) async fn by_files(
        &self,
        keyed: &Keyed,
        stack: &Stack,
        mounted: &[Mounted],
        layers: &[LayerId],
    ) -> Result<Option<Reach>, StepError> {
        let Some(remote) = &self.builder.remote else { return Ok(None) };
        let Some((missing, reads)) = self.likely_reads(keyed, stack, mounted, layers).await? else { return Ok(None) };
        let Some(contents) = remote.on_demand(layers, &reads).await? else { return Ok(None) };
        Ok(Some(Reach::by_files(contents, missing)))
    }

    /// Begins to fetch what a step is likely to read when its turn comes, after all that is wanted before. Goes on for as long as what is given is held.
    pub(super) async fn files_ahead(
        &self,
        id: StepId,
        keyed: &Keyed,
        work: &Work,
        stack: &Stack,
    ) -> Result<Option<Arc<OnDemand>>, StepError> {
        let (Some(remote), Work::Run { mounted }, Op::Run(op)) = (&self.builder.remote, work, &self.step(id).op) else {
            return Ok(None);
        };
        let mounted = mounted.as_deref().unwrap_or_default();
        let layers = below(op, mounted, stack);
        let Some((_, reads)) = self.likely_reads(keyed, stack, mounted, &layers).await? else { return Ok(None) };
        Ok(remote.ahead_of_demand(&layers, &reads).await?)
    }

    /// The layers that are not here, and what the step read of them the last time. None where files do not come one by one.
    async fn likely_reads(
        &self,
        keyed: &Keyed,
        stack: &Stack,
        mounted: &[Mounted],
        layers: &[LayerId],
    ) -> Result<Option<(HashSet<LayerId>, Vec<(LayerId, TreePath)>)>, StepError> {
        let Some(remote) = &self.builder.remote else { return Ok(None) };
        let missing: HashSet<LayerId> = remote.missing(layers)?.into_iter().collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let store = self.builder.store();
        let Some(last) = last_set(store, keyed)? else { return Ok(None) };
        let builder = self.builder.clone();
        if !blocking(move || Ok(builder.serves())).await? {
            return Ok(None);
        }
        let mut reads = reads(&last, &*store.tree(stack.layers())?, &missing);
        // What a mount shows is in no path set. A file that is mounted by itself is read.
        reads.extend(mounted.iter().filter_map(|mounted| match mounted {
            Mounted::Files(files, path) => file_in(files.tree(), path, &missing),
            Mounted::Nothing => None,
        }));
        let reads = reads.into_iter().map(|(layer, entry)| (layer, entry.path)).collect();
        Ok(Some((missing, reads)))
    }
}

/// The layers that a step sees: those below it, and those of its mounts. A cache mount is filled with copies of files that are here, and is none of them.
pub(super) fn below(op: &RunOp, mounted: &[Mounted], stack: &Stack) -> Vec<LayerId> {
    let mut layers = stack.layers().to_vec();
    for (mount, files) in op.mounts.iter().zip(mounted) {
        if let (Mounted::Files(files, _), false) = (files, matches!(mount.kind, MountKind::Cache { .. })) {
            layers.extend(files.layers());
        }
    }
    layers
}

/// What a step read when it ran last, if that was watched.
pub(super) fn last_set(store: &Store, keyed: &Keyed) -> Result<Option<PathSet>, StepError> {
    Ok(store.path_sets(&keyed.key)?.into_iter().find(|set| !set.is_whole_parent()))
}

/// The files that a step reads in these layers.
pub(super) fn reads(set: &PathSet, tree: &Tree, layers: &HashSet<LayerId>) -> Vec<(LayerId, Entry)> {
    let contents = set.observations().into_iter().filter(|observation| observation.asked == Asked::Content);
    contents.filter_map(|observation| file_in(tree, &observation.path, layers)).collect()
}

/// The regular file at a path, if it is in one of these layers.
fn file_in(tree: &Tree, path: &TreePath, layers: &HashSet<LayerId>) -> Option<(LayerId, Entry)> {
    let found = tree.find(path)?;
    let layer = tree.layers()[found.layer].id();
    let entry = tree.entry(found);
    (layers.contains(&layer) && matches!(entry.kind, Kind::File { .. })).then_some((layer, entry))
}
