//! One stage: its steps in order, each reused or run.

use std::sync::Arc;
use std::time::Instant;

use shiplap_cache::{ContentHash, LayerId, Stack, StepResult, Store, Tree, UsedStep};
use shiplap_registry::{History, Image};

use super::copy::{self, Copied, Picked};
use super::error::{BuildError, StepError};
use super::events::{Event, Outcome, StepId, Watch};
use super::files::Files;
use super::key::{self, Keyed};
use super::layout::Layout;
use super::reach::Reach;
use super::run::{self, Mounted};
use super::sources::{Sources, blocking};
use super::{
    Decision, Mode, Run, StageFuture, Verdict, Why, add, ahead, events, explain, forecast, known, split, verify,
};
use crate::plan::{AddSource, CopySource, Destination, Op, Source, Stage, StageId, Step};
use crate::sandbox::Cancel;
use crate::trace::Trace;

/// A stage that is done.
#[derive(Debug, Clone)]
pub(crate) struct StageOutput {
    pub(crate) stack: Stack,
    /// None when nothing was executed and a step would have to run.
    pub(crate) image: Option<Image>,
    history: Vec<History>,
    created: i64,
    /// Whether the stack is what a build would make.
    known: bool,
    /// Whether that holds only if steps make what they made the last time.
    guessed: bool,
}

/// How a step is run.
pub(super) struct Manner {
    /// Its result takes the place of one that there is.
    pub(super) replace: bool,
    pub(super) cancel: Cancel,
    /// Who gets what it writes.
    pub(super) watch: Arc<dyn Watch>,
    /// How it gets at its layers.
    pub(super) reach: Reach,
}

impl Run {
    pub(super) fn manner(&self) -> Manner {
        Manner {
            replace: false,
            cancel: self.builder.cancel.clone(),
            watch: self.watch.clone(),
            reach: Reach::default(),
        }
    }
}

/// A stage that did not come to its end; why is told once, by the build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped;

type Failure = Option<BuildError>;

/// What a step takes besides the tree that it stands on. Found only when the step runs, where its key could be made without.
pub(crate) enum Work {
    Run { mounted: Option<Vec<Mounted>> },
    Copy { copied: Option<Copied>, to: Destination, is_room: bool },
    Folder { path: String, user: Option<String> },
}

impl Work {
    /// The same work, its files still to be found.
    pub(super) fn afresh(&self) -> Self {
        match self {
            Self::Run { .. } => Self::Run { mounted: None },
            Self::Copy { to, is_room, .. } => Self::Copy { copied: None, to: to.clone(), is_room: *is_room },
            Self::Folder { path, user } => Self::Folder { path: path.clone(), user: user.clone() },
        }
    }

    /// What it puts where, once its files are found. None where a program says that.
    pub(super) fn lay_out<'a>(
        &'a self,
        store: &Store,
        parent: &'a Tree,
        empty: &'a Tree,
    ) -> Result<Option<Layout<'a>>, StepError> {
        match self {
            Self::Run { .. } => Ok(None),
            Self::Copy { copied: Some(copied), to, .. } => copy::lay_out(store, parent, empty, copied, to).map(Some),
            Self::Copy { copied: None, .. } => unreachable!("what is copied is found before it is laid out"),
            Self::Folder { path, user } => copy::work_dir(store, parent, path, user.as_deref()).map(Some),
        }
    }
}

