//! Tiers: places elsewhere that keep what builds made, so that a machine that never built can reuse it.
//!
//! A tier holds *blobs*, each under its SHA-256, and *segments*. A segment is a small file that says what a build learnt: results of steps, their path
//! sets, and for each layer the blobs with its index and its files. A segment is written once and never changed, and every writer adds segments of its own,
//! so writers need not know of one another, and what one of them has published nobody overwrites. Several segments are put together into one now and then, which says
//! which ones it stands for.
//!
//! A tier is asked and never trusted: whoever reads from it checks every byte against the digest, and a tier that cannot answer costs time alone. What segments
//! *say* is believed, as in every build cache: whoever may write to a tier decides what the images hold that are built with it.

mod error;
pub mod merge;
pub mod object;
pub mod segment;
pub mod table;

use std::collections::HashSet;
use std::fmt::Debug;

use futures::future::BoxFuture;

pub use error::TierError;

use crate::{Digest, Store};

/// Media type of a part of a cache mount.
pub const MOUNT: &str = "application/vnd.shiplap.cache.mount.v1.tar+zstd";

/// What an operation of a tier gives.
pub type TierResult<T> = Result<T, TierError>;

/// A blob in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TierBlob {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The name of a segment: when it was written, and SHA-256 of its bytes. In a tier it is `<seconds since 1970, 10 digits>-<64 hex>`, so that names sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Seconds since 1970, by the writer's clock.
    pub time: i64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl SegmentName {
    /// Reads the form that it has in a tier. None for what is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, hex) = text.split_once('-')?;
        let is_time = time.len() == 10 && time.bytes().all(|b| b.is_ascii_digit());
        Some(Self { time: is_time.then(|| time.parse().ok())??, digest: format!("sha256:{hex}").parse().ok()? })
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:010}-{}", self.time.clamp(0, 9_999_999_999), self.digest.hex())
    }
}

/// A blob that a segment speaks of, for tiers that must be told what belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The blob.
    pub blob: TierBlob,
    /// Its media type.
    pub media_type: String,
}

/// What removing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Segments that are gone.
    pub segments: u64,
    /// Blobs that are gone. A registry takes these back itself.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A place that keeps segments and blobs.
///
/// Implementations bound the time of each operation: when nothing moves for a while, that is [`TierError::Unreachable`].
pub trait Tier: Debug + Send + Sync {
    /// What it is called, for people and as its name in the store: the same place has the same name, without credentials.
    fn name(&self) -> &str;

    /// The segments that are there, oldest first.
    fn segments(&self) -> BoxFuture<'_, TierResult<Vec<SegmentName>>>;

    /// Reads a segment. Its bytes have its digest; one with more than `most` bytes is [`TierError::Corrupt`].
    fn segment<'a>(&'a self, name: &'a SegmentName, most: u64) -> BoxFuture<'a, TierResult<Vec<u8>>>;

    /// Reads a small blob into memory. Its bytes have its digest and its size.
    fn read<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<Vec<u8>>>;

    /// Fetches a blob into the store's blobs, unless it is there. Its bytes have its digest and its size.
    fn fetch<'a>(&'a self, store: &'a Store, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<()>>;

    /// Reads a part of a blob. It has `length` bytes; nobody has checked them: a digest is of the whole. Of a place that gives blobs whole alone this is
    /// [`TierError::Unsupported`].
    fn range<'a>(&'a self, blob: &'a TierBlob, offset: u64, length: u64) -> BoxFuture<'a, TierResult<Vec<u8>>>;

    /// Whether a blob is there, with its size.
    fn has<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<bool>>;

    /// Puts a blob of the store into the tier, unless it is there. Gives the bytes that were sent.
    fn put<'a>(&'a self, store: &'a Store, part: &'a Part) -> BoxFuture<'a, TierResult<u64>>;

    /// Makes a segment visible, which is a blob of the store. The parts of it are in the tier already; the segment is not.
    fn publish<'a>(
        &'a self,
        store: &'a Store,
        name: &'a SegmentName,
        parts: &'a [Part],
    ) -> BoxFuture<'a, TierResult<()>>;

    /// Takes segments away, and after them blobs that are not among `keep`, where nobody can be about to speak of them.
    fn remove<'a>(&'a self, segments: &'a [SegmentName], keep: &'a HashSet<Digest>)
    -> BoxFuture<'a, TierResult<Swept>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_come_back_and_sort_by_time() {
        let name = |time| SegmentName { time, digest: Digest::of(b"x") };
        assert_eq!(SegmentName::parse(&name(1_790_000_000).to_string()), Some(name(1_790_000_000)));
        assert!(name(999).to_string() < name(1_790_000_000).to_string());
        let hex = Digest::of(b"x").hex();
        for odd in ["", "x", &hex, &format!("12-{hex}"), &format!("+123456789-{hex}"), "1790000000-ab"] {
            assert_eq!(SegmentName::parse(odd), None, "{odd}");
        }
    }
}
