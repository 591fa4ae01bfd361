//! A tier in an object store: S3 and what is compatible with it, Google Cloud Storage, Azure, or a folder.
//!
//! ```text
//! <place>/shiplap-cache/v1/segments/<name of the segment>
//! <place>/shiplap-cache/v1/blobs/<64 hex of the SHA-256>
//! ```
//!
//! An object is there whole or not at all, in each of these stores, and none of ours is ever changed. So writers need no lock.

mod connect;
mod fault;
mod http;
mod receive;
mod send;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

pub use connect::PlaceError;

use super::{Part, SegmentName, Swept, Tier, TierBlob, TierError, TierResult};
use crate::{Digest, Store};

/// Blobs that nothing keeps are taken away when they are older than this. Who has put one publishes a segment that speaks of it sooner.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many objects are taken away at a time; S3 takes no more (API reference, *DeleteObjects*).
const BATCH: usize = 1000;

/// How patient we are with an object store.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// How often something is tried before it is given up.
    pub attempts: u32,
    /// The pause before the second attempt, about; it doubles with each.
    pub backoff: Duration,
    /// How long nothing may move.
    pub patience: Duration,
    /// How old a blob must be to be taken away; see [`GRACE`].
    pub grace: Duration,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        let (backoff, patience) = (Duration::from_millis(250), Duration::from_secs(120));
        Self { attempts: 5, backoff, patience, grace: GRACE }
    }
}

/// A tier in an object store.
#[derive(Clone)]
pub struct ObjectTier {
    name: String,
    store: Arc<dyn ObjectStore>,
    root: Path,
    options: ObjectOptions,
    /// Turns of what is sent, all blobs together.
    sending: Arc<Semaphore>,
}

// The stores' own `Debug` shows keys.
impl fmt::Debug for ObjectTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectTier({})", self.name)
    }
}

impl ObjectTier {
    /// The tier at an address: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder`, or one that starts with `https://`, of
    /// Amazon, Cloudflare R2 or Azure. Nobody is asked yet whether it is there.
    ///
    /// `settings` are the keys of the crate `object_store` (`AmazonS3ConfigKey`, `GoogleConfigKey`, `AzureConfigKey` and `ClientConfigKey` in its
    /// documentation), in capitals or not. Those that most people need:
    ///
    /// - S3: `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`, `aws_region`, `aws_endpoint_url` for a store that is not Amazon's,
    ///   `aws_virtual_hosted_style_request`, `aws_skip_signature` for a public bucket.
    /// - Google: `google_application_credentials` (a file), `google_service_account_key` (its content), `google_skip_signature`.
    /// - Azure: `azure_storage_account_name`, `azure_storage_account_key`, `azure_storage_sas_token`, `azure_client_id`, `azure_client_secret`, `azure_tenant_id`.
    /// - All: `allow_http` to go without TLS; to a store on this machine we do so anyway.
    ///
    /// # Errors
    /// The address or a setting is none that is known.
    pub fn open<K: AsRef<str>, V: Into<String>>(
        url: &str,
        settings: impl IntoIterator<Item = (K, V)>,
        options: ObjectOptions,
    ) -> Result<Self, PlaceError> {
        let settings = settings.into_iter().map(|(key, value)| (key.as_ref().to_ascii_lowercase(), value.into()));
        let place = connect::open(url, &settings.collect::<Vec<_>>(), &options)?;
        Ok(Self {
            name: place.name,
            store: place.store,
            root: place.prefix.join("shiplap-cache").join("v1"),
            options,
            sending: Arc::new(Semaphore::new(send::BLOBS)),
        })
    }

