//! What the store knows of tiers: which segments were read, which layers are there, and what they have been told already.

mod learn;
mod mounts;
mod packs;

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use learn::{exact_key, learn_exact, learn_runs, name_key, replaced_key, run_key, tell, tell_advice};

use super::{Store, lock, now};
use crate::error::At;
use crate::tier::segment::{Exact, Known, Layer, Run, Segment};
use crate::tier::table::Pack;
use crate::tier::{SegmentName, TierBlob};
use crate::{ContentHash, Digest, LayerBlob, LayerId, LayerIndex, Result, Stack, StepKey, StepResult};

pub(super) fn schema() -> String {
    [TABLES, packs::SCHEMA].concat()
}

/// From version 4: nobody asked where single contents are.
pub(super) fn from_version_4() -> String {
    ["ALTER TABLE tier_layers ADD COLUMN complete INTEGER;", packs::SCHEMA].concat()
}

const TABLES: &str = "
CREATE TABLE tier_segments (tier TEXT NOT NULL, segment TEXT NOT NULL, PRIMARY KEY (tier, segment)) WITHOUT ROWID;
CREATE TABLE tier_layers (layer BLOB NOT NULL, tier TEXT NOT NULL, index_digest BLOB, index_size INTEGER, media TEXT, diff_id BLOB,
    digest BLOB, size INTEGER, day INTEGER NOT NULL, complete INTEGER, PRIMARY KEY (layer, tier)) WITHOUT ROWID;
CREATE TABLE tier_known (tier TEXT NOT NULL, key BLOB NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (tier, key)) WITHOUT ROWID;
CREATE TABLE tier_mounts (tier TEXT NOT NULL, key BLOB NOT NULL, time INTEGER NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (tier, key)) WITHOUT ROWID;
";

/// What a tier knows is told to it again after so many days, if it was used: so retention does not take away what is in use.
pub const RENEW: u32 = 7;

/// The names that a segment may bring: what they say is true wherever it is read.
const NAMES: [&str; 5] = ["digest", "unpacked", "place", MOUNT_PARTS, GUESSES];

/// Whether names of a space are good advice and no more, so that of two the newer one counts.
fn is_advice(space: &str) -> bool {
    matches!(space, MOUNT_PARTS | GUESSES)
}

/// The space of names for the advice that a tier gives now, with the day.
const ADVICE: &str = "advice";

fn advice_key(tier: &str, space: &str, name: &str) -> String {
    format!("{tier} {space} {name}")
}

/// Names that say which parts of a cache mount a step used the last time.
pub const MOUNT_PARTS: &str = "mount-parts";

/// The space of names for guesses of what steps make, by step and what was guessed for it: whether the last one was right.
pub const GUESSES: &str = "guess";

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
    /// The packs that have contents of its files.
    pub contents: Vec<Pack>,
    /// Where these have all of them: the bytes that must come to put it together.
    pub complete: Option<u64>,
    /// The day when the tier was told of it last.
    pub day: u32,
}

impl LayerPlace {
    /// Whether all of the layer can be had there.
    pub fn can_be_had(&self) -> bool {
        self.files.is_some() || self.complete.is_some()
    }
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
        Ok(self.has_layer(id)? || self.layer_places(id)?.iter().any(LayerPlace::can_be_had))
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
            let mut places: Vec<LayerPlace> = db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM tier_layers WHERE layer = ?1"))?
                .query_map([id.as_bytes()], place)?
                .collect::<rusqlite::Result<_>>()?;
            for place in &mut places {
                place.contents = packs::of(db, id, &place.tier)?;
            }
            Ok(places)
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

