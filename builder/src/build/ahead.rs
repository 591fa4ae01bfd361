//! Steps that run before it is their turn.
//!
//! While a step runs, those behind it wait for what it makes, though it mostly makes what it made the last time. So a scout goes
//! through the plan behind it as if that were so, and what would have to run is started at once, on the tree that there would be.
//! Such a run is recorded like any other, with what it really read. When the step's turn comes it looks for a result as always, and
//! finds that one if nothing that it read came out otherwise. A wrong guess costs time and nothing else.
//!
//! The guess is about what the step read the last time. One that was wrong is not made again before it would have been right.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use shiplap_cache::{ContentHash, GUESSES, LayerId, Stack, StepResult};
use shiplap_registry::remote::OnDemand;
use tokio::task::JoinSet;

use super::by_files;
use super::error::StepError;
use super::events::{Event, StepId, Watch};
use super::explain::{self, Why};
use super::key::Keyed;
use super::reach::Reach;
use super::sources::blocking;
use super::stage::{self, Manner, Work, complete, execute};
use super::{Mode, Request, Run, StageFuture, forecast, lock};
use crate::plan::Op;
use crate::sandbox::{Cancel, Stream};

const WRONG: &str = "wrong";
const RIGHT: &str = "right";

/// How long a run that has ended may take to say so.
const MOMENT: Duration = Duration::from_secs(1);

/// What one build has running ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    state: Mutex<State>,
    /// A scout is on its way.
    scouting: AtomicBool,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct State {
    guesses: HashMap<StepId, Guess>,
    /// Steps whose turn has come.
    arrived: HashSet<StepId>,
    /// What scouts took for what these steps make.
    assumed: HashMap<StepId, Vec<LayerId>>,
    /// Whether something came out otherwise since the last scout.
    surprised: bool,
    /// What is fetched for steps that are likely to run.
    fetching: HashMap<StepId, Arc<OnDemand>>,
    closed: bool,
}

/// A step that was, or could have been, started on a tree that is only guessed.
#[derive(Debug)]
struct Guess {
    stack: Stack,
    /// Under which name to remember whether it was right; none when it is sure.
    name: Option<String>,
    /// None when it was not started, for such a guess was wrong before.
    run: Option<Running>,
}

