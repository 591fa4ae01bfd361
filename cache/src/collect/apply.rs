//! Doing it: references first, bytes much later.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};

use super::survey::{doomed, results, seconds, survey, within_reach};
use super::{Amount, Collected, Policy, References, Stale, Survey, Thing};
use crate::error::At;
use crate::steps::layers_of;
use crate::store::{BLOB, LAYER, restore_layer};
use crate::{Digest, Error, LayerId, Result, Store};

/// What nobody heard of a tier for so many days is forgotten.
const TIER_DAYS: u32 = 90;

/// A row of `doomed`.
struct Row {
    kind: String,
    id: [u8; 32],
    size: u64,
}

pub(super) fn collect(store: &Store, references: &dyn References, policy: &Policy) -> Result<Collected> {
    let _gate = gate(store.home())?;
    // A connection of its own holds the write lock; the store's reads what was committed, and nobody commits meanwhile.
    let mut db = store.second_connection()?;
    let fail = |e| store.database_failed(e);
    // Of one that was killed before it wrote down who held a lease.
    list_leases(store, &mut db)?;
    forget_returned(store, &mut db)?;

    let gone = store.temporary()?;
    let lock = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let found = survey(store, references, policy)?;
    let busy = store.other_leases()?;
    let mut freed = doom(store, &lock, &found, busy.is_empty(), gone.path())?;
    lock.commit().map_err(fail)?;
    list_leases(store, &mut db)?;

    let lock = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    unlink(store, &lock, references, policy, gone.path(), &mut freed)?;
    lock.commit().map_err(fail)?;
    // Now that no reference is left on disk.
    drop(gone);

    let mut collected = Collected { survey: found, freed, leases: busy.len(), ..Collected::default() };
    let (waiting, oldest) = store.waiting()?;
    collected.waiting = waiting;
    collected.next = oldest.map(|since| since + seconds(policy.quarantine));
    Ok(collected)
}

/// One process collects at a time.
fn gate(home: &Path) -> Result<File> {
    let path = home.join("gc.lock");
    let gate = File::options().write(true).create(true).truncate(false).open(&path).at("open", &path)?;
    match flock(&gate, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Collecting),
        locked => locked.at("lock", &path).map(|()| gate),
    }
}

fn list_leases(store: &Store, db: &mut Connection) -> Result<()> {
    let fail = |e| store.database_failed(e);
    let lock = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    store.list_leases(&lock)?;
    lock.commit().map_err(fail)
}

/// Takes out the blobs that came back. Should this collection be killed after it has put one of them aside anew, it must not be taken for one that was
/// put aside long ago: who has seen it since is not among those who are waited for.
fn forget_returned(store: &Store, db: &mut Connection) -> Result<()> {
    let fail = |e| store.database_failed(e);
    let lock = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    for digest in doomed(store)?.blobs {
        if !store.blobs().quarantined(&digest).exists() {
            lock.execute("DELETE FROM doomed WHERE kind = ?1 AND id = ?2", params![BLOB, digest.as_bytes()])
                .map_err(fail)?;
        }
    }
    lock.commit().map_err(fail)
}

/// Takes the references away. What waits for nobody, cache mounts when nobody else is there, goes at once.
fn doom(store: &Store, db: &Connection, found: &Survey, alone: bool, gone: &Path) -> Result<Amount> {
    let fail = |e| store.database_failed(e);
    let mut freed = Amount::default();
    for thing in &found.returning {
        match thing {
            Thing::Layer(id) => drop(restore_layer(db, id).map_err(fail)?),
            Thing::Blob(digest) => drop(store.blobs().bring_back(digest)?),
            Thing::CacheMount(_) => {}
        }
    }
    let batch = Store::begin_doom(db).map_err(fail)?;
    let mut layers = HashSet::new();
    for dead in &found.dead {
        match &dead.thing {
            Thing::Layer(id) => drop(layers.insert(*id)),
            Thing::Blob(digest) => {
                if store.blobs().set_aside(digest)? {
                    doom_blob(db, digest, dead.bytes, batch).map_err(fail)?;
                }
            }
            Thing::CacheMount(_) if alone => {
                // Whoever comes now writes down its use first, for which he must wait.
                let folder = store.home().join("mounts").join(&dead.folder);
                moved(&folder, &gone.join(format!("mount-{}", dead.folder)))?;
                db.execute("DELETE FROM mounts WHERE folder = ?1", [&dead.folder]).map_err(fail)?;
                freed.add(dead.bytes);
            }
            Thing::CacheMount(_) => {}
        }
    }
    doom_layers(db, &layers, batch).map_err(fail)?;
    drop_results(db).map_err(fail)?;
    found.stale.iter().try_for_each(|stale| drop_reference(db, stale)).map_err(fail)?;
    adopt_strays(store, db, batch)?;
    forget_old_tiers(db).map_err(fail)?;
    sweep_indices(store, db)?;
    Ok(freed)
}

