//! Runs a step that was reused once more, to see that the layer is what it would make (`shiplap verify --steps`).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use shiplap_cache::{LayerId, LayerIndex, Store, TreePath};

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

/// Compares reused layers with what two runs made.
pub(crate) fn judge(
    store: &Store,
    reused: &[LayerId],
    first: &[LayerId],
    second: impl FnOnce() -> Result<Option<LayerId>, StepError>,
) -> Result<Verdict, StepError> {
    if first == reused {
        return Ok(Verdict::Same);
    }
    let second: Vec<LayerId> = second()?.into_iter().collect();
    let indices = |layers: &[LayerId]| layers.iter().map(|layer| store.index(layer)).collect::<Result<Vec<_>, _>>();
    let (reused, first, second) = (indices(reused)?, indices(first)?, indices(&second)?);
    let unsteady = differing(&first, &second);
    let stale: Vec<_> = differing(&reused, &first).difference(&unsteady).map(ToString::to_string).collect();
    Ok(match stale.is_empty() {
        true => Verdict::NotDeterministic { paths: unsteady.iter().map(ToString::to_string).collect() },
        false => Verdict::Stale { paths: stale },
    })
}

/// The paths in which the layers of two results differ.
fn differing(a: &[Arc<LayerIndex>], b: &[Arc<LayerIndex>]) -> BTreeSet<TreePath> {
    let of = |layers: &[Arc<LayerIndex>], path: &TreePath| {
        let topmost = layers.iter().rev().find_map(|index| Some((index, index.find(path.as_bytes())?)));
        topmost.map(|(index, entry)| index.attributes(entry).to_vec())
    };
    let paths = a.iter().chain(b).flat_map(|index| index.iter()).map(|entry| entry.path);
    paths.filter(|path| of(a, path) != of(b, path)).collect()
}
