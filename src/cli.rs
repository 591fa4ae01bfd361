//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::docker_config;
use crate::failure::{Failure, Kind, Result};
use crate::plugin::Docker;
use crate::registries::Registries;

/// Open edX images that rebuild only what changed, tags that never move, instant rollback.
#[derive(Debug, Parser)]
#[command(name = "shiplap", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed (a step, a disk, ...); 2 the command line or a file that you write is wrong;
3 refused: it would break a promise (a tag exists, the tree is dirty, another deployment came first, ...);
4 what was asked for is not there; 5 a registry or the network failed; 6 the store cannot be used;
7 the site is not well after a deploy (the message says whether it went back) or rollback;
130 cancelled. With several instances (`--all`, or a pattern) it is the highest of theirs.

Begin with `shiplap init`, or `shiplap build .` where you would type `docker build .`.";

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The store [default: the platform's data directory, such as ~/.local/share/shiplap]
    #[arg(long, env = "SHIPLAP_HOME", value_name = "DIR", global = true, help_heading = "Global options")]
    pub home: Option<PathBuf>,
    /// The configuration [default: shiplap.toml in this folder or one above it]
    #[arg(long, env = "SHIPLAP_CONFIG", value_name = "FILE", global = true, help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// How progress is shown, on standard error [default: auto, for builds BUILDKIT_PROGRESS]
    #[arg(long, value_enum, env = "SHIPLAP_PROGRESS", global = true, help_heading = "Global options")]
    pub progress: Option<ProgressKind>,
    /// Print the result as JSON, on standard output
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    #[command(flatten)]
    pub registries: Registries,
    /// The docker that runs this as its plugin.
    #[arg(skip)]
    pub docker: Option<Docker>,
    /// The words behind the program's name.
    #[arg(skip)]
    pub words: Vec<OsString>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressKind {
    /// tty on a terminal, plain elsewhere
    #[default]
    Auto,
    /// A line for each running step, that moves
    Tty,
    /// Every line of every step
    Plain,
    /// A JSON object a line
    Json,
    /// A JSON object a line, as BuildKit's own clients have it
    #[value(name = "rawjson")]
    RawJson,
    /// Nothing but errors
    Quiet,
    /// The same
    None,
    /// A JSON object a line, between words for people: what a build in a container tells the program that shows it
    #[value(hide = true)]
    Relay,
}

impl ProgressKind {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is for people.
    pub fn has_words(self) -> bool {
        matches!(self, Self::Auto | Self::Tty | Self::Plain | Self::Relay)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(commands::init::Args),
    Build(Box<commands::build::Args>),
    Plan(commands::plan::Args),
    Why(commands::why::Args),
    Release(commands::release::Args),
    Releases(commands::releases::Args),
    Deploy(commands::deploy::Args),
    Rollback(commands::rollback::Args),
    Status(commands::status::Args),
    Log(commands::log::Args),
    Tags(commands::tags::Args),
    Tutor(commands::tutor::Args),
    Images(commands::images::Args),
    Import(commands::import::Args),
    Export(commands::export::Args),
    Load(commands::load::Args),
    Rmi(commands::rmi::Args),
    Push(commands::push::Args),
    Pull(commands::pull::Args),
    Serve(Box<commands::serve::Args>),
    Copy(commands::copy::Args),
    Verify(commands::verify::Args),
    VerifySignature(commands::verify_signature::Args),
    Sign(commands::sign::Args),
    Key(commands::key::Args),
    Inspect(commands::inspect::Args),
    Diff(commands::diff::Args),
    Sbom(commands::sbom::Args),
    Referrers(commands::referrers::Args),
    Gc(commands::gc::Args),
    Doctor(commands::doctor::Args),
    Completions(commands::completions::Args),
}

impl Cli {
    /// How progress is shown: as the command line or our own variable say, else as BuildKit's says.
    pub fn progress(&self) -> Result<ProgressKind> {
        let builds = matches!(
            self.command,
            Command::Build(_) | Command::Plan(_) | Command::Why(_) | Command::Verify(_) | Command::Release(_)
        );
        let of_buildkit = std::env::var("BUILDKIT_PROGRESS").ok().filter(|kind| builds && !kind.is_empty());
        let quiet = match &self.command {
            Command::Build(args) => args.is_quiet(),
            Command::Push(args) => args.is_quiet(),
            Command::Pull(args) => args.is_quiet(),
            Command::Copy(args) => args.is_quiet(),
            _ => false,
        };
        match (self.global.progress, of_buildkit) {
            (Some(kind), _) => Ok(kind),
            _ if quiet => Ok(ProgressKind::Quiet),
            (None, None) => Ok(ProgressKind::default()),
            (None, Some(kind)) => ProgressKind::from_str(&kind, false).map_err(|_| {
                Failure::new(Kind::Usage, format!("BUILDKIT_PROGRESS is `{kind}`, which is no way to show progress"))
                    .hint("auto, tty, plain, rawjson, quiet and none are")
            }),
        }
    }
}

/// Reads the command line; shows help and ends the process where that is asked for or needed.
pub fn parse() -> Cli {
    let mut cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    cli.global.words = std::env::args_os().skip(1).collect();
    cli
}

/// Reads the words after `docker shiplap`.
pub fn parse_for_docker(args: Vec<OsString>, docker: Docker) -> Cli {
    const NAME: &str = "docker shiplap";
    let words = std::iter::once(OsString::from(NAME)).chain(args.iter().cloned());
    let matches = command().bin_name(NAME).get_matches_from(words);
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(folder) = &docker.config {
        docker_config::set_folder(folder.clone());
    }
    cli.global.docker = Some(docker);
    cli.global.words = args;
    cli
}

/// The command line. What takes the flags of `docker build` reads them as Docker's pflag does.
pub fn command() -> clap::Command {
    let docker = |command: clap::Command| command.args_override_self(true).mut_args(pflag_switch);
    ["build", "plan", "why", "verify"].into_iter().fold(Cli::command(), |cli, name| cli.mut_subcommand(name, docker))
}

/// A switch that takes a value behind an equals sign: `--pull`, `--pull=true`, `--pull=false`.
fn pflag_switch(arg: Arg) -> Arg {
    // One that must be given has no value to fall back to.
    if !matches!(arg.get_action(), ArgAction::SetTrue) || arg.is_required_set() {
        return arg;
    }
    arg.action(ArgAction::Set)
        .value_name("BOOL")
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .value_parser(go_bool)
}

/// The words of Go's `strconv.ParseBool`.
pub fn go_bool(text: &str) -> std::result::Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false"),
    }
}
