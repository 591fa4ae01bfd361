//! Why a step runs: what is different from the nearest earlier run, in words.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use shiplap_cache::{
    Asked, ContentHash, Found, Kind, LayerId, Observation, PathSet, StepKey, StepResult, StepRun, Store, Tree, TreePath,
};

use super::error::StepError;
use super::inputs::Input;
use super::key::Keyed;
use super::{Run, StepId};

/// How many changes are told one by one.
const MOST: usize = 100;

/// Why a step does not come to its result without running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The kind of reason.
    pub reason: Reason,
    /// In words.
    pub words: String,
    /// What is different, the first hundred.
    pub changes: Vec<Change>,
    /// How many differences there are in all.
    pub differ: usize,
    /// When the run that this is compared with was made, seconds since 1970.
    pub last_run: Option<i64>,
}

/// A kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A flag or a setting asks for it.
    Asked,
    /// No step of the kind ran here before.
    New,
    /// The instruction, its variables or what it mounts or copies is another.
    Instruction,
    /// Something that it reads is different.
    Files,
    /// It cannot be watched, and something below it is different.
    Untraced,
}

/// Something that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the image.
    pub path: String,
    /// What happened to it.
    pub what: What,
    /// Names that came (`+name`) and went (`-name`), where the step listed a directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The part of the site that it belongs to.
    pub input: Input,
    /// The file as it was, on this machine, if it is here.
    #[serde(skip)]
    pub before: Option<PathBuf>,
    /// The file as it is.
    #[serde(skip)]
    pub after: Option<PathBuf>,
}

/// What happened to a path, most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Another content, target or extended attribute.
    Changed,
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// Another mode or owner.
    Attributes,
    /// Other names in it.
    Names,
}

impl Why {
    pub(crate) fn asked(words: impl Into<String>) -> Self {
        Self::plain(Reason::Asked, words)
    }

    fn plain(reason: Reason, words: impl Into<String>) -> Self {
        Self { reason, words: words.into(), changes: Vec::new(), differ: 0, last_run: None }
    }

    /// The inputs that are different, each once.
    pub fn inputs(&self) -> Vec<Input> {
        let mut inputs: Vec<_> = self.changes.iter().map(|change| change.input).collect();
        inputs.sort();
        inputs.dedup();
        inputs
    }
}

/// Why a step does not find its result on a tree. `made` is what a step that copies would make, where that is known.
pub(crate) fn why(run: &Run, id: StepId, keyed: &Keyed, tree: &Tree, made: Option<&Tree>) -> Result<Why, StepError> {
    let store = run.builder.store();
    let runs = store.runs(&keyed.key)?;
    let stage = run.info(id).stage;
    if let Some((nearest, differing)) = nearest(store, &runs, tree) {
        return files(run, &stage, nearest, differing, tree);
    }
    if let Some(untraced) = runs.iter().find_map(|run| run.result.untraced.clone()) {
        let words = format!("something below it changed, and all of that is its input: {untraced}");
        return Ok(Why { last_run: Some(runs[0].result.created), ..Why::plain(Reason::Untraced, words) });
    }
    let Some(place) = last_at(run, id)? else {
        return Ok(Why::plain(Reason::New, "nothing like it ran here before"));
    };
    let now = described(keyed);
    let words = differences(&place.body, &now);
    let words = if words.is_empty() { "what it takes is different".to_owned() } else { words.join("; ") };
    let mut why = Why::plain(Reason::Instruction, words);
    why.changes = mounted(&stage, &place.body, &now);
    why.differ = why.changes.len();
    let last: Option<StepResult> = store.runs(&place.step)?.into_iter().next().map(|run| run.result);
    why.last_run = last.as_ref().map(|last| last.created);
    if let (Some(made), Some(last)) = (made, last.filter(|last| !last.layers.is_empty()))
        && let Ok(before) = store.tree(&last.layers)
    {
        layers(run, &stage, &before, made, &mut why);
    }
    Ok(why)
}

