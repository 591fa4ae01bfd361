//! Why a build stopped.

use std::path::PathBuf;
use std::sync::Arc;

use shiplap_cache::{LayerId, TreePath};

use super::layout::LayoutError;
use crate::dockerfile::DockerfileError;
use crate::plan::Location;

/// A build that did not come to its end. The store holds the results of the steps that did.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile or the options.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    /// A step.
    #[error("step `{text}` of stage {stage} failed")]
    Step {
        /// The instruction as it is written.
        text: String,
        /// The stage's name.
        stage: String,
        /// Where it stands.
        at: Location,
        /// Why.
        #[source]
        why: StepError,
    },
    /// A file of the build could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The ignore file.
    #[error("{}: {why}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A build context cannot be unpacked.
    #[error("cannot unpack {what}: {why}")]
    Unpack {
        /// Which.
        what: String,
        /// Why not.
        why: String,
    },
    /// A build context is no directory.
    #[error("the build context {} is not a directory", .0.display())]
    Context(PathBuf),
    /// An image that the build needs.
    #[error("cannot get the image {image}: {why}")]
    Image {
        /// Its name.
        image: String,
        /// Why not.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A source that is fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
    /// Somebody pressed Ctrl-C.
    #[error("the build was cancelled")]
    Cancelled,
    /// Another stage failed first, and this one waited for it.
    #[error("stage {0} failed")]
    Dependency(String),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Its program ended with an error.
    #[error("the command ended with exit code {code}")]
    Exit {
        /// As a shell reports it.
        code: i32,
    },
    /// Its program could not be started.
    #[error("the command could not be started: {message}")]
    NotStarted {
        /// 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// Layers that a tier was to have are not there. The build begins again and runs the steps that made them.
    #[error("no tier has the layers any more that it was to have")]
    Gone(Vec<LayerId>),
    /// A file of a layer that is elsewhere could not be read while the step ran.
    #[error("cannot give the step {path}: {source}; --cache-fetch whole fetches whole layers")]
    Served {
        /// Its path in the tree.
        path: TreePath,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// A registry or a tier.
    #[error(transparent)]
    Remote(#[from] shiplap_registry::Error),
    /// A source of a `COPY` is not there.
    #[error("{path} is not in {place}{hint}")]
    Missing {
        /// As it is written.
        path: String,
        /// Which context, stage or image.
        place: String,
        /// What may have happened, with a leading space.
        hint: String,
    },
    /// A mode that is none.
    #[error("`{0}` is no mode for --chmod: write it as 755 or u=rwX,go=rX")]
    Mode(String),
    /// A pattern that is none.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// As it is written.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// A secret was not given.
    #[error("the secret `{0}` is required: give it with --secret id={0},src=FILE")]
    Secret(String),
    /// No SSH agent was given.
    #[error("the SSH agent `{0}` is required: give it with --ssh {0}")]
    Ssh(String),
    /// Files could not be put in their place.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    /// A source that is fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
    /// An archive cannot be unpacked.
    #[error("cannot unpack {what}: {why}")]
    Archive {
        /// Which.
        what: String,
        /// Why not.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl From<serde_json::Error> for StepError {
    fn from(error: serde_json::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<crate::glob::PatternError> for StepError {
    fn from(error: crate::glob::PatternError) -> Self {
        Self::Pattern { pattern: error.pattern, why: error.why.to_owned() }
    }
}

impl From<shiplap_cache::PathError> for StepError {
    fn from(error: shiplap_cache::PathError) -> Self {
        Self::Layout(error.into())
    }
}

/// Why a git repository or a file of the web could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// git failed.
    #[error("git {what} of {url} failed: {message}")]
    Git {
        /// What was tried.
        what: &'static str,
        /// The repository, without credentials.
        url: String,
        /// What git said.
        message: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{url} has no branch, tag or commit `{reference}`")]
    NoReference {
        /// The repository, without credentials.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// A checksum differs.
    #[error("{what} has the checksum {actual}, --checksum says {expected}")]
    Checksum {
        /// The URL.
        what: String,
        /// As it is written.
        expected: String,
        /// As it is.
        actual: String,
    },
    /// The subdirectory is not in the repository.
    #[error("{url} has no directory `{subdir}`")]
    NoSubdir {
        /// The repository.
        url: String,
        /// The directory.
        subdir: String,
    },
    /// The web server.
    #[error("cannot download {url}: {why}")]
    Http {
        /// Which.
        url: String,
        /// Why not.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
}

impl FetchError {
    /// Whether it could not be fetched now, and may be another time.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Git { what: "ls-remote" | "fetch", .. } | Self::Http { .. })
    }
}
