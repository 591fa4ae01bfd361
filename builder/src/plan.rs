//! What a build does: stages of fully expanded steps, made from a Dockerfile.
//!
//! A [`Plan`] holds nothing that the machine decides later: image names are not yet digests, git references not
//! yet commits, globs not yet files. Whoever runs the plan resolves those first. The identity of a step is its
//! [`Op`] with each [`Source`] replaced by what it resolved to; [`Step::text`], [`Step::at`], [`Step::created_by`]
//! and [`RunOp::proxy`] are for people and for the image's history and must not enter a key. Local directories appear
//! only in [`Plan::contexts`], so an op never holds a path of this machine.

mod config;
mod env;
mod platform;
mod size;
mod source;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use config::{ContainerConfig, Empty, Health, ImageConfig};
pub use env::Env;
pub use platform::{Platform, PlatformError};
pub use size::{ByteSize, ByteSizeError};
pub use source::{BuildContext, ContextName, GitSource, ImageOrigin, ImageRef, Source};

/// Every step that the target needs, in an order in which each stage comes after those that it uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The stages to build.
    pub stages: Vec<Stage>,
    /// The stage that becomes the image.
    pub target: StageId,
    /// The directories behind [`Source::Context`]; the main build context is the caller's and is not listed.
    pub contexts: BTreeMap<ContextName, std::path::PathBuf>,
    /// Things that the author of the Dockerfile should know.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// The stage with this id.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0]
    }
}

/// The place of a stage in [`Plan::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StageId(pub usize);

/// One `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its place in the plan.
    pub id: StageId,
    /// The name after `AS`, or `stage-N` as BuildKit counts them.
    pub name: String,
    /// What it starts from.
    pub base: Source,
    /// The platform that it is built for.
    pub platform: Platform,
    /// Its steps; those of an `ONBUILD` in the base come first.
    pub steps: Vec<Step>,
    /// The image configuration after the last step.
    pub config: ImageConfig,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Where the instruction stands; for an `ONBUILD` trigger the `FROM` that fired it.
    pub at: Location,
    /// The instruction as written, continuation lines joined.
    pub text: String,
    /// What to do.
    pub op: Op,
    /// The `created_by` text of the image's history, as BuildKit writes it; `None` adds no entry.
    pub created_by: Option<String>,
    /// Other stages whose files it reads (not the stage's own base).
    pub depends_on: Vec<StageId>,
}

impl Step {
    /// Whether the step makes a layer.
    pub fn makes_layer(&self) -> bool {
        match &self.op {
            Op::Run(_) | Op::Copy(_) | Op::Add(_) => true,
            // BuildKit makes no directory for the root.
            Op::Workdir { path, .. } => path != "/",
            Op::Meta => false,
        }
    }
}

/// Lines of the Dockerfile, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// First line.
    pub line_start: usize,
    /// Last line, here-documents included.
    pub line_end: usize,
}

/// What a step does. Everything is expanded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Run a program.
    Run(RunOp),
    /// Copy files.
    Copy(CopyOp),
    /// Copy files, unpack archives, fetch from git or HTTP.
    Add(AddOp),
    /// Make the working directory, with its parents, mode 0755. Those that are missing belong to `user`
    /// (BuildKit `dispatchWorkdir`: `llb.Mkdir` with `WithParents` and `WithUser`).
    Workdir {
        /// Absolute path.
        path: String,
        /// The `USER` in force; `None` is root.
        user: Option<String>,
    },
    /// Changes only the configuration or the history.
    Meta,
}

/// A `RUN`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunOp {
    /// The program and its arguments, the shell included.
    pub argv: Vec<String>,
    /// Files to show read-only in `/dev/pipes` with mode 0755: a here-document that starts with `#!`.
    pub inline_files: Vec<InlineFile>,
    /// The whole environment: the image's `ENV` and the `ARG`s in sight.
    pub env: Env,
    /// Proxy settings given as build arguments that the stage does not declare. Set them too, but keep them out of every
    /// key ("Predefined ARGs" in the Dockerfile reference).
    pub proxy: Env,
    /// The `USER` in force; `None` is root.
    pub user: Option<String>,
    /// The working directory.
    pub cwd: String,
    /// What is mounted while it runs, in order.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: Network,
}

