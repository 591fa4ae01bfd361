//! The step cache: which layer a step made, for which inputs.
//!
//! Two phases, as in BuildXL (`Documentation/Specs/Two-Phase-Cache-Lookup.md`). A step key finds the path sets that runs of
//! the step had; a path set and the tree at hand give an input key; an input key finds a result. The pair of step and
//! parent tree finds the result at once when nothing changed at all.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::{InputKey, LayerId, PathSetId, Result, Stack, StepKey, Store, Tree, TreeId, TreePath};

/// How many path sets of a step are tried, newest first.
const MAX_SETS: i64 = 16;

/// How much of an entry's attributes is its kind, mode, owner and group.
const IDENTITY: usize = 13;

/// A path and what a step asked of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observation {
    /// Is it there, what is it, whose: kind, mode and owner.
    Exists(TreePath),
    /// All of it: kind, mode, owner, extended attributes, size and content.
    Content(TreePath),
    /// The names in it and what each is.
    Listing(TreePath),
}

/// All observations of one run of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSet {
    whole_parent: bool,
    observations: Vec<Observation>,
}

impl PathSet {
    /// The set of a step that was not watched: everything below it is its input, as in other builders.
    pub fn whole_parent() -> Self {
        Self { whole_parent: true, observations: Vec::new() }
    }

    /// The set of these observations.
    pub fn new(observations: impl IntoIterator<Item = Observation>) -> Self {
        let mut observations: Vec<_> = observations.into_iter().collect();
        observations.sort();
        observations.dedup();
        Self { whole_parent: false, observations }
    }

    /// Whether the whole parent is the input.
    pub fn is_whole_parent(&self) -> bool {
        self.whole_parent
    }

    /// The observations, sorted.
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// The set's name.
    pub fn id(&self) -> PathSetId {
        PathSetId::of(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.whole_parent)];
        for observation in &self.observations {
            let (tag, path) = match observation {
                Observation::Exists(path) => (b'e', path),
                Observation::Content(path) => (b'c', path),
                Observation::Listing(path) => (b'l', path),
            };
            out.push(tag);
            out.extend_from_slice(path.as_bytes());
            out.push(0);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&whole, mut rest) = bytes.split_first()?;
        let mut observations = Vec::new();
        while let Some((&tag, after)) = rest.split_first() {
            let end = after.iter().position(|&b| b == 0)?;
            let path = TreePath::from_clean(&after[..end]);
            observations.push(match tag {
                b'e' => Observation::Exists(path),
                b'c' => Observation::Content(path),
                b'l' => Observation::Listing(path),
                _ => return None,
            });
            rest = &after[end + 1..];
        }
        Some(Self { whole_parent: whole == 1, observations })
    }

    /// The strong fingerprint: the step, this set, and what the set's paths are in `tree`.
    pub fn input_key(&self, step: &StepKey, tree: &Tree) -> InputKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"shiplap.input/1");
        hasher.update(step.as_bytes());
        hasher.update(self.id().as_bytes());
        if self.whole_parent {
            hasher.update(tree.id().as_bytes());
        }
        for observation in &self.observations {
            observe(observation, tree, &mut hasher);
        }
        InputKey::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Adds the value of an observation. Each link on the way is part of it.
fn observe(observation: &Observation, tree: &Tree, hasher: &mut blake3::Hasher) {
    let (Observation::Exists(path) | Observation::Content(path) | Observation::Listing(path)) = observation;
    let resolved = tree.resolve(path, true);
    for link in &resolved.links {
        put(hasher, b'>', link.as_bytes());
        if let Some(found) = tree.find(link) {
            put(hasher, b'=', tree.attributes(found));
        }
    }
    put(hasher, b'@', resolved.path.as_bytes());
    let found = resolved.found;
    match observation {
        _ if found.is_none() && !resolved.path.is_root() => put(hasher, b'-', b""),
        Observation::Exists(_) => {
            put(hasher, b'e', &found.map_or_else(Vec::new, |f| seen(tree, f)[..IDENTITY].to_vec()));
        }
        Observation::Content(_) => put(hasher, b'c', &found.map_or_else(Vec::new, |f| seen(tree, f))),
        Observation::Listing(_) => {
            for (name, found) in tree.list(&resolved.path) {
                put(hasher, b'n', &name);
                put(hasher, b'k', &seen(tree, found)[..1]);
            }
        }
    }
}

/// The attributes of something in the tree. Whether a directory is opaque is the layer's affair, not the tree's.
fn seen(tree: &Tree, found: crate::Found) -> Vec<u8> {
    let mut bytes = tree.attributes(found).to_vec();
    if bytes[0] == b'o' {
        bytes[0] = b'd';
    }
    bytes
}

