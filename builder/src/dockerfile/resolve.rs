//! Which stages a target needs and what they start from.

use std::collections::{BTreeMap, BTreeSet};

use super::directives::Checks;
use super::error::{Fault, closest};
use super::expand::Scope;
use super::instruction::{Instruction, Node};
use super::{Dockerfile, DockerfileError, args, directives, mount, warn};
use crate::ignore::IgnoreRules;
use crate::plan::{BuildContext, ContextName, Env, ImageOrigin, ImageRef, Location, Platform, Source, Warning};

/// What the command line says about a build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// `--target`; the last stage when there is none.
    pub target: Option<String>,
    /// Whether the stages that the target does not need are read to the end, too: for a check.
    pub all_stages: bool,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--build-context`, by name.
    pub build_contexts: BTreeMap<String, BuildContext>,
    /// `--platform`.
    pub platform: Platform,
    /// The platform of the machine that builds.
    pub build_platform: Platform,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            target: None,
            all_stages: false,
            build_args: BTreeMap::new(),
            build_contexts: BTreeMap::new(),
            platform: Platform::host(),
            build_platform: Platform::host(),
        }
    }
}

impl BuildOptions {
    /// The build argument `SOURCE_DATE_EPOCH`: no time in the image's configuration is later.
    ///
    /// # Errors
    /// It is not a number of seconds.
    pub fn source_date_epoch(&self) -> Result<Option<i64>, DockerfileError> {
        let Some(text) = self.build_args.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let hint = Some("give the seconds since 1970 in UTC, as `date +%s` prints them".to_owned());
        let message = format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds");
        text.parse().map(Some).map_err(|_| DockerfileError::Option { message, hint })
    }
}

/// An image that a build uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Which one.
    pub image: ImageRef,
    /// Whether planning needs its configuration; `false` for an image that is only copied from.
    pub is_base: bool,
    /// Where it is named first.
    pub at: Location,
    /// A stage with almost the same name, which may be what is meant when there is no such image.
    pub near_stage: Option<String>,
}

/// The stages of a Dockerfile with the options applied, before variables inside of stages are expanded.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(super) file: Dockerfile,
    pub(super) options: BuildOptions,
    pub(super) globals: Env,
    pub(super) stages: Vec<StageInfo>,
    pub(super) target: usize,
    pub(super) warnings: Vec<Warning>,
    pub(super) checks: Checks,
    pub(super) ignore: IgnoreRules,
}

/// What is known of a stage before it is expanded.
#[derive(Debug, Clone)]
pub(super) struct StageInfo {
    pub(super) base: Base,
    /// The name of the base, expanded.
    pub(super) name: String,
    pub(super) platform: Platform,
    /// A build context takes its place.
    pub(super) replaced: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Base {
    /// An earlier stage.
    Stage(usize),
    /// Anything else.
    Other(Source),
}

/// The instructions that the base of a stage puts in front of its own.
pub(super) type Triggers = BTreeMap<usize, Vec<Node>>;

/// What the name in `--from` means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Stage(usize),
    Other(Source),
}

impl Dockerfile {
    /// Applies the options and finds what the target needs.
    pub fn resolve(&self, options: &BuildOptions) -> Result<Graph, DockerfileError> {
        let target = self.target(options)?;
        options.source_date_epoch()?;
        let stage_name = options.target.clone().or(self.stages[self.stages.len() - 1].from.name.clone());
        let mut graph = Graph {
            file: self.clone(),
            options: options.clone(),
            globals: args::platform_args(
                &options.platform,
                &options.build_platform,
                &stage_name.unwrap_or_default(),
                &options.build_args,
            ),
            stages: Vec::new(),
            target,
            warnings: self.warnings.clone(),
            checks: Checks::of(&self.directives, &options.build_args).map_err(|at| self.in_directive(at))?,
            ignore: IgnoreRules::default(),
        };
        let note = directives::check_syntax(&self.directives, &options.build_args);
        graph.warnings.extend(note.map_err(|at| self.in_directive(at))?);
        graph.check_default_bases();
        graph.read_global_args()?;
        for index in 0..self.stages.len() {
            let info = graph.stage_info(index).map_err(|fault| self.locate(self.stages[index].at.line_start, fault))?;
            graph.stages.push(info);
        }
        // Wrong names show before any image is fetched.
        graph.images()?;
        graph.check_build_args();
        Ok(graph)
    }

    /// An error in a directive, or in the build argument that takes its place.
    fn in_directive(&self, (line, fault): (usize, Fault)) -> DockerfileError {
        match line {
            0 => DockerfileError::Option { message: fault.message, hint: fault.hint },
            line => self.locate(line, fault),
        }
    }

    fn target(&self, options: &BuildOptions) -> Result<usize, DockerfileError> {
        let Some(name) = &options.target else { return Ok(self.stages.len() - 1) };
        let lower = name.to_lowercase();
        if let Some(index) = self.stages.iter().rposition(|s| s.from.name.as_deref() == Some(&lower)) {
            return Ok(index);
        }
        let fault =
            Fault::new(format!("{} has no stage {name:?} to build", self.name)).suggest(name, self.stage_names());
        let names: Vec<&str> = self.stage_names().collect();
        let hint = fault.hint.or_else(|| (!names.is_empty()).then(|| format!("its stages are {}", names.join(", "))));
        Err(DockerfileError::Option { message: fault.message, hint })
    }
}

impl Graph {
    /// Adds the rules of `.dockerignore`, which only a check needs here.
    #[must_use]
    pub fn ignoring(mut self, rules: IgnoreRules) -> Self {
        self.ignore = rules;
        self
    }

    fn read_global_args(&mut self) -> Result<(), DockerfileError> {
        self.globals = self.global_args(&self.options.build_args)?;
        Ok(())
    }

    /// The `ARG`s before the first `FROM`.
    fn global_args(&self, given: &BTreeMap<String, String>) -> Result<Env, DockerfileError> {
        let mut globals = self.globals.clone();
        for node in &self.file.args {
            let Instruction::Arg(list) = &node.instruction else { continue };
            for (name, default) in list {
                let value = match (given.get(name), default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(text)) => {
                        let expanded = Scope::new(self.file.directives.escape, &globals).word(text);
                        Some(expanded.map_err(|fault| self.file.locate(node.at.line_start, fault))?)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    globals.set(name.clone(), value);
                }
            }
        }
        Ok(globals)
    }

    /// What the bases would be without build arguments. An error here is one later, too, and told there.
    fn check_default_bases(&mut self) {
        let Ok(globals) = self.global_args(&BTreeMap::new()) else { return };
        for stage in &self.file.stages {
            let Ok(base) = Scope::new(self.file.directives.escape, &globals).word(&stage.from.base) else { return };
            warn::default_base(&mut self.warnings, &stage.from.base, &base, stage.at);
        }
    }

    fn stage_info(&mut self, index: usize) -> Result<StageInfo, Fault> {
        let stage = &self.file.stages[index];
        let declared = self.declared();
        let mut scope = Scope::new(self.file.directives.escape, &self.globals);
        let base = scope.word(&stage.from.base)?;
        for found in scope.found.drain(..) {
            warn::undeclared(&mut self.warnings, &found, &declared, stage.at);
        }
        if base.is_empty() {
            return Err(Fault::new(format!("the base {:?} is empty", stage.from.base))
                .hint("give the argument a default before the first FROM, or pass --build-arg"));
        }
        let platform = match &stage.from.platform {
            None => self.options.platform.clone(),
            Some(text) => {
                let platform = scope.word(text)?;
                let target = self.globals.get("TARGETPLATFORM").unwrap_or_default();
                for found in scope.found.drain(..) {
                    warn::undeclared(&mut self.warnings, &found, &declared, stage.at);
                    warn::platform(&mut self.warnings, &stage.from, &platform, &found, target, stage.at);
                }
                platform.parse().map_err(|error| Fault::new(format!("--platform={text}: {error}")))?
            }
        };
        let name = stage.from.name.clone();
        if let Some((given, context)) = name.as_deref().and_then(|name| self.context_named(name)) {
            let source = context_source(given, context, &platform);
            return Ok(StageInfo { base: Base::Other(source), name: base, platform, replaced: true });
        }
        let earlier = self.file.stages[..index].iter().rposition(|s| s.from.name.as_deref() == Some(&base));
        if let Some(earlier) = earlier {
            let platform = self.stages[earlier].platform.clone();
            return Ok(StageInfo { base: Base::Stage(earlier), name: base, platform, replaced: false });
        }
        if base == "scratch" {
            let platform = self.options.platform.clone();
            return Ok(StageInfo { base: Base::Other(Source::Scratch), name: base, platform, replaced: false });
        }
        let source = self.image(&base, &platform).map_err(|fault| {
            let known: Vec<&str> = self.file.stage_names().collect();
            fault.suggest(&base, known)
        })?;
        Ok(StageInfo { base: Base::Other(source), name: base, platform, replaced: false })
    }

    /// The names that a `FROM` may use, with a value or without.
    fn declared(&self) -> BTreeSet<String> {
        let lists = self.file.args.iter().filter_map(|node| match &node.instruction {
            Instruction::Arg(list) => Some(list),
            _ => None,
        });
        let args = lists.flatten().map(|(name, _)| name.clone());
        args.chain(self.globals.iter().map(|(name, _)| name.to_owned())).collect()
    }

    fn context_named(&self, name: &str) -> Option<(&str, &BuildContext)> {
        // Nothing is never something else (BuildKit's `namedContext`).
        let mut contexts = self.options.build_contexts.iter().filter(|_| !name.eq_ignore_ascii_case("scratch"));
        let found = contexts.find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(given, context)| (given.as_str(), context))
    }

    /// An image name, or the build context given for it.
    fn image(&self, name: &str, platform: &Platform) -> Result<Source, Fault> {
        if let Some((given, context)) = self.context_named(name) {
            return Ok(context_source(given, context, platform));
        }
        let origin = ImageOrigin::registry(name).map_err(Fault::new)?;
        for (given, context) in &self.options.build_contexts {
            if ImageOrigin::registry(given).is_ok_and(|o| o == origin) {
                return Ok(context_source(given, context, platform));
            }
        }
        Ok(Source::Image(ImageRef { origin, platform: platform.clone() }))
    }

    /// What `--from=name` in stage `current` means. Only `COPY` counts stages by number.
    pub(super) fn place(&self, name: &str, current: usize, numbers: bool) -> Result<Place, Fault> {
        let lower = name.to_lowercase();
        let stages = &self.file.stages;
        let index = match name.parse::<usize>() {
            Ok(index) if numbers && index < stages.len() => Some(index),
            Ok(_) if numbers => {
                return Err(Fault::new(format!("there is no stage {name}"))
                    .hint(format!("stages count from 0 to {}", stages.len() - 1)));
            }
            _ => stages.iter().rposition(|s| s.from.name.as_deref() == Some(&lower)),
        };
        match index {
            Some(index) if index < current => Ok(Place::Stage(index)),
            Some(index) if self.stages.get(index).is_some_and(|s| s.replaced) => Ok(Place::Stage(index)),
            Some(index) if index == current => Err(Fault::new("a stage cannot copy from itself")),
            Some(_) => {
                Err(Fault::new(format!("stage {name:?} is defined further down")).hint("move it above this stage"))
            }
            None if name == "scratch" => Ok(Place::Other(Source::Scratch)),
            None => self
                .image(name, &self.options.platform)
                .map(Place::Other)
                .map_err(|fault| fault.suggest(name, self.file.stage_names())),
        }
    }

    /// The trees that an instruction reads beside its own stage.
    pub(super) fn places(&self, node: &Node, current: usize) -> Result<Vec<Place>, Fault> {
        match &node.instruction {
            Instruction::Copy(copy) => match &copy.from {
                Some(from) if from.contains('$') => Err(Fault::new("--from cannot hold variables")
                    .hint("put FROM with the variable into a stage of its own and name that stage")),
                Some(from) => Ok(vec![self.place(from, current, true)?]),
                None => Ok(Vec::new()),
            },
            Instruction::Run(run) => {
                let mut places = Vec::new();
                for text in &run.mounts {
                    if let Some(from) = mount::from(text)? {
                        places.push(self.place(&from, current, false)?);
                    }
                }
                Ok(places)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// An error about something at this place.
    pub fn error_at(&self, at: Location, message: impl Into<String>, hint: Option<String>) -> DockerfileError {
        self.file.locate(at.line_start, Fault { message: message.into(), hint })
    }

    /// Every image that the target uses; the triggers of a base (`ONBUILD`) may add to them.
    pub fn images(&self) -> Result<Vec<ImageUse>, DockerfileError> {
        Ok(self.reach(&Triggers::new())?.1)
    }

    /// The stages that the target needs, in file order, which is an order in which each comes after those it uses, and the
    /// images. `triggers` are instructions that come before those of a stage.
    pub(super) fn reach(&self, triggers: &Triggers) -> Result<(BTreeSet<usize>, Vec<ImageUse>), DockerfileError> {
        let mut needed = BTreeSet::new();
        let mut images: Vec<ImageUse> = Vec::new();
        let mut add = |source: &Source, is_base: bool, at: Location| {
            let Source::Image(image) = source else { return };
            match images.iter_mut().find(|u| u.image == *image) {
                Some(known) => {
                    known.is_base |= is_base;
                    known.at = if at.line_start < known.at.line_start { at } else { known.at };
                }
                None => images.push(ImageUse { image: image.clone(), is_base, at, near_stage: self.near_stage(image) }),
            }
        };
        let mut open = if self.options.all_stages { (0..self.stages.len()).collect() } else { vec![self.target] };
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            let info = &self.stages[index];
            match &info.base {
                Base::Stage(base) => open.push(*base),
                Base::Other(source) => add(source, true, self.file.stages[index].at),
            }
            if info.replaced {
                continue;
            }
            let own = &self.file.stages[index].body;
            for node in triggers.get(&index).into_iter().flatten().chain(own) {
                let places = self.places(node, index).map_err(|fault| self.file.locate(node.at.line_start, fault))?;
                for place in places {
                    match place {
                        Place::Stage(stage) => open.push(stage),
                        Place::Other(source) => add(&source, false, node.at),
                    }
                }
            }
        }
        images.sort_by_key(|used| used.at.line_start);
        Ok((needed, images))
    }

    /// The stage that an image name without a registry may have meant.
    fn near_stage(&self, image: &ImageRef) -> Option<String> {
        let name = image.to_string();
        let short = name.strip_prefix("docker.io/library/")?.strip_suffix(":latest")?;
        closest(short, self.file.stage_names()).map(str::to_owned)
    }

    fn check_build_args(&mut self) {
        let declared = self.file.stages.iter().flat_map(|s| &s.body).chain(&self.file.args);
        let names: BTreeSet<&str> = declared
            .filter_map(|node| match &node.instruction {
                Instruction::Arg(list) => Some(list.iter().map(|(name, _)| name.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        let unused: Vec<&str> = self
            .options
            .build_args
            .keys()
            .map(String::as_str)
            .filter(|name| !names.contains(name) && !args::is_predefined(name) && self.globals.get(name).is_none())
            .collect();
        if !unused.is_empty() {
            let message = format!("one or more build-args were not consumed: {}", unused.join(", "));
            self.warnings.push(Warning { code: "UnusedBuildArg", message, at: None });
        }
    }
}

fn context_source(name: &str, context: &BuildContext, platform: &Platform) -> Source {
    match context {
        BuildContext::Directory(_) => Source::Context(ContextName::named(name)),
        BuildContext::Image(origin) => Source::Image(ImageRef { origin: origin.clone(), platform: platform.clone() }),
        BuildContext::Git(git) => Source::Git(git.clone()),
        BuildContext::Http(url) => Source::Http(url.clone()),
    }
}
