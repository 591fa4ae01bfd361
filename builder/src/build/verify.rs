//! Runs a step that was reused once more, to see that the layer is what it would make (`shiplap verify --steps`).

use std::collections::BTreeSet;

use serde::Serialize;
use shiplap_cache::{IndexBuilder, LayerId, LayerIndex, Store, TreePath};

use super::error::StepError;

/// What a second look at a reused step said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Run again it made the same.
    Same,
    /// Two runs on the same tree differ from each other in these paths, and in nothing else from what was reused: what it makes depends on
    /// more than its inputs.
    NotDeterministic {
        /// The paths.
        paths: Vec<String>,
    },
    /// Two runs on the same tree agree with each other in these paths, and not with what was reused. The result was dropped.
    Stale {
        /// The paths.
        paths: Vec<String>,
    },
}

/// Compares a reused layer with what two runs made.
pub(crate) fn judge(
    store: &Store,
    reused: Option<LayerId>,
    first: Option<LayerId>,
    second: impl FnOnce() -> Result<Option<LayerId>, StepError>,
) -> Result<Verdict, StepError> {
    if first == reused {
        return Ok(Verdict::Same);
    }
    let index = |layer: Option<LayerId>| match layer {
        Some(layer) => Ok(store.index(&layer)?),
        None => Ok::<_, StepError>(std::sync::Arc::new(IndexBuilder::default().finish()?)),
    };
    let (reused, first, second) = (index(reused)?, index(first)?, index(second()?)?);
    let unsteady = differing(&first, &second);
    let stale: Vec<_> = differing(&reused, &first).difference(&unsteady).map(ToString::to_string).collect();
    Ok(match stale.is_empty() {
        true => Verdict::NotDeterministic { paths: unsteady.iter().map(ToString::to_string).collect() },
        false => Verdict::Stale { paths: stale },
    })
}

/// The paths in which two layers differ.
fn differing(a: &LayerIndex, b: &LayerIndex) -> BTreeSet<TreePath> {
    let of = |index: &LayerIndex, path: &[u8]| index.find(path).map(|i| index.attributes(i).to_vec());
    let paths = a.iter().chain(b.iter()).map(|entry| entry.path);
    paths.filter(|path| of(a, path.as_bytes()) != of(b, path.as_bytes())).collect()
}
