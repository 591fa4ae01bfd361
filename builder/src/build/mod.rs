//! From a Dockerfile to an image. The way of a build:
//!
//! ```text
//! Builder::build       read and resolve, then all stages side by side      mod.rs
//!   images             FROM names become images in the store               images.rs
//!   Sources            contexts, images, repositories as trees of files    sources.rs, files.rs, remote.rs
//!   stage              one step after the other on a growing stack         stage.rs
//!     key              a step's name without its parent                    key.rs
//!     Store::lookup    is there a result?                                  (cache)
//!     ready            what must come from elsewhere, whole or by files    elsewhere.rs, by_files.rs, reach.rs
//!     run              RUN: a specification for the sandbox                run.rs
//!     copy, layout     COPY, ADD, WORKDIR: which file goes where           copy.rs, layout.rs
//!     Store::record    the layer and what it depends on                    (cache)
//!   ahead              steps that run before their turn, on a guess        ahead.rs
//! ```

mod able;
mod add;
mod agent;
mod ahead;
mod archive;
mod by_files;
mod caches;
mod check;
mod chmod;
mod copy;
mod elsewhere;
mod engine;
mod error;
mod events;
mod explain;
mod files;
mod forecast;
mod git;
mod http;
mod images;
mod inputs;
mod key;
mod known;
mod layout;
mod noise;
mod owner;
mod parents;
mod part;
mod reach;
mod remote;
mod run;
mod sources;
mod split;
mod stage;
mod together;
mod verify;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use serde::Serialize;
use shiplap_cache::{ContentHash, Digest, ImageId, LayerId, StepResult, Store, TreePath};
use shiplap_registry::remote::{Learnt, Remote};
use shiplap_registry::{Client, Image, Images};

pub use able::{check_running, check_serving};
pub use check::Checked;
pub use engine::EngineBases;
pub use error::{BuildError, FetchError, StepError};
pub use events::{Event, Outcome, StepId, StepInfo, StepSelector, Unwatched, Watch};
pub use explain::{Change, Reason, What, Why};
pub use http::downloads;
pub use inputs::Input;
pub use layout::LayoutError;
pub use noise::NOISE;
pub use remote::{Context, FetchedContext};
pub use together::Together;
pub use verify::Verdict;
pub use walk::context_files;

use crate::dockerfile::{self, BuildOptions, DockerfileError, Graph};
use crate::ignore::IgnoreRules;
use crate::plan::{ImageConfig, ImageRef, Network, Plan, StageId, Step, Warning};
use crate::sandbox::{Cancel, Sandbox, Ulimit};
use ahead::Ahead;
use sources::Sources;
use stage::{StageOutput, Stopped};

/// What to build.
#[derive(Debug, Clone)]
pub struct Request {
    /// The build context.
    pub context: Context,
    /// The Dockerfile's path, for messages and to find its ignore file.
    pub dockerfile: PathBuf,
    /// Its text, when it does not come from that path; it then has no ignore file of its own.
    pub dockerfile_text: Option<String>,
    /// Target, arguments, contexts, platform.
    pub options: BuildOptions,
    /// `--secret` values by id. They enter no key, no layer and no record.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// `--ssh` agent sockets by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// `--add-host`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// `--network` for steps that do not say.
    pub network: Network,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Run every step.
    pub no_cache: bool,
    /// `--no-cache-filter`: run every step of these stages, whose names' case does not matter.
    pub no_cache_stages: Vec<String>,
    /// Ask the registry for base images even when they are here.
    pub pull: bool,
    /// An engine that has base images, which come before those of the store and of registries.
    pub engine: Option<Arc<EngineBases>>,
    /// Watch what steps ask of the tree below them; without it the whole tree below a step is its input.
    pub trace: bool,
    /// Run steps before their turn, on the tree that there will be if those before them make what they made the last time.
    pub ahead: bool,
    /// What is left out of the layers of `RUN` steps, see [`NOISE`].
    pub noise: Vec<String>,
    /// Which steps that used the network run again.
    pub refresh: Refresh,
    /// Find out why each step that runs does, and tell it.
    pub explain: bool,
    /// Run so many of the reused `RUN` steps again, to compare; `usize::MAX` for all.
    pub verify: usize,
}

