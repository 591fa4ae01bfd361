//! Cache mounts of steps, as tiers know them: which parts a step used the last time is what a fresh machine fetches for it.

use shiplap_cache::{ContentHash, MOUNT_PARTS, StepKey};
use shiplap_registry::remote::{Parts, UsedMount};

use super::error::StepError;
use super::events::StepId;
use super::run::{Mounted, cache_label, cache_origin};
use super::{Run, lock};
use crate::plan::{MountKind, Op, RunOp};
use crate::trace::Trace;

/// A cache mount of a step.
#[derive(Debug)]
pub(crate) struct CacheMount {
    /// Where the step has it.
    target: String,
    pub(crate) mount: UsedMount,
}

impl CacheMount {
    /// Under this name it is remembered which parts of it a step used.
    fn name(&self, step: &StepKey) -> String {
        ContentHash::of(format!("{step} {}", self.mount.label).as_bytes()).hex()
    }
}

/// The cache mounts of a run.
pub(crate) fn all(op: &RunOp, mounted: &[Mounted]) -> Vec<CacheMount> {
    let of = |(mount, from): (&crate::plan::Mount, &Mounted)| match &mount.kind {
        MountKind::Cache { id, owner, from: origin, .. } => {
            let (own, contents) = cache_origin(*owner, from);
            let (label, seeded) = (cache_label(id, own, &contents, 0), origin.is_some());
            let target = mount.target.clone().unwrap_or_default();
            Some(CacheMount { target, mount: UsedMount { label, owner: own, seeded } })
        }
        _ => None,
    };
    op.mounts.iter().zip(mounted).filter_map(of).collect()
}

/// Those that begin with nothing, for which no files must be looked at.
fn empty_ones(op: &RunOp) -> Vec<CacheMount> {
    let mut mounts = all(op, &op.mounts.iter().map(|_| Mounted::Nothing).collect::<Vec<_>>());
    mounts.retain(|cache| !cache.mount.seeded);
    mounts
}

impl Run {
    /// The parts of a cache mount that a step is likely to use: those that it used the last time. All when nobody knows.
    pub(crate) fn likely_parts(&self, step: &StepKey, cache: &CacheMount) -> Result<Parts, StepError> {
        let known = self.builder.store().name(MOUNT_PARTS, &cache.name(step))?;
        Ok(known.and_then(|known| known.parse().ok()).unwrap_or(Parts::ALL))
    }

    /// Remembers which parts of its cache mounts a step used.
    pub(crate) fn remember_parts(
        &self,
        id: StepId,
        step: &StepKey,
        mounted: &[Mounted],
        trace: &Trace,
    ) -> Result<(), StepError> {
        let Op::Run(op) = &self.step(id).op else { return Ok(()) };
        for cache in all(op, mounted) {
            if let Some(parts) = trace.caches.get(&cache.target) {
                self.builder.store().set_name(MOUNT_PARTS, &cache.name(step), &parts.to_string())?;
            }
        }
        Ok(())
    }

    /// Notes the cache mounts of a step for the tiers, whether it ran or not.
    pub(crate) fn note_caches(&self, id: StepId, step: &StepKey) {
        let Op::Run(op) = &self.step(id).op else { return };
        let mut notes = lock(&self.notes);
        for cache in empty_ones(op) {
            notes.names.push((MOUNT_PARTS.to_owned(), cache.name(step)));
            notes.idle_mounts.push(cache.mount);
        }
    }
}
