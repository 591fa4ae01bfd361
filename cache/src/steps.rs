//! The step cache: which layers a step made, for which inputs.
//!
//! Two phases, as in BuildXL (`Documentation/Specs/Two-Phase-Cache-Lookup.md`). A step key finds the path sets that runs of
//! the step had; a path set and the tree at hand give an input key; an input key finds a run and its result. The pair of step and
//! parent tree finds the result at once when nothing changed at all.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::{InputKey, LayerId, Observation, PathSet, Result, Stack, StepKey, Store, Tree, TreeId};

/// How many path sets of a step are tried, newest first.
const MAX_SETS: i64 = 16;

/// From how many path sets on a further one takes in what most of them have (BuildXL: `/pathSetThreshold`, 5 there).
const WIDEN_FROM: usize = 8;

/// Most: this share of them, in per cent (BuildXL: `/augmentingPathSetCommonalityFactor`).
const COMMON: usize = 40;

/// What a run of a step left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepResult {
    /// The layers, bottom first; none when the step changed nothing. Only a `COPY` of a big tree makes several.
    pub layers: Vec<LayerId>,
    /// When it ran, seconds since 1970. Part of the image's history, so that all who share the result have it too.
    pub created: i64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Whether it spoke to the network: what it made depends on more than its inputs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// Why its whole parent is its input, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untraced: Option<String>,
}

/// A result that can be reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The result.
    pub result: StepResult,
    /// Whether the parent is the very same tree; if not, everything the step looked at is the same in another tree.
    pub same_parent: bool,
    /// What the step looked at, where that had to be compared.
    pub set: Option<PathSet>,
}

/// An earlier run of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// What it looked at.
    pub set: PathSet,
    /// The tree that it ran on.
    pub parent: Stack,
    /// What it left.
    pub result: StepResult,
}

impl Store {
    /// Finds a result for a step on a tree. One look-up when nothing changed.
    ///
    /// # Errors
    /// The database fails.
    pub fn lookup(&self, step: &StepKey, stack: &Stack) -> Result<Option<Lookup>> {
        if let Some(found) = self.lookup_exact(step, stack)? {
            return Ok(Some(found));
        }
        let found = self.compare(step, stack)?;
        if let Some(found) = &found {
            self.remember_exact(step, stack.id(), &found.result)?;
        }
        Ok(found)
    }