impl Request {
    /// A build of a directory with nothing special about it.
    pub fn new(context: impl Into<PathBuf>, dockerfile: impl Into<PathBuf>) -> Self {
        Self::in_context(Context::Folder(context.into()), dockerfile)
    }

    /// A build with nothing special about it.
    pub fn in_context(context: Context, dockerfile: impl Into<PathBuf>) -> Self {
        Self {
            context,
            dockerfile: dockerfile.into(),
            dockerfile_text: None,
            options: BuildOptions::default(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            extra_hosts: Vec::new(),
            network: Network::Default,
            shm_size: None,
            ulimits: Vec::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            no_cache_stages: Vec::new(),
            engine: None,
            pull: false,
            trace: true,
            ahead: true,
            noise: NOISE.map(str::to_owned).into(),
            refresh: Refresh::default(),
            explain: false,
            verify: 0,
        }
    }
}

/// Which steps that used the network run again.
#[derive(Debug, Clone, Default)]
pub struct Refresh {
    /// All of them.
    pub all: bool,
    /// These.
    pub steps: Vec<StepSelector>,
    /// Those that ran longer ago.
    pub max_age: Option<Duration>,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its name in the store.
    pub id: ImageId,
    /// The image.
    pub image: Image,
    /// What the author of the Dockerfile should know.
    pub warnings: Vec<Warning>,
    /// The steps and how each came to its result.
    pub steps: Vec<(StepInfo, Outcome)>,
    /// What it was built from, by what the build resolved.
    pub inputs: Inputs,
    /// What a second look at reused steps said, where it was asked for.
    pub verdicts: Vec<(StepInfo, Verdict)>,
    /// What it has to tell tiers.
    pub learnt: Learnt,
}

/// What an image was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// BLAKE3 of the Dockerfile.
    pub dockerfile: ContentHash,
    /// Base images by name, each with the image that it stood for.
    pub images: BTreeMap<String, ImageId>,
    /// Build contexts by name, each with the digest of its files.
    pub contexts: BTreeMap<String, ContentHash>,
    /// Git repositories without credentials, each with its commit.
    pub git: BTreeMap<String, String>,
    /// Files of the web without credentials, each with the digest of its bytes.
    pub http: BTreeMap<String, Digest>,
}

/// What must come from a tier before a step can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fetch {
    /// Layers that are not here.
    pub layers: usize,
    /// Their bytes, packed.
    pub bytes: u64,
    /// Bytes of the files in them that the step read the last time; none where it never ran.
    pub read: Option<u64>,
    /// Whether these files come one by one, and no layer whole.
    pub by_files: bool,
}

/// So often a build begins again because something is gone from the tiers; the last time it goes on without them.
const ROUNDS: usize = 8;

/// What a build would do with a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Its result is here and nothing below it changed.
    Cached {
        /// The result.
        last: StepResult,
    },
    /// Its result is here: what changed below it is nothing that it looks at. Where a step before it would run, that one is taken to change
    /// the files that it changed the last time.
    Reused {
        /// The result.
        last: StepResult,
    },
    /// It would run.
    Run {
        /// Why.
        why: Why,
        /// What must come from a tier first.
        #[serde(skip_serializing_if = "Option::is_none")]
        fetch: Option<Fetch>,
    },
    /// That depends on what a step before it makes when it runs.
    Open {
        /// What it depends on.
        why: String,
    },
}

/// What a build would do.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The steps, stage by stage.
    pub steps: Vec<(StepInfo, Decision)>,
    /// What the author of the Dockerfile should know.
    pub warnings: Vec<Warning>,
}

/// Builds images in a store.
#[derive(Debug)]
pub struct Builder {
    images: Images,
    sandbox: Sandbox,
    client: Option<Arc<Client>>,
    pub(crate) remote: Option<Arc<Remote>>,
    cancel: Cancel,
    pub(crate) together: Together,
    http: OnceLock<reqwest::Client>,
    whole_layers: bool,
    /// Whether steps can run on served trees here, once somebody wanted to know.
    serves: OnceLock<bool>,
}

