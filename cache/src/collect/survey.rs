//! What stays, what goes, and why.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Row};

use super::{Amount, Dead, Need, Needs, OnDisk, Policy, References, Survey, Thing, Why};
use crate::error::At;
use crate::steps::layers_of;
use crate::store::{BLOB, LAYER, now};
use crate::{Digest, Error, LayerId, Result, Store};

/// Mounts that were used within this time are left alone: their use is not written down each time.
const MOUNT_REST: i64 = 2 * 3600;

/// A file of the blob store.
struct File {
    digest: Digest,
    size: u64,
    modified: i64,
}

struct Layer {
    id: LayerId,
    size: u64,
    used: i64,
}

/// What may go for want of room.
struct Evictable {
    used: i64,
    /// On how many layers it stands.
    height: usize,
    dead: Dead,
}

/// What stays.
#[derive(Default)]
struct Verdict {
    layers: HashSet<LayerId>,
    blobs: HashSet<Digest>,
}

pub(super) fn survey(store: &Store, references: &dyn References, policy: &Policy) -> Result<Survey> {
    let needs = references.needs().map_err(Error::References)?;
    let (layers, results) = (layers(store)?, results(store)?);
    let uses = Uses::of(store, &layers)?;
    let attached = attached(store, &needs)?;
    let doomed = doomed(store)?;
    let mut survey = Survey { stale: needs.stale.clone(), ..Survey::default() };
    let (mut verdict, mut there) = (Verdict::default(), OnDisk::default());
    let mut evictable = Vec::new();
    let young = now() - seconds(policy.grace);
    let unused = policy.unused_for.map(|time| now() - seconds(time));
    let dead = |thing, bytes, why| Dead { thing, bytes, why, folder: String::new() };

    for Layer { id, size, used } in layers {
        let is_result = results.contains(&id);
        there.layers.insert(id);
        let since_used = uses.last.get(&id).copied().unwrap_or(used);
        let why = match (needs.layers.get(&id), unused) {
            (Some(need), _) => Ok(*need),
            (None, Some(since)) if since_used <= since && since_used <= young => Err(Why::Unused { since: since_used }),
            (None, _) if is_result => Ok(Need::StepResult),
            (None, _) if used > young => Ok(Need::Young),
            (None, _) => Err(Why::Unreferenced),
        };
        match why {
            Err(why) => survey.dead.push(dead(Thing::Layer(id), size, why)),
            Ok(need) => {
                verdict.layers.insert(id);
                survey.kept.entry(need).or_default().add(size);
                if matches!(need, Need::StepResult) {
                    let (used, height) = (since_used, uses.heights.get(&id).copied().unwrap_or(0));
                    let dead = dead(Thing::Layer(id), size, Why::OverBudget { used });
                    evictable.push(Evictable { used, height, dead });
                }
            }
        }
    }
    // What was doomed and is referred to again, by who still knew it.
    for (id, size) in &doomed.layers {
        survey.doomed.add(*size);
        there.layers.insert(*id);
        if needs.layers.contains_key(id) || results.contains(id) {
            survey.returning.push(Thing::Layer(*id));
            verdict.layers.insert(*id);
        }
    }

    let mut owners: HashMap<Digest, Vec<LayerId>> = HashMap::new();
    for (layer, blobs) in &attached {
        blobs.iter().for_each(|blob| owners.entry(*blob).or_default().push(*layer));
    }
    let [here, aside] = store.blobs().folders();
    for File { digest, size, .. } in files(aside)? {
        survey.doomed.add(size);
        there.blobs.insert(digest);
        let owned = owners.get(&digest).is_some_and(|of| of.iter().any(|layer| verdict.layers.contains(layer)));
        if owned || needs.blobs.contains_key(&digest) {
            survey.returning.push(Thing::Blob(digest));
            verdict.blobs.insert(digest);
        }
    }
    let mut sizes = HashMap::new();
    for File { digest, size, modified } in files(here)? {
        there.blobs.insert(digest);
        let owned = owners.get(&digest).is_some_and(|of| of.iter().any(|layer| verdict.layers.contains(layer)));
        let why = match needs.blobs.get(&digest) {
            Some(Need::Download) if unused.is_some_and(|since| modified <= since && modified <= young) => {
                Err(Why::Unused { since: modified })
            }
            Some(need) => Ok(*need),
            None if owned => Ok(Need::StepResult),
            None if modified > young => Ok(Need::Young),
            None => Err(Why::Unreferenced),
        };
        match why {
            Err(why) => survey.dead.push(dead(Thing::Blob(digest), size, why)),
            Ok(need) => {
                verdict.blobs.insert(digest);
                survey.kept.entry(need).or_default().add(size);
                if need == Need::StepResult {
                    sizes.insert(digest, size);
                }
            }
        }
    }
    mounts(store, unused, &mut survey, &mut evictable)?;
    if let Some(budget) = policy.max_used_space {
        evict(budget, evictable, &attached, &owners, &sizes, &mut survey, &mut verdict);
    }
    survey.step_results = results_without(store, &verdict)?;
    survey.stale.extend(references.stale(&there).map_err(Error::References)?);
    Ok(survey)
}