pub(crate) async fn build(run: &Arc<Run>, id: StageId, before: &[StageFuture]) -> Result<StageOutput, Failure> {
    let stage = run.plan.stage(id);
    let mut out = base(run, stage, before).await?;
    for (index, step) in stage.steps.iter().enumerate() {
        let id = StepId { stage: id.0, step: index };
        let mut known = true;
        for stage in &step.depends_on {
            let stage = wait(before, *stage).await?;
            known &= stage.known;
            out.guessed |= stage.guessed;
        }
        let layers = out.stack.layers().len();
        if step.makes_layer() {
            if out.known && known {
                let result = self::step(run, stage, step, id, &out.stack, out.guessed)
                    .await
                    .map_err(|why| failed(run, stage, step, id, why))?;
                match result {
                    Some((result, guessed)) => {
                        out.guessed = guessed;
                        out.created = out.created.max(result.created);
                        result.layers.into_iter().for_each(|layer| out.stack.push(layer));
                    }
                    None => out.known = false,
                }
            } else {
                out.known = false;
                let why = "a step before it would run for the first time".to_owned();
                run.decided(id, Decision::Open { why });
            }
        }
        if let Some(created_by) = &step.created_by {
            let made = out.stack.layers().len() - layers;
            let line = History {
                created: Some(timestamp(out.created)),
                created_by: Some(created_by.clone()),
                comment: Some("shiplap.dockerfile.v1".to_owned()),
                empty_layer: made == 0,
                ..History::default()
            };
            // One for each layer: readers count them (image-spec, config.md, *history*).
            out.history.extend(std::iter::repeat_n(line, made.max(1)));
        }
    }
    out.image = if out.known { Some(image(stage, &out)) } else { None };
    run.sources.stage_done(id, out.stack.clone()).await;
    Ok(out)
}

async fn wait(before: &[StageFuture], stage: StageId) -> Result<Arc<StageOutput>, Failure> {
    match before.get(stage.0) {
        Some(future) => future.clone().await.map_err(|_| None),
        None => Err(None),
    }
}

/// What the stage starts from.
async fn base(run: &Arc<Run>, stage: &Stage, before: &[StageFuture]) -> Result<StageOutput, Failure> {
    let (stack, history) = (Stack::default(), Vec::new());
    let nothing = StageOutput { stack, image: None, history, created: 0, known: true, guessed: false };
    match &stage.base {
        Source::Scratch => Ok(nothing),
        Source::Stage(id) => Ok(StageOutput { image: None, ..(*wait(before, *id).await?).clone() }),
        Source::Image(name) => {
            let image = run.sources.images.get(name).cloned().unwrap_or_default();
            let created = image.config.get("created").and_then(|v| v.as_str()).and_then(seconds).unwrap_or(0);
            Ok(StageOutput { stack: run.sources.image_stack(name), history: image.history, created, ..nothing })
        }
        source @ (Source::Context(_) | Source::Git(_) | Source::Http(_)) => {
            let at = |why| failed_base(stage, why);
            let files = run.sources.files(&run.builder, source).await.map_err(at)?;
            let builder = run.builder.clone();
            let copied = blocking(move || run::copy_live(&builder, &files, &shiplap_cache::TreePath::root())).await;
            let (layer, _) = copied.map_err(at)?;
            let mut out = nothing;
            layer.into_iter().for_each(|layer| out.stack.push(layer));
            // The base's files need an entry in the history, as every layer does.
            out.history.extend(layer.map(|_| History {
                created: Some(timestamp(0)),
                created_by: Some(format!("FROM {}", run.sources.describe(source))),
                ..History::default()
            }));
            Ok(out)
        }
    }
}

/// Reuses, runs or foretells a step; the result, and whether it is only guessed. None when nobody knows what it would make.
async fn step(
    run: &Arc<Run>,
    stage: &Stage,
    step: &Step,
    id: StepId,
    stack: &Stack,
    guessed: bool,
) -> Result<Option<(StepResult, bool)>, StepError> {
    let decided = async {
        let (keyed, work) = prepare(run, stage, step, id, stack).await?;
        match &run.mode {
            Mode::Build(_) => {
                let (key, parent) = (keyed.key, stack.clone());
                let result = carry_out(run, step, id, keyed, work, stack).await?;
                run.used(id, UsedStep { step: key, parent, result: result.clone() });
                Ok(Some((result, false)))
            }
            Mode::Forecast => {
                Ok(forecast::step(run, step, id, &keyed, work, stack).await?.map(|result| (result, guessed)))
            }
            Mode::Scout(ahead) => ahead::step(run, ahead, id, keyed, work, stack, guessed).await,
        }
    };
    match decided.await {
        // Who cannot be asked now leaves this step open. The rest of the plan is as good as ever.
        Err(StepError::Fetch(why)) if matches!(run.mode, Mode::Forecast) && why.is_out_of_reach() => {
            run.decided(id, Decision::Open { why: events::on_one_line(&why.to_string()) });
            Ok(None)
        }
        result => result,
    }
}