impl Builder {
    /// A builder over a store. Without a client, images that are not in the store cannot be had.
    pub fn new(images: Images, sandbox: Sandbox, client: Option<Arc<Client>>, cancel: Cancel) -> Self {
        Self {
            images,
            sandbox,
            client,
            remote: None,
            cancel,
            together: Together::default(),
            http: OnceLock::new(),
            whole_layers: false,
            serves: OnceLock::new(),
        }
    }

    /// The same builder, sharing its turns with other builders of this process.
    #[must_use]
    pub fn together(self, together: Together) -> Self {
        Self { together, ..self }
    }

    /// The same builder, with tiers that have what is not here.
    #[must_use]
    pub fn with_remote(self, remote: Option<Arc<Remote>>) -> Self {
        Self { remote, ..self }
    }

    /// The same builder, which fetches whole layers before a step runs, and no files one by one while it does.
    #[must_use]
    pub fn fetching_whole_layers(self, whole_layers: bool) -> Self {
        Self { whole_layers, ..self }
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        self.images.store()
    }

    /// The client for files of the web, made when the first one is fetched.
    pub(crate) fn http(&self) -> Result<&reqwest::Client, FetchError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        shiplap_registry::install_tls();
        let built = reqwest::Client::builder().user_agent(concat!("shiplap/", env!("CARGO_PKG_VERSION"))).build();
        let client = built.map_err(|e| FetchError::Http { url: String::new(), why: e.to_string() })?;
        Ok(self.http.get_or_init(|| client))
    }

    /// Builds an image and keeps it in the store.
    ///
    /// # Errors
    /// [`BuildError`]. Steps that were done stay in the store.
    pub async fn build(self: &Arc<Self>, request: Request, watch: Arc<dyn Watch>) -> Result<Built, BuildError> {
        let mut rounds = 0;
        let (run, output) = loop {
            let run = self.prepare(request.clone(), watch.clone(), Mode::Build(Arc::default())).await?;
            let output = run.all().await;
            ahead::end(&run).await;
            match output {
                // A tier had not what it was to have, and nobody counts on that any more. Each time round there is less that can be gone.
                Err(error) if self.begins_again(&error, &mut rounds) => {}
                output => break (run, output?),
            }
        };
        let image = output.image.clone().ok_or(BuildError::Cancelled)?;
        let image = shiplap_registry::clamped(&image, run.request.options.source_date_epoch()?);
        let id = self
            .images
            .save(&image)
            .map_err(|e| BuildError::Image { image: "the result".to_owned(), why: e.into() })?;
        let (steps, inputs) = (run.outcomes(), run.inputs());
        let verdicts = lock(&run.verdicts).iter().map(|(id, verdict)| (run.info(*id), verdict.clone())).collect();
        let learnt = run.learnt(&image.layers);
        Ok(Built { id, image, warnings: run.plan.warnings.clone(), steps, inputs, verdicts, learnt })
    }

    /// Says what [`Builder::build`] would do. Runs no step; fetches what is needed to know.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub async fn forecast(self: &Arc<Self>, request: Request, watch: Arc<dyn Watch>) -> Result<Forecast, BuildError> {
        let mut rounds = 0;
        let run = loop {
            let run = self.prepare(request.clone(), watch.clone(), Mode::Forecast).await?;
            match run.all().await {
                Err(error) if self.begins_again(&error, &mut rounds) => {}
                done => break done.map(|_| run)?,
            }
        };
        Ok(Forecast { steps: run.decisions(), warnings: run.plan.warnings.clone() })
    }

    /// Whether a build begins again after this error: something is gone from the tiers, and the store does not count on it any more.
    fn begins_again(&self, error: &BuildError, rounds: &mut usize) -> bool {
        let BuildError::Step { why: StepError::Gone(layers), .. } = error else { return false };
        tracing::debug!(?layers, rounds, "gone from the tiers, beginning again");
        *rounds += 1;
        if let Some(remote) = self.remote.as_ref().filter(|_| *rounds == ROUNDS) {
            remote.leave_alone();
        }
        *rounds <= ROUNDS
    }

    /// Reads the Dockerfile, gets the images that it needs, expands it.
    async fn prepare(
        self: &Arc<Self>,
        request: Request,
        watch: Arc<dyn Watch>,
        mode: Mode,
    ) -> Result<Arc<Run>, BuildError> {
        if let Some(remote) = &self.remote {
            remote.sync().await?;
        }
        let Read { text, context, ignore, graph } = Read::of(&request)?;
        let mut images = HashMap::new();
        for used in graph.images()? {
            let image = self.image(&used.image, request.pull, request.engine.as_deref(), &watch).await?;
            images.insert(used.image, image);
        }
        let config = |image: &ImageRef| images.get(image).and_then(image_config);
        let mut plan = graph.lower(&config)?;
        if let Some(message) = graph.refusal(&plan.warnings) {
            return Err(DockerfileError::Checks { message, warnings: plan.warnings }.into());
        }
        if let Some(stage) = plan.stages.get_mut(plan.target.0) {
            stage.config.config.labels.extend(request.labels.clone());
        }
        for path in plan.contexts.values() {
            if !path.is_dir() {
                return Err(BuildError::Context(path.clone()));
            }
        }
        let names = plan.stages.iter().map(|stage| stage.name.clone()).collect();
        let sources = Arc::new(Sources::new(images, context, &plan.contexts, ignore, names));
        let (builder, dockerfile) = (self.clone(), ContentHash::of(text.as_bytes()));
        let run = Run::new(builder, Arc::new(request), Arc::new(plan), sources, watch, mode, dockerfile);
        run.watch.event(Event::Planned { steps: &run.infos(), warnings: &run.plan.warnings });
        Ok(Arc::new(run))
    }
}