    /// The variables of the environment with which other programs are told what is needed for an address of this kind. Their names are settings of
    /// [`ObjectTier::open`].
    pub fn variables(url: &str) -> &'static [&'static str] {
        connect::variables(url)
    }

    fn segment_at(&self, name: &SegmentName) -> Path {
        self.root.clone().join("segments").join(name.to_string())
    }

    fn blob_at(&self, digest: &Digest) -> Path {
        self.root.clone().join("blobs").join(digest.hex())
    }

    /// Waits for something as long as we are patient.
    async fn within<T>(&self, wait: impl Future<Output = object_store::Result<T>>) -> TierResult<T> {
        match tokio::time::timeout(self.options.patience, wait).await {
            Ok(done) => done.map_err(fault::of),
            Err(_) => Err(self.stalled()),
        }
    }

    fn stalled(&self) -> TierError {
        TierError::Unreachable(format!("nothing moved for {} seconds", self.options.patience.as_secs_f32()))
    }

    /// How old a blob is that is there, whole.
    async fn age_of(&self, blob: &TierBlob) -> TierResult<Option<Duration>> {
        let at = self.blob_at(&blob.digest);
        match tokio::time::timeout(self.options.patience, self.store.head(&at)).await {
            Ok(Ok(meta)) => Ok((meta.size == blob.size).then(|| age(&meta))),
            Ok(Err(Error::NotFound { .. })) => Ok(None),
            Ok(Err(e)) => Err(fault::of(e)),
            Err(_) => Err(self.stalled()),
        }
    }

    async fn names(&self) -> TierResult<Vec<SegmentName>> {
        let mut broke = false;
        loop {
            let list = self.store.list(Some(&self.root.clone().join("segments")));
            match tokio::time::timeout(self.options.patience, list.try_collect::<Vec<_>>()).await {
                Ok(Ok(list)) => {
                    let mut names: Vec<_> =
                        list.iter().filter_map(|meta| SegmentName::parse(meta.location.filename()?)).collect();
                    names.sort();
                    return Ok(names);
                }
                // The crate does not go on where the answer to this request breaks in the middle, as it does elsewhere.
                Ok(Err(e)) => match fault::of(e) {
                    TierError::Unreachable(_) if !broke => broke = true,
                    e => return Err(e),
                },
                Err(_) => return Err(self.stalled()),
            }
            tokio::time::sleep(self.options.backoff).await;
        }
    }

    /// Takes objects away and says how many were there, and their bytes.
    async fn delete(&self, sizes: HashMap<Path, u64>) -> TierResult<(u64, u64)> {
        let paths: Vec<_> = sizes.keys().cloned().map(Ok).collect();
        let mut gone = self.store.delete_stream(futures::stream::iter(paths).boxed());
        let (mut count, mut bytes) = (0, 0);
        loop {
            match tokio::time::timeout(self.options.patience, gone.next()).await {
                Ok(None) => return Ok((count, bytes)),
                Ok(Some(Ok(path))) => {
                    count += 1;
                    bytes += sizes.get(&path).copied().unwrap_or_default();
                }
                // Somebody else takes away what is too old, too.
                Ok(Some(Err(Error::NotFound { .. }))) => {}
                Ok(Some(Err(e))) => return Err(fault::of(e)),
                Err(_) => return Err(self.stalled()),
            }
        }
    }

    async fn sweep(&self, segments: &[SegmentName], keep: &HashSet<Digest>) -> TierResult<Swept> {
        let mut swept = Swept::default();
        for batch in segments.chunks(BATCH) {
            let sizes = batch.iter().map(|name| (self.segment_at(name), 0)).collect();
            swept.segments += self.delete(sizes).await?.0;
        }
        let folder = self.root.clone().join("blobs");
        let mut list = self.store.list(Some(&folder));
        let mut sizes = HashMap::new();
        loop {
            let meta = self.within(list.try_next()).await?;
            let is_last = meta.is_none();
            if let Some(meta) = meta.filter(|meta| self.is_waste(meta, keep)) {
                sizes.insert(meta.location, meta.size);
            }
            if sizes.len() == BATCH || is_last {
                let (blobs, bytes) = self.delete(std::mem::take(&mut sizes)).await?;
                swept.blobs += blobs;
                swept.bytes += bytes;
            }
            if is_last {
                return Ok(swept);
            }
        }
    }

    fn is_waste(&self, meta: &ObjectMeta, keep: &HashSet<Digest>) -> bool {
        let hex = meta.location.filename().unwrap_or_default();
        // What has another name is not ours.
        let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { return false };
        !keep.contains(&digest) && age(meta) >= self.options.grace
    }
}

/// How old an object is, by the store's clock and ours.
fn age(meta: &ObjectMeta) -> Duration {
    let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(modified))
}

impl Tier for ObjectTier {
    fn name(&self) -> &str {
        &self.name
    }

    fn segments(&self) -> BoxFuture<'_, TierResult<Vec<SegmentName>>> {
        self.names().boxed()
    }

    fn segment<'a>(&'a self, name: &'a SegmentName, most: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        async move { self.receive_bytes(&self.segment_at(name), &name.digest, 0..=most).await }.boxed()
    }

    fn read<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        async move { self.receive_bytes(&self.blob_at(&blob.digest), &blob.digest, blob.size..=blob.size).await }
            .boxed()
    }

    fn fetch<'a>(&'a self, store: &'a Store, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<()>> {
        self.receive_blob(store, blob).boxed()
    }

    fn range<'a>(&'a self, blob: &'a TierBlob, offset: u64, length: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        self.receive_range(blob, offset, length).boxed()
    }

    fn has<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<bool>> {
        async move { Ok(self.age_of(blob).await?.is_some()) }.boxed()
    }

    fn put<'a>(&'a self, store: &'a Store, part: &'a Part) -> BoxFuture<'a, TierResult<u64>> {
        async move {
            // So young that nobody takes it away before a segment speaks of it.
            if self.age_of(&part.blob).await?.is_some_and(|age| age < self.options.grace / 2) {
                return Ok(0);
            }
            self.send(store, &self.blob_at(&part.blob.digest), &part.blob).await?;
            Ok(part.blob.size)
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        store: &'a Store,
        name: &'a SegmentName,
        _parts: &'a [Part],
    ) -> BoxFuture<'a, TierResult<()>> {
        async move {
            let digest = name.digest;
            let size = store.blobs().size(&digest)?.ok_or(crate::Error::MissingBlob(digest))?;
            self.send(store, &self.segment_at(name), &TierBlob { digest, size }).await
        }
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        segments: &'a [SegmentName],
        keep: &'a HashSet<Digest>,
    ) -> BoxFuture<'a, TierResult<Swept>> {
        self.sweep(segments, keep).boxed()
    }
}
