//! The content store of Shiplap: blobs, layers and their indices, trees, and the step cache.
//!
//! Nothing here knows of Dockerfiles, registries or the command line. From the bottom up:
//!
//! - [`Digest`] names a blob as OCI does; the BLAKE3 names ([`LayerId`], [`TreeId`], [`StepKey`],
//!   [`InputKey`], ...) name what only Shiplap reads.
//! - [`holes`] reads files of which parts were never written.
//! - [`durable`] holds the one way in which a file is written that must survive a power cut.
//! - [`BlobStore`] keeps blobs as files, [`LayerIndex`] says what a layer holds, [`Tree`] sees a stack of
//!   layers as one file system without touching the disk.
//! - [`Store`] is the folder (`SHIPLAP_HOME`) that holds all of it, safe for several processes at once.
//! - [`collect`] takes space back that nothing refers to.
//! - [`tier`] is a place elsewhere that keeps what builds made.

#![forbid(unsafe_code)]

mod between;
mod blobs;
mod capture;
pub mod collect;
mod contents;
mod digest;
pub mod durable;
mod error;
pub mod holes;
mod index;
mod path;
mod path_set;
mod source;
mod steps;
mod store;
pub mod tier;
mod tls;
mod tree;
mod watcher;

pub use blobs::{BlobReader, BlobStore, BlobWriter};
pub use capture::{Overlay, capture};
pub use contents::{Contents, Piece};
pub use digest::{ContentHash, Digest, ImageId, InputKey, LayerId, ParseDigestError, PathSetId, StepKey, TreeId};
pub use error::{Error, Result};
pub use index::{Entry, IndexBuilder, Kind, LayerIndex};
pub use path::{PathError, TreePath};
pub use path_set::{Asked, Observation, PathSet};
pub use source::{SourceFile, SourceTree, Walk};
pub use steps::{Lookup, StepResult, StepRun};
pub use store::{
    GUESSES, LINK_REST, LayerBlob, LayerPlace, Lease, MOUNT_PARTS, MountPlace, NewManifest, NewTag, PendingLayer,
    RENEW, Removed, Served, ServedManifest, Store, Unlinked, UsedStep, seconds, today,
};
pub use tls::install_tls;
pub use tree::{Found, Resolved, Stack, Tree};
pub use watcher::{Question, Watcher};
