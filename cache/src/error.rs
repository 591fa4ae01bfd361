//! What can go wrong in the store.

use std::path::{Path, PathBuf};

use crate::{Digest, LayerId, TreePath};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A segment for a tier cannot be written.
    #[error("cannot write what a tier is to be told: {0}")]
    Segment(String),
    /// A file or folder could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write".
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A blob's bytes are not those that its name promises.
    #[error("blob {expected} is damaged: its bytes have the digest {actual}")]
    WrongDigest {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes found.
        actual: Digest,
    },
    /// A blob has more or fewer bytes than announced.
    #[error("blob {digest} is {actual} bytes long, {expected} were announced")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// Bytes announced.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A blob is not in the store.
    #[error("blob {0} is not in the store")]
    MissingBlob(Digest),
    /// A layer is not in the store.
    #[error("layer {} is not in the store", .0.short())]
    MissingLayer(LayerId),
    /// A stored layer index cannot be read.
    #[error("the index of layer {} is damaged: {why}", layer.short())]
    DamagedIndex {
        /// The layer.
        layer: LayerId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two entries of one layer have one path.
    #[error("{0} is twice in one layer")]
    Duplicate(TreePath),
    /// A file changed while it was read.
    #[error("{} changed while it was read; run the build again", .0.display())]
    Changed(PathBuf),
    /// Something that an image layer cannot hold.
    #[error("{} is a socket: an image cannot hold it; leave it out with .dockerignore", .0.display())]
    Socket(PathBuf),
    /// The database refused.
    #[error("the database {} failed: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The store was written by a newer Shiplap.
    #[error("the store {} has version {found}, this shiplap knows {known}: use a newer shiplap, or set SHIPLAP_HOME to another folder", home.display())]
    NewerStore {
        /// The store's folder.
        home: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// The store belongs to the other kind of user.
    #[error("the store {} was made {made}, and this process runs {runs}: its files have other owners; set SHIPLAP_HOME to another folder", home.display())]
    OtherPrivilege {
        /// The store's folder.
        home: PathBuf,
        /// How it was made.
        made: &'static str,
        /// How this process runs.
        runs: &'static str,
    },
    /// What refers to something in the store cannot be read.
    #[error("{0}; nothing was removed, for what cannot be read may need anything")]
    References(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process takes space back.
    #[error("another process takes space back now: wait for it to end")]
    Collecting,
    /// A record in the database cannot be read.
    #[error("a record of the store cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

/// What the store's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds what and where to an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|e| Error::Io { what, path: path.to_owned(), source: e.into() })
    }
}
