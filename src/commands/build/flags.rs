//! The flags of `docker buildx build`, in their own spelling.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use shiplap_builder::build::{Context, Request, StepSelector};
use shiplap_builder::dockerfile::BuildOptions;
use shiplap_builder::plan::{BuildContext, Network, Platform};
use shiplap_builder::sandbox::Ulimit;

use super::packing::SOURCE_DATE_EPOCH;
use super::{secrets, steps};
use crate::docker_config;
use crate::failure::{Failure, Kind, Result};
use crate::tiers::CacheFlags;

/// What the build takes from the command line.
#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    pub cache: CacheFlags,
    /// The Dockerfile, a file or a URL [default: DIR/Dockerfile]; `-` reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A name for the image, NAME[:TAG]; can be given several times
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,
    /// The stage to build
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// The value of an ARG; without a value it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// A further context: a folder, docker-image://NAME, oci-layout://DIR or a git URL
    #[arg(long, value_name = "NAME=PLACE")]
    pub build_context: Vec<String>,
    /// A secret for RUN --mount=type=secret: id=ID[,type=file|env][,src=FILE|,env=NAME]
    #[arg(long, value_name = "SPEC")]
    pub secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh: default[=SOCKET]
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub ssh: Vec<String>,
    /// A line for /etc/hosts in steps; the address `host-gateway` is this machine's
    #[arg(long, value_name = "NAME=ADDRESS")]
    pub add_host: Vec<String>,
    /// The network of steps that do not say
    #[arg(long, value_enum, default_value_t)]
    pub network: NetworkMode,
    /// The platform to build for, one [default: DOCKER_DEFAULT_PLATFORM, or this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Vec<String>,
    /// The size of /dev/shm in steps, as in 64m
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// A limit of steps, as in nofile=1024:4096; -1 is unlimited
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// A label for the image
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub label: Vec<String>,
    /// Run every step
    #[arg(long)]
    pub no_cache: bool,
    /// Run every step of these stages; can be given several times
    #[arg(long, value_name = "STAGE,STAGE")]
    pub no_cache_filter: Vec<String>,
    /// Ask registries for base images that are in the store
    #[arg(long)]
    pub pull: bool,
    /// Where base images come from that are named without a digest
    #[arg(long, value_enum, default_value_t, value_name = "PLACE")]
    pub base_from: BaseFrom,
    /// Do not watch what RUN steps read: a step runs again when anything below it changed
    #[arg(long)]
    pub no_trace: bool,
    /// Do not start steps before their turn, on a guess of what those before them make
    #[arg(long)]
    pub no_ahead: bool,
    /// Run steps that used the network again: all of them, or one named by its line, its stage or words of it; can be given several
    /// times
    #[arg(long, value_name = "network[=STEP]")]
    pub refresh: Vec<String>,
    /// Say why each step that runs does
    #[arg(long)]
    pub explain: bool,
}

/// `--base-from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum BaseFrom {
    /// The store, else the registry
    #[default]
    Registry,
    /// The container engine where it has an image of the name, else as without this flag
    Engine,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NetworkMode {
    /// The host's network
    #[default]
    Default,
    /// The host's network
    Host,
    /// Loopback only
    None,
}

/// A value that a flag does not take.
pub fn wrong(flag: &str, value: &str, expected: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{flag} {value}: expected {expected}"))
}

impl Flags {
    /// The request for a context.
    pub fn request(&self, context: Context, dockerfile: PathBuf, text: Option<String>) -> Result<Request> {
        let options = BuildOptions {
            target: self.target.clone(),
            build_args: self.build_args()?,
            build_contexts: contexts(self.build_context.iter().map(|text| pair("--build-context", text)))?,
            platform: self.platform()?,
            ..BuildOptions::default()
        };
        let labels = self.label.iter().map(|text| text.split_once('=').unwrap_or((text.as_str(), "")));
        self.adjust(Request {
            dockerfile_text: text,
            options,
            secrets: secrets::read(&self.secret)?,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ..Request::in_context(context, dockerfile)
        })
    }

