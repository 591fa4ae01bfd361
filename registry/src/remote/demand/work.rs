//! What is fetched while somebody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shiplap_cache::LayerId;
use shiplap_cache::tier::table::{Pack, Table};
use shiplap_cache::tier::{TierError, TierResult};

use super::super::{Place as TierPlace, Remote, blocking};
use super::Shared;
use super::sort::{Sorter, Trouble};
use super::state::{PackState, Whole};
use super::unit::Unit;
use crate::frames;

/// Something to fetch.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// The table of a pack.
    Table(usize),
    /// Frames of a pack.
    Unit(Unit),
    /// What was read the last time, one unit after the other.
    Queue,
    /// A layer, as without packs.
    Whole(LayerId),
}

/// Work under way. However it ends, also when it is given up in the middle, those who wait hear of it.
pub(super) struct Ending {
    shared: Arc<Shared>,
    work: Option<Work>,
}

impl Ending {
    pub fn new(shared: Arc<Shared>, work: Work) -> Self {
        Self { shared, work: Some(work) }
    }

    pub async fn go(&mut self) {
        let shared = self.shared.clone();
        match self.work.clone() {
            Some(Work::Table(pack)) => {
                let read = shared.table(pack).await;
                self.settle(|state| match read {
                    Some(table) => state.packs[pack] = PackState::Read(table),
                    None => state.is_bad(pack),
                });
            }
            Some(Work::Unit(unit)) => {
                let came = shared.unit(&unit).await;
                self.settle(|state| {
                    state.ended(&unit);
                    if !came {
                        state.is_bad(unit.pack);
                    }
                });
            }
            Some(Work::Queue) => {
                while let Some(unit) = shared.take() {
                    let mut one = Self::new(shared.clone(), Work::Unit(unit));
                    Box::pin(one.go()).await;
                }
            }
            Some(Work::Whole(layer)) => {
                let came = matches!(shared.remote.layers(&[layer]).await, Ok(Ok(())));
                self.settle(|state| state.is_whole(layer, if came { Whole::Here } else { Whole::Lost }));
            }
            None => {}
        }
    }

    fn settle(&mut self, change: impl FnOnce(&mut super::State)) {
        self.work = None;
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        match self.work.clone() {
            Some(Work::Table(pack)) => self.settle(|state| state.is_bad(pack)),
            Some(Work::Unit(unit)) => self.settle(|state| {
                state.ended(&unit);
                state.is_bad(unit.pack);
            }),
            Some(Work::Whole(layer)) => self.settle(|state| state.is_whole(layer, Whole::Lost)),
            Some(Work::Queue) | None => {}
        }
    }
}

impl Shared {
    fn take(&self) -> Option<Unit> {
        self.state().take()
    }

    /// Reads the table of a pack.
    pub(super) async fn table(&self, pack: usize) -> Option<Arc<Table>> {
        let super::Place { tier, pack } = &self.packs[pack];
        let place = self.remote.place(tier)?;
        match self.remote.table(place, pack).await {
            Ok(table) => Some(table),
            Err(error) => {
                self.remote.refused(place, pack, error);
                None
            }
        }
    }

    /// Fetches frames and keeps the contents in them. Says whether all of it came.
    async fn unit(self: &Arc<Self>, unit: &Unit) -> bool {
        let super::Place { tier, pack } = &self.packs[unit.pack];
        let PackState::Read(table) = self.state().packs[unit.pack].clone() else { return false };
        let Some(place) = self.remote.place(tier) else { return false };
        match self.frames(place, pack, &table, unit).await {
            Ok(()) => true,
            Err(error) => {
                self.remote.refused(place, pack, error);
                false
            }
        }
    }

