//! What a step lays out is made only where it is not known.
//!
//! The name of a layer follows from its index, and the index from what is copied. So before any file is copied, and before any is fetched to be copied, it
//! is known which layers there are already, here or in a tier.

use std::collections::HashSet;

use shiplap_cache::{LayerId, Tree};

use super::Run;
use super::error::StepError;
use super::layout::Layout;
use super::stage::Work;

/// The layers of the store that a step needs to make those of its own that nobody has; none when all that it copies is here.
pub(crate) fn sources(run: &Run, work: &Work, parent: &Tree) -> Result<Vec<LayerId>, StepError> {
    let (store, empty) = (run.builder.store(), Tree::default());
    let mut is_here = true;
    if let Work::Copy { copied: Some(copied), .. } = work {
        for holder in copied.holders() {
            is_here &= store.has_layer(&holder)?;
        }
    }
    // Mostly nothing is to be fetched, and then it is laid out only once.
    if is_here {
        return Ok(Vec::new());
    }
    let mut sources = HashSet::new();
    for part in work.lay_out(store, parent, &empty)?.into_iter().flat_map(Layout::parts) {
        if !store.can_have_layer(&part.index()?.id())? {
            sources.extend(part.holders());
        }
    }
    Ok(sources.into_iter().collect())
}

/// The layers that are laid out, bottom first. Those that nobody has are made.
pub(crate) fn layers(run: &Run, parent: &Tree, layout: Layout<'_>) -> Result<Vec<LayerId>, StepError> {
    let store = run.builder.store();
    let mut layers = Vec::new();
    for part in layout.parts() {
        let index = part.index()?;
        if store.can_have_layer(&index.id())? {
            layers.push(index.id());
            continue;
        }
        if run.builder.remote.is_some() {
            // One that was with a tier a moment ago may be lost by now, and what it is made of was not fetched.
            let mut lacking = Vec::new();
            for holder in part.holders() {
                if !store.has_layer(&holder)? {
                    lacking.push(holder);
                }
            }
            if !lacking.is_empty() {
                return Err(StepError::Gone(lacking));
            }
        }
        let pending = store.begin_layer(parent)?;
        part.make(&pending.upper())?;
        layers.extend(store.keep_layer(pending, index)?);
    }
    Ok(layers)
}