    /// The flags that also go with an instance.
    pub fn adjust(&self, request: Request) -> Result<Request> {
        let network = match self.network {
            NetworkMode::Default => request.network,
            NetworkMode::Host => Network::Host,
            NetworkMode::None => Network::None,
        };
        let mut refresh = request.refresh.clone();
        for wanted in &self.refresh {
            match wanted.split_once('=').map_or((wanted.as_str(), None), |(what, step)| (what, Some(step))) {
                ("network", None) => refresh.all = true,
                ("network", Some(step)) if !step.is_empty() => refresh.steps.push(StepSelector::new(step)),
                _ => return Err(wrong("--refresh", wanted, "network, or network=STEP")),
            }
        }
        if self.no_cache && !self.no_cache_filter.is_empty() {
            let why = "--no-cache runs the steps of all stages, --no-cache-filter those of some: give one of them";
            return Err(Failure::new(Kind::Usage, why));
        }
        let stages = self.no_cache_filter.iter().flat_map(|stages| stages.split(','));
        let (no_cache, pull, trace, ahead) = (self.no_cache, self.pull, !self.no_trace, !self.no_ahead);
        Ok(Request {
            network,
            no_cache,
            no_cache_stages: stages.map(|stage| stage.trim().to_owned()).collect(),
            pull,
            trace,
            ahead,
            refresh,
            explain: self.explain,
            ssh: steps::agents(&self.ssh)?,
            extra_hosts: steps::hosts(&self.add_host)?,
            shm_size: self.shm_size.as_deref().map(steps::shm_size).transpose()?,
            ulimits: steps::ulimits(&self.ulimit),
            ..request
        })
    }

    /// What shiplap.toml says for an instance cannot be said on the command line too.
    pub fn refuse_for_instance(&self) -> Result<()> {
        let given = [
            ("--file", self.file.is_some()),
            ("--tag", !self.tag.is_empty()),
            ("--target", self.target.is_some()),
            ("--build-arg", !self.build_arg.is_empty()),
            ("--build-context", !self.build_context.is_empty()),
            ("--secret", !self.secret.is_empty()),
            ("--platform", !self.platform.is_empty()),
            ("--label", !self.label.is_empty()),
        ];
        refuse(&given)
    }

    /// The one platform to build for.
    fn platform(&self) -> Result<Platform> {
        let default = std::env::var("DOCKER_DEFAULT_PLATFORM").ok().filter(|text| !text.is_empty());
        let given = if self.platform.is_empty() { default.into_iter().collect() } else { self.platform.clone() };
        let mut platforms = Vec::new();
        for text in given.iter().flat_map(|text| text.split(',')) {
            let one = match text.trim() {
                // buildx's word for the machine of its client.
                "local" => Platform::host(),
                text => platform(Some(text))?,
            };
            if !platforms.contains(&one) {
                platforms.push(one);
            }
        }
        match platforms.as_slice() {
            [] => Ok(Platform::host()),
            [one] => Ok(one.clone()),
            several => {
                let names: Vec<String> = several.iter().map(Platform::to_string).collect();
                Err(Failure::new(Kind::Usage, format!("--platform {}: a build is for one platform", names.join(",")))
                    .hint("build once for each platform, under a name of its own"))
            }
        }
    }

    /// `--build-arg`.
    pub fn build_args(&self) -> Result<BTreeMap<String, String>> {
        let mut args = BTreeMap::new();
        for text in &self.build_arg {
            match text.split_once('=') {
                Some((name, value)) => drop(args.insert(name.to_owned(), value.to_owned())),
                // As docker does: from the environment, and not at all when it is not there either.
                None => drop(std::env::var(text).ok().and_then(|value| args.insert(text.clone(), value))),
            }
        }
        // As buildx does with its environment.
        if let (Ok(epoch), false) = (std::env::var(SOURCE_DATE_EPOCH), args.contains_key(SOURCE_DATE_EPOCH))
            && !epoch.is_empty()
        {
            args.insert(SOURCE_DATE_EPOCH.to_owned(), epoch);
        }
        docker_config::add_proxies(&mut args)?;
        Ok(args)
    }
}

/// An error about the first flag that was given, none of which goes with an instance.
pub fn refuse(flags: &[(&str, bool)]) -> Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(Failure::new(Kind::Usage, format!("{flag} goes with a directory, not with an instance"))
                .hint("for an instance it stands in shiplap.toml; `shiplap release` tags and pushes"))
        }
        None => Ok(()),
    }
}

/// Named contexts.
pub fn contexts(given: impl Iterator<Item = Result<(String, String)>>) -> Result<BTreeMap<String, BuildContext>> {
    given
        .map(|pair| {
            let (name, place) = pair?;
            let context = BuildContext::parse(&place)
                .map_err(|e| Failure::new(Kind::Usage, format!("the build context {name}: {e}")))?;
            Ok((name, context))
        })
        .collect()
}

/// A platform, this machine's by default.
pub fn platform(given: Option<&str>) -> Result<Platform> {
    match given {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|e| Failure::new(Kind::Usage, format!("the platform {text}: {e}"))),
    }
}

fn pair(flag: &str, text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| wrong(flag, text, "NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