/// When layers were used, and on how many they stand.
///
/// A step result without the layers that its step stood on is worth nothing, and these would be taken back with it. So a layer counts as used when
/// any result on top of it was, and of several that were used at once the uppermost goes first.
#[derive(Default)]
struct Uses {
    last: HashMap<LayerId, i64>,
    heights: HashMap<LayerId, usize>,
}

impl Uses {
    fn of(store: &Store, layers: &[Layer]) -> Result<Self> {
        let rows: Vec<(Vec<u8>, String)> = store.query(|db| {
            db.prepare("SELECT parent, result FROM runs")?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
        })?;
        let mut runs: Vec<(LayerId, Vec<LayerId>)> = Vec::with_capacity(rows.len());
        for (parent, result) in rows {
            let mut below: Vec<_> = parent.as_chunks().0.iter().map(|id| LayerId::from_bytes(*id)).collect();
            for layer in layers_of(&result) {
                runs.push((layer, below.clone()));
                below.push(layer);
            }
        }
        // From the top down, so that what one passes on is known when the next one does.
        runs.sort_by_key(|(_, below)| std::cmp::Reverse(below.len()));
        let mut uses = Self { last: layers.iter().map(|layer| (layer.id, layer.used)).collect(), ..Self::default() };
        for (layer, below) in &runs {
            let height = uses.heights.entry(*layer).or_default();
            *height = below.len().max(*height);
        }
        // A result that was reused on other layers may pass on to higher ones: until nothing changes.
        let mut is_changed = true;
        while is_changed {
            is_changed = false;
            for (layer, below) in &runs {
                let Some(time) = uses.last.get(layer).copied() else { continue };
                for id in below {
                    if let Some(known) = uses.last.get_mut(id).filter(|known| **known < time) {
                        (*known, is_changed) = (time, true);
                    }
                }
            }
        }
        Ok(uses)
    }
}

/// Takes what was used longest ago until the rest fits.
fn evict(
    budget: u64,
    mut evictable: Vec<Evictable>,
    attached: &HashMap<LayerId, Vec<Digest>>,
    owners: &HashMap<Digest, Vec<LayerId>>,
    sizes: &HashMap<Digest, u64>,
    survey: &mut Survey,
    verdict: &mut Verdict,
) {
    let mut total: u64 = survey.kept.values().map(|amount| amount.bytes).sum();
    evictable.sort_by_key(|item| (item.used, std::cmp::Reverse(item.height)));
    for Evictable { used, dead, .. } in evictable {
        if total <= budget {
            break;
        }
        let mut gone = vec![dead];
        if let Thing::Layer(layer) = gone[0].thing {
            verdict.layers.remove(&layer);
            for blob in attached.get(&layer).into_iter().flatten() {
                let owned = owners[blob].iter().any(|layer| verdict.layers.contains(layer));
                if let (false, Some(size)) = (owned, sizes.get(blob))
                    && verdict.blobs.remove(blob)
                {
                    let (thing, why) = (Thing::Blob(*blob), Why::OverBudget { used });
                    gone.push(Dead { thing, bytes: *size, why, folder: String::new() });
                }
            }
        }
        for dead in gone {
            total -= dead.bytes;
            let need = match dead.thing {
                Thing::CacheMount(_) => Need::CacheMount,
                _ => Need::StepResult,
            };
            if let Some(kept) = survey.kept.get_mut(&need) {
                *kept = Amount { count: kept.count - 1, bytes: kept.bytes - dead.bytes };
            }
            survey.dead.push(dead);
        }
    }
    survey.above = (total > budget).then(|| total - budget);
}

fn layers(store: &Store) -> Result<Vec<Layer>> {
    let read = |row: &Row<'_>| {
        let id = LayerId::from_bytes(row.get(0)?);
        Ok(Layer { id, size: row.get::<_, i64>(1)? as u64, used: row.get(2)? })
    };
    store.query(|db| db.prepare("SELECT id, size, used FROM layers")?.query_map([], read)?.collect())
}

/// The layers that step results name, and those that the steps stood on: without these no step behind them can run.
pub(super) fn results(store: &Store) -> Result<HashSet<LayerId>> {
    let (results, parents): (Vec<String>, Vec<Vec<u8>>) = store.query(|db| {
        let results = db
            .prepare("SELECT result FROM runs UNION ALL SELECT result FROM exact")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let parents = db
            .prepare("SELECT DISTINCT parent FROM runs")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok((results, parents))
    })?;
    let mut layers: HashSet<LayerId> = results.iter().flat_map(|result| layers_of(result)).collect();
    layers.extend(parents.iter().flat_map(|stack| stack.as_chunks().0).map(|id| LayerId::from_bytes(*id)));
    Ok(layers)
}

