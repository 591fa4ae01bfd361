//! What the store knows of tiers: which segments were read, which layers are there, and what they have been told already.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, lock, now};
use crate::error::At;
use crate::steps::{is_newer, layer_of};
use crate::tier::segment::{Exact, Known, Layer, Run, Segment};
use crate::tier::{SegmentName, TierBlob};
use crate::{ContentHash, Digest, LayerBlob, LayerId, LayerIndex, Result, Stack, StepKey, StepResult};

pub(super) const SCHEMA: &str = "
CREATE TABLE tier_segments (tier TEXT NOT NULL, segment TEXT NOT NULL, PRIMARY KEY (tier, segment)) WITHOUT ROWID;
CREATE TABLE tier_layers (layer BLOB NOT NULL, tier TEXT NOT NULL, index_digest BLOB, index_size INTEGER, media TEXT, diff_id BLOB,
    digest BLOB, size INTEGER, day INTEGER NOT NULL, PRIMARY KEY (layer, tier)) WITHOUT ROWID;
CREATE TABLE tier_known (tier TEXT NOT NULL, key BLOB NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (tier, key)) WITHOUT ROWID;
CREATE TABLE tier_mounts (tier TEXT NOT NULL, key BLOB NOT NULL, time INTEGER NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (tier, key)) WITHOUT ROWID;
";

/// What a tier knows is told to it again after so many days, if it was used: so retention does not take away what is in use.
pub const RENEW: u32 = 7;

/// The names that a segment may bring: what they say is true wherever it is read.
const NAMES: [&str; 3] = ["digest", "unpacked", "place"];

/// A step of a build: what it was, what it stood on, what its result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedStep {
    /// The step.
    pub step: StepKey,
    /// The tree that it stood on.
    pub parent: Stack,
    /// Its result.
    pub result: StepResult,
}

/// Where a layer can be had from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlace {
    /// The tier.
    pub tier: String,
    /// Its index, packed.
    pub index: Option<TierBlob>,
    /// Its files, packed.
    pub files: Option<LayerBlob>,
    /// The day when the tier was told of it last.
    pub day: u32,
}

/// The contents of a cache mount in a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlace {
    /// The tier.
    pub tier: String,
    /// When they were packed.
    pub time: i64,
    /// The parts.
    pub parts: Vec<TierBlob>,
}

/// Today, in days since 1970.
pub fn today() -> u32 {
    u32::try_from(now() / 86_400).unwrap_or(0)
}

impl Store {
    /// From here on, layers that one of these tiers has count as layers that can be had.
    pub fn use_tiers(&self, tiers: impl IntoIterator<Item = String>) {
        *lock(&self.tiers) = tiers.into_iter().collect();
    }

    /// Whether a layer is here, or one of the tiers in use has it.
    ///
    /// # Errors
    /// The database or the disk fails.
    pub fn can_have_layer(&self, id: &LayerId) -> Result<bool> {
        Ok(self.has_layer(id)? || self.layer_places(id)?.iter().any(|place| place.files.is_some()))
    }