/// What a request names, read and parsed.
struct Read {
    text: String,
    context: Context,
    ignore: IgnoreRules,
    graph: Graph,
}

impl Read {
    fn of(request: &Request) -> Result<Self, BuildError> {
        let text = match &request.dockerfile_text {
            Some(text) => text.clone(),
            None => read_dockerfile(&request.dockerfile)?,
        };
        let (context, ignore) = context_of(request)?;
        let name = request.dockerfile.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let graph = dockerfile::parse(&name, &text)?.resolve(&request.options)?.ignoring(ignore.clone());
        Ok(Self { text, context, ignore, graph })
    }
}

/// The context, and what is left out of it.
fn context_of(request: &Request) -> Result<(Context, IgnoreRules), BuildError> {
    match &request.context {
        Context::Folder(folder) => {
            let context = folder.canonicalize().ok().filter(|path| path.is_dir());
            let context = context.ok_or_else(|| BuildError::Context(folder.clone()))?;
            let own = request.dockerfile_text.is_none().then_some(&*request.dockerfile);
            let ignore = ignore_rules(own, &context)?;
            Ok((Context::Folder(context), ignore))
        }
        fetched @ Context::Fetched(_) => Ok((fetched.clone(), IgnoreRules::default())),
    }
}

/// The Dockerfile's own ignore file goes before the context's (Dockerfile reference, *.dockerignore file*).
fn ignore_rules(dockerfile: Option<&Path>, context: &Path) -> Result<IgnoreRules, BuildError> {
    if let Some(dockerfile) = dockerfile {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        if let Some(rules) = sources::read_ignore(Path::new(&own))? {
            return Ok(rules);
        }
    }
    Ok(sources::read_ignore(&context.join(".dockerignore"))?.unwrap_or_default())
}

fn read_dockerfile(path: &Path) -> Result<String, BuildError> {
    std::fs::read_to_string(path).map_err(|source| BuildError::Read { path: path.to_owned(), source })
}

/// The part of an image's configuration that a Dockerfile works with.
fn image_config(image: &Image) -> Option<ImageConfig> {
    serde_json::from_value(serde_json::Value::Object(image.config.clone())).ok()
}

type StageFuture = Shared<BoxFuture<'static, Result<Arc<StageOutput>, Stopped>>>;

/// What is done about a step that has no result.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// It runs.
    Build(Arc<Ahead>),
    /// It is found out why.
    Forecast,
    /// It is taken to make what it made the last time, and those after it are started ahead of a build.
    Scout(Arc<Ahead>),
}

