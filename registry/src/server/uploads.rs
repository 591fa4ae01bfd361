//! The uploads that are open.
//!
//! They live in memory, and their bytes in a temporary file that goes with them: a client whose upload is gone begins again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use shiplap_cache::BlobWriter;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::code;
use super::fault::Fault;
use super::name::{Name, UploadId};

/// All open uploads.
#[derive(Debug)]
pub(super) struct Uploads {
    table: Mutex<Table>,
    max: usize,
    expiry: Duration,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<UploadId, Arc<Upload>>,
    is_watched: bool,
}

/// An upload.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    name: Name,
    progress: Mutex<Progress>,
    writer: Arc<AsyncMutex<Option<BlobWriter>>>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    size: u64,
    at: Instant,
}

/// The right to write to an upload: one request has it at a time. None inside when the upload has ended meanwhile.
pub(super) type Claim = OwnedMutexGuard<Option<BlobWriter>>;

impl Uploads {
    pub(super) fn new(max: usize, expiry: Duration) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), max, expiry })
    }

    /// How long an upload waits for a byte.
    pub(super) fn expiry(&self) -> Duration {
        self.expiry
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        lock(&self.table).open.len()
    }

    /// Opens an upload into a repository.
    pub(super) fn begin(self: &Arc<Self>, name: Name, writer: BlobWriter) -> Result<Arc<Upload>, Fault> {
        let mut random = [0; 16];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Fault::new(code::UNKNOWN, "this machine gives no random numbers: an upload needs a name"))?;
        let upload = Arc::new(Upload {
            id: UploadId::new(random),
            name,
            progress: Mutex::new(Progress { size: 0, at: Instant::now() }),
            writer: Arc::new(AsyncMutex::new(Some(writer))),
        });
        let mut table = lock(&self.table);
        if table.open.len() >= self.max {
            table.forget(self.expiry);
        }
        if table.open.len() >= self.max {
            let max = self.max;
            let message = format!("{max} uploads are open, and no more are taken at once: try again in a minute");
            return Err(Fault::new(code::TOOMANYREQUESTS, message).header(axum::http::header::RETRY_AFTER, "60"));
        }
        table.open.insert(upload.id, upload.clone());
        if !std::mem::replace(&mut table.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self), self.expiry));
        }
        Ok(upload)
    }

    /// An upload of a repository.
    pub(super) fn find(&self, name: &Name, id: UploadId) -> Result<Arc<Upload>, Fault> {
        let mut table = lock(&self.table);
        // One that nobody looked at for too long is gone, whether or not it was swept yet.
        if table.open.get(&id).is_some_and(|upload| upload.is_expired(self.expiry)) {
            table.open.remove(&id);
        }
        match table.open.get(&id) {
            Some(upload) if upload.name == *name => Ok(upload.clone()),
            _ => Err(unknown(id)),
        }
    }

    /// Forgets an upload. Its file goes when nobody writes to it any more.
    pub(super) fn end(&self, id: UploadId) {
        lock(&self.table).open.remove(&id);
    }
}

impl Table {
    fn forget(&mut self, expiry: Duration) {
        self.open.retain(|_, upload| !upload.is_expired(expiry));
    }
}

impl Upload {
    /// The right to write, unless another request has it.
    pub(super) fn claim(&self) -> Result<Claim, Fault> {
        let busy = |_| {
            let message = "another request is writing to this upload: wait for it, and ask for its status";
            Fault::new(code::BLOB_UPLOAD_INVALID, message).status(axum::http::StatusCode::CONFLICT)
        };
        let claim = self.writer.clone().try_lock_owned().map_err(busy)?;
        if claim.is_none() { Err(unknown(self.id)) } else { Ok(claim) }
    }

    /// The repository that it is for.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The bytes that were taken.
    pub(super) fn size(&self) -> u64 {
        lock(&self.progress).size
    }

    /// Notes that bytes were taken.
    pub(super) fn note(&self, size: u64) {
        *lock(&self.progress) = Progress { size, at: Instant::now() };
    }

    fn is_expired(&self, expiry: Duration) -> bool {
        lock(&self.progress).at.elapsed() > expiry && self.writer.try_lock().is_ok()
    }
}

fn unknown(id: UploadId) -> Fault {
    let message = format!("no upload {id} is open here: it was finished, cancelled or forgotten; begin again");
    Fault::new(code::BLOB_UPLOAD_UNKNOWN, message)
}

/// Forgets uploads that nobody goes on with, as long as any are open.
async fn watch(uploads: Weak<Uploads>, expiry: Duration) {
    loop {
        tokio::time::sleep((expiry / 4).clamp(Duration::from_millis(10), Duration::from_secs(60))).await;
        let Some(uploads) = uploads.upgrade() else { return };
        let mut table = lock(&uploads.table);
        table.forget(expiry);
        if table.open.is_empty() {
            table.is_watched = false;
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