/// The earlier run with the fewest differences, and these.
fn nearest<'r>(store: &Store, runs: &'r [StepRun], tree: &Tree) -> Option<(&'r StepRun, Vec<Observation>)> {
    let mut best: Option<(&StepRun, Vec<Observation>)> = None;
    for run in runs.iter().filter(|run| !run.set.is_whole_parent()) {
        // The layers that it ran on may be gone.
        let Ok(parent) = store.tree(run.parent.layers()) else { continue };
        let differing = run.set.differing(&parent, tree);
        if best.as_ref().is_none_or(|(_, fewest)| differing.len() < fewest.len()) {
            best = Some((run, differing));
        }
    }
    best
}

fn files(
    run: &Run,
    stage: &str,
    nearest: &StepRun,
    differing: Vec<Observation>,
    tree: &Tree,
) -> Result<Why, StepError> {
    let store = run.builder.store();
    let parent = store.tree(nearest.parent.layers())?;
    let differ = differing.len();
    if differ == 0 {
        let words = "all that it reads is as it was, and the layer that it made is gone or in doubt";
        return Ok(Why { last_run: Some(nearest.result.created), ..Why::plain(Reason::Files, words) });
    }
    let words = match differ {
        1 => "one thing that it reads is different".to_owned(),
        n => format!("{n} things that it reads are different"),
    };
    let mut changes: Vec<Change> =
        differing.iter().map(|observation| change(run, stage, observation, &parent, tree)).collect();
    // Files say more than the listings and directories that changed with them.
    changes.sort_by_key(|change| change.what);
    changes.truncate(MOST);
    Ok(Why { reason: Reason::Files, words, changes, differ, last_run: Some(nearest.result.created) })
}

fn change(run: &Run, stage: &str, observation: &Observation, before: &Tree, after: &Tree) -> Change {
    let Observation { path, asked } = observation;
    let (old, new) = (before.find(path), after.find(path));
    let what = match (old, new) {
        _ if *asked == Asked::Listing && old.is_some() && new.is_some() => What::Names,
        (None, _) => What::Added,
        (_, None) => What::Removed,
        (Some(a), Some(b)) if before.entry(a).kind == after.entry(b).kind => What::Attributes,
        _ => What::Changed,
    };
    let mut names = Vec::new();
    if what == What::Names {
        let (old, new) = (before.list(path), after.list(path));
        let text = |sign: char, name: &[u8]| format!("{sign}{}", String::from_utf8_lossy(name));
        names.extend(new.keys().filter(|name| !old.contains_key(*name)).map(|name| text('+', name)));
        names.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| text('-', name)));
        names.truncate(MOST);
    }
    let of_base = |tree: &Tree, found: Option<Found>| found.is_some_and(|f| run.is_base(&tree.layers()[f.layer].id()));
    let input =
        match of_base(after, new) && (old.is_none() || of_base(before, old)) || new.is_none() && of_base(before, old) {
            true => Input::BaseImage,
            false => Input::of(stage, path),
        };
    let file = |tree: &Tree, found: Option<Found>| {
        let found = found?;
        matches!(tree.entry(found).kind, Kind::File { .. }).then(|| run.locate(&tree.layers()[found.layer].id(), path))
    };
    Change { path: path.to_string(), what, names, input, before: file(before, old), after: file(after, new) }
}