    async fn frames(
        self: &Arc<Self>,
        place: &TierPlace,
        pack: &Pack,
        table: &Arc<Table>,
        unit: &Unit,
    ) -> TierResult<()> {
        let corrupt = |why: String| TierError::Corrupt { digest: pack.blob.digest, why };
        let plain = table.plain(&unit.frames);
        let mut sorter = Sorter::new(self.folder.path(), table.within(&unit.frames), plain.start);
        for request in unit.requests(table) {
            let range = table.packed(&request);
            let packed = place.used.tier.range(&pack.blob, range.start, range.end - range.start).await?;
            place.succeeded();
            self.remote.moved.fetched.fetch_add(packed.len() as u64, Ordering::Relaxed);
            self.remote.moved.parts.fetch_add(1, Ordering::Relaxed);
            // The folder must be there as long as somebody writes to it.
            let (table, shared) = (table.clone(), self.clone());
            let sorted = blocking(move || {
                let _shared = shared;
                for frame in request {
                    let (at, to) = (table.packed(&(frame..frame + 1)), table.plain(&(frame..frame + 1)));
                    let bytes = &packed[(at.start - range.start) as usize..(at.end - range.start) as usize];
                    let plain = frames::unpack(bytes, to.end - to.start).map_err(Failed::Frame)?;
                    sorter.take(&plain).map_err(Failed::Sort)?;
                }
                Ok(sorter)
            });
            sorter = match sorted.await {
                Ok(sorter) => sorter,
                Err(Failed::Frame(why)) => return Err(corrupt(why)),
                Err(Failed::Sort(Trouble::Wrong)) => {
                    return Err(corrupt("contents that are not those of its table".into()));
                }
                Err(Failed::Sort(Trouble::Disk(source))) => {
                    let path = self.folder.path().to_owned();
                    return Err(TierError::Here(shiplap_cache::Error::Io { what: "write", path, source }));
                }
            };
        }
        let done = sorter.finish();
        self.state().kept.extend(done);
        Ok(())
    }
}

enum Failed {
    Frame(String),
    Sort(Trouble),
}

impl Remote {
    /// The table of a pack, read once in a process.
    pub(super) async fn table(&self, place: &TierPlace, pack: &Pack) -> TierResult<Arc<Table>> {
        let digest = pack.table.digest;
        if let Some(table) = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&digest) {
            return Ok(table.clone());
        }
        // One that was made here, or came here before.
        let (store, size) = (self.store().clone(), pack.table.size);
        let here = blocking(move || match store.blobs().size(&digest) {
            Ok(Some(there)) if there == size => store.blobs().read(&digest).ok(),
            _ => None,
        });
        let bytes = match here.await {
            Some(bytes) => bytes,
            None => {
                let bytes = place.used.tier.read(&pack.table).await?;
                place.succeeded();
                self.moved.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                bytes
            }
        };
        let table = blocking(move || Table::decode(&bytes)).await;
        let table = table.and_then(|table| match table.size() {
            size if size == pack.blob.size => Ok(table),
            size => Err(format!("a table of a pack of {size} bytes instead of {}", pack.blob.size)),
        });
        let table = Arc::new(table.map_err(|why| TierError::Corrupt { digest, why })?);
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(digest, table.clone());
        Ok(table)
    }

    /// A tier did not give what is in a pack that it has.
    fn refused(&self, place: &TierPlace, pack: &Pack, error: TierError) {
        match error {
            // It is none of its faults.
            TierError::Here(error) => tracing::warn!(%error, "files of a layer cannot be kept"),
            TierError::Unsupported(why) => {
                tracing::debug!(tier = place.used.tier.name(), why, "layers come whole");
                place.whole_alone.store(true, Ordering::Release);
            }
            error => {
                self.failed(place, "fetch files of a layer", &error);
                if matches!(error, TierError::Missing(_) | TierError::Corrupt { .. })
                    && let Err(error) = self.store().forget_pack(place.used.tier.name(), &pack.blob.digest)
                {
                    tracing::warn!(%error, "a pack that is gone cannot be forgotten");
                }
            }
        }
    }
}
