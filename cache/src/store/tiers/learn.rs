//! Taking in what a segment says, and remembering what a tier was told.

use rusqlite::{Connection, OptionalExtension, params};

use crate::steps::{is_newer, layers_of};
use crate::tier::SegmentName;
use crate::tier::segment::Segment;
use crate::{ContentHash, StepResult};

/// With the result: what ran anew is news.
pub(super) fn run_key(input: &[u8; 32], result: &str) -> ContentHash {
    ContentHash::of(&[b"run", &input[..], result.as_bytes()].concat())
}

pub(super) fn exact_key(step: &[u8; 32], parent: &[u8; 32], result: &str) -> ContentHash {
    ContentHash::of(&[b"exact", &step[..], &parent[..], result.as_bytes()].concat())
}

pub(super) fn replaced_key(name: &SegmentName) -> ContentHash {
    ContentHash::of(format!("replaced {name}").as_bytes())
}

pub(super) fn name_key(space: &str, name: &str, value: &str) -> ContentHash {
    ContentHash::of(format!("name {space}\n{name}\n{value}").as_bytes())
}

pub(super) fn tell(db: &Connection, tier: &str, key: &ContentHash, day: u32) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO tier_known VALUES (?1, ?2, ?3) ON CONFLICT (tier, key) DO UPDATE SET day = max(day, excluded.day)",
    )?
    .execute(params![tier, key.as_bytes(), day])
    .map(drop)
}

pub(super) fn tell_advice(db: &Connection, key: &str, told: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO names VALUES (?1, ?2, ?3)")?.execute([super::ADVICE, key, told]).map(drop)
}

pub(super) fn learn_runs(db: &Connection, tier: &str, segment: &Segment, read: bool) -> rusqlite::Result<()> {
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

pub(super) fn learn_exact(db: &Connection, tier: &str, segment: &Segment, read: bool) -> rusqlite::Result<()> {
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

/// Whether each layer of a result is somewhere.
fn can_have(db: &Connection, result: &str) -> rusqlite::Result<bool> {
    let mut found = db.prepare_cached(
        "SELECT 1 FROM layers WHERE id = ?1 UNION ALL SELECT 1 FROM tier_layers
         WHERE layer = ?1 AND (digest IS NOT NULL OR complete IS NOT NULL)",
    )?;
    for layer in layers_of(result) {
        if !found.exists([layer.as_bytes()])? {
            return Ok(false);
        }
    }
    Ok(true)
}
