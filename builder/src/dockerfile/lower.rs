//! From stages with variables to stages without.

mod copy;
mod meta;
mod run;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::Fault;
use super::expand::Scope;
use super::instruction::{self, Instruction, Node};
use super::resolve::{Base, Graph, Place, Triggers};
use super::rules::Rule;
use super::{DockerfileError, args, path, warn};
use crate::plan::{
    BuildContext, ContainerConfig, ContextName, Env, ImageConfig, ImageRef, Location, Op, Plan, Platform, Source,
    Stage, StageId, Step, Warning,
};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage while its instructions go by.
pub(super) struct State<'a> {
    graph: &'a Graph,
    index: usize,
    ids: &'a HashMap<usize, StageId>,
    /// Everything that expansion and `RUN` see: the image's `ENV` and the `ARG`s.
    env: Env,
    config: ImageConfig,
    build_args: Vec<(String, Option<String>)>,
    proxy: Env,
    last: Last,
    workdir_set: bool,
    ssh_mounts: usize,
    warnings: Vec<Warning>,
}

/// Where the newest of those stands of which only the last one counts.
#[derive(Default)]
struct Last {
    cmd: Option<Location>,
    entrypoint: Option<Location>,
    healthcheck: Option<Location>,
}

/// What later stages inherit.
#[derive(Clone)]
struct Finished {
    env: Env,
    config: ImageConfig,
    build_args: Vec<(String, Option<String>)>,
    workdir_set: bool,
}

impl Graph {
    /// Makes the plan. `bases` gives the configuration of an image; where it has none for one that is needed, the result is
    /// [`DockerfileError::MissingImages`]: fetch those and call again. That can happen more than once, because the `ONBUILD`
    /// triggers of a base may need more stages and images than [`Graph::images`] knew of.
    pub fn lower(&self, bases: &dyn Fn(&ImageRef) -> Option<ImageConfig>) -> Result<Plan, DockerfileError> {
        let (triggers, needed) = self.fire_triggers(bases)?;
        let mut ids = HashMap::new();
        for &index in &needed {
            // A stage that a build context replaces is no stage any more, unless it is all that is asked for.
            if !self.stages[index].replaced || index == self.target {
                ids.insert(index, StageId(ids.len()));
            }
        }
        let mut plan = Plan {
            stages: Vec::new(),
            target: ids[&self.target],
            contexts: BTreeMap::new(),
            warnings: self.warnings.clone(),
        };
        let mut finished: HashMap<usize, Finished> = HashMap::new();
        for &index in &needed {
            let mut state = self.begin(index, &ids, &finished, bases);
            let mut steps = Vec::new();
            if !self.stages[index].replaced {
                let own = &self.file.stages[index].body;
                for node in triggers.get(&index).into_iter().flatten().chain(own) {
                    steps.push(state.step(node).map_err(|fault| self.file.locate(node.at.line_start, fault))?);
                }
            }
            plan.warnings.append(&mut state.warnings);
            if let Some(&id) = ids.get(&index) {
                plan.stages.push(Stage {
                    id,
                    name: self.file.stages[index].from.name.clone().unwrap_or_else(|| format!("stage-{index}")),
                    base: match &self.stages[index].base {
                        Base::Stage(base) => self.stage_source(*base, &ids),
                        Base::Other(source) => source.clone(),
                    },
                    platform: self.stages[index].platform.clone(),
                    steps,
                    config: state.config.clone(),
                });
            }
            let State { env, config, build_args, workdir_set, .. } = state;
            finished.insert(index, Finished { env, config, build_args, workdir_set });
        }
        plan.warnings.retain(|warning| self.checks.want(warning));
        for (name, context) in &self.options.build_contexts {
            if let BuildContext::Directory(path) = context {
                plan.contexts.insert(ContextName::named(name), path.clone());
            }
        }
        Ok(plan)
    }

    /// With `# check=error=true` no image comes from a Dockerfile that a check finds something in: why not.
    pub fn refusal(&self, warnings: &[Warning]) -> Option<String> {
        let found = warnings.iter().filter(|warning| Rule::named(warning.code).is_some());
        let names: BTreeSet<&str> = found.map(|warning| warning.code).collect();
        let names: Vec<&str> = names.into_iter().collect();
        (self.checks.error && !names.is_empty())
            .then(|| format!("lint violation found for rules: {}", names.join(", ")))
    }

    /// The instructions that bases add, and the stages needed with them.
    fn fire_triggers(
        &self,
        bases: &dyn Fn(&ImageRef) -> Option<ImageConfig>,
    ) -> Result<(Triggers, BTreeSet<usize>), DockerfileError> {
        let mut triggers = Triggers::new();
        loop {
            let (needed, images) = self.reach(&triggers)?;
            let missing: Vec<ImageRef> =
                images.into_iter().filter(|u| u.is_base && bases(&u.image).is_none()).map(|u| u.image).collect();
            if !missing.is_empty() {
                return Err(DockerfileError::MissingImages(missing));
            }
            let before = triggers.len();
            for &index in &needed {
                if self.stages[index].replaced || triggers.contains_key(&index) {
                    continue;
                }
                let at = self.file.stages[index].at;
                let texts: Vec<String> = match &self.stages[index].base {
                    Base::Stage(base) if self.stages[*base].replaced => Vec::new(),
                    Base::Stage(base) => self.file.stages[*base].body.iter().filter_map(onbuild_text).collect(),
                    Base::Other(Source::Image(image)) => bases(image).map(|c| c.config.on_build).unwrap_or_default(),
                    Base::Other(_) => Vec::new(),
                };
                let nodes = texts.iter().map(|text| instruction::trigger(text, at)).collect::<Result<Vec<_>, _>>();
                triggers.insert(index, nodes.map_err(|fault| self.file.locate(at.line_start, fault))?);
            }
            if triggers.len() == before {
                return Ok((triggers, needed));
            }
        }
    }

