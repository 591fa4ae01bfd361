//! Stores and object stores to test with.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use shiplap_cache::Store;
use shiplap_cache::tier::object::{ObjectOptions, ObjectTier};
use shiplap_cache::tier::{Part, SegmentName, Tier, TierBlob};

use crate::s3;

/// A store that is gone after the test.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

pub fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    Home { dir, store }
}

impl Home {
    /// A blob of the store, as a part of a segment.
    pub fn part(&self, bytes: &[u8]) -> Part {
        let digest = self.store.blobs().put(bytes).unwrap();
        let blob = TierBlob { digest, size: bytes.len() as u64 };
        Part { blob, media_type: "application/octet-stream".to_owned() }
    }

    /// A blob of the store, as a segment of a time.
    pub fn segment(&self, time: i64, bytes: &[u8]) -> SegmentName {
        SegmentName { time, digest: self.part(bytes).blob.digest }
    }

    /// The files of blobs, whole and half.
    pub fn files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs/sha256")).unwrap().count()
    }
}

/// Bytes that do not repeat soon.
pub fn bytes(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// Not patient at all.
pub fn hasty() -> ObjectOptions {
    let (backoff, patience) = (Duration::from_millis(5), Duration::from_secs(20));
    ObjectOptions { attempts: 3, backoff, patience, ..ObjectOptions::default() }
}

/// A place for a test, and what is needed to get there.
pub struct Place {
    pub url: String,
    pub settings: Vec<(&'static str, String)>,
    folder: Option<tempfile::TempDir>,
    server: Option<s3::Server>,
}

impl Place {
    /// One of each kind that can be had here.
    pub fn all() -> Vec<Self> {
        [Some(Self::folder()), Self::bucket()].into_iter().flatten().collect()
    }

    /// A folder that is not there yet.
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("shared").display());
        Self { url, settings: Vec::new(), folder: Some(folder), server: None }
    }

    /// A new bucket in an S3 server of its own.
    pub fn bucket() -> Option<Self> {
        let server = s3::server()?;
        server.make_bucket("bucket");
        let (url, settings) = ("s3://bucket/a prefix".to_owned(), s3::settings(server.port));
        Some(Self { url, settings, folder: None, server: Some(server) })
    }

    /// Of a folder: where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("shared")
    }

    /// Of a bucket: where its server listens.
    pub fn port(&self) -> u16 {
        self.server.as_ref().unwrap().port
    }

    pub fn tier(&self, options: ObjectOptions) -> ObjectTier {
        ObjectTier::open(&self.url, self.settings.clone(), options).unwrap()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Puts a segment with these parts.
pub async fn publish(tier: &dyn Tier, home: &Home, name: &SegmentName, parts: &[Part]) {
    for part in parts {
        tier.put(&home.store, part).await.unwrap();
    }
    tier.publish(&home.store, name, parts).await.unwrap();
}
