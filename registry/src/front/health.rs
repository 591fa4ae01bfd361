//! `/healthz`: the process answers. `/readyz`: it can do what it is for.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Images;

/// How much room the store's disk must have. With less, pushes begin that cannot end.
const ROOM: u64 = 256 << 20;

/// How long an answer is good for: whoever asks all day writes to the disk once in this time.
const FRESH: Duration = Duration::from_secs(2);

/// Remembers the last answer for a moment.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    /// Whether the store can be read and written and has room. Blocks.
    pub fn ask(&self, images: &Images) -> Result<(), String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, answer)) = &*last
            && when.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = look(images);
        if let Err(why) = &answer {
            tracing::warn!("not ready: {why}");
        }
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

fn look(images: &Images) -> Result<(), String> {
    let store = images.store();
    images.repositories().map_err(|e| format!("the store cannot be read: {e}"))?;
    // A folder is made and removed; a temporary file of the store's would leave a lease behind for as long as we live.
    drop(store.lease().map_err(|e| format!("the store cannot be written: {e}"))?);
    match free(store.home()) {
        Some(free) if free < ROOM => Err(format!("the store's disk has {} MB left", free / 1_000_000)),
        _ => Ok(()),
    }
}

/// Room on the disk of a folder for who is not root (`statvfs(3)`).
pub(super) fn free(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