/// Reuses or runs a step.
async fn carry_out(
    run: &Arc<Run>,
    step: &Step,
    id: StepId,
    keyed: Keyed,
    work: Work,
    stack: &Stack,
) -> Result<StepResult, StepError> {
    let is_run = matches!(step.op, Op::Run(_));
    // A run ahead takes no such turn, for it may be what its own step waits for.
    let _alone = run.builder.together.alone(&keyed.key, stack).await;
    let afresh = run.afresh(id).is_some();
    let found = if afresh { None } else { run.lookup(&keyed.key, stack).await? };
    let stale = found.as_ref().and_then(|found| run.refresh(id, &found.result));
    if is_run
        && stale.is_none()
        && let Some(result) = ahead::arrive(run, id, &keyed, stack, found.as_ref().map(|found| &found.result)).await?
    {
        run.finished(id, Outcome::Ran { millis: result.millis });
        return Ok(result);
    }
    if let (Some(found), None) = (&found, &stale) {
        if is_run && run.takes_sample() {
            return verify(run, step, id, keyed, work, stack, found.result.clone()).await;
        }
        let outcome = if found.same_parent { Outcome::Cached } else { Outcome::Reused };
        run.finished(id, outcome);
        return Ok(found.result.clone());
    }
    if is_run {
        ahead::send(run);
    }
    let work = complete(run, step, work).await?;
    let reach = run.ready(id, &keyed, &work, stack).await?;
    let _turn = run.builder.together.running().acquire().await;
    let manner = Manner { replace: afresh || stale.is_some(), reach, ..run.manner() };
    let (task, stack) = (run.clone(), stack.clone());
    let (result, millis) = blocking(move || {
        if task.request.explain {
            let why = match stale {
                Some(why) => Why::asked(why),
                None => forecast::why(&task, id, &keyed, &work, &stack)?.0,
            };
            task.watch.event(Event::Explained { step: id, why: &why });
        }
        task.watch.event(Event::Started(id));
        execute(&task, id, &keyed, &work, &stack, &manner)
    })
    .await?;
    if is_run {
        ahead::ran(run, id, &result);
    }
    run.finished(id, Outcome::Ran { millis });
    Ok(result)
}

/// Runs a reused step again and compares. A result that is stale is dropped, and what was made now takes its place.
async fn verify(
    run: &Arc<Run>,
    step: &Step,
    id: StepId,
    keyed: Keyed,
    work: Work,
    stack: &Stack,
    reused: StepResult,
) -> Result<StepResult, StepError> {
    let work = complete(run, step, work).await?;
    let manner = Manner { reach: run.ready(id, &keyed, &work, stack).await?, ..run.manner() };
    run.builder.know(&reused.layers).await?;
    let _turn = run.builder.together.running().acquire().await;
    let (task, stack) = (run.clone(), stack.clone());
    run.watch.event(Event::Started(id));
    let began = Instant::now();
    let result = blocking(move || {
        let parent = task.builder.store().tree(stack.layers())?;
        let again = || {
            let Work::Run { mounted } = &work else { unreachable!("only runs are looked at again") };
            run_command(&task, id, mounted.as_deref().unwrap_or_default(), &stack, &parent, &manner)
        };
        let (layer, trace) = again()?;
        let layers: Vec<LayerId> = layer.into_iter().collect();
        let verdict = verify::judge(task.builder.store(), &reused.layers, &layers, || Ok(again()?.0))?;
        let stale = matches!(verdict, Verdict::Stale { .. });
        task.judged(id, verdict);
        if !stale {
            return Ok(reused);
        }
        let fresh = StepResult { layers, created: super::now(), millis: reused.millis, ..trace.result() };
        Ok(task.builder.store().replace(&keyed.key, &parent, &trace.set, &fresh)?)
    })
    .await?;
    run.finished(id, Outcome::Ran { millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) });
    Ok(result)
}