/// What is different between the layers that one instruction made.
fn layers(run: &Run, stage: &str, before: &Tree, after: &Tree, why: &mut Why) {
    let mut changes = Vec::new();
    let mut add = |path: TreePath, what| {
        let place = |tree: &Tree| Some(run.locate(&tree.layers()[tree.find(&path)?.layer].id(), &path));
        let (before, after) = (place(before), place(after));
        let input = Input::of(stage, &path);
        changes.push(Change { path: path.to_string(), what, names: Vec::new(), input, before, after });
    };
    let files = |tree: &Tree| {
        let entries = tree.visible().into_iter().map(|found| tree.entry(found));
        entries.filter(|entry| !entry.is_dir()).map(|entry| (entry.path.clone(), entry)).collect::<BTreeMap<_, _>>()
    };
    let (mut old, new) = (files(before), files(after));
    for (path, entry) in new {
        match old.remove(&path) {
            None => add(path, What::Added),
            Some(old) if old.kind != entry.kind || old.xattrs != entry.xattrs => add(path, What::Changed),
            Some(old) if (old.mode, old.uid, old.gid) != (entry.mode, entry.uid, entry.gid) => {
                add(path, What::Attributes);
            }
            Some(_) => {}
        }
    }
    old.into_keys().for_each(|path| add(path, What::Removed));
    if !changes.is_empty() {
        why.words = match changes.len() {
            1 => "one file that it copies is different".to_owned(),
            n => format!("{n} files that it copies are different"),
        };
    }
    why.differ = changes.len();
    changes.truncate(MOST);
    why.changes = changes;
}

/// The mounts that show something else, as changes of what is seen there.
fn mounted(stage: &str, before: &Value, after: &Value) -> Vec<Change> {
    let change = |mount: &Value| {
        let path = TreePath::new(mount.get("target")?.as_str()?).ok()?;
        let (input, path) = (Input::of(stage, &path), path.to_string());
        Some(Change { path, what: What::Changed, names: Vec::new(), input, before: None, after: None })
    };
    let other = other_mounts(before.get("mounts"), after.get("mounts"));
    other.into_iter().filter(|mount| mount.get("content").is_some()).filter_map(change).collect()
}

/// The mounts of an instruction that another one has not.
fn other_mounts<'v>(before: Option<&Value>, after: Option<&'v Value>) -> Vec<&'v Value> {
    let before = before.and_then(Value::as_array);
    let is_other = |mount: &&Value| !before.is_some_and(|before| before.contains(mount));
    after.and_then(Value::as_array).into_iter().flatten().filter(is_other).collect()
}

/// Where steps are remembered by their place in a Dockerfile: by their text, and by their number in the stage.
const PLACES: &str = "place";

/// The step that ran at a place last.
struct Place {
    step: StepKey,
    body: Value,
}

/// A step's names in all builds of this Dockerfile. The third one is the same on all machines, for tiers: there only the name of the Dockerfile is in it, and not where it is.
fn places(run: &Run, id: StepId) -> [String; 3] {
    let info = run.info(id);
    let file = run.request.dockerfile.canonicalize().unwrap_or_else(|_| run.request.dockerfile.clone());
    let by = |file: &Path, what: Value| ContentHash::of(json!([file, info.stage, what]).to_string().as_bytes()).hex();
    let name = Path::new(file.file_name().unwrap_or_default());
    [by(&file, json!(info.text)), by(&file, json!(id.step)), by(name, json!(info.text))]
}

/// The name, with its space, under which other machines find which step ran at a place last.
pub(crate) fn place_for_others(run: &Run, id: StepId) -> Option<(String, String)> {
    let [.., name] = places(run, id);
    Some((PLACES.to_owned(), name))
}

fn last_at(run: &Run, id: StepId) -> Result<Option<Place>, StepError> {
    for name in places(run, id) {
        let Some(text) = run.builder.store().name(PLACES, &name)? else { continue };
        // What cannot be read is not remembered.
        if let Ok((step, body)) = serde_json::from_str::<(StepKey, Value)>(&text) {
            return Ok(Some(Place { step, body }));
        }
    }
    Ok(None)
}

/// What the step left that ran last as this one or at its place.
pub(crate) fn last_result(run: &Run, id: StepId, keyed: &Keyed) -> Result<Option<StepResult>, StepError> {
    let store = run.builder.store();
    let mut keys = vec![keyed.key];
    keys.extend(last_at(run, id)?.map(|place| place.step));
    for key in keys {
        for earlier in store.runs(&key)? {
            // A layer may be gone.
            if earlier.result.layers.iter().all(|layer| store.can_have_layer(layer).unwrap_or(false)) {
                return Ok(Some(earlier.result));
            }
        }
    }
    Ok(None)
}

