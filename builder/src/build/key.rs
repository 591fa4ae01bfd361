//! Step keys: everything that can change what a step makes, except the tree that it stands on.
//!
//! No tag, no version, no path of this machine and no secret is in a key. Sources are in it by content: the same files from
//! another place are the same step.

use serde::Serialize;
use shiplap_cache::{ContentHash, StepKey};

use crate::plan::{Chmod, Destination, FileOwner, InlineFile, Network, Platform, RunOp, Sharing};

/// Goes up when the way in which steps run changes what they make.
const FORMAT: &str = "shiplap.step/4";

/// What a run depends on besides the instruction.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Surroundings<'a> {
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) extra_hosts: &'a [(String, String)],
    pub(crate) shm_size: Option<u64>,
    pub(crate) ulimits: Vec<String>,
    pub(crate) hostname: &'a str,
    /// It decides what is in the layer.
    pub(crate) noise: &'a [String],
    /// A build that does not trust traces does not find what they led to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) untraced: bool,
}

/// One mount of a run, by what it shows.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum MountKey<'a> {
    Bind {
        target: &'a str,
        content: ContentHash,
        read_only: bool,
    },
    Cache {
        target: &'a str,
        id: &'a str,
        sharing: Sharing,
        from: Option<ContentHash>,
        owner: FileOwner,
        read_only: bool,
    },
    Tmpfs {
        target: &'a str,
        size: Option<u64>,
    },
    /// Never the value.
    Secret {
        target: Option<&'a str>,
        id: &'a str,
        env: Option<&'a str>,
        owner: FileOwner,
        given: bool,
    },
    Ssh {
        target: Option<&'a str>,
        id: &'a str,
        owner: FileOwner,
        given: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Body<'a> {
    Run {
        argv: &'a [String],
        inline_files: &'a [InlineFile],
        env: &'a crate::plan::Env,
        user: Option<&'a str>,
        cwd: &'a str,
        network: Network,
        mounts: &'a [MountKey<'a>],
        surroundings: &'a Surroundings<'a>,
    },
    Copy {
        content: &'a [ContentHash],
        path: &'a str,
        chown: Option<&'a str>,
        chmod: Option<&'a Chmod>,
        link: bool,
    },
    WorkDir {
        path: &'a str,
        user: Option<&'a str>,
    },
}

pub(crate) fn run(op: &RunOp, network: Network, mounts: &[MountKey<'_>], surroundings: &Surroundings<'_>) -> Keyed {
    let RunOp { argv, inline_files, env, proxy: _, user, cwd, mounts: _, network: _ } = op;
    of(&Body::Run { argv, inline_files, env, user: user.as_deref(), cwd, network, mounts, surroundings })
}

/// A `COPY` or `ADD`: what is copied is in `content`, after patterns, excludes and downloads.
pub(crate) fn copy(content: &[ContentHash], to: &Destination) -> Keyed {
    let Destination { path, chown, chmod, link, exclude: _ } = to;
    of(&Body::Copy { content, path, chown: chown.as_deref(), chmod: chmod.as_ref(), link: *link })
}

pub(crate) fn work_dir(path: &str, user: Option<&str>) -> Keyed {
    of(&Body::WorkDir { path, user })
}

/// A step's key and what it was made of.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) key: StepKey,
    /// JSON, with the values of variables: not for the record as it is.
    pub(crate) body: String,
}

fn of(body: &Body<'_>) -> Keyed {
    // Plain data of strings and numbers: it always has a JSON form, and struct fields keep their order.
    let body = serde_json::to_string(body).expect("a step has a JSON form");
    Keyed { key: StepKey::of(format!("{FORMAT} {body}").as_bytes()), body }
}