/// The layers that a tier has: their results are of use without them.
pub(super) fn within_reach(db: &Connection) -> rusqlite::Result<HashSet<LayerId>> {
    db.prepare("SELECT DISTINCT layer FROM tier_layers WHERE digest IS NOT NULL OR complete IS NOT NULL")?
        .query_map([], |row| row.get(0).map(LayerId::from_bytes))?
        .collect()
}

fn results_without(store: &Store, verdict: &Verdict) -> Result<u64> {
    let runs: Vec<String> =
        store.query(|db| db.prepare("SELECT result FROM runs")?.query_map([], |row| row.get(0))?.collect())?;
    let elsewhere = store.query(within_reach)?;
    let is_gone = |layer: &LayerId| !verdict.layers.contains(layer) && !elsewhere.contains(layer);
    let gone = |result: &&String| layers_of(result).iter().any(is_gone);
    Ok(runs.iter().filter(gone).count() as u64)
}

/// The blobs that were made of layers or that layers came as, and their tables.
fn attached(store: &Store, needs: &Needs) -> Result<HashMap<LayerId, Vec<Digest>>> {
    let mut attached = needs.attached.clone();
    let made: Vec<([u8; 32], String)> = store.query(|db| {
        db.prepare("SELECT layer, digest FROM layer_blobs")?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
    })?;
    for (layer, digest) in made {
        if let Ok(digest) = digest.parse() {
            attached.entry(LayerId::from_bytes(layer)).or_default().push(digest);
        }
    }
    let tables: Vec<([u8; 32], [u8; 32])> = store.query(|db| {
        db.prepare("SELECT pack, digest FROM pack_tables")?.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
    })?;
    let tables: HashMap<Digest, Digest> =
        tables.into_iter().map(|(pack, table)| (Digest::from_bytes(pack), Digest::from_bytes(table))).collect();
    for blobs in attached.values_mut() {
        let of: Vec<Digest> = blobs.iter().filter_map(|blob| tables.get(blob).copied()).collect();
        blobs.extend(of);
    }
    Ok(attached)
}

pub(super) struct Doomed {
    pub layers: Vec<(LayerId, u64)>,
    pub blobs: HashSet<Digest>,
}

pub(super) fn doomed(store: &Store) -> Result<Doomed> {
    let rows: Vec<(String, [u8; 32], i64)> = store.query(|db| {
        db.prepare("SELECT kind, id, size FROM doomed")?
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
            .collect()
    })?;
    let mut doomed = Doomed { layers: Vec::new(), blobs: HashSet::new() };
    for (kind, id, size) in rows {
        match kind.as_str() {
            LAYER => doomed.layers.push((LayerId::from_bytes(id), size as u64)),
            BLOB => drop(doomed.blobs.insert(Digest::from_bytes(id))),
            _ => {}
        }
    }
    Ok(doomed)
}

/// The blobs in a folder. Other files, such as those that are being written, are none.
fn files(folder: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).at("read", folder)? {
        let item = item.at("read", folder)?;
        let Ok(digest) = format!("sha256:{}", item.file_name().to_string_lossy()).parse() else { continue };
        match item.metadata() {
            Ok(meta) => files.push(File { digest, size: meta.len(), modified: meta.mtime() }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).at("read", &item.path()),
        }
    }
    Ok(files)
}

fn mounts(store: &Store, unused: Option<i64>, survey: &mut Survey, evictable: &mut Vec<Evictable>) -> Result<()> {
    let known: Vec<(String, String, i64)> = store.query(|db| {
        db.prepare("SELECT folder, label, used FROM mounts")?
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
            .collect()
    })?;
    let known: HashMap<String, (String, i64)> = known.into_iter().map(|(f, label, used)| (f, (label, used))).collect();
    let folder = store.home().join("mounts");
    for item in std::fs::read_dir(&folder).at("read", &folder)? {
        let item = item.at("read", &folder)?;
        let name = item.file_name().to_string_lossy().into_owned();
        // Of one of an older version nobody noted what it is for and when it was used.
        let modified = || item.metadata().map_or(0, |meta| meta.mtime());
        let (label, used) = known.get(&name).cloned().unwrap_or_else(|| (name.clone(), modified()));
        let bytes = disk_use(&item.path());
        let dead = |why| Dead { thing: Thing::CacheMount(label.clone()), bytes, why, folder: name.clone() };
        if unused.is_some_and(|since| used <= since) && used < now() - MOUNT_REST {
            survey.dead.push(dead(Why::Unused { since: used }));
            continue;
        }
        survey.kept.entry(Need::CacheMount).or_default().add(bytes);
        if used < now() - MOUNT_REST {
            evictable.push(Evictable { used, height: 0, dead: dead(Why::OverBudget { used }) });
        }
    }
    Ok(())
}

/// Bytes of the files below a folder. What cannot be read counts nothing.
fn disk_use(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(items) = std::fs::read_dir(path) else { return 0 };
    items.flatten().map(|item| disk_use(&item.path())).sum()
}

pub(super) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4)
}