    /// Where a layer can be had from, among the tiers in use, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub fn layer_places(&self, id: &LayerId) -> Result<Vec<LayerPlace>> {
        let tiers = lock(&self.tiers).clone();
        if tiers.is_empty() {
            return Ok(Vec::new());
        }
        let mut places: Vec<LayerPlace> = self.query(|db| {
            db.prepare_cached(
                "SELECT tier, index_digest, index_size, media, diff_id, digest, size, day FROM tier_layers WHERE layer = ?1",
            )?
            .query_map([id.as_bytes()], place)?
            .collect()
        })?;
        let order = |place: &LayerPlace| tiers.iter().position(|tier| *tier == place.tier);
        places.retain(|place| order(place).is_some());
        places.sort_by_key(order);
        Ok(places)
    }

    /// The packed form of a layer in a media type that a tier has.
    ///
    /// # Errors
    /// The database fails.
    pub fn layer_elsewhere(&self, id: &LayerId, media_type: &str) -> Result<Option<LayerBlob>> {
        let places = self.layer_places(id)?.into_iter();
        Ok(places.filter_map(|place| place.files).find(|files| files.media_type == media_type))
    }

    /// The tiers in use that have a blob of a layer, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub fn blob_places(&self, digest: &Digest) -> Result<Vec<(String, TierBlob)>> {
        let tiers = lock(&self.tiers).clone();
        let mut found: Vec<(String, u64)> = self.query(|db| {
            db.prepare_cached("SELECT DISTINCT tier, size FROM tier_layers WHERE digest = ?1")?
                .query_map([digest.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
                .collect()
        })?;
        let order = |tier: &str| tiers.iter().position(|known| known == tier);
        found.retain(|(tier, _)| order(tier).is_some());
        found.sort_by_key(|(tier, _)| order(tier));
        Ok(found.into_iter().map(|(tier, size)| (tier, TierBlob { digest: *digest, size })).collect())
    }

    /// Notes where a layer can be had from.
    ///
    /// # Errors
    /// The database fails.
    pub fn note_layer(&self, id: &LayerId, place: &LayerPlace) -> Result<()> {
        self.transact(|db| insert_layer(db, id, place))
    }

    /// Forgets that a tier has a layer: it had it not, or had something else.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_place(&self, id: &LayerId, tier: &str) -> Result<()> {
        self.transact(|db| {
            db.execute("DELETE FROM tier_layers WHERE layer = ?1 AND tier = ?2", params![id.as_bytes(), tier])
        })?;
        Ok(())
    }

    /// Forgets all that is known of a tier. Results that were learnt from it stay, as far as their layers can be had.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_tier(&self, tier: &str) -> Result<()> {
        self.transact(|db| {
            for table in ["tier_segments", "tier_layers", "tier_known", "tier_mounts"] {
                db.execute(&format!("DELETE FROM {table} WHERE tier = ?1"), [tier])?;
            }
            Ok(())
        })
    }

    /// The segments of a tier that were read.
    ///
    /// # Errors
    /// The database fails.
    pub fn segments_of(&self, tier: &str) -> Result<HashSet<SegmentName>> {
        let names: Vec<String> = self.query(|db| {
            db.prepare_cached("SELECT segment FROM tier_segments WHERE tier = ?1")?
                .query_map([tier], |row| row.get(0))?
                .collect()
        })?;
        Ok(names.iter().filter_map(|name| SegmentName::parse(name)).collect())
    }

    /// Counts segments as read, for another one stands for them.
    ///
    /// # Errors
    /// The database fails.
    pub fn skip_segments<'a>(&self, tier: &str, names: impl IntoIterator<Item = &'a SegmentName>) -> Result<()> {
        self.transact(|db| {
            let mut insert = db.prepare_cached("INSERT OR IGNORE INTO tier_segments VALUES (?1, ?2)")?;
            names.into_iter().try_for_each(|name| {
                insert.execute(params![tier, name.to_string()])?;
                tell(db, tier, &replaced_key(name), today())
            })
        })
    }

    /// Whether another segment stands for this one.
    ///
    /// # Errors
    /// The database fails.
    pub fn is_replaced(&self, tier: &str, name: &SegmentName) -> Result<bool> {
        self.query(|db| {
            db.prepare_cached("SELECT 1 FROM tier_known WHERE tier = ?1 AND key = ?2")?
                .exists(params![tier, replaced_key(name).as_bytes()])
        })
    }

    /// Takes in what a segment says. Of two results for one input the newer one counts: somebody wanted it anew, or both are right. From a tier that is not
    /// `read`, only what it has is learnt, and no result and no name.
    ///
    /// # Errors
    /// The database fails.
    pub fn learn(&self, tier: &str, name: &SegmentName, segment: &Segment, read: bool) -> Result<()> {
        self.transact(|db| {
            db.execute("INSERT OR IGNORE INTO tier_segments VALUES (?1, ?2)", params![tier, name.to_string()])?;
            // Layers first: whether a result that is here is of any use depends on them.
            for layer in &segment.layers {
                let place = LayerPlace {
                    tier: tier.to_owned(),
                    index: Some(layer.index.into()),
                    files: layer.files.as_ref().map(LayerBlob::from),
                    day: layer.day,
                };
                insert_layer(db, &layer.id(), &place)?;
            }
            learn_runs(db, tier, segment, read)?;
            learn_exact(db, tier, segment, read)?;
            for Known { space, name, value, day } in &segment.names {
                if NAMES.contains(&space.as_str()) {
                    if read {
                        db.prepare_cached("INSERT OR IGNORE INTO names VALUES (?1, ?2, ?3)")?
                            .execute([space, name, value])?;
                    }
                    tell(db, tier, &name_key(space, name, value), *day)?;
                }
            }
            for mount in &segment.mounts {
                let parts: Vec<String> =
                    mount.parts.iter().map(|(d, size)| format!("{} {size}", Digest::from_bytes(*d))).collect();
                db.prepare_cached(
                    "INSERT INTO tier_mounts VALUES (?1, ?2, ?3, ?4) ON CONFLICT (tier, key) DO UPDATE
                     SET time = excluded.time, parts = excluded.parts WHERE excluded.time > time",
                )?
                .execute(params![tier, mount.key, mount.time, parts.join("\n")])?;
            }
            Ok(())
        })
    }

    /// What a tier should be told of the steps of a build: the results and names that it does not know yet, or was told of long ago. The layers that it
    /// lacks come back beside it; the caller adds them.
    ///
    /// # Errors
    /// The database fails.
    pub fn to_tell(
        &self,
        tier: &str,
        steps: &[UsedStep],
        names: &[(String, String)],
    ) -> Result<(Segment, Vec<LayerId>)> {
        let day = today();
        let mut draft = Draft { segment: Segment::default(), results: HashMap::new(), sets: HashMap::new() };
        let (mut layers, mut seen) = (Vec::new(), HashSet::new());
        for UsedStep { step, parent, result } in steps {
            let text = serde_json::to_string(result)?;
            let tree = parent.id();
            if self.is_news(tier, &exact_key(step.as_bytes(), tree.as_bytes(), &text))? {
                let result = draft.result(&text);
                let (step, parent) = (*step.as_bytes(), *tree.as_bytes());
                draft.segment.exact.push(Exact { step, parent, result, day });
            }
            for run in self.runs_with(step, &text)? {
                if seen.insert(run.input) && self.is_news(tier, &run_key(&run.input, &text))? {
                    let (set, result) = (draft.set(run.set), draft.result(&text));
                    let (input, step) = (run.input, *step.as_bytes());
                    draft.segment.runs.push(Run { input, step, set, parent: run.parent, result, day });
                }
            }
            if let Some(layer) = result.layer
                && !layers.contains(&layer)
                && self.lacks(tier, &layer)?
            {
                layers.push(layer);
            }
        }
        for (space, name) in names {
            let Some(value) = self.name(space, name)? else { continue };
            if self.is_news(tier, &name_key(space, name, &value))? {
                draft.segment.names.push(Known { space: space.clone(), name: name.clone(), value, day });
            }
        }
        Ok((draft.segment, layers))
    }

    /// Whether a tier has no files of a layer, or was told of it long ago.
    ///
    /// # Errors
    /// The database fails.
    pub fn lacks(&self, tier: &str, layer: &LayerId) -> Result<bool> {
        let place = self.place_in(tier, layer)?;
        Ok(place.is_none_or(|place| place.files.is_none() || place.day + RENEW <= today()))
    }

    /// What is known of a layer in one tier.
    ///
    /// # Errors
    /// The database fails.
    pub fn place_in(&self, tier: &str, layer: &LayerId) -> Result<Option<LayerPlace>> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT tier, index_digest, index_size, media, diff_id, digest, size, day FROM tier_layers
                 WHERE layer = ?1 AND tier = ?2",
            )?
            .query_row(params![layer.as_bytes(), tier], place)
            .optional()
        })
    }

    /// Bytes of all layers and indices in a tier, by what its segments say.
    ///
    /// # Errors
    /// The database fails.
    pub fn tier_size(&self, tier: &str) -> Result<u64> {
        let size: i64 = self.query(|db| {
            db.query_row(
                "SELECT coalesce(sum(coalesce(index_size, 0) + coalesce(size, 0)), 0) FROM tier_layers WHERE tier = ?1",
                [tier],
                |row| row.get(0),
            )
        })?;
        Ok(size as u64)
    }

    /// The newest contents of a cache mount that a tier in use has.
    ///
    /// # Errors
    /// The database fails.
    pub fn mount_places(&self, key: &ContentHash) -> Result<Vec<MountPlace>> {
        let tiers = lock(&self.tiers).clone();
        let rows: Vec<(String, i64, String)> = self.query(|db| {
            db.prepare_cached("SELECT tier, time, parts FROM tier_mounts WHERE key = ?1 ORDER BY time DESC")?
                .query_map([key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let part = |line: &str| {
            let (digest, size) = line.split_once(' ')?;
            Some(TierBlob { digest: digest.parse().ok()?, size: size.parse().ok()? })
        };
        let rows = rows.into_iter().filter(|(tier, _, _)| tiers.contains(tier));
        Ok(rows
            .map(|(tier, time, parts)| MountPlace { tier, time, parts: parts.lines().filter_map(part).collect() })
            .collect())
    }

    /// Keeps the index of a layer that is not here, after it was checked against its name.
    ///
    /// # Errors
    /// [`Error::DamagedIndex`](crate::Error::DamagedIndex), or the disk fails.
    pub fn keep_index(&self, id: &LayerId, bytes: Vec<u8>) -> Result<()> {
        let index = LayerIndex::parse(bytes, *id)?;
        let path = self.index_file(id);
        // A layer that comes at the same time brings its own: both say the same but for times.
        if !path.exists() {
            let folder = self.temporary()?;
            let temporary = tempfile::NamedTempFile::new_in(folder.path()).at("write", &path)?;
            std::fs::write(temporary.path(), index.as_bytes()).at("write", &path)?;
            temporary.persist(&path).map_err(|e| e.error).at("write", &path)?;
        }
        lock(&self.indices).insert(*id, std::sync::Arc::new(index));
        Ok(())
    }

    fn is_news(&self, tier: &str, key: &ContentHash) -> Result<bool> {
        let day: Option<u32> = self.query(|db| {
            db.prepare_cached("SELECT day FROM tier_known WHERE tier = ?1 AND key = ?2")?
                .query_row(params![tier, key.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        Ok(day.is_none_or(|day| day + RENEW <= today()))
    }

    /// The newest runs of a step that left this.
    fn runs_with(&self, step: &StepKey, result: &str) -> Result<Vec<FoundRun>> {
        self.query(|db| {
            db.prepare_cached(
                "SELECT input, parent, body FROM runs JOIN path_sets ON id = path_set
                 WHERE step = ?1 AND result = ?2 ORDER BY seq DESC LIMIT 4",
            )?
            .query_map(params![step.as_bytes(), result], |row| {
                let parent: Vec<u8> = row.get(1)?;
                Ok(FoundRun { input: row.get(0)?, parent: parent.as_chunks().0.to_vec(), set: row.get(2)? })
            })?
            .collect()
        })
    }
}

struct FoundRun {
    input: [u8; 32],
    parent: Vec<[u8; 32]>,
    set: Vec<u8>,
}

/// A segment that grows, with the places of what is in it.
struct Draft {
    segment: Segment,
    results: HashMap<String, u32>,
    sets: HashMap<Vec<u8>, u32>,
}

impl Draft {
    fn result(&mut self, text: &str) -> u32 {
        let results = &mut self.segment.results;
        *self.results.entry(text.to_owned()).or_insert_with(|| {
            results.push(text.to_owned());
            (results.len() - 1) as u32
        })
    }

    fn set(&mut self, set: Vec<u8>) -> u32 {
        let sets = &mut self.segment.sets;
        *self.sets.entry(set.clone()).or_insert_with(|| {
            sets.push(set);
            (sets.len() - 1) as u32
        })
    }
}

/// With the result: what ran anew is news.
fn run_key(input: &[u8; 32], result: &str) -> ContentHash {
    ContentHash::of(&[b"run", &input[..], result.as_bytes()].concat())
}

fn exact_key(step: &[u8; 32], parent: &[u8; 32], result: &str) -> ContentHash {
    ContentHash::of(&[b"exact", &step[..], &parent[..], result.as_bytes()].concat())
}

fn replaced_key(name: &SegmentName) -> ContentHash {
    ContentHash::of(format!("replaced {name}").as_bytes())
}

fn name_key(space: &str, name: &str, value: &str) -> ContentHash {
    ContentHash::of(format!("name {space}\n{name}\n{value}").as_bytes())
}

fn tell(db: &Connection, tier: &str, key: &ContentHash, day: u32) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO tier_known VALUES (?1, ?2, ?3) ON CONFLICT (tier, key) DO UPDATE SET day = max(day, excluded.day)",
    )?
    .execute(params![tier, key.as_bytes(), day])
    .map(drop)
}

fn learn_runs(db: &Connection, tier: &str, segment: &Segment, read: bool) -> rusqlite::Result<()> {
    let mut seq: i64 = db.query_row("SELECT coalesce(max(seq), 0) FROM runs", [], |row| row.get(0))?;
    for run in &segment.runs {
        let (set, result) = (&segment.sets[run.set as usize], &segment.results[run.result as usize]);
        let parent = run.parent.concat();
        let set_id = crate::PathSetId::of(set);
        let row = params![run.input, run.step, set_id.as_bytes(), parent, result, seq + 1];
        // A set or a result that cannot be read is none, and nothing is to stand in their place.
        if crate::PathSet::decode(set.clone()).is_none() || serde_json::from_str::<StepResult>(result).is_err() {
            continue;
        }
        if read {
            db.prepare_cached("INSERT OR IGNORE INTO path_sets (id, body) VALUES (?1, ?2)")?
                .execute(params![set_id.as_bytes(), set])?;
        }
        let existing: Option<String> = db
            .prepare_cached("SELECT result FROM runs WHERE input = ?1")?
            .query_row([&run.input[..]], |row| row.get(0))
            .optional()?;
        if read && is_better(db, result, existing.as_deref())? {
            db.prepare_cached(
                "INSERT OR REPLACE INTO runs (input, step, path_set, parent, result, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(row)?;
            seq += 1;
        }
        tell(db, tier, &run_key(&run.input, result), run.day)?;
    }
    Ok(())
}

fn learn_exact(db: &Connection, tier: &str, segment: &Segment, read: bool) -> rusqlite::Result<()> {
    for exact in &segment.exact {
        let result = &segment.results[exact.result as usize];
        if serde_json::from_str::<StepResult>(result).is_err() {
            continue;
        }
        let existing: Option<String> = db
            .prepare_cached("SELECT result FROM exact WHERE step = ?1 AND parent = ?2")?
            .query_row(params![exact.step, exact.parent], |row| row.get(0))
            .optional()?;
        if read && is_better(db, result, existing.as_deref())? {
            db.prepare_cached("INSERT OR REPLACE INTO exact (step, parent, result) VALUES (?1, ?2, ?3)")?
                .execute(params![exact.step, exact.parent, result])?;
        }
        tell(db, tier, &exact_key(&exact.step, &exact.parent, result), exact.day)?;
    }
    Ok(())
}

/// Whether a result is to take the place of the one that is here.
fn is_better(db: &Connection, result: &str, existing: Option<&str>) -> rusqlite::Result<bool> {
    let Some(existing) = existing else { return Ok(true) };
    Ok(is_newer(result, existing) || !can_have(db, existing)?)
}

/// Whether the layer of a result is somewhere.
fn can_have(db: &Connection, result: &str) -> rusqlite::Result<bool> {
    let Some(layer) = layer_of(result) else { return Ok(true) };
    db.prepare_cached(
        "SELECT 1 FROM layers WHERE id = ?1 UNION ALL SELECT 1 FROM tier_layers WHERE layer = ?1 AND digest IS NOT NULL",
    )?
    .exists([layer.as_bytes()])
}

fn insert_layer(db: &Connection, id: &LayerId, place: &LayerPlace) -> rusqlite::Result<()> {
    let LayerPlace { tier, index, files, day } = place;
    // A record without files does not take away what one with files said.
    db.prepare_cached(
        "INSERT INTO tier_layers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (layer, tier) DO UPDATE SET
            index_digest = coalesce(excluded.index_digest, index_digest), index_size = coalesce(excluded.index_size, index_size),
            media = coalesce(excluded.media, media), diff_id = coalesce(excluded.diff_id, diff_id),
            digest = coalesce(excluded.digest, digest), size = coalesce(excluded.size, size), day = max(day, excluded.day)",
    )?
    .execute(params![
        id.as_bytes(),
        tier,
        index.map(|blob| *blob.digest.as_bytes()),
        index.map(|blob| blob.size as i64),
        files.as_ref().map(|files| files.media_type.clone()),
        files.as_ref().map(|files| *files.diff_id.as_bytes()),
        files.as_ref().map(|files| *files.digest.as_bytes()),
        files.as_ref().map(|files| files.size as i64),
        day
    ])
    .map(drop)
}

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<LayerPlace> {
    let index: Option<[u8; 32]> = row.get(1)?;
    let size = |place| Ok::<u64, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.unwrap_or(0) as u64);
    let index = match index {
        Some(digest) => Some(TierBlob { digest: Digest::from_bytes(digest), size: size(2)? }),
        None => None,
    };
    let files = match (row.get::<_, Option<String>>(3)?, row.get::<_, Option<[u8; 32]>>(4)?, row.get(5)?) {
        (Some(media_type), Some(diff_id), Some(digest)) => Some(LayerBlob {
            media_type,
            diff_id: Digest::from_bytes(diff_id),
            digest: Digest::from_bytes(digest),
            size: size(6)?,
        }),
        _ => None,
    };
    Ok(LayerPlace { tier: row.get(0)?, index, files, day: row.get(7)? })
}

/// A record of where a layer is, for a segment.
impl Layer {
    /// Of a layer and the blobs that a tier now has of it.
    pub fn of(id: &LayerId, index: TierBlob, files: Option<&LayerBlob>) -> Self {
        Self { id: *id.as_bytes(), index: index.into(), files: files.map(Into::into), day: today() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Observation, PathSet, Tree, TreePath};

    fn store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        (home, store)
    }

    fn layer(store: &Store, parent: &Tree, name: &str, text: &str) -> LayerId {
        let pending = store.begin_layer(parent).unwrap();
        std::fs::write(pending.upper().join(name), text).unwrap();
        store.commit_layer(pending, parent).unwrap().unwrap()
    }

    /// A step that read `in` of a tree, told to a tier; and the layer that it made.
    fn told() -> (tempfile::TempDir, Store, UsedStep, Segment) {
        let (home, store) = store();
        let base = store.tree([&layer(&store, &Tree::default(), "in", "1")]).unwrap();
        let made = layer(&store, &base, "out", "made");
        let set = PathSet::new([Observation { path: TreePath::new("in").unwrap(), asked: Asked::Content }]);
        let step = StepKey::of(b"step");
        let result = StepResult { layer: Some(made), created: 5, millis: 2, ..StepResult::default() };
        store.record(&step, &base, &set, &result).unwrap();
        store.set_name("digest", "n", "v").unwrap();
        let used = UsedStep { step, parent: base.stack(), result };
        let (mut segment, layers) =
            store.to_tell("there", std::slice::from_ref(&used), &[("digest".into(), "n".into())]).unwrap();
        assert_eq!(layers, [made]);
        let digest = Digest::of(b"files");
        let files = LayerBlob { media_type: "m".into(), diff_id: Digest::of(b"tar"), digest, size: 3 };
        let index = TierBlob { digest: Digest::of(b"index"), size: 4 };
        segment.layers.push(Layer::of(&made, index, Some(&files)));
        (home, store, used, segment)
    }

    fn name() -> SegmentName {
        SegmentName { time: 1, digest: Digest::of(b"s") }
    }

    #[test]
    fn what_one_store_told_another_one_finds_without_having_the_layer() {
        let (_home, _, used, segment) = told();
        let (_other, store) = store();
        let read = Segment::decode(&segment.encode().unwrap()).unwrap();
        store.learn("there", &name(), &read, true).unwrap();
        // A tier that is not in use has nothing.
        assert_eq!(store.lookup_exact(&used.step, &used.parent).unwrap(), None);
        store.use_tiers(["there".to_owned()]);
        let found = store.lookup_exact(&used.step, &used.parent).unwrap().unwrap();
        assert_eq!((found.result, found.same_parent), (used.result.clone(), true));
        assert!(!store.has_layer(&used.result.layer.unwrap()).unwrap());
        assert_eq!(store.name("digest", "n").unwrap().as_deref(), Some("v"));
        assert_eq!(store.segments_of("there").unwrap(), HashSet::from([name()]));
        // The layer turned out not to be there: then it is no result.
        store.forget_place(&used.result.layer.unwrap(), "there").unwrap();
        assert_eq!(store.lookup_exact(&used.step, &used.parent).unwrap(), None);
        store.forget_tier("there").unwrap();
        assert_eq!(store.segments_of("there").unwrap(), HashSet::new());
    }

    #[test]
    fn another_tree_that_looks_the_same_to_the_step_finds_it_too() {
        let (_home, _, used, segment) = told();
        let (_other, store) = store();
        store.learn("there", &name(), &segment, true).unwrap();
        store.use_tiers(["there".to_owned()]);
        let tree = |text: &str| {
            let base = store.tree([&layer(&store, &Tree::default(), "in", text)]).unwrap();
            base.with(store.index(&layer(&store, &base, "other", "x")).unwrap()).stack()
        };
        let found = store.lookup(&used.step, &tree("1")).unwrap().unwrap();
        assert_eq!((found.result, found.same_parent), (used.result, false));
        assert_eq!(store.lookup(&used.step, &tree("2")).unwrap(), None);
    }

    #[test]
    fn a_tier_is_told_once() {
        let (_home, store, used, segment) = told();
        store.learn("there", &name(), &segment, true).unwrap();
        let (again, layers) =
            store.to_tell("there", std::slice::from_ref(&used), &[("digest".into(), "n".into())]).unwrap();
        assert!(again.is_empty() && layers.is_empty(), "{again:?} {layers:?}");
        let (other, layers) = store.to_tell("elsewhere", &[used], &[]).unwrap();
        assert_eq!((other.runs.len(), other.exact.len(), layers.len()), (1, 1, 1));
    }

    #[test]
    fn what_is_used_is_told_again_after_a_while() {
        let (_home, store, used, mut segment) = told();
        let long_ago = today() - RENEW;
        segment.runs.iter_mut().for_each(|run| run.day = long_ago);
        segment.exact.iter_mut().for_each(|exact| exact.day = long_ago);
        segment.layers.iter_mut().for_each(|layer| layer.day = long_ago);
        store.learn("there", &name(), &segment, true).unwrap();
        let (again, layers) = store.to_tell("there", &[used], &[]).unwrap();
        assert_eq!((again.runs.len(), again.exact.len(), layers.len()), (1, 1, 1));
        assert_eq!(again.runs[0].day, today());
    }

    #[test]
    fn a_result_that_is_here_stays_unless_a_newer_one_comes_or_its_layer_is_nowhere() {
        let (_home, store, used, mut segment) = told();
        let other = serde_json::to_string(&StepResult { created: 3, ..used.result.clone() }).unwrap();
        segment.results = vec![other];
        store.learn("there", &name(), &segment, true).unwrap();
        assert_eq!(store.lookup(&used.step, &used.parent).unwrap().unwrap().result.created, 5);
        // Gone here, and the tier has another one.
        let layer = used.result.layer.unwrap();
        store.transact(|db| db.execute("DELETE FROM layers WHERE id = ?1", [layer.as_bytes()])).unwrap();
        store.forget_tier("there").unwrap();
        store.use_tiers(["there".to_owned()]);
        lock(&store.present).clear();
        segment.runs.clear();
        segment.exact.iter_mut().for_each(|exact| exact.result = 0);
        store.learn("there", &name(), &segment, true).unwrap();
        assert!(store.lookup(&used.step, &used.parent).unwrap().is_some());
    }

    #[test]
    fn what_ran_anew_is_told_and_takes_the_place_of_what_was_there() {
        let (_home, here, used, segment) = told();
        here.learn("there", &name(), &segment, true).unwrap();
        // As after `--refresh network`.
        let tree = here.tree(used.parent.layers()).unwrap();
        let set = here.path_sets(&used.step).unwrap().remove(0);
        let fresh = StepResult { created: 50, ..used.result.clone() };
        let result = here.replace(&used.step, &tree, &set, &fresh).unwrap();
        let (news, _) = here.to_tell("there", &[UsedStep { result: result.clone(), ..used.clone() }], &[]).unwrap();
        assert_eq!((news.runs.len(), news.exact.len()), (1, 1));
        // Another store has the old one, and hears of both.
        let (_other, store) = store();
        store.use_tiers(["there".to_owned()]);
        store.learn("there", &name(), &segment, true).unwrap();
        store.learn("there", &SegmentName { time: 2, digest: Digest::of(b"t") }, &news, true).unwrap();
        assert_eq!(store.lookup_exact(&used.step, &used.parent).unwrap().unwrap().result, result);
        // In whatever order, also once they are one.
        store.learn("there", &name(), &segment, true).unwrap();
        assert_eq!(store.lookup_exact(&used.step, &used.parent).unwrap().unwrap().result.created, 50);
        let both = vec![(name(), news), (SegmentName { time: 2, digest: Digest::of(b"t") }, segment)];
        let merged = crate::tier::merge::merge(both, crate::tier::merge::Retention { since: 0, most: None });
        assert_eq!((merged.runs.len(), merged.exact.len(), merged.results.len()), (1, 1, 1));
        assert!(merged.results[0].contains("50"), "{:?}", merged.results);
    }

    #[test]
    fn from_a_tier_that_is_only_written_to_no_result_and_no_name_is_taken() {
        let (_home, _, used, segment) = told();
        let (_other, store) = store();
        store.use_tiers(["there".to_owned()]);
        store.learn("there", &name(), &segment, false).unwrap();
        assert_eq!(store.lookup_exact(&used.step, &used.parent).unwrap(), None);
        assert_eq!(store.runs(&used.step).unwrap(), []);
        assert_eq!(store.name("digest", "n").unwrap(), None);
        // And it is not told again what it has.
        assert!(!store.lacks("there", &used.result.layer.unwrap()).unwrap());
    }

    #[test]
    fn names_of_other_spaces_do_not_come_in() {
        let (_home, store) = store();
        let known = |space: &str| Known { space: space.into(), name: "n".into(), value: "v".into(), day: 1 };
        let segment = Segment { names: vec![known("tag"), known("unpacked")], ..Segment::default() };
        store.learn("there", &name(), &segment, true).unwrap();
        assert_eq!(store.name("tag", "n").unwrap(), None);
        assert_eq!(store.name("unpacked", "n").unwrap().as_deref(), Some("v"));
    }
}