/// Remembers which step ran at a place, for the explanation of the next one.
pub(crate) fn remember(run: &Run, id: StepId, keyed: &Keyed) -> Result<(), StepError> {
    let text = serde_json::to_string(&(&keyed.key, described(keyed)))?;
    for name in places(run, id) {
        run.builder.store().set_name(PLACES, &name, &text)?;
    }
    Ok(())
}

/// What a key was made of, for comparisons: values of variables only as hashes, for they may be secret.
fn described(keyed: &Keyed) -> Value {
    let mut body: Value = serde_json::from_str(&keyed.body).unwrap_or_default();
    if let Some(Value::Array(pairs)) = body.get("env") {
        let pairs = pairs.iter().filter_map(|pair| pair.as_str()?.split_once('='));
        let hashed: Map<_, _> =
            pairs.map(|(name, value)| (name.to_owned(), ContentHash::of(value.as_bytes()).hex().into())).collect();
        body["env"] = hashed.into();
    }
    body
}

/// What is different between two instructions, in words.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else { return Vec::new() };
    let mut words = Vec::new();
    for (field, value) in new {
        let was = old.get(field).unwrap_or(&Value::Null);
        if was == value {
            continue;
        }
        match field.as_str() {
            "argv" => words.push("the command is another".to_owned()),
            "env" => words.extend(variables(was, value)),
            "mounts" => words.extend(mounts(was, value)),
            "content" => {}
            "inline_files" => words.push("its here-document is another".to_owned()),
            "cwd" => words.push(format!("the working directory is {value}")),
            "path" => words.push(format!("it goes to {value}")),
            "user" => words.push(format!("the user is {value}")),
            "chown" | "chmod" => words.push(format!("--{field} is {value}")),
            "surroundings" if was.get("untraced") != value.get("untraced") => {
                words.push("results of steps that were watched and of others are kept apart".to_owned());
            }
            "surroundings" => {
                words.push("the platform, the hosts, a limit or what counts as noise is another".to_owned());
            }
            "op" => return vec!["another instruction stood here".to_owned()],
            field => words.push(format!("its {} is another", field.replace('_', " "))),
        }
    }
    words
}

fn variables(before: &Value, after: &Value) -> Vec<String> {
    let empty = Map::new();
    let (old, new) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value)).map(|(name, _)| name);
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    changed
        .map(|name| format!("the variable {name} is another"))
        .chain(gone.map(|name| format!("the variable {name} is gone")))
        .collect()
}

fn mounts(before: &Value, after: &Value) -> Vec<String> {
    let target = |mount: &Value| mount.get("target").and_then(Value::as_str).unwrap_or("?").to_owned();
    let changed = other_mounts(Some(before), Some(after));
    let text = |mount: &Value| match mount.get("content") {
        Some(_) => format!("what is mounted at {} is different", target(mount)),
        None => format!("the mount at {} is another", target(mount)),
    };
    if changed.is_empty() { vec!["a mount is gone".to_owned()] } else { changed.into_iter().map(text).collect() }
}

/// What a step reads of layers that are only assumed: how many paths.
pub(crate) fn assumed_inputs(set: &PathSet, tree: &Tree, assumed: impl Fn(&LayerId) -> bool) -> usize {
    set.observations().iter().filter(|observation| read(observation, tree).iter().any(&assumed)).count()
}

/// The layers whose files a step looks at.
pub(crate) fn layers_read(set: &PathSet, tree: &Tree) -> HashSet<LayerId> {
    set.observations().iter().flat_map(|observation| read(observation, tree)).collect()
}

/// The layers that an observation is about. A directory stays what it is when something in it changes.
fn read(Observation { path, asked }: &Observation, tree: &Tree) -> Vec<LayerId> {
    let layer = |found: &Found| tree.layers()[found.layer].id();
    match asked {
        Asked::Listing => tree.list(path).values().map(layer).collect(),
        _ => tree.find(path).filter(|found| !tree.is_folder(*found)).iter().map(layer).collect(),
    }
}