#[derive(Clone)]
struct Running {
    cancel: Cancel,
    done: Shared<BoxFuture<'static, ()>>,
    output: Arc<Output>,
    /// What it made, once it is done.
    made: Arc<OnceLock<StepResult>>,
    /// Why it runs, where that was asked for: once it ran nobody can tell any more.
    why: Option<Why>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

/// What a step wrote that nobody waited for yet.
#[derive(Debug, Default)]
struct Output(Mutex<Vec<(Stream, Vec<u8>)>>);

impl Watch for Output {
    fn event(&self, event: Event<'_>) {
        if let Event::Output { stream, bytes, .. } = event {
            lock(&self.0).push((stream, bytes.to_vec()));
        }
    }
}

/// Sends a scout ahead of a step that is about to run, unless one knows all that there is to know.
pub(super) fn send(run: &Arc<Run>) {
    let Mode::Build(ahead) = &run.mode else { return };
    let Request { ahead: wanted, trace, no_cache, no_cache_stages, .. } = &*run.request;
    let useful = *wanted && *trace && !no_cache && no_cache_stages.is_empty();
    if !useful || ahead.scouting.swap(true, Ordering::AcqRel) {
        return;
    }
    let (first, surprised) = {
        let mut state = lock(&ahead.state);
        (state.assumed.is_empty(), std::mem::take(&mut state.surprised))
    };
    if !first && !surprised {
        ahead.scouting.store(false, Ordering::Release);
        return;
    }
    let (ahead, scout) = (ahead.clone(), Arc::new(run.scout(ahead.clone())));
    let work = {
        let ahead = ahead.clone();
        async move {
            let (mut stages, mut work) = (Vec::<StageFuture>::new(), Vec::new());
            for stage in &scout.plan.stages {
                let (scout, id, before) = (scout.clone(), stage.id, stages.clone());
                // Stages wait for word of each other. One that polled the other would poll all below that on its own stack.
                let (tell, told) = tokio::sync::oneshot::channel();
                work.push(async move {
                    let done = stage::build(&scout, id, &before).await;
                    let _ = tell.send(done.map(Arc::new).map_err(|_| stage::Stopped));
                });
                stages.push(told.map(|done| done.unwrap_or(Err(stage::Stopped))).boxed().shared());
            }
            futures::future::join_all(work).await;
            ahead.scouting.store(false, Ordering::Release);
        }
    };
    lock(&ahead.tasks).spawn(work);
}

/// A step that a scout comes to: its result, or what it is assumed to make. None when nobody knows that.
pub(super) async fn step(
    run: &Arc<Run>,
    ahead: &Arc<Ahead>,
    id: StepId,
    keyed: Keyed,
    work: Work,
    stack: &Stack,
    guessed: bool,
) -> Result<Option<(StepResult, bool)>, StepError> {
    if lock(&ahead.state).closed {
        return Ok(None);
    }
    if let Some(found) = run.lookup(&keyed.key, stack).await? {
        if guessed {
            fetch(run, ahead, id, keyed, work, stack);
        }
        // What is to be taken from the network anew runs when its turn comes.
        let anew = run.refresh(id, &found.result).is_some();
        return Ok(Some((found.result, guessed || anew)));
    }
    let step = run.step(id);
    if !matches!(step.op, Op::Run(_)) {
        let work = complete(run, step, work).await?;
        run.ready(id, &keyed, &work, stack).await?;
        let (run, stack) = (run.clone(), stack.clone());
        let _alone = run.builder.together.alone(&keyed.key, &stack).await;
        let made = blocking(move || match run.builder.store().lookup(&keyed.key, &stack)? {
            Some(found) => Ok(found.result),
            None => Ok(execute(&run, id, &keyed, &work, &stack, &run.manner())?.0),
        });
        return Ok(Some((made.await?, guessed)));
    }
    let last = explain::last_result(run, id, &keyed)?;
    if guessed {
        start(run, ahead, id, keyed, work, stack).await?;
    }
    Ok(last.map(|last| {
        lock(&ahead.state).assumed.insert(id, last.layers.clone());
        (last, true)
    }))
}

/// Begins to fetch what a step is likely to read when its turn comes, if it is likely to run then: it is not started before.
fn fetch(run: &Arc<Run>, ahead: &Arc<Ahead>, id: StepId, keyed: Keyed, work: Work, stack: &Stack) {
    if run.builder.remote.is_none() || !matches!(run.step(id).op, Op::Run(_)) {
        return;
    }
    let (run, own, stack) = (run.clone(), ahead.clone(), stack.clone());
    let begin = async move {
        let files = async {
            run.builder.know(stack.layers()).await?;
            if read_of(&run, &own, &keyed, &stack)?.is_empty() {
                return Ok(None);
            }
            let work = complete(&run, run.step(id), work).await?;
            run.files_ahead(id, &keyed, &work, &stack).await
        };
        let closed = async {
            while !lock(&own.state).closed {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let files: Result<_, StepError> = tokio::select! {
            files = files => files,
            () = closed => return,
        };
        // What cannot be had is told when it is needed.
        if let Ok(Some(files)) = files {
            let mut state = lock(&own.state);
            if !state.closed && !state.arrived.contains(&id) {
                state.fetching.insert(id, files);
            }
        }
    };
    lock(&ahead.tasks).spawn(begin);
}

/// Starts a step on a tree that is guessed, unless its turn has come or a guess like this was wrong before.
async fn start(
    run: &Arc<Run>,
    ahead: &Arc<Ahead>,
    id: StepId,
    keyed: Keyed,
    work: Work,
    stack: &Stack,
) -> Result<(), StepError> {
    let store = run.builder.store();
    run.builder.know(stack.layers()).await?;
    let about = read_of(run, ahead, &keyed, stack)?;
    let name = name(run, id, &about)?;
    let known = name.as_ref().map(|name| store.name(GUESSES, name)).transpose()?.flatten();
    let work = complete(run, run.step(id), work).await?;
    let why = match run.request.explain {
        true => Some(forecast::why(run, id, &keyed, &work, stack)?.0),
        false => None,
    };
    let mut state = lock(&ahead.state);
    if state.closed || state.arrived.contains(&id) || state.guesses.get(&id).is_some_and(|guess| guess.run.is_some()) {
        return Ok(());
    }
    // One that nobody knows about yet is tried once, but not on top of another one: that would be right only if both are.
    let on_a_guess = || about.iter().any(|id| state.guesses.get(id).is_some_and(|guess| guess.run.is_some()));
    let is_wrong = match known.as_deref() {
        Some(known) => known == WRONG,
        None => on_a_guess(),
    };
    let mut guess = Guess { stack: stack.clone(), name, run: None };
    if is_wrong {
        state.guesses.insert(id, guess);
        drop(state);
        fetch(run, ahead, id, keyed, work, stack);
        return Ok(());
    }
    let Ok(cancel) = run.builder.cancel.below() else { return Ok(()) };
    let output = Arc::new(Output::default());
    let mut manner = Manner { cancel: cancel.clone(), watch: output.clone(), ..run.manner() };
    let made = Arc::new(OnceLock::new());
    let (task, stack, tell) = (run.clone(), stack.clone(), made.clone());
    let done = async move {
        let builder = task.builder.clone();
        let turn = tokio::select! {
            turn = builder.together.ahead().acquire() => turn.ok(),
            () = cancelled(&manner.cancel) => None,
        };
        // Should it fail, it fails again when its turn comes, and then it is told.
        if turn.is_none() || manner.cancel.is_cancelled() {
            return;
        }
        let Some(reach) = ready(&task, id, &keyed, &work, &stack, &manner.cancel).await else { return };
        manner.reach = reach;
        if let Ok((result, _)) = blocking(move || execute(&task, id, &keyed, &work, &stack, &manner)).await {
            let _ = tell.set(result);
        }
    };
    let done = done.boxed().shared();
    lock(&ahead.tasks).spawn(done.clone());
    guess.run = Some(Running { cancel, done, output, made, why });
    state.guesses.insert(id, guess);
    Ok(())
}

/// Fetches what a guessed step needs, unless it is cancelled meanwhile: nobody waits for gigabytes of a wrong guess.
async fn ready(
    run: &Arc<Run>,
    id: StepId,
    keyed: &Keyed,
    work: &Work,
    stack: &Stack,
    cancel: &Cancel,
) -> Option<Reach> {
    tokio::select! {
        ready = run.ready(id, keyed, work, stack) => ready.ok(),
        () = cancelled(cancel) => None,
    }
}

async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The steps that made what a step read the last time and that are running or waiting.
fn read_of(run: &Run, ahead: &Ahead, keyed: &Keyed, stack: &Stack) -> Result<BTreeSet<StepId>, StepError> {
    let store = run.builder.store();
    let Some(last) = by_files::last_set(store, keyed)? else { return Ok(BTreeSet::new()) };
    let read = explain::layers_read(&last, &*store.tree(stack.layers())?);
    let state = lock(&ahead.state);
    let assumed = state.assumed.iter().filter(|(_, layers)| layers.iter().any(|layer| read.contains(layer)));
    Ok(assumed.map(|(id, _)| *id).collect())
}

/// The name of a guess, on all machines: the step, and those that it is about. None when it is about none.
fn name(run: &Run, id: StepId, about: &BTreeSet<StepId>) -> Result<Option<String>, StepError> {
    if about.is_empty() {
        return Ok(None);
    }
    let place = |id: StepId| explain::place_for_others(run, id).map(|(_, name)| name);
    let about: BTreeSet<_> = about.iter().map(|id| place(*id)).collect();
    Ok(Some(ContentHash::of(serde_json::to_string(&(place(id), about))?.as_bytes()).hex()))
}

/// A step's turn has come. If it was started, and nothing that it read the last time is other than was guessed, waits for it and takes its
/// result. `found` is one that is there already.
pub(super) async fn arrive(
    run: &Arc<Run>,
    id: StepId,
    keyed: &Keyed,
    stack: &Stack,
    found: Option<&StepResult>,
) -> Result<Option<StepResult>, StepError> {
    let Mode::Build(ahead) = &run.mode else { return Ok(None) };
    let guess = {
        let mut state = lock(&ahead.state);
        state.arrived.insert(id);
        if found.is_some() {
            state.fetching.remove(&id);
        }
        state.guesses.remove(&id)
    };
    let Some(guess) = guess else { return Ok(None) };
    let store = run.builder.store();
    if found.is_none() {
        run.builder.know(guess.stack.layers()).await?;
        run.builder.know(stack.layers()).await?;
        let (guessed, tree) = (store.tree(guess.stack.layers())?, store.tree(stack.layers())?);
        let runs = store.runs(&keyed.key)?;
        let last = runs.iter().find(|run| !run.set.is_whole_parent());
        let right = last.is_none_or(|last| last.set.differing(&guessed, &tree).is_empty());
        remember(run, &guess, right)?;
        if !right {
            guess.run.inspect(|running| running.cancel.cancel());
            return Ok(None);
        }
    }
    let Some(running) = &guess.run else { return Ok(None) };
    match found {
        None => running.done.clone().await,
        // A result is found from when it is recorded, and a run may have to end before it says that it is its own. One that is not ends too, sometime.
        Some(found) => {
            if running.made.get() != Some(found) {
                running.cancel.cancel();
                let _ = tokio::time::timeout(MOMENT, running.done.clone()).await;
            }
            if running.made.get() != Some(found) {
                return Ok(None);
            }
            remember(run, &guess, true)?;
        }
    }
    let Some(found) = store.lookup(&keyed.key, stack)? else { return Ok(None) };
    if let Some(why) = &running.why {
        run.watch.event(Event::Explained { step: id, why });
    }
    run.watch.event(Event::Started(id));
    for (stream, bytes) in std::mem::take(&mut *lock(&running.output.0)) {
        run.watch.event(Event::Output { step: id, stream, bytes: &bytes });
    }
    Ok(Some(found.result))
}

/// Remembers whether a guess was right, here and wherever the cache is.
fn remember(run: &Run, guess: &Guess, right: bool) -> Result<(), StepError> {
    let Some(name) = &guess.name else { return Ok(()) };
    run.builder.store().set_name(GUESSES, name, if right { RIGHT } else { WRONG })?;
    lock(&run.notes).names.push((GUESSES.to_owned(), name.clone()));
    Ok(())
}

/// A step ran when it was its turn, and this is what it made.
pub(super) fn ran(run: &Run, id: StepId, result: &StepResult) {
    let Mode::Build(ahead) = &run.mode else { return };
    let mut state = lock(&ahead.state);
    let as_assumed = state.assumed.get(&id) == Some(&result.layers);
    state.surprised |= !as_assumed;
}

/// The build is over: ends what still runs, and waits for it.
pub(super) async fn end(run: &Run) {
    let Mode::Build(ahead) = &run.mode else { return };
    {
        let mut state = lock(&ahead.state);
        state.closed = true;
        state.fetching.clear();
        state.guesses.drain().filter_map(|(_, guess)| guess.run).for_each(|running| running.cancel.cancel());
    }
    loop {
        let mut tasks = std::mem::take(&mut *lock(&ahead.tasks));
        if tasks.is_empty() {
            break;
        }
        while tasks.join_next().await.is_some() {}
    }
}
