//! Contents that came, for all steps of a build: what one step had fetched, the next one finds here, and what two want at once comes once.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shiplap_cache::tier::table::{Content, Table};
use shiplap_cache::{ContentHash, Digest, Store};
use tokio::sync::Notify;

use super::sort;
use crate::Result;

/// A folder of contents, each under its hash. It ends with the last who uses it.
pub(in crate::remote) struct Kept {
    folder: Arc<tempfile::TempDir>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    here: HashSet<ContentHash>,
    /// The beginnings of the same hashes, as tables have them.
    prefixes: HashSet<[u8; 8]>,
    /// Frames of packs that somebody fetches.
    coming: HashSet<(Digest, usize)>,
}

impl Kept {
    pub fn new(store: &Store) -> Result<Self> {
        let folder = Arc::new(store.temporary()?);
        let empty = sort::keep_empty(folder.path())?;
        let kept = Self { folder, state: Mutex::default(), changed: Notify::new() };
        kept.add([empty]);
        Ok(kept)
    }

    pub fn folder(&self) -> &Arc<tempfile::TempDir> {
        &self.folder
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn has(&self, hash: &ContentHash) -> bool {
        self.state().here.contains(hash)
    }

    /// These are in the folder now.
    pub fn add(&self, hashes: impl IntoIterator<Item = ContentHash>) {
        let mut state = self.state();
        for hash in hashes {
            state.prefixes.insert(Content::prefix(&hash));
            state.here.insert(hash);
        }
    }

    /// Waits until nobody else fetches what is missing of some frames. Gives the frames with it, which nobody else fetches as long as the claim is held.
    pub async fn claim(self: &Arc<Self>, pack: Digest, table: &Table, frames: &Range<usize>) -> Claim {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                let ranges = missing(&state, table, frames);
                let each: Vec<(Digest, usize)> = ranges.iter().cloned().flatten().map(|frame| (pack, frame)).collect();
                if !each.iter().any(|frame| state.coming.contains(frame)) {
                    state.coming.extend(each.iter().copied());
                    return Claim { kept: self.clone(), ranges, each };
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of these that have contents which are not here.
fn missing(state: &State, table: &Table, frames: &Range<usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for content in table.within(frames).iter().filter(|content| !state.prefixes.contains(&content.hash)) {
        let next = table.frames_of(content);
        match ranges.last_mut() {
            Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
            _ => ranges.push(next),
        }
    }
    ranges
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
        let mut state = self.kept.state();
        for frame in &self.each {
            state.coming.remove(frame);
        }
        drop(state);
        self.kept.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use shiplap_cache::tier::table::Frame;

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
    async fn what_is_here_is_not_fetched_again_and_what_is_fetched_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::new(&Store::open(home.path()).unwrap()).unwrap());
        let (table, pack) = (table(), Digest::of(b"pack"));
        kept.add([hash(1)]);
        let first = kept.claim(pack, &table, &(0..3)).await;
        assert_eq!(frames(&first), [(0, 1), (2, 3)]);
        let other = kept.claim(pack, &table, &(3..5)).await;
        assert_eq!(frames(&other), [(3, 5)]);
        let waiting = kept.claim(pack, &table, &(0..5));
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        kept.add([hash(0), hash(2)]);
        drop(first);
        assert!(futures::poll!(waiting.as_mut()).is_pending(), "two frames are still on their way");
        // It could not be had there: now the other one tries.
        drop(other);
        assert_eq!(frames(&waiting.await), [(3, 5)]);
    }
}