    fn begin<'a>(
        &'a self,
        index: usize,
        ids: &'a HashMap<usize, StageId>,
        finished: &HashMap<usize, Finished>,
        bases: &dyn Fn(&ImageRef) -> Option<ImageConfig>,
    ) -> State<'a> {
        let info = &self.stages[index];
        let Finished { mut env, mut config, build_args, workdir_set } = match &info.base {
            Base::Stage(base) => finished[base].clone(),
            Base::Other(source) => {
                let config = match source {
                    Source::Image(image) => bases(image).unwrap_or_default(),
                    // BuildKit's `emptyImage`.
                    _ => ImageConfig {
                        config: ContainerConfig { working_dir: "/".to_owned(), ..ContainerConfig::default() },
                        ..ImageConfig::default()
                    },
                };
                Finished { env: Env::default(), config, build_args: Vec::new(), workdir_set: false }
            }
        };
        let mut warnings = Vec::new();
        if let (Base::Other(Source::Image(_)), false) = (&info.base, info.replaced) {
            let actual =
                Platform { os: config.os.clone(), arch: config.architecture.clone(), variant: config.variant.clone() };
            warn::base_platform(&mut warnings, &info.name, &info.platform, &actual, self.file.stages[index].at);
        }
        config.config.on_build.clear();
        fill_platform(&mut config, &info.platform);
        if config.config.environment().get("PATH").is_none() && info.platform.os != "windows" {
            config.config.set_env("PATH", DEFAULT_PATH);
        }
        // The image's own variables win over arguments inherited from the base stage.
        for (name, value) in config.config.environment().iter() {
            env.set(name, value);
        }
        State {
            graph: self,
            index,
            ids,
            env,
            config,
            build_args,
            proxy: args::proxies(&self.options.build_args),
            last: Last::default(),
            workdir_set,
            ssh_mounts: 0,
            warnings,
        }
    }

    /// The tree of a stage.
    fn stage_source(&self, index: usize, ids: &HashMap<usize, StageId>) -> Source {
        match (&self.stages[index].base, self.stages[index].replaced) {
            (Base::Other(source), true) => source.clone(),
            _ => Source::Stage(ids[&index]),
        }
    }
}

fn onbuild_text(node: &Node) -> Option<String> {
    match &node.instruction {
        Instruction::Onbuild(text) => Some(text.clone()),
        _ => None,
    }
}

fn fill_platform(config: &mut ImageConfig, platform: &Platform) {
    config.os.clone_from(&platform.os);
    config.architecture.clone_from(&platform.arch);
    config.variant.clone_from(&platform.variant);
}

impl State<'_> {
    fn step(&mut self, node: &Node) -> Result<Step, Fault> {
        let (op, created_by) = match &node.instruction {
            Instruction::Run(run) => self.run(run, node.at)?,
            Instruction::Copy(copy) => self.copy(copy, node.at)?,
            Instruction::Add(add) => self.add(add, node.at)?,
            Instruction::Workdir(text) => self.workdir(text, node.at)?,
            _ => (Op::Meta, self.meta(node)?),
        };
        let mut depends_on: Vec<StageId> = op_sources(&op)
            .filter_map(|source| match source {
                Source::Stage(id) => Some(*id),
                _ => None,
            })
            .collect();
        depends_on.sort();
        depends_on.dedup();
        Ok(Step { at: node.at, text: node.text.clone(), op, created_by, depends_on })
    }

    /// Runs `f` with the variables in sight and keeps the warnings about those that are not set.
    fn expand<T>(&mut self, at: Location, f: impl FnOnce(&mut Scope) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut scope = Scope::new(self.graph.file.directives.escape, &self.env);
        let result = f(&mut scope);
        for found in scope.found {
            warn::undefined(&mut self.warnings, &found.unset, &self.build_args, &self.env, at);
        }
        result
    }

    fn cwd(&self) -> String {
        path::join("/", &self.config.config.working_dir)
    }

    fn user(&self) -> Option<String> {
        Some(self.config.config.user.clone()).filter(|u| !u.is_empty())
    }

    fn locate(&self, name: &str, numbers: bool) -> Result<Source, Fault> {
        Ok(match self.graph.place(name, self.index, numbers)? {
            Place::Stage(index) => self.graph.stage_source(index, self.ids),
            Place::Other(source) => source,
        })
    }
}

/// The trees that an op reads beside its parent.
fn op_sources(op: &Op) -> impl Iterator<Item = &Source> {
    use crate::plan::MountKind;
    let (copy, mounts) = match op {
        Op::Copy(copy) => (Some(&copy.from), None),
        Op::Run(run) => (None, Some(&run.mounts)),
        _ => (None, None),
    };
    copy.into_iter().chain(mounts.into_iter().flatten().filter_map(|mount| match &mount.kind {
        MountKind::Bind { from, .. } | MountKind::Cache { from: Some(from), .. } => Some(from),
        _ => None,
    }))
}
