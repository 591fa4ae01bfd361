//! What to run: everything that the sandbox has to know of a `RUN` step.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One `RUN` step, with all paths on the host absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSpec {
    /// The layers that the step sees, topmost first. Empty for `FROM scratch`.
    pub lower: Vec<Lower>,
    /// How many served trees there are among all layers, those of mounts too. The caller of [`super::Sandbox::run_traced`] answers for each.
    pub served: usize,
    /// An existing, empty directory that receives what the step changes, in overlayfs form: a deleted
    /// path is a character device 0:0, a replaced directory carries the `opaque` attribute (of
    /// `trusted.overlay`, or of `user.overlay` in a user namespace). Its owner and mode are those of the root that the step sees:
    /// whoever made it knows the tree. Those of the layers' directories say nothing, for equal layers of different trees are one.
    pub upper: PathBuf,
    /// An existing, empty directory on the file system of `upper` for the sandbox's own use. Whoever
    /// made it removes it after the run.
    pub work: PathBuf,
    /// The program and its arguments; a program without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// The environment. `PATH` and `HOME` are added where missing, as Docker does.
    pub env: Vec<(String, String)>,
    /// The working directory, made (owned by the user) when it is missing.
    pub cwd: String,
    /// `USER`: `name|uid[:group|gid]`, looked up in the image; root when `None`.
    pub user: Option<String>,
    /// The step's `--mount`s, in order.
    pub mounts: Vec<Mount>,
    /// The step's `--network`.
    pub network: Network,
    /// The host name that the step sees.
    pub hostname: String,
    /// Lines for `/etc/hosts`: host name, address.
    pub extra_hosts: Vec<(String, String)>,
    /// The size of `/dev/shm` in bytes; 64 MiB, Docker's default, when `None`.
    pub shm_size: Option<u64>,
    /// Limits that differ from the ones of this process.
    pub ulimits: Vec<Ulimit>,
    /// The step's standard input; `/dev/null` when `None`.
    pub stdin: Option<Vec<u8>>,
    /// Whether the step's calls are told to the caller of [`super::Sandbox::run_traced`].
    pub trace: bool,
}

/// Where a layer's files are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lower {
    /// In a directory, in overlayfs form.
    Directory(PathBuf),
    /// In the served tree of this number, counted from zero ([`crate::served`]).
    Served(usize),
}

impl From<PathBuf> for Lower {
    fn from(path: PathBuf) -> Self {
        Self::Directory(path)
    }
}

/// One thing mounted for the time of the step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Mount {
    /// `--mount=type=bind`: a file or directory. Writes, where allowed, are discarded.
    Bind {
        /// Where it comes from.
        source: BindSource,
        /// The path inside the source, `/` for all of it. Symlinks stay inside the source.
        subpath: String,
        /// Where the step sees it.
        target: String,
        /// Whether writing fails.
        read_only: bool,
    },
    /// `--mount=type=cache`: a directory that lives on between builds.
    Cache {
        /// The directory on the host; its owner and mode are the ones that the step sees.
        dir: PathBuf,
        /// Where the step sees it.
        target: String,
        /// Whether writing fails.
        read_only: bool,
    },
    /// `--mount=type=tmpfs`: an empty directory in memory.
    Tmpfs {
        /// Where the step sees it.
        target: String,
        /// Its greatest size in bytes, if limited.
        size: Option<u64>,
    },
    /// `--mount=type=secret`: a file that is in memory only.
    Secret {
        /// What is in it.
        contents: Vec<u8>,
        /// Where the step sees it.
        target: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// `--mount=type=ssh`: the socket of an SSH agent, with the owner and mode that it has on the host.
    Ssh {
        /// The socket on the host.
        socket: PathBuf,
        /// Where the step sees it.
        target: String,
    },
    /// A file of the builder's own, such as the body of a heredoc. Read only.
    File {
        /// What is in it.
        contents: Vec<u8>,
        /// Where the step sees it.
        target: String,
        /// Its permission bits.
        mode: u32,
    },
}

impl Mount {
    /// Where the step sees this mount.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Cache { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Secret { target, .. }
            | Self::Ssh { target, .. }
            | Self::File { target, .. } => target,
        }
    }
}

/// Where a bind mount comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BindSource {
    /// A path on the host, such as the build context.
    Host(PathBuf),
    /// The layers of an image or a stage, topmost first.
    Layers(Vec<Lower>),
}

/// What a step reaches over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Everything that the host reaches.
    Host,
    /// Its own loopback interface, nothing else.
    None,
}

/// One resource limit (`--ulimit NAME=SOFT:HARD`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name for it: `nofile`, `nproc`, `core`, ...
    pub name: String,
    /// The limit in force; `None` for unlimited.
    pub soft: Option<u64>,
    /// How far a program may raise it; `None` for unlimited.
    pub hard: Option<u64>,
}