    /// The first half of [`Store::lookup`]: a result on the very same tree. No index is looked at.
    ///
    /// # Errors
    /// The database fails.
    pub fn lookup_exact(&self, step: &StepKey, stack: &Stack) -> Result<Option<Lookup>> {
        let parent = stack.id();
        let exact: Option<String> = self.query(|db| {
            db.prepare_cached("SELECT result FROM exact WHERE step = ?1 AND parent = ?2")?
                .query_row(params![step.as_bytes(), parent.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        Ok(self.usable(exact)?.map(|result| Lookup { result, same_parent: true, set: None }))
    }

    /// Whether a step ever ran with a path set that can be compared: if not, no tree but the same one finds a result.
    ///
    /// # Errors
    /// The database fails.
    pub fn can_compare(&self, step: &StepKey) -> Result<bool> {
        Ok(self.path_sets(step)?.iter().any(|set| !set.is_whole_parent()))
    }

    /// As [`Store::lookup`], by what the step looked at alone, and without remembering anything. A set of the whole parent can only be
    /// found by the exact pair.
    ///
    /// # Errors
    /// The database fails.
    pub fn compare(&self, step: &StepKey, stack: &Stack) -> Result<Option<Lookup>> {
        let mut newest = self.newest_of_sets(step)?;
        newest.retain(|run| !run.set.is_whole_parent());
        if newest.is_empty() {
            return Ok(None);
        }
        let tree = self.tree(stack.layers())?;
        // The last run with a set is mostly the one, and its tree and ours share most layers.
        for run in &newest {
            // The layers that it ran on may be gone.
            let Ok(parent) = self.tree(run.parent.layers()) else { continue };
            if run.set.is_same(&parent, &tree)
                && let Some(result) = self.whole(run.result.clone())?
            {
                return Ok(Some(Lookup { result, same_parent: false, set: Some(run.set.clone()) }));
            }
        }
        for StepRun { set, .. } in newest {
            let found = self.result_of(&set.input_key(step, &tree))?;
            if let Some(result) = self.usable(found)? {
                return Ok(Some(Lookup { result, same_parent: false, set: Some(set) }));
            }
        }
        Ok(None)
    }

    fn result_of(&self, input: &InputKey) -> Result<Option<String>> {
        self.query(|db| {
            db.prepare_cached("SELECT result FROM runs WHERE input = ?1")?
                .query_row([input.as_bytes()], |row| row.get(0))
                .optional()
        })
    }

    /// Stores what a step made. If another process stored a result for the same inputs first, that one is returned: both go
    /// on with the same layer. A run that made what an earlier one had made takes that one's time over, so that images that hold
    /// the same are the same.
    ///
    /// # Errors
    /// The database fails.
    pub fn record(&self, step: &StepKey, tree: &Tree, set: &PathSet, result: &StepResult) -> Result<StepResult> {
        let twin =
            self.runs(step)?.into_iter().find(|run| run.result.layers == result.layers && !result.layers.is_empty());
        let created = twin.map_or(result.created, |twin| twin.result.created);
        self.keep(step, tree, set, &StepResult { created, ..result.clone() })
    }

    fn keep(&self, step: &StepKey, tree: &Tree, set: &PathSet, result: &StepResult) -> Result<StepResult> {
        let set = &self.widened(step, set)?;
        let input = set.input_key(step, tree);
        let (body, set_id, parent) = (serde_json::to_string(result)?, set.id(), names(&tree.stack()));
        let stored: String = self.transact(|db| {
            db.execute(
                "INSERT OR IGNORE INTO path_sets (id, body) VALUES (?1, ?2)",
                params![set_id.as_bytes(), set.as_bytes()],
            )?;
            db.execute(
                "INSERT INTO runs (input, step, path_set, parent, result, seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, (SELECT coalesce(max(seq), 0) + 1 FROM runs))
                 ON CONFLICT (input) DO UPDATE SET seq = excluded.seq",
                params![input.as_bytes(), step.as_bytes(), set_id.as_bytes(), parent, body],
            )?;
            db.query_row("SELECT result FROM runs WHERE input = ?1", [input.as_bytes()], |row| row.get(0))
        })?;
        let winner = match self.usable(Some(stored))? {
            Some(winner) => winner,
            // A layer of the stored winner is gone or damaged: ours takes its place.
            None => {
                self.transact(|db| {
                    db.execute(
                        "UPDATE runs SET result = ?2, parent = ?3 WHERE input = ?1",
                        params![input.as_bytes(), body, parent],
                    )
                })?;
                result.clone()
            }
        };
        self.remember_exact(step, tree.id(), &winner)?;
        Ok(winner)
    }

    /// Replaces what is stored for a step on this tree, after a run that was asked for (`--no-cache`, `--refresh`). It has its own time,
    /// also where another run made the same: what was refreshed is not old.
    ///
    /// # Errors
    /// The database fails.
    pub fn replace(&self, step: &StepKey, tree: &Tree, set: &PathSet, result: &StepResult) -> Result<StepResult> {
        self.forget(step, tree)?;
        self.keep(step, tree, set, result)
    }

    /// Drops every result that a look-up of this step on this tree would find.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget(&self, step: &StepKey, tree: &Tree) -> Result<()> {
        // All of them: one that is too old to be tried may be tried again when newer ones are gone.
        let sets = self.sets_up_to(step, -1)?;
        let inputs: Vec<_> = sets.iter().map(|set| set.input_key(step, tree)).collect();
        self.transact(|db| {
            let mut gone = db.prepare("DELETE FROM runs WHERE input = ?1")?;
            inputs.iter().try_for_each(|input| gone.execute([input.as_bytes()]).map(drop))?;
            // Another parent may have led to one of them.
            db.execute("DELETE FROM exact WHERE step = ?1", [step.as_bytes()])
        })?;
        Ok(())
    }

    /// The path sets of a step, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn path_sets(&self, step: &StepKey) -> Result<Vec<PathSet>> {
        self.sets_up_to(step, MAX_SETS)
    }

    /// So many path sets, newest first; all when that is negative.
    fn sets_up_to(&self, step: &StepKey, most: i64) -> Result<Vec<PathSet>> {
        let bodies: Vec<Vec<u8>> = self.query(|db| {
            db.prepare_cached(
                "SELECT body FROM (SELECT path_set, max(seq) AS newest FROM runs WHERE step = ?1 GROUP BY path_set)
                 JOIN path_sets ON id = path_set ORDER BY newest DESC LIMIT ?2",
            )?
            .query_map(params![step.as_bytes(), most], |row| row.get(0))?
            .collect()
        })?;
        Ok(bodies.into_iter().filter_map(PathSet::decode).collect())
    }

    /// The newest runs of a step, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn runs(&self, step: &StepKey) -> Result<Vec<StepRun>> {
        self.runs_by(
            step,
            "SELECT body, parent, result FROM runs JOIN path_sets ON id = path_set WHERE step = ?1 ORDER BY seq DESC LIMIT ?2",
        )
    }

    /// The newest run with each of a step's path sets, newest first.
    fn newest_of_sets(&self, step: &StepKey) -> Result<Vec<StepRun>> {
        // Beside max(), SQLite takes the other columns from the row that has it (https://www.sqlite.org/lang_select.html#bareagg).
        self.runs_by(
            step,
            "SELECT body, parent, result FROM
             (SELECT path_set, parent, result, max(seq) AS newest FROM runs WHERE step = ?1 GROUP BY path_set)
             JOIN path_sets ON id = path_set ORDER BY newest DESC LIMIT ?2",
        )
    }

    fn runs_by(&self, step: &StepKey, query: &str) -> Result<Vec<StepRun>> {
        let rows: Vec<(Vec<u8>, Vec<u8>, String)> = self.query(|db| {
            db.prepare_cached(query)?
                .query_map(params![step.as_bytes(), MAX_SETS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let mut runs = Vec::new();
        for (set, parent, result) in rows {
            // A record that cannot be read is no record.
            let (Some(set), Ok(result)) = (PathSet::decode(set), serde_json::from_str(&result)) else { continue };
            runs.push(StepRun { set, parent: stack(&parent), result });
        }
        Ok(runs)
    }

    /// A set for a further run of a step that had many: with what most of them have. A set may ask for more than the run did, and the
    /// wider it is the more runs share it, and the further back a look-up of sixteen sets reaches.
    fn widened(&self, step: &StepKey, set: &PathSet) -> Result<PathSet> {
        if set.is_whole_parent() {
            return Ok(set.clone());
        }
        let known: Vec<PathSet> = self.path_sets(step)?.into_iter().filter(|s| !s.is_whole_parent()).collect();
        if known.len() < WIDEN_FROM || known.contains(set) {
            return Ok(set.clone());
        }
        let mut times: HashMap<Observation, usize> = HashMap::new();
        for observation in known.iter().flat_map(PathSet::observations) {
            *times.entry(observation).or_default() += 1;
        }
        let common = times.into_iter().filter(|(_, n)| n * 100 >= known.len() * COMMON).map(|(o, _)| o);
        Ok(PathSet::new(set.observations().into_iter().chain(common)))
    }

    /// A stored result whose layers can be had. A result of which one is gone is no result.
    fn usable(&self, stored: Option<String>) -> Result<Option<StepResult>> {
        // A record that cannot be read is no result: the step runs.
        match stored.and_then(|stored| serde_json::from_str(&stored).ok()) {
            Some(result) => self.whole(result),
            None => Ok(None),
        }
    }

    fn whole(&self, result: StepResult) -> Result<Option<StepResult>> {
        for layer in &result.layers {
            if !self.can_have_layer(layer)? {
                return Ok(None);
            }
        }
        Ok(Some(result))
    }

    fn remember_exact(&self, step: &StepKey, parent: TreeId, result: &StepResult) -> Result<()> {
        let body = serde_json::to_string(result)?;
        self.transact(|db| {
            db.execute(
                "INSERT OR REPLACE INTO exact (step, parent, result) VALUES (?1, ?2, ?3)",
                params![step.as_bytes(), parent.as_bytes(), body],
            )
        })?;
        Ok(())
    }
}

/// The layers that a stored result names, bottom first.
pub(crate) fn layers_of(result: &str) -> Vec<LayerId> {
    serde_json::from_str::<StepResult>(result).map_or_else(|_| Vec::new(), |result| result.layers)
}

/// Whether a stored result is newer than another; of two that are as old, one and the same on every machine.
pub(crate) fn is_newer(result: &str, than: &str) -> bool {
    let age = |text: &str| serde_json::from_str::<StepResult>(text).map_or(i64::MIN, |result| result.created);
    (age(result), result) > (age(than), than)
}

/// The names of a stack's layers, one behind the other.
fn names(stack: &Stack) -> Vec<u8> {
    stack.layers().iter().flat_map(|layer| *layer.as_bytes()).collect()
}

fn stack(names: &[u8]) -> Stack {
    names.as_chunks().0.iter().map(|name| LayerId::from_bytes(*name)).collect()
}