/// One build under way.
pub(crate) struct Run {
    pub(crate) builder: Arc<Builder>,
    pub(crate) request: Arc<Request>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) mode: Mode,
    dockerfile: ContentHash,
    outcomes: Mutex<BTreeMap<StepId, Outcome>>,
    decisions: Mutex<BTreeMap<StepId, Decision>>,
    verdicts: Mutex<BTreeMap<StepId, Verdict>>,
    /// How many more reused steps are to be run again.
    samples: AtomicUsize,
    /// Layers that a forecast takes for what a step would make, for it made them the last time; and the step.
    assumed: Mutex<HashMap<LayerId, StepId>>,
    /// Where the files of layers are that a forecast imagines.
    imagined: Mutex<HashMap<LayerId, HashMap<TreePath, PathBuf>>>,
    failure: Mutex<Option<BuildError>>,
    notes: Mutex<elsewhere::Notes>,
}

impl Run {
    /// Goes through the same plan ahead of this one.
    fn scout(&self, ahead: Arc<Ahead>) -> Self {
        Self::new(
            self.builder.clone(),
            self.request.clone(),
            self.plan.clone(),
            Arc::new(self.sources.with_other_stages()),
            Arc::new(Unwatched),
            Mode::Scout(ahead),
            self.dockerfile,
        )
    }

