//! Putting a layer together whose contents are in packs: of other layers, and one of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::tier::table::{Content, Pack, Table};
use shiplap_cache::tier::{TierError, TierResult};
use shiplap_cache::{LayerId, LayerIndex, Store};

use super::demand::{Heap, Unit, units};
use super::{PARALLEL, Place, Remote, blocking, elsewhere};
use crate::adopt::{self, Step};
use crate::{Result, origin, tarball};

impl Remote {
    /// Puts a layer together from packs of a tier, if it becomes that layer.
    pub(super) async fn put_together(&self, place: &Place, layer: &LayerId, packs: &[Pack]) -> TierResult<()> {
        let missing = || TierError::Missing(format!("the index of layer {}", layer.short()));
        if self.store().index(layer).is_err() && !self.index(layer).await.map_err(here)? {
            return Err(missing());
        }
        let index = self.store().index(layer)?;
        let tables: Vec<(Pack, Arc<Table>)> = futures::stream::iter(packs.iter().copied())
            .map(|pack| async move { Ok::<_, TierError>((pack, self.pack_table(place, &pack).await?)) })
            .buffered(2 * PARALLEL)
            .try_collect()
            .await?;
        let wanted = elsewhere::contents(&index);
        let work = work(&tables, &wanted).ok_or_else(|| {
            TierError::Missing(format!("some contents of layer {} in the packs that should have them", layer.short()))
        })?;
        let heap = Arc::new(Heap::new(self.store()).map_err(here)?);
        futures::stream::iter(work)
            .map(|(at, unit)| {
                let (heap, (pack, table)) = (heap.clone(), tables[at].clone());
                async move { self.frames(place, &pack, &table, &unit, (&heap, true)).await }
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        let digest = packs.first().map(|pack| pack.blob.digest).ok_or_else(missing)?;
        let corrupt = |why: String| TierError::Corrupt { digest, why };
        if wanted.iter().any(|(_, hash, _)| !heap.has(hash)) {
            return Err(corrupt("contents with other hashes than its table says".to_owned()));
        }
        let (store, id) = (self.store().clone(), *layer);
        match blocking(move || write(&store, &id, &index, &heap)).await {
            Ok(Some(made)) if made == *layer => {}
            Ok(_) => return Err(corrupt("it becomes another layer".to_owned())),
            Err(
                error @ (crate::Error::BadTar { .. }
                | crate::Error::DamagedLayer { .. }
                | crate::Error::ReservedName(_)),
            ) => {
                return Err(corrupt(error.to_string()));
            }
            Err(error) => return Err(here(error)),
        }
        self.moved.layers.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Fetches the layers that have no blob anywhere that could be pushed: those that are only in packs. What cannot be had is left for whoever packs them to find.
    ///
    /// # Errors
    /// The store fails.
    pub async fn with_blobs(&self, layers: &[LayerId]) -> Result<()> {
        let mut bare = Vec::new();
        for layer in self.missing(layers)? {
            let places = self.store().layer_places(&layer)?;
            let has_blob = places.iter().any(|place| place.files.is_some());
            if !has_blob && places.iter().any(|place| place.complete.is_some()) {
                bare.push(layer);
            }
        }
        self.layers(&bare).await.map(drop)
    }
}

/// The units that have all of these contents, each with the place of its pack. None when something is in no pack.
fn work(tables: &[(Pack, Arc<Table>)], wanted: &[elsewhere::Contents]) -> Option<Vec<(usize, Unit)>> {
    let mut found: HashMap<usize, Vec<Content>> = HashMap::new();
    for (_, hash, size) in wanted {
        let in_pack = |(at, (_, table)): (usize, &(Pack, Arc<Table>))| Some((at, table.find(hash, *size)?));
        let (at, content) = tables.iter().enumerate().find_map(in_pack)?;
        found.entry(at).or_default().push(content);
    }
    let of =
        |(at, contents): (usize, Vec<Content>)| units(at, &tables[at].1, contents).into_iter().map(move |u| (at, u));
    Some(found.into_iter().flat_map(of).collect())
}

/// Writes the tar that the layer would have come as, and unpacks it at the same time: what becomes of it is named and checked as everything that comes.
fn write(store: &Store, layer: &LayerId, index: &LayerIndex, heap: &Heap) -> Result<Option<LayerId>> {
    let label = format!("layer {}", layer.short());
    let pipe = |source| crate::Error::Io { what: "open a pipe for", path: store.home().to_owned(), source };
    let (tar, out) = std::io::pipe().map_err(pipe)?;
    let (written, unpacked) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let out = std::io::BufWriter::with_capacity(1 << 16, out);
            tarball::write_contents(out, index, |hash| heap.piece(hash))
        });
        let unpacked = adopt::unpack_tar(store, tar, &label, None);
        (writer.join(), unpacked)
    });
    let written = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (unpacked, written) {
        // A tar that ends too early says less than why it does. Of who does not read any more it is the other way round.
        (Err(crate::Error::BadTar { .. }), Err(why)) if !is_unread(&why) => Err(why),
        (Err(why), _) | (Ok(_), Err(why)) => Err(why),
        (Ok((Step::Done(origin::Unpacked::Layer(id)), _)), Ok(())) => Ok(Some(id)),
        (Ok((Step::Done(origin::Unpacked::Nothing) | Step::Loose(..), _)), Ok(())) => Ok(None),
    }
}

fn is_unread(error: &crate::Error) -> bool {
    matches!(error, crate::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What fails here, to a tier.
fn here(error: crate::Error) -> TierError {
    match error {
        crate::Error::Store(error) => TierError::Here(error),
        crate::Error::Io { what, path, source } => TierError::Here(shiplap_cache::Error::Io { what, path, source }),
        other => TierError::Unreachable(other.to_string()),
    }
}
