//! Whether a step gets the files of layers that are elsewhere one by one, as it reads them, or whole layers first.
//!
//! One by one is for a step that ran before: what it read then is fetched at once, and only what it reads besides is waited for. And it is for machines where the sandbox
//! can mount a served tree ([`crate::served`]).

use std::collections::HashSet;

use shiplap_cache::{Asked, Entry, Kind, LayerId, PathSet, Stack, Store, Tree, TreePath};

use super::able::check_serving;
use super::error::StepError;
use super::key::Keyed;
use super::reach::Reach;
use super::run::Mounted;
use super::sources::blocking;
use super::{Builder, Run};

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
        let reads: Vec<_> = reads.into_iter().map(|(layer, entry)| (layer, entry.path)).collect();
        let Some(contents) = remote.on_demand(layers, &reads).await? else { return Ok(None) };
        Ok(Some(Reach::by_files(contents, missing)))
    }
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