/// Forgets what was heard of tiers long ago, which takes away nothing of theirs by then: a tier that is still in use is heard of again, for its segments are read
/// anew.
fn forget_old_tiers(db: &Connection) -> rusqlite::Result<()> {
    let since = crate::today().saturating_sub(TIER_DAYS);
    db.execute("DELETE FROM tier_layers WHERE day < ?1", [since])?;
    db.execute_batch(
        "DELETE FROM tier_contents WHERE NOT EXISTS
            (SELECT 1 FROM tier_layers WHERE tier_layers.layer = tier_contents.layer AND tier_layers.tier = tier_contents.tier);
         DELETE FROM pack_tables WHERE pack NOT IN (SELECT pack FROM tier_contents)
            AND 'sha256:' || lower(hex(pack)) NOT IN (SELECT digest FROM layer_blobs);",
    )?;
    db.execute("DELETE FROM tier_known WHERE day < ?1", [since])?;
    db.execute("DELETE FROM tier_segments WHERE tier NOT IN (SELECT tier FROM tier_layers)", []).map(drop)
}

/// Takes away the indices that no layer has, here or in a tier. Whoever brings a layer or an index writes its row under the lock that is held now.
fn sweep_indices(store: &Store, db: &Connection) -> Result<()> {
    let fail = |e| store.database_failed(e);
    let mut known: HashSet<String> = HashSet::new();
    for query in
        ["SELECT id FROM layers", "SELECT id FROM doomed WHERE kind = 'layer'", "SELECT layer FROM tier_layers"]
    {
        let mut rows = db.prepare(query).map_err(fail)?;
        for id in rows.query_map([], |row| row.get(0)).map_err(fail)? {
            known.insert(LayerId::from_bytes(id.map_err(fail)?).hex()[..32].to_owned());
        }
    }
    let folder = store.home().join("indices");
    for item in std::fs::read_dir(&folder).at("read", &folder)? {
        let item = item.at("read", &folder)?;
        if !known.contains(item.file_name().to_string_lossy().as_ref()) {
            let path = item.path();
            std::fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

fn doom_blob(db: &Connection, digest: &Digest, size: u64, batch: i64) -> rusqlite::Result<()> {
    let row = params![BLOB, digest.as_bytes(), batch, size as i64];
    db.execute("INSERT OR REPLACE INTO doomed VALUES (?1, ?2, ?3, ?4, 0, NULL, 0)", row).map(drop)
}

fn doom_layers(db: &Connection, layers: &HashSet<LayerId>, batch: i64) -> rusqlite::Result<()> {
    for id in layers {
        let (row, id) = (params![LAYER, id.as_bytes(), batch], id.as_bytes());
        db.execute(
            "INSERT OR REPLACE INTO doomed SELECT ?1, id, ?3, size, entries, boot, used FROM layers WHERE id = ?2",
            row,
        )?;
        db.execute("DELETE FROM layers WHERE id = ?1", [id])?;
        db.execute("DELETE FROM layer_blobs WHERE layer = ?1", [id])?;
    }
    Ok(())
}

/// Takes away the results of which a layer is neither here any more nor in a tier, and what only they used.
fn drop_results(db: &Connection) -> rusqlite::Result<()> {
    let mut here: HashSet<LayerId> = within_reach(db)?;
    let mut rows = db.prepare("SELECT id FROM layers")?;
    for id in rows.query_map([], |row| row.get(0))? {
        here.insert(LayerId::from_bytes(id?));
    }
    let gone = |result: &str| layers_of(result).iter().any(|layer| !here.contains(layer));
    let runs: Vec<(Vec<u8>, String)> = db
        .prepare("SELECT input, result FROM runs")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (input, _) in runs.iter().filter(|(_, result)| gone(result)) {
        db.execute("DELETE FROM runs WHERE input = ?1", [input])?;
    }
    let exact: Vec<(Vec<u8>, Vec<u8>, String)> = db
        .prepare("SELECT step, parent, result FROM exact")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (step, parent, _) in exact.iter().filter(|(_, _, result)| gone(result)) {
        db.execute("DELETE FROM exact WHERE step = ?1 AND parent = ?2", params![step, parent])?;
    }
    db.execute("DELETE FROM path_sets WHERE id NOT IN (SELECT path_set FROM runs)", []).map(drop)
}

fn drop_reference(db: &Connection, stale: &Stale) -> rusqlite::Result<()> {
    match stale {
        Stale::Name { space, name } => {
            db.execute("DELETE FROM names WHERE space = ?1 AND name = ?2", params![space, name])
        }
        Stale::Link { repository, digest } => db.execute(
            "DELETE FROM served_blobs WHERE repository = ?1 AND digest = ?2",
            params![repository, digest.to_string()],
        ),
        Stale::Manifest { repository, digest } => db.execute(
            "DELETE FROM served_manifests WHERE repository = ?1 AND digest = ?2",
            params![repository, digest.to_string()],
        ),
    }
    .map(drop)
}

/// Files in quarantine without a row were put there by a collection that was killed.
fn adopt_strays(store: &Store, db: &Connection, batch: i64) -> Result<()> {
    let fail = |e| store.database_failed(e);
    let [_, aside] = store.blobs().folders();
    for item in std::fs::read_dir(aside).at("read", aside)? {
        let item = item.at("read", aside)?;
        let Ok(digest) = format!("sha256:{}", item.file_name().to_string_lossy()).parse::<Digest>() else { continue };
        let known = db
            .prepare_cached("SELECT 1 FROM doomed WHERE kind = ?1 AND id = ?2")
            .and_then(|mut known| known.exists(params![BLOB, digest.as_bytes()]))
            .map_err(fail)?;
        if !known {
            let size = item.metadata().map_or(0, |meta| meta.len());
            doom_blob(db, &digest, size, batch).map_err(fail)?;
        }
    }
    Ok(())
}

/// Moves what was doomed long ago into `gone`, if nothing refers to it still.
fn unlink(
    store: &Store,
    db: &Connection,
    references: &dyn References,
    policy: &Policy,
    gone: &Path,
    freed: &mut Amount,
) -> Result<()> {
    let fail = |e| store.database_failed(e);
    let ripe = store.ripe(db, seconds(policy.quarantine)).map_err(fail)?;
    if ripe.is_empty() {
        return Ok(());
    }
    let needs = references.needs().map_err(Error::References)?;
    let results = results(store)?;
    let attached: HashSet<&Digest> =
        needs.attached.iter().filter(|(layer, _)| is_row(db, layer)).flat_map(|(_, b)| b).collect();
    for batch in ripe {
        for Row { kind, id, size } in rows(db, batch).map_err(fail)? {
            let removed = if kind == LAYER {
                let id = LayerId::from_bytes(id);
                if needs.layers.contains_key(&id) || results.contains(&id) {
                    restore_layer(db, &id).map_err(fail)?;
                    false
                } else {
                    !is_row(db, &id) && move_layer(store, &id, gone)?
                }
            } else {
                let digest = Digest::from_bytes(id);
                if needs.blobs.contains_key(&digest) || attached.contains(&digest) {
                    store.blobs().bring_back(&digest)?;
                    // Of one that was pushed anew meanwhile an old copy is left.
                    moved(&store.blobs().quarantined(&digest), &gone.join(digest.hex()))?;
                    false
                } else {
                    moved(&store.blobs().quarantined(&digest), &gone.join(digest.hex()))?
                }
            };
            db.execute("DELETE FROM doomed WHERE kind = ?1 AND id = ?2", params![kind, id]).map_err(fail)?;
            if removed {
                freed.add(size);
            }
        }
    }
    db.execute("DELETE FROM doom WHERE batch NOT IN (SELECT batch FROM doomed)", []).map_err(fail)?;
    db.execute("DELETE FROM doom_waits WHERE batch NOT IN (SELECT batch FROM doom)", []).map_err(fail)?;
    Ok(())
}

fn rows(db: &Connection, batch: i64) -> rusqlite::Result<Vec<Row>> {
    db.prepare("SELECT kind, id, size FROM doomed WHERE batch = ?1")?
        .query_map([batch], |r| Ok(Row { kind: r.get(0)?, id: r.get(1)?, size: r.get::<_, i64>(2)? as u64 }))?
        .collect()
}

/// Whether a layer has a row. Who cannot look, believes that it has.
fn is_row(db: &Connection, id: &LayerId) -> bool {
    db.prepare_cached("SELECT 1 FROM layers WHERE id = ?1")
        .and_then(|mut row| row.exists([id.as_bytes()]))
        .unwrap_or(true)
}

fn move_layer(store: &Store, id: &LayerId, gone: &Path) -> Result<bool> {
    moved(&store.index_file(id), &gone.join(format!("{}.index", id.hex())))?;
    moved(&store.layer_dir(id), &gone.join(id.hex()))
}

fn moved(from: &Path, to: &PathBuf) -> Result<bool> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).at("move away", from),
    }
}

impl Store {
    /// What is doomed, and since when the oldest of it is.
    fn waiting(&self) -> Result<(Amount, Option<i64>)> {
        let all = doomed(self)?;
        let mut waiting = Amount::default();
        all.layers.iter().for_each(|(_, size)| waiting.add(*size));
        for digest in all.blobs {
            if let Ok(meta) = std::fs::metadata(self.blobs().quarantined(&digest)) {
                waiting.add(meta.len());
            }
        }
        let oldest = self.query(|db| {
            db.query_row("SELECT min(since) FROM doom WHERE batch IN (SELECT batch FROM doomed)", [], |r| r.get(0))
        })?;
        Ok((waiting, oldest))
    }
}
