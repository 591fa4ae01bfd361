//! What is fetched while somebody waits.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use futures::StreamExt;
use shiplap_cache::tier::table::{Pack, Table};
use shiplap_cache::tier::{TierError, TierResult};
use shiplap_cache::{Digest, LayerId};

use super::super::{Place as TierPlace, Remote, blocking};
use super::heap::{Heap, Sorter, Trouble};
use super::state::{PackState, Whole};
use super::unit::Unit;
use super::{Shared, Urgency};
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
                let _urgent = (shared.urgency == Urgency::Now).then(|| shared.kept.urgent());
                let came = shared.unit(&unit).await;
                self.settle(|state| {
                    state.ended(&unit);
                    if !came {
                        state.is_bad(unit.pack);
                    }
                });
            }
            Some(Work::Queue) => loop {
                let _turn = match shared.urgency {
                    Urgency::Now => None,
                    Urgency::Later => {
                        let turn = shared.kept.later.acquire().await;
                        shared.kept.idle().await;
                        turn.ok()
                    }
                };
                let Some(unit) = shared.take() else { break };
                let mut one = Self::new(shared.clone(), Work::Unit(unit));
                Box::pin(one.go()).await;
            },
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
        match self.remote.pack_table(place, pack).await {
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
        let claim = self.kept.claim(pack.blob.digest, &table, &unit.frames).await;
        for frames in claim.ranges.iter().cloned() {
            let unit = Unit { pack: unit.pack, frames };
            if let Err(error) = self.remote.frames(place, pack, &table, &unit, (&self.kept.heap, false)).await {
                match self.urgency {
                    Urgency::Now => self.remote.refused(place, pack, error),
                    // Whoever needs it hears of it.
                    Urgency::Later => tracing::debug!(%error, "files of a layer do not come ahead"),
                }
                return false;
            }
        }
        true
    }
}

enum Failed {
    Frame(String),
    Sort(Trouble),
}

impl Remote {
    /// Fetches frames of a pack, and keeps the contents in them. What is next comes while something is unpacked.
    ///
    /// From a place that gives blobs whole alone the pack comes whole, if that is wanted.
    pub(in crate::remote) async fn frames(
        &self,
        place: &TierPlace,
        pack: &Pack,
        table: &Arc<Table>,
        unit: &Unit,
        (heap, whole): (&Arc<Heap>, bool),
    ) -> TierResult<()> {
        let corrupt = |why: String| TierError::Corrupt { digest: pack.blob.digest, why };
        let mut sorter = Sorter::new(heap, table.within(&unit.frames), &table.plain(&unit.frames));
        let requests = futures::stream::iter(unit.requests(table)).map(|request| async move {
            let range = table.packed(&request);
            Ok::<_, TierError>((self.part(place, pack, &range, whole).await?, range, request))
        });
        let mut parts = std::pin::pin!(requests.buffered(2));
        let mut next = parts.next().await;
        while let Some(part) = next {
            let (packed, range, request) = part?;
            let table = table.clone();
            let sorted = blocking(move || {
                for frame in request {
                    let (at, to) = (table.packed(&(frame..frame + 1)), table.plain(&(frame..frame + 1)));
                    let bytes = &packed[(at.start - range.start) as usize..(at.end - range.start) as usize];
                    let plain = frames::unpack(bytes, to.end - to.start).map_err(Failed::Frame)?;
                    sorter.take(&plain).map_err(Failed::Sort)?;
                }
                Ok(sorter)
            });
            let (sorted, following) = tokio::join!(sorted, parts.next());
            next = following;
            sorter = match sorted {
                Ok(sorter) => sorter,
                Err(Failed::Frame(why)) => return Err(corrupt(why)),
                Err(Failed::Sort(Trouble::Wrong)) => {
                    return Err(corrupt("contents that are not those of its table".into()));
                }
                Err(Failed::Sort(Trouble::Disk(source))) => {
                    let path = self.store().home().to_owned();
                    return Err(TierError::Here(shiplap_cache::Error::Io { what: "write contents in", path, source }));
                }
            };
        }
        sorter.finish();
        Ok(())
    }