/// A file whose text stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InlineFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub data: String,
}

/// The network that a `RUN` sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What the build was started with.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mount {
    /// Absolute path in the container; `None` for a secret that is only an environment variable.
    pub target: Option<String>,
    /// What it is.
    pub kind: MountKind,
}

/// The kinds of `--mount`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MountKind {
    /// Files of another tree. Writes, where allowed, are thrown away.
    Bind {
        /// The tree.
        from: Source,
        /// Absolute path in that tree.
        source: String,
        /// Whether writing fails.
        read_only: bool,
    },
    /// A directory that lives on between builds.
    Cache {
        /// Which one.
        id: String,
        /// Who else may use it meanwhile.
        sharing: Sharing,
        /// Where its first content comes from; `None` starts empty.
        from: Option<Source>,
        /// Absolute path in `from`.
        source: String,
        /// Owner, group and mode of a new empty cache; root, root and 0755 by default.
        owner: FileOwner,
        /// Whether writing fails.
        read_only: bool,
    },
    /// A fresh file system in memory.
    Tmpfs {
        /// Largest size in bytes.
        size: Option<u64>,
    },
    /// A secret as a file or as a variable.
    Secret {
        /// Which one.
        id: String,
        /// Also set this variable.
        env: Option<String>,
        /// Owner, group and mode; root, root and 0400 by default.
        owner: FileOwner,
        /// Whether a missing secret is an error.
        required: bool,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Which one.
        id: String,
        /// Owner, group and mode; root, root and 0600 by default.
        owner: FileOwner,
        /// Whether a missing agent is an error.
        required: bool,
    },
}

/// Who may use a cache directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// Each concurrent writer gets its own.
    Private,
    /// One after the other.
    Locked,
}

/// Numeric owner, group and mode of something mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A `COPY`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyOp {
    /// The tree that the paths are in.
    pub from: Source,
    /// What is copied.
    pub sources: Vec<CopySource>,
    /// Where to and how.
    pub to: Destination,
    /// `--parents`: keep the directories of each source below [`CopySource::Path::base`].
    pub parents: bool,
}

/// One source of a `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CopySource {
    /// A path or glob in the tree that is copied from.
    Path {
        /// With `--parents`, what stands before the `/./` pivot; else empty.
        base: String,
        /// The path or glob below it, without a leading slash; empty for the whole tree.
        pattern: String,
    },
    /// A here-document, mode 0644.
    Inline(InlineFile),
}

/// An `ADD`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AddOp {
    /// What is added.
    pub sources: Vec<AddSource>,
    /// Where to and how.
    pub to: Destination,
}

/// One source of an `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AddSource {
    /// A path or glob in the main build context.
    Path {
        /// The path or glob, without a leading slash; empty for the whole context.
        pattern: String,
        /// Whether a tar archive is unpacked.
        unpack: bool,
    },
    /// A here-document, mode 0644.
    Inline(InlineFile),
    /// A file from the web, mode 0600 unless `--chmod` says otherwise.
    Http {
        /// Where it is.
        url: String,
        /// The name that it gets in a directory.
        file_name: String,
        /// The digest that it must have, `sha256:...`.
        checksum: Option<String>,
        /// Whether a tar archive is unpacked.
        unpack: bool,
    },
    /// A git repository.
    Git(GitSource),
}

/// The receiving end of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Absolute path; a slash at the end means a directory.
    pub path: String,
    /// `--chown` as written: names or numbers, looked up in the image.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the layer does not depend on what lies below it.
    pub link: bool,
    /// `--exclude` patterns, in the syntax of `.dockerignore`.
    pub exclude: Vec<String>,
}

/// A `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Chmod {
    /// All the bits at once.
    Octal(u32),
    /// A change in the form of chmod(1), such as `u=rwX,go=rX`.
    Symbolic(String),
}

/// Something that is allowed and probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// BuildKit's name of the check, where it has one.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where; `None` for the build as a whole.
    pub at: Option<Location>,
}

impl Warning {
    /// The code of a note about `# syntax=`: nothing is wrong.
    pub const SYNTAX: &'static str = "Syntax";
}