fn put(hasher: &mut blake3::Hasher, tag: u8, bytes: &[u8]) {
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// What a run of a step left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The layer; none when the step changed nothing.
    pub layer: Option<LayerId>,
    /// When it ran, seconds since 1970. Part of the image's history, so that all who share the result have it too.
    pub created: i64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// A result that can be reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The result.
    pub result: StepResult,
    /// Whether the parent is the very same tree; if not, everything the step looked at is the same in another tree.
    pub same_parent: bool,
}

impl Store {
    /// Finds a result for a step on a tree. One look-up when nothing changed.
    ///
    /// # Errors
    /// The database fails.
    pub fn lookup(&self, step: &StepKey, stack: &Stack) -> Result<Option<Lookup>> {
        let parent = stack.id();
        let exact: Option<String> = self.query(|db| {
            db.prepare_cached("SELECT result FROM exact WHERE step = ?1 AND parent = ?2")?
                .query_row(params![step.as_bytes(), parent.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        if let Some(result) = self.usable(exact)? {
            return Ok(Some(Lookup { result, same_parent: true }));
        }
        // A set of the whole parent can only be found by the exact pair.
        let sets: Vec<PathSet> = self.path_sets(step)?.into_iter().filter(|set| !set.whole_parent).collect();
        if sets.is_empty() {
            return Ok(None);
        }
        let tree = &self.tree(stack.layers())?;
        for set in sets {
            let input = set.input_key(step, tree);
            let found: Option<String> = self.query(|db| {
                db.prepare_cached("SELECT result FROM results WHERE input = ?1")?
                    .query_row([input.as_bytes()], |row| row.get(0))
                    .optional()
            })?;
            if let Some(result) = self.usable(found)? {
                self.remember_exact(step, parent, &result)?;
                return Ok(Some(Lookup { result, same_parent: false }));
            }
        }
        Ok(None)
    }

    /// Stores what a step made. If another process stored a result for the same inputs first, that one is returned: both go
    /// on with the same layer.
    ///
    /// # Errors
    /// The database fails.
    pub fn record(&self, step: &StepKey, tree: &Tree, set: &PathSet, result: &StepResult) -> Result<StepResult> {
        let input = set.input_key(step, tree);
        let (body, set_body, set_id) = (serde_json::to_string(result)?, set.encode(), set.id());
        let stored: String = self.transact(|db| {
            db.execute("INSERT OR IGNORE INTO path_sets (id, body) VALUES (?1, ?2)", params![set_id.as_bytes(), set_body])?;
            db.execute(
                "INSERT INTO step_sets (step, path_set, seq) VALUES (?1, ?2, (SELECT coalesce(max(seq), 0) + 1 FROM step_sets))
                 ON CONFLICT (step, path_set) DO UPDATE SET seq = excluded.seq",
                params![step.as_bytes(), set_id.as_bytes()],
            )?;
            db.execute("INSERT OR IGNORE INTO results (input, result) VALUES (?1, ?2)", params![input.as_bytes(), body])?;
            db.query_row("SELECT result FROM results WHERE input = ?1", [input.as_bytes()], |row| row.get(0))
        })?;
        let winner = match self.usable(Some(stored))? {
            Some(winner) => winner,
            // The stored winner's layer is gone or damaged: ours takes its place.
            None => {
                self.transact(|db| {
                    db.execute("UPDATE results SET result = ?2 WHERE input = ?1", params![input.as_bytes(), body])
                })?;
                result.clone()
            }
        };
        self.remember_exact(step, tree.id(), &winner)?;
        Ok(winner)
    }

    /// Replaces what is stored for a step on this tree, after a run that was asked for (`--no-cache`).
    ///
    /// # Errors
    /// The database fails.
    pub fn replace(&self, step: &StepKey, tree: &Tree, set: &PathSet, result: &StepResult) -> Result<StepResult> {
        let input = set.input_key(step, tree);
        self.transact(|db| db.execute("DELETE FROM results WHERE input = ?1", [input.as_bytes()]))?;
        self.record(step, tree, set, result)
    }

    /// The path sets of a step, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn path_sets(&self, step: &StepKey) -> Result<Vec<PathSet>> {
        let bodies: Vec<Vec<u8>> = self.query(|db| {
            db.prepare_cached(
                "SELECT body FROM step_sets JOIN path_sets ON id = path_set WHERE step = ?1 ORDER BY seq DESC LIMIT ?2",
            )?
            .query_map(params![step.as_bytes(), MAX_SETS], |row| row.get(0))?
            .collect()
        })?;
        Ok(bodies.iter().filter_map(|body| PathSet::decode(body)).collect())
    }

    /// A stored result whose layer is here and whole. A result whose layer is gone is no result.
    fn usable(&self, stored: Option<String>) -> Result<Option<StepResult>> {
        let Some(stored) = stored else { return Ok(None) };
        // A record that cannot be read is no result: the step runs.
        let Ok(result) = serde_json::from_str::<StepResult>(&stored) else { return Ok(None) };
        match &result.layer {
            Some(layer) if !self.has_layer(layer)? => Ok(None),
            _ => Ok(Some(result)),
        }
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