    /// Bytes of a pack: from here where it is here, for an image's layers are packs.
    async fn part(&self, place: &TierPlace, pack: &Pack, range: &Range<u64>, whole: bool) -> TierResult<Vec<u8>> {
        if let Some(bytes) = self.part_here(pack, range).await? {
            return Ok(bytes);
        }
        let tier = &place.used.tier;
        let length = range.end - range.start;
        let part = match place.whole_alone.load(Ordering::Acquire) {
            true => Err(TierError::Unsupported("it gave nothing in part before".to_owned())),
            false => tier.range(&pack.blob, range.start, length).await,
        };
        match part {
            Err(TierError::Unsupported(_)) if whole => {
                place.whole_alone.store(true, Ordering::Release);
                let turn = self.turn(pack.blob.digest);
                let _turn = turn.lock().await;
                if let Some(bytes) = self.part_here(pack, range).await? {
                    return Ok(bytes);
                }
                tier.fetch(self.store(), &pack.blob).await?;
                place.succeeded();
                self.moved.fetched.fetch_add(pack.blob.size, Ordering::Relaxed);
                self.part_here(pack, range).await?.ok_or_else(|| TierError::Missing(pack.blob.digest.to_string()))
            }
            part => {
                let bytes = part?;
                place.succeeded();
                self.moved.fetched.fetch_add(length, Ordering::Relaxed);
                self.moved.parts.fetch_add(1, Ordering::Relaxed);
                Ok(bytes)
            }
        }
    }

    /// Whose turn it is to fetch a pack whole, or a table.
    fn turn(&self, blob: Digest) -> Arc<tokio::sync::Mutex<()>> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).entry(blob).or_default().clone()
    }

    async fn part_here(&self, pack: &Pack, range: &Range<u64>) -> TierResult<Option<Vec<u8>>> {
        let (store, blob, range) = (self.store().clone(), pack.blob, range.clone());
        let read = move || -> shiplap_cache::Result<Option<Vec<u8>>> {
            if store.blobs().size(&blob.digest)? != Some(blob.size) {
                return Ok(None);
            }
            let file = store.blobs().open_file(&blob.digest)?;
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
            let read = file.read_exact_at(&mut bytes, range.start);
            let failed =
                |source| shiplap_cache::Error::Io { what: "read", path: store.blobs().path(&blob.digest), source };
            read.map_err(failed)?;
            Ok(Some(bytes))
        };
        Ok(blocking(read).await?)
    }

    /// The table of a pack, read once in a process.
    pub(in crate::remote) async fn pack_table(&self, place: &TierPlace, pack: &Pack) -> TierResult<Arc<Table>> {
        let turn = self.turn(pack.table.digest);
        let _turn = turn.lock().await;
        if let Some(table) = self.table_here(pack).await {
            return Ok(table);
        }
        let bytes = place.used.tier.read(&pack.table).await?;
        place.succeeded();
        self.moved.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.keep_table(pack, bytes).await.map_err(|why| TierError::Corrupt { digest: pack.table.digest, why })
    }

    /// The table of a pack that was made here, or came here before.
    pub(in crate::remote) async fn table_here(&self, pack: &Pack) -> Option<Arc<Table>> {
        let known = self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(&pack.table.digest).cloned();
        if let Some(table) = known {
            return Some(table).filter(|table| table.size() == pack.blob.size);
        }
        let (store, table) = (self.store().clone(), pack.table);
        let bytes = blocking(move || match store.blobs().size(&table.digest) {
            Ok(Some(there)) if there == table.size => store.blobs().read(&table.digest).ok(),
            _ => None,
        });
        self.keep_table(pack, bytes.await?).await.ok()
    }

    async fn keep_table(&self, pack: &Pack, bytes: Vec<u8>) -> Result<Arc<Table>, String> {
        let table = blocking(move || Table::decode(&bytes)).await?;
        if table.size() != pack.blob.size {
            return Err(format!("a table of a pack of {} bytes instead of {}", table.size(), pack.blob.size));
        }
        let table = Arc::new(table);
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(pack.table.digest, table.clone());
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