/// A step's key. What was worked out for the same unchangeable sources before is not worked out again.
async fn prepare(
    run: &Arc<Run>,
    stage: &Stage,
    step: &Step,
    id: StepId,
    stack: &Stack,
) -> Result<(Keyed, Work), StepError> {
    match &step.op {
        Op::Run(op) => {
            let (contents, mounted) = run::contents(&run.builder, &run.sources, op).await?;
            Ok((run::key(&run.request, stage, op, &contents), Work::Run { mounted }))
        }
        Op::Copy(op) => {
            let is_room = split::is_room(&run.plan, stage.id, id.step, stack.layers().len());
            let memo = match run.sources.identity(&run.builder, &op.from).await? {
                // What is in the third place names how it is read, for a digest is remembered for ever.
                Some(identity) => {
                    let how = match op.parents {
                        true => Some("patterns"),
                        false => is_room.then_some("split"),
                    };
                    Some(serde_json::to_string(&(identity, &op.sources, how, &op.to.exclude))?)
                }
                None => None,
            };
            by_content(run, step, memo, &op.to, is_room).await
        }
        Op::Add(op) => {
            let memo = match op.sources.as_slice() {
                [AddSource::Git(source)] => run.sources.identity(&run.builder, &Source::Git(source.clone())).await?,
                _ => None,
            };
            let memo = memo.map(|identity| serde_json::to_string(&(identity, "ADD", &op.to.exclude))).transpose()?;
            by_content(run, step, memo, &op.to, false).await
        }
        Op::Workdir { path, user } => {
            let work = Work::Folder { path: path.clone(), user: user.clone() };
            Ok((key::work_dir(path, user.as_deref()), work))
        }
        Op::Meta => unreachable!("a step that makes no layer has no work"),
    }
}

/// The key of a step that copies: what it takes, by content, and where to.
async fn by_content(
    run: &Arc<Run>,
    step: &Step,
    memo: Option<String>,
    to: &Destination,
    is_room: bool,
) -> Result<(Keyed, Work), StepError> {
    let (store, sources) = (run.builder.store(), &run.sources);
    if let Some(known) = recall(store, sources, memo.as_deref())? {
        return Ok((key::copy(&known, to), Work::Copy { copied: None, to: to.clone(), is_room }));
    }
    let copied = Copied::new(pick(run, step).await?, is_room);
    let content = copied.digests();
    if let Some(memo) = memo {
        remember(store, sources, &memo, &content)?;
    }
    Ok((key::copy(&content, to), Work::Copy { copied: Some(copied), to: to.clone(), is_room }))
}

/// Finds what a step takes, now that it runs.
pub(super) async fn complete(run: &Arc<Run>, step: &Step, work: Work) -> Result<Work, StepError> {
    match (work, &step.op) {
        (Work::Run { mounted: None }, Op::Run(op)) => {
            Ok(Work::Run { mounted: Some(run::mounted(&run.builder, &run.sources, op).await?) })
        }
        (Work::Copy { copied: None, to, is_room }, _) => {
            let copied = Copied::new(pick(run, step).await?, is_room);
            Ok(Work::Copy { copied: Some(copied), to, is_room })
        }
        (work, _) => Ok(work),
    }
}

/// Finds the files that a `COPY` or `ADD` takes.
async fn pick(run: &Arc<Run>, step: &Step) -> Result<Vec<Picked>, StepError> {
    let (builder, sources) = (&run.builder, &run.sources);
    match &step.op {
        Op::Copy(op) => {
            let files = match op.sources.iter().any(|s| matches!(s, CopySource::Path { .. })) {
                true => sources.files(builder, &op.from).await?,
                false => Files::of_stack(builder.store(), &Stack::default())?,
            };
            let mut picked = Vec::new();
            for source in &op.sources {
                picked.extend(copy::pick(&files, &sources.describe(&op.from), source, &op.to, op.parents)?);
            }
            Ok(picked)
        }
        Op::Add(op) => add::pick(builder, sources, op).await,
        _ => Ok(Vec::new()),
    }
}