    fn new(
        builder: Arc<Builder>,
        request: Arc<Request>,
        plan: Arc<Plan>,
        sources: Arc<Sources>,
        watch: Arc<dyn Watch>,
        mode: Mode,
        dockerfile: ContentHash,
    ) -> Self {
        Self {
            samples: AtomicUsize::new(request.verify),
            builder,
            request,
            plan,
            sources,
            watch,
            mode,
            dockerfile,
            outcomes: Mutex::default(),
            decisions: Mutex::default(),
            verdicts: Mutex::default(),
            assumed: Mutex::default(),
            imagined: Mutex::default(),
            failure: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// From here on a layer is taken for what a step would make.
    pub(crate) fn assume(&self, layer: LayerId, step: StepId) {
        lock(&self.assumed).entry(layer).or_insert(step);
    }

    /// The step that a layer is only assumed of.
    pub(crate) fn assumed(&self, layer: &LayerId) -> Option<StepId> {
        lock(&self.assumed).get(layer).copied()
    }

    /// The directories of layers that are only assumed.
    pub(crate) fn assumed_layers(&self) -> Vec<(PathBuf, StepId)> {
        let store = self.builder.store();
        lock(&self.assumed).iter().map(|(layer, step)| (store.layer_dir(layer), *step)).collect()
    }

    /// Tells where the files of a layer are that is not made yet.
    pub(crate) fn place(&self, layer: LayerId, places: &HashMap<TreePath, PathBuf>) {
        lock(&self.imagined).insert(layer, places.clone());
    }

    /// Where a file of a layer is on this machine.
    pub(crate) fn locate(&self, layer: &LayerId, path: &TreePath) -> PathBuf {
        let imagined = lock(&self.imagined).get(layer).and_then(|places| places.get(path).cloned());
        imagined.unwrap_or_else(|| path.below(&self.builder.store().layer_dir(layer)))
    }

    /// Whether a layer is one of an image that the build starts from.
    pub(crate) fn is_base(&self, layer: &LayerId) -> bool {
        self.sources.images.values().any(|image| image.layers.contains(layer))
    }

    /// All stages, each as soon as those that it needs are done.
    async fn all(self: &Arc<Self>) -> Result<Arc<StageOutput>, BuildError> {
        let mut futures: Vec<StageFuture> = Vec::new();
        for stage in &self.plan.stages {
            let (run, id, before) = (self.clone(), stage.id, futures.clone());
            let work = async move {
                let result = stage::build(&run, id, &before).await;
                result.map(Arc::new).map_err(|error| run.stop(error))
            };
            // A task of its own: stages go on while nobody waits for them.
            let task = tokio::spawn(work);
            let joined = async move {
                match task.await {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                }
            };
            futures.push(joined.boxed().shared());
        }
        let target = futures.get(self.plan.target.0).cloned();
        let results = futures::future::join_all(futures).await;
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        drop(results);
        match target {
            Some(target) => target.await.map_err(|Stopped| BuildError::Cancelled),
            None => Err(BuildError::Cancelled),
        }
    }

    /// Keeps the first failure and ends what else is running.
    fn stop(&self, error: Option<BuildError>) -> Stopped {
        if let Some(error) = error {
            // The other stages go on where something is only gone: they are needed the next time round.
            let is_over = !matches!(error, BuildError::Step { why: StepError::Gone(_), .. });
            let mut kept = lock(&self.failure);
            match &*kept {
                // What is only gone is not why a build fails.
                Some(BuildError::Step { why: StepError::Gone(_), .. }) if is_over => *kept = Some(error),
                _ => drop(kept.get_or_insert(error)),
            }
            drop(kept);
            if is_over {
                self.builder.cancel.cancel();
            }
        }
        Stopped
    }

    /// The flag that a step is to run for whatever the store has, if there is one.
    pub(crate) fn afresh(&self, id: StepId) -> Option<&'static str> {
        let stage = &self.plan.stage(StageId(id.stage)).name;
        match self.request.no_cache_stages.iter().any(|wanted| wanted.eq_ignore_ascii_case(stage)) {
            _ if self.request.no_cache => Some("--no-cache"),
            true => Some("--no-cache-filter"),
            false => None,
        }
    }

    /// Why a result of a step that used the network is not to be used any more, if so.
    pub(crate) fn refresh(&self, id: StepId, result: &StepResult) -> Option<String> {
        let Refresh { all, steps, max_age } = &self.request.refresh;
        if !result.network {
            return None;
        }
        let info = self.info(id);
        if *all || steps.iter().any(|wanted| wanted.matches(&info)) {
            return Some("--refresh network".to_owned());
        }
        let age = Duration::from_secs(now().saturating_sub(result.created).try_into().unwrap_or(0));
        max_age.is_some_and(|most| age > most).then(|| "what it took from the network is older than max-age".to_owned())
    }

    pub(crate) fn step(&self, id: StepId) -> &Step {
        &self.plan.stage(StageId(id.stage)).steps[id.step]
    }

    pub(crate) fn info(&self, id: StepId) -> StepInfo {
        let (stage, step) = (self.plan.stage(StageId(id.stage)), self.step(id));
        StepInfo { id, stage: stage.name.clone(), text: step.text.clone(), at: step.at }
    }

    /// The steps that make layers.
    fn infos(&self) -> Vec<StepInfo> {
        let mut all = Vec::new();
        for stage in &self.plan.stages {
            for (step, _) in stage.steps.iter().enumerate().filter(|(_, step)| step.makes_layer()) {
                all.push(self.info(StepId { stage: stage.id.0, step }));
            }
        }
        all
    }

    pub(crate) fn finished(&self, step: StepId, outcome: Outcome) {
        lock(&self.outcomes).insert(step, outcome);
        self.watch.event(Event::Finished { step, outcome });
    }

    /// Whether one more reused step is to be run again.
    pub(crate) fn takes_sample(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.samples.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    pub(crate) fn judged(&self, step: StepId, verdict: Verdict) {
        lock(&self.verdicts).insert(step, verdict);
    }

    pub(crate) fn decided(&self, step: StepId, decision: Decision) {
        lock(&self.decisions).insert(step, decision);
    }

    fn outcomes(&self) -> Vec<(StepInfo, Outcome)> {
        lock(&self.outcomes).iter().map(|(id, outcome)| (self.info(*id), *outcome)).collect()
    }

    fn decisions(&self) -> Vec<(StepInfo, Decision)> {
        lock(&self.decisions).iter().map(|(id, decision)| (self.info(*id), decision.clone())).collect()
    }

    fn inputs(&self) -> Inputs {
        let images = self.sources.images.iter().map(|(name, image)| (name.to_string(), image.id())).collect();
        let used = self.sources.used();
        Inputs { dockerfile: self.dockerfile, images, contexts: used.contexts(), git: used.git, http: used.http }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
