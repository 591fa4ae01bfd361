//! Contents that came, for all steps of a build: what one step had fetched, the next one finds here, and what two want at once comes once.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shiplap_cache::tier::table::Table;
use shiplap_cache::{Digest, Store};
use tokio::sync::{Notify, Semaphore, watch};

use super::heap::Heap;
use crate::Result;

/// Contents for all.
pub(in crate::remote) struct Kept {
    pub heap: Arc<Heap>,
    /// Frames of packs that somebody fetches.
    coming: Mutex<HashSet<(Digest, usize)>>,
    changed: Notify,
    /// How much comes that somebody waits for.
    urgent: watch::Sender<usize>,
    /// Turns of what is not urgent.
    pub later: Semaphore,
}

/// So much of what is not urgent comes at once.
const LATER: usize = 4;

impl Kept {
    pub fn new(store: &Store) -> Result<Self> {
        Ok(Self {
            heap: Arc::new(Heap::new(store)?),
            coming: Mutex::default(),
            changed: Notify::new(),
            urgent: watch::Sender::new(0),
            later: Semaphore::new(LATER),
        })
    }

    /// As long as this is held, what is not urgent waits.
    pub fn urgent(self: &Arc<Self>) -> Urgent {
        self.urgent.send_modify(|count| *count += 1);
        Urgent(self.clone())
    }

    /// Waits until nothing comes that somebody waits for.
    pub async fn idle(&self) {
        // The sender is here, so it is not gone.
        let _ = self.urgent.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Waits until nobody else fetches what is missing of some frames. Gives the frames with it, which nobody else fetches as long as the claim is held.
    pub async fn claim(self: &Arc<Self>, pack: Digest, table: &Table, frames: &Range<usize>) -> Claim {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut coming = self.coming();
                let ranges = missing(&self.heap, table, frames);
                let each: Vec<(Digest, usize)> = ranges.iter().cloned().flatten().map(|frame| (pack, frame)).collect();
                if !each.iter().any(|frame| coming.contains(frame)) {
                    coming.extend(each.iter().copied());
                    return Claim { kept: self.clone(), ranges, each };
                }
            }
            changed.await;
        }
    }

    fn coming(&self) -> MutexGuard<'_, HashSet<(Digest, usize)>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of these that have contents which are not here.
fn missing(heap: &Heap, table: &Table, frames: &Range<usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for content in table.within(frames).iter().filter(|content| !heap.has_prefix(content)) {
        let next = table.frames_of(content);
        match ranges.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => ranges.push(next),
        }
    }
    ranges
}

/// Something comes that somebody waits for.
pub(in crate::remote) struct Urgent(Arc<Kept>);

impl Drop for Urgent {
    fn drop(&mut self) {
        self.0.urgent.send_modify(|count| *count -= 1);
    }
}

/// Frames that nobody else fetches meanwhile.
pub(in crate::remote) struct Claim {
    kept: Arc<Kept>,
    /// Those that follow each other are one range.
    pub ranges: Vec<Range<usize>>,
    each: Vec<(Digest, usize)>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut coming = self.kept.coming();
        for frame in &self.each {
            coming.remove(frame);
        }
        drop(coming);
        self.kept.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use shiplap_cache::ContentHash;
    use shiplap_cache::tier::table::{Content, Frame};

    use super::*;

    fn hash(number: u8) -> ContentHash {
        ContentHash::of(&[number])
    }

    /// Frames of ten bytes with one content each, but the last two frames, which have one together.
    fn table() -> Table {
        let content =
            |number: u8, size| Content { hash: Content::prefix(&hash(number)), offset: u64::from(number) * 10, size };
        let frames = (0..5).map(|_| Frame { plain: 10, packed: 10 }).collect();
        Table::new(frames, vec![content(0, 5), content(1, 5), content(2, 5), content(3, 15)]).unwrap()
    }

    fn frames(claim: &Claim) -> Vec<(usize, usize)> {
        claim.ranges.iter().map(|range| (range.start, range.end)).collect()
    }

    #[tokio::test]
    async fn what_is_not_urgent_waits_for_all_that_is() {
        let home = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::new(&Store::open(home.path()).unwrap()).unwrap());
        kept.idle().await;
        let (one, other) = (kept.urgent(), kept.urgent());
        let waiting = kept.idle();
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(one);
        assert!(futures::poll!(waiting.as_mut()).is_pending(), "one is still urgent");
        drop(other);
        waiting.await;
    }

    #[tokio::test]
    async fn what_is_here_is_not_fetched_again_and_what_is_fetched_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::new(&Store::open(home.path()).unwrap()).unwrap());
        let (table, pack) = (table(), Digest::of(b"pack"));
        kept.heap.add([(hash(1), (0, 0))]);
        let first = kept.claim(pack, &table, &(0..3)).await;
        assert_eq!(frames(&first), [(0, 1), (2, 3)]);
        let other = kept.claim(pack, &table, &(3..5)).await;
        assert_eq!(frames(&other), [(3, 5)]);
        let waiting = kept.claim(pack, &table, &(0..5));
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        kept.heap.add([(hash(0), (0, 0)), (hash(2), (0, 0))]);
        drop(first);
        assert!(futures::poll!(waiting.as_mut()).is_pending(), "two frames are still on their way");
        // It could not be had there: now the other one tries.
        drop(other);
        assert_eq!(frames(&waiting.await), [(3, 5)]);
    }
}