    /// The tiers in use that have a blob of a layer, a pack or a table, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub fn blob_places(&self, digest: &Digest) -> Result<Vec<(String, TierBlob)>> {
        let tiers = lock(&self.tiers).clone();
        let mut found: Vec<(String, u64)> = self.query(|db| {
            db.prepare_cached(
                "SELECT tier, size FROM tier_layers WHERE digest = ?1
                 UNION SELECT tier, pack_size FROM tier_contents WHERE pack = ?1
                 UNION SELECT tier, table_size FROM tier_contents WHERE table_digest = ?1",
            )?
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
            for table in ["tier_layers", "tier_contents"] {
                let gone = format!("DELETE FROM {table} WHERE layer = ?1 AND tier = ?2");
                db.execute(&gone, params![id.as_bytes(), tier])?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Forgets all that is known of a tier. Results that were learnt from it stay, as far as their layers can be had.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_tier(&self, tier: &str) -> Result<()> {
        self.transact(|db| {
            db.execute(
                "DELETE FROM names WHERE space = ?1 AND substr(name, 1, length(?2)) = ?2",
                [ADVICE, &format!("{tier} ")],
            )?;
            for table in ["tier_segments", "tier_layers", "tier_contents", "tier_known", "tier_mounts"] {
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
                    contents: layer.contents.iter().copied().map(Pack::from).collect(),
                    complete: layer.complete,
                    day: layer.day,
                };
                insert_layer(db, &layer.id(), &place)?;
            }
            learn_runs(db, tier, segment, read)?;
            learn_exact(db, tier, segment, read)?;
            for Known { space, name, value, day } in &segment.names {
                if NAMES.contains(&space.as_str()) {
                    if read {
                        let insert = match is_advice(space) {
                            true => "INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3)",
                            false => "INSERT OR IGNORE INTO names VALUES (?1, ?2, ?3)",
                        };
                        db.prepare_cached(insert)?.execute([space, name, value])?;
                    }
                    match is_advice(space) {
                        true => tell_advice(db, &advice_key(tier, space, name), &format!("{day} {value}"))?,
                        false => tell(db, tier, &name_key(space, name, value), *day)?,
                    }
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
            for layer in &result.layers {
                if !layers.contains(layer) && self.lacks(tier, layer)? {
                    layers.push(*layer);
                }
            }
        }
        for (space, name) in names {
            let Some(value) = self.name(space, name)? else { continue };
            let is_news = match is_advice(space) {
                true => self.is_new_advice(tier, space, name, &value)?,
                false => self.is_news(tier, &name_key(space, name, &value))?,
            };
            if is_news {
                draft.segment.names.push(Known { space: space.clone(), name: name.clone(), value, day });
            }
        }
        Ok((draft.segment, layers))
    }

    /// Whether a layer cannot be had from a tier, or it was told of it long ago.
    ///
    /// # Errors
    /// The database fails.
    pub fn lacks(&self, tier: &str, layer: &LayerId) -> Result<bool> {
        let place = self.place_in(tier, layer)?;
        Ok(place.is_none_or(|place| !place.can_be_had() || place.day + RENEW <= today()))
    }

    /// What is known of a layer in one tier.
    ///
    /// # Errors
    /// The database fails.
    pub fn place_in(&self, tier: &str, layer: &LayerId) -> Result<Option<LayerPlace>> {
        self.query(|db| {
            let mut found = db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM tier_layers WHERE layer = ?1 AND tier = ?2"))?
                .query_row(params![layer.as_bytes(), tier], place)
                .optional()?;
            if let Some(place) = &mut found {
                place.contents = packs::of(db, layer, tier)?;
            }
            Ok(found)
        })
    }

    /// Bytes of all layers, indices, packs and tables in a tier, by what its segments say.
    ///
    /// # Errors
    /// The database fails.
    pub fn tier_size(&self, tier: &str) -> Result<u64> {
        let size: i64 = self.query(|db| {
            db.query_row(
                "SELECT coalesce(sum(size), 0) FROM (
                    SELECT digest, size FROM tier_layers WHERE tier = ?1
                    UNION SELECT index_digest, index_size FROM tier_layers WHERE tier = ?1
                    UNION SELECT pack, pack_size FROM tier_contents WHERE tier = ?1
                    UNION SELECT table_digest, table_size FROM tier_contents WHERE tier = ?1)",
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
        let rows = rows.into_iter().filter(|(tier, _, _)| tiers.contains(tier));
        Ok(rows.map(|(tier, time, text)| MountPlace { tier, time, parts: parts(&text) }).collect())
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

    /// Whether a tier would say something else of a name, or was told long ago.
    fn is_new_advice(&self, tier: &str, space: &str, name: &str, value: &str) -> Result<bool> {
        let told = self.name(ADVICE, &advice_key(tier, space, name))?;
        let told = told.as_deref().and_then(|told| told.split_once(' '));
        Ok(!told.is_some_and(|(day, last)| last == value && day.parse().is_ok_and(|day: u32| day + RENEW > today())))
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

/// Blobs as a row has them, a line each.
fn parts(text: &str) -> Vec<TierBlob> {
    let part = |line: &str| {
        let (digest, size) = line.split_once(' ')?;
        Some(TierBlob { digest: digest.parse().ok()?, size: size.parse().ok()? })
    };
    text.lines().filter_map(part).collect()
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

fn insert_layer(db: &Connection, id: &LayerId, place: &LayerPlace) -> rusqlite::Result<()> {
    let LayerPlace { tier, index, files, contents, complete, day } = place;
    packs::insert(db, id, tier, contents)?;
    // A record without files does not take away what one with files said.
    db.prepare_cached(
        "INSERT INTO tier_layers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (layer, tier) DO UPDATE SET
            index_digest = coalesce(excluded.index_digest, index_digest), index_size = coalesce(excluded.index_size, index_size),
            media = coalesce(excluded.media, media), diff_id = coalesce(excluded.diff_id, diff_id),
            digest = coalesce(excluded.digest, digest), size = coalesce(excluded.size, size), day = max(day, excluded.day),
            complete = coalesce(excluded.complete, complete)",
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
        day,
        complete.map(|bytes| bytes as i64)
    ])
    .map(drop)
}

/// What [`place`] reads.
const COLUMNS: &str = "tier, index_digest, index_size, media, diff_id, digest, size, day, complete";

/// Without its packs, which are in a table of their own.
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
    let complete = row.get::<_, Option<i64>>(8)?.map(|bytes| bytes as u64);
    Ok(LayerPlace { tier: row.get(0)?, index, files, contents: Vec::new(), complete, day: row.get(7)? })
}

/// A record of where a layer is, for a segment.
impl Layer {
    /// Of a layer and the blobs that a tier now has of it.
    pub fn of(id: &LayerId, index: TierBlob, files: Option<&LayerBlob>) -> Self {
        let (contents, complete) = (Vec::new(), None);
        Self { id: *id.as_bytes(), index: index.into(), files: files.map(Into::into), contents, complete, day: today() }
    }

    /// With the packs that have contents of its files.
    #[must_use]
    pub fn with_contents(mut self, packs: &[Pack]) -> Self {
        self.contents = packs.iter().copied().map(Into::into).collect();
        self
    }
}

#[cfg(test)]
mod tests;
