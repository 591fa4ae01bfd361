//! What is here, what is on its way, and what comes next for somebody who waits.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use shiplap_cache::tier::table::Table;
use shiplap_cache::{ContentHash, LayerId, Piece};

use super::Shared;
use super::unit::Unit;
use super::work::Work;

/// What is known of a pack.
#[derive(Debug, Clone)]
pub(super) enum PackState {
    /// Nobody asked for its table yet.
    Unread,
    /// Its table is on its way.
    Reading,
    /// Its table.
    Read(Arc<Table>),
    /// It could not be read, or has something else than it should.
    Bad,
}

/// Where a layer is that must come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Coming,
    Here,
    Lost,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub packs: Vec<PackState>,
    whole: HashMap<LayerId, Whole>,
    refused: BTreeSet<LayerId>,
    /// What the step read the last time and nobody began to fetch.
    queue: VecDeque<Unit>,
    running: Vec<Unit>,
    /// What was fetched for somebody and must be here then, by the place of the pack.
    tried: HashSet<(usize, ContentHash)>,
}

/// What comes next for somebody who waits for contents.
pub(super) enum Next {
    /// They are here.
    Kept(Piece),
    /// The layer is here.
    Whole,
    /// They cannot be had.
    Lost,
    /// Until something changes.
    Wait,
    /// Nobody fetches them: this must be done.
    Start(Work),
}

impl State {
    pub fn new(packs: Vec<PackState>) -> Self {
        Self { packs, ..Self::default() }
    }

    /// What is fetched before anybody asks for it.
    pub fn extend(&mut self, units: impl IntoIterator<Item = Unit>) {
        self.queue.extend(units);
    }

    /// The layers that somebody was refused a file of.
    pub fn lost(&self) -> Vec<LayerId> {
        self.refused.iter().copied().collect()
    }

    /// Nothing is begun any more that nobody asks for.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// The next that was read the last time.
    pub fn take(&mut self) -> Option<Unit> {
        let unit = self.queue.pop_front()?;
        self.running.push(unit.clone());
        Some(unit)
    }

    /// Something was fetched, or could not be.
    pub fn ended(&mut self, unit: &Unit) {
        if let Some(at) = self.running.iter().position(|running| running == unit) {
            self.running.swap_remove(at);
        }
    }

    /// Where a layer is that comes whole.
    pub fn is_whole(&mut self, layer: LayerId, whole: Whole) {
        self.whole.insert(layer, whole);
    }

    /// A pack is not to be asked again.
    pub fn is_bad(&mut self, pack: usize) {
        self.packs[pack] = PackState::Bad;
        self.queue.retain(|unit| unit.pack != pack);
    }

    /// What must happen for contents to be here.
    pub fn next(&mut self, shared: &Shared, layer: &LayerId, hash: &ContentHash, size: u64) -> Next {
        if let Some(piece) = shared.kept.heap.piece(hash) {
            if size > 0 {
                shared.remote.moved.files.fetch_add(1, Ordering::Relaxed);
            }
            return Next::Kept(piece);
        }
        let whole = self.whole.get(layer).copied();
        match whole {
            Some(Whole::Here) => return Next::Whole,
            Some(Whole::Coming) => return Next::Wait,
            Some(Whole::Lost) | None => {}
        }
        let packs = shared.layers.get(layer).map_or(&[][..], |missing| &missing.packs);
        for &pack in packs {
            let table = match &self.packs[pack] {
                PackState::Bad => continue,
                PackState::Reading => return Next::Wait,
                PackState::Unread => {
                    self.packs[pack] = PackState::Reading;
                    return Next::Start(Work::Table(pack));
                }
                PackState::Read(table) => table.clone(),
            };
            let Some(content) = table.find(hash, size) else { continue };
            let own = Unit::of(pack, &table, &content);
            if self.running.iter().any(|running| running.meets(&own)) {
                return Next::Wait;
            }
            if !self.tried.insert((pack, *hash)) {
                // All of its frames came, and it is not what it should be.
                self.is_bad(pack);
                continue;
            }
            // Neighbours that are wanted anyway come with it.
            let unit = match self.queue.iter().position(|queued| queued.meets(&own)) {
                Some(at) if covers(&self.queue[at], &own) => self.queue.remove(at).unwrap_or(own),
                _ => own,
            };
            self.running.push(unit.clone());
            return Next::Start(Work::Unit(unit));
        }
        if whole == Some(Whole::Lost) {
            self.refused.insert(*layer);
            return Next::Lost;
        }
        self.whole.insert(*layer, Whole::Coming);
        Next::Start(Work::Whole(*layer))
    }
}

fn covers(unit: &Unit, other: &Unit) -> bool {
    unit.frames.start <= other.frames.start && other.frames.end <= unit.frames.end
}
