//! What is said between this side and the container, over the container's standard streams.
//!
//! ```text
//! to the container     Job in one line of JSON, then the bytes of its files, one after the other
//! from the container   Wanted in one line of JSON
//! to the container     the bytes of what is wanted, one after the other
//! from the container   what the build prints
//! ```
//!
//! Standard input stays open until the build is over: when it ends, so does the build.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiplap_cache::ContentHash;

/// A build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The words behind `shiplap`.
    pub args: Vec<String>,
    /// The folder to run in.
    pub cwd: String,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Folders, each before those below it.
    pub folders: Vec<Folder>,
    /// Single files, which are kept in memory alone.
    pub files: Vec<File>,
}

/// A folder that is seen in the container under the path that it has here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The path.
    pub at: String,
    /// What it is kept as, between builds.
    pub id: String,
    /// All that is in it, parents first; the folder itself has the empty path.
    pub entries: Vec<Entry>,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the folder.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// When it was changed: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What something in a folder is. Sockets, pipes and devices are in no build context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    Dir,
    Link { target: String },
    File { size: u64, hash: ContentHash },
}

/// A single file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The path that it has here.
    pub at: String,
    /// How many bytes follow.
    pub size: u64,
}

/// What the container lacks: for each folder the places of entries in its list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub folders: Vec<Vec<usize>>,
}