/// The digests that were worked out for a memo.
pub(super) fn recall(
    store: &Store,
    sources: &Sources,
    memo: Option<&str>,
) -> Result<Option<Vec<ContentHash>>, StepError> {
    let Some(memo) = memo else { return Ok(None) };
    let name = ContentHash::of(memo.as_bytes()).hex();
    let known = store.name(DIGESTS, &name)?;
    if known.is_some() && is_true_elsewhere(memo) {
        sources.note_memo(name);
    }
    Ok(known.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Remembers digests. The memo names unchangeable things alone, so that it stays true for ever.
pub(super) fn remember(store: &Store, sources: &Sources, memo: &str, digests: &[ContentHash]) -> Result<(), StepError> {
    let name = ContentHash::of(memo.as_bytes()).hex();
    store.set_name(DIGESTS, &name, &serde_json::to_string(digests)?)?;
    if is_true_elsewhere(memo) {
        sources.note_memo(name);
    }
    Ok(())
}

/// Whether a digest is the same on other machines: what git keeps for itself in `.git` is not.
fn is_true_elsewhere(memo: &str) -> bool {
    !memo.contains("keep_git_dir: true")
}

/// The space of names for digests.
pub(super) const DIGESTS: &str = "digest";

/// Runs a step on a thread that may block, and records what it made.
pub(super) fn execute(
    run: &Run,
    id: StepId,
    keyed: &Keyed,
    work: &Work,
    stack: &Stack,
    manner: &Manner,
) -> Result<(StepResult, u64), StepError> {
    let store = run.builder.store();
    let parent = store.tree(stack.layers())?;
    let began = Instant::now();
    let mut seen = StepResult::default();
    let empty = Tree::default();
    let (layers, set) = match (work, work.lay_out(store, &parent, &empty)?) {
        (Work::Run { mounted }, _) => {
            let mounted = mounted.as_deref().unwrap_or_default();
            let (layer, trace) = run_command(run, id, mounted, stack, &parent, manner)?;
            run.remember_parts(id, &keyed.key, mounted, &trace)?;
            seen = trace.result();
            (layer.into_iter().collect(), trace.set)
        }
        (_, None) => unreachable!("what runs no program is laid out"),
        (_, Some(mut layout)) => {
            for before in explain::last_result(run, id, keyed)?.map(|last| last.layers).unwrap_or_default() {
                // Where a tier has that layer its index may be out of reach: then the times are new ones.
                if let Ok(index) = store.index(&before) {
                    layout.keep_times(&index);
                }
            }
            let set = layout.path_set();
            (known::layers(run, &parent, layout)?, set)
        }
    };
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let created = super::now();
    let result = StepResult { layers, created, millis, ..seen };
    let stored = match manner.replace {
        true => store.replace(&keyed.key, &parent, &set, &result)?,
        false => store.record(&keyed.key, &parent, &set, &result)?,
    };
    explain::remember(run, id, keyed)?;
    Ok((stored, millis))
}

fn run_command(
    run: &Run,
    id: StepId,
    mounted: &[Mounted],
    stack: &Stack,
    parent: &Tree,
    manner: &Manner,
) -> Result<(Option<LayerId>, Trace), StepError> {
    let Op::Run(op) = &run.step(id).op else {
        unreachable!("only a RUN has mounts");
    };
    let store = run.builder.store();
    let pending = store.begin_layer(parent)?;
    let specified = run::specify(&run.builder, &run.request, op, mounted, stack, &manner.reach, &pending)?;
    let mut output = |stream, bytes: &[u8]| manner.watch.event(Event::Output { step: id, stream, bytes });
    run::carry_out(&run.builder, &run.request, &specified, pending, parent, &manner.cancel, &mut output)
}

fn failed(run: &Run, stage: &Stage, step: &Step, id: StepId, why: StepError) -> Failure {
    if let StepError::Sandbox(crate::sandbox::SandboxError::Cancelled) = why {
        return Some(BuildError::Cancelled);
    }
    // What is gone is made anew, and nobody need hear of it.
    if !matches!(why, StepError::Gone(_)) {
        run.watch.event(Event::Failed(id));
    }
    Some(BuildError::Step { text: step.text.clone(), stage: stage.name.clone(), at: step.at, why })
}

fn failed_base(stage: &Stage, why: StepError) -> Failure {
    let at = crate::plan::Location { line_start: 0, line_end: 0 };
    Some(BuildError::Step { text: "FROM".to_owned(), stage: stage.name.clone(), at, why })
}

/// The image of a stage. It was created when its newest step ran, so that all who share the steps make the same image.
fn image(stage: &Stage, out: &StageOutput) -> Image {
    let config = serde_json::to_value(&stage.config).unwrap_or_default();
    let mut config = match config {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    config.insert("created".to_owned(), timestamp(out.created).into());
    Image { config, history: out.history.clone(), layers: out.stack.layers().to_vec() }
}

fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |t| t.to_string())
}

fn seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|t| t.as_second())
}
