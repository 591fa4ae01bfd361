//! What a build would do with a step, without doing it.
//!
//! A step that copies is laid out on indices alone, so what it would make is known. A `RUN` that would run is taken to make what it made the
//! last time: steps after it that read none of that are decided, those that do are open.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use shiplap_cache::{LayerIndex, Stack, StepResult, Tree, TreePath};

use super::copy::Picked;
use super::error::StepError;
use super::events::StepId;
use super::explain::{self, Why, assumed_inputs};
use super::files::Item;
use super::key::Keyed;
use super::run::Mounted;
use super::stage::{Work, complete};
use super::{Decision, Run, elsewhere};
use crate::plan::Step;

/// Decides a step. None when nobody knows what it would make.
pub(super) async fn step(
    run: &Arc<Run>,
    step: &Step,
    id: StepId,
    keyed: &Keyed,
    work: Work,
    stack: &Stack,
) -> Result<Option<StepResult>, StepError> {
    let store = run.builder.store();
    let assuming = stack.layers().iter().any(|layer| run.assumed(layer).is_some());
    let afresh = run.afresh(id);
    let found = match (afresh.is_some(), assuming) {
        (true, _) => None,
        (false, true) => {
            run.builder.know(stack.layers()).await?;
            store.compare(&keyed.key, stack)?
        }
        (false, false) => run.lookup(&keyed.key, stack).await?,
    };
    let stale = match afresh {
        Some(flag) => Some(flag.to_owned()),
        None => found.as_ref().and_then(|found| run.refresh(id, &found.result)),
    };
    // What it copies or mounts may come from a stage that is only assumed.
    let assumed = run.assumed_layers();
    let from_assumed = match step.depends_on.is_empty() || assumed.is_empty() {
        true => None,
        false => source_assumed(&assumed, &complete(run, step, work.afresh()).await?),
    };
    if let (Some(found), None) = (&found, &stale) {
        let read = match &found.set {
            Some(set) if assuming => {
                assumed_inputs(set, &*store.tree(stack.layers())?, |layer| run.assumed(layer).is_some())
            }
            _ => 0,
        };
        let last = found.result.clone();
        let open = match (read, from_assumed) {
            (0, None) => None,
            (0, Some(step)) => Some(format!("takes files that `{}` makes", short(run, step))),
            (1, _) => Some("reads a file that a step before it would make anew".to_owned()),
            (n, _) => Some(format!("reads {n} files that steps before it would make anew")),
        };
        match open {
            Some(why) => {
                last.layers.iter().for_each(|layer| run.assume(*layer, id));
                run.decided(id, Decision::Open { why });
            }
            None => {
                let (same, last) = (found.same_parent, last.clone());
                run.decided(id, if same { Decision::Cached { last } } else { Decision::Reused { last } });
            }
        }
        return Ok(Some(last));
    }
    let work = complete(run, step, work).await?;
    run.builder.know(stack.layers()).await?;
    run.owners_known(&work, stack).await?;
    let (mut why, made) = why(run, id, keyed, &work, stack)?;
    if let Some(words) = stale {
        why = Why::asked(words);
    }
    let fetch = elsewhere::cost(run, keyed, &work, stack)?;
    run.decided(id, Decision::Run { why, fetch });
    let is_known = made.is_some();
    let layers = match made {
        Some(made) => Some(made.into_iter().map(|(index, _)| store.imagine(index)).collect()),
        None => explain::last_result(run, id, keyed)?.map(|last| last.layers),
    };
    if !is_known || from_assumed.is_some() {
        layers.iter().flatten().for_each(|layer| run.assume(*layer, id));
    }
    Ok(layers.map(|layers| StepResult { layers, ..StepResult::default() }))
}

/// Why a step runs, and what it would make where that can be known.
pub(super) fn why(
    run: &Run,
    id: StepId,
    keyed: &Keyed,
    work: &Work,
    stack: &Stack,
) -> Result<(Why, Option<Made>), StepError> {
    let tree = run.builder.store().tree(stack.layers())?;
    if let Some(flag) = run.afresh(id) {
        return Ok((Why::asked(flag), made(run, work, &tree)?));
    }
    let made = made(run, work, &tree)?;
    made.iter().flatten().for_each(|(index, places)| run.place(index.id(), places));
    let layers = made.as_ref().map(|made| Tree::new(made.iter().map(|(index, _)| Arc::new(index.clone()))));
    let why = explain::why(run, id, keyed, &tree, layers.as_deref())?;
    Ok((why, made))
}

/// The layers that would be made: of each its index, and where its files are.
type Made = Vec<(LayerIndex, HashMap<TreePath, PathBuf>)>;

fn made(run: &Run, work: &Work, tree: &Tree) -> Result<Option<Made>, StepError> {
    let (store, empty) = (run.builder.store(), Tree::default());
    let Some(layout) = work.lay_out(store, tree, &empty)? else { return Ok(None) };
    layout.parts().iter().map(|part| Ok((part.index()?, part.places()))).collect::<Result<_, _>>().map(Some)
}

/// The step whose assumed files are among what is copied or mounted.
fn source_assumed(assumed: &[(PathBuf, StepId)], work: &Work) -> Option<StepId> {
    let of = |item: &Item| {
        let from = assumed.iter().find(|(dir, _)| item.at.starts_with(dir))?;
        (!item.entry.is_dir()).then_some(from.1)
    };
    match work {
        Work::Run { mounted } => mounted.iter().flatten().find_map(|mounted| match mounted {
            Mounted::Files(files, path) => files.below(path).iter().find_map(of),
            Mounted::Nothing => None,
        }),
        Work::Copy { copied, .. } => {
            copied.iter().flat_map(|copied| &copied.picked).flat_map(Picked::items).find_map(of)
        }
        Work::Folder { .. } => None,
    }
}

fn short(run: &Run, step: StepId) -> String {
    let mut words = run.info(step).one_line();
    if let Some((at, _)) = words.char_indices().nth(48) {
        words.truncate(at);
        words.push('…');
    }
    words
}
