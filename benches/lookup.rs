//! How long it takes to decide a build's steps by what they looked at: 47 steps with 30,000 observations each, on a tree of
//! 500,000 entries in 50 layers, after a change in its second layer that none of them looked at.
//!
//! ```text
//! cargo bench --bench lookup
//! ```
//!
//! `new process` has just opened the store; the files are in the kernel's page cache. `same process` decides again after another
//! such change, and `nothing changed` finds all steps by the pair of step and parent.

use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shiplap_cache::{
    ContentHash, Entry, IndexBuilder, Kind, LayerId, Question, Stack, StepKey, StepResult, Store, Tree, TreePath,
    Watcher,
};

const ROUNDS: usize = 5;
const STEPS: usize = 47;
const OBSERVATIONS: usize = 30_000;
/// The layers below the first step: the base image and what is copied in.
const GIVEN: usize = 3;
const BASE_ENTRIES: usize = 60_000;
const OTHER_ENTRIES: usize = 440_000 / (GIVEN + STEPS - 1);
/// Where the changes are. No step looks there.
const ELSEWHERE: &str = "srv/elsewhere";

fn main() {
    let home = tempfile::tempdir_in(".").expect("a folder");
    let layers = prepare(home.path());
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let [one, another] = [0, 1].map(|n| change(home.path(), 2 * round + n));
        let began = Instant::now();
        let store = Store::open(home.path()).expect("a store");
        decide(&store, &layers, one, false);
        times[0].push(began.elapsed());
        for (times, nothing_changed) in times[1..].iter_mut().zip([false, true]) {
            let began = Instant::now();
            decide(&store, &layers, another, nothing_changed);
            times.push(began.elapsed());
        }
    }
    println!("deciding {STEPS} steps with {OBSERVATIONS} observations each ({ROUNDS} rounds)");
    for (name, times) in ["new process", "same process", "nothing changed"].into_iter().zip(times) {
        print(name, times);
    }
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let (best, median) = (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64());
    let rate = (STEPS * OBSERVATIONS) as f64 / median / 1e6;
    println!("  {name:16} best {best:7.4} s  median {median:7.4} s  {rate:7.1} million observations a second");
}

/// Looks all steps up, each on the layers of those before it, with a further layer on the lowest one.
fn decide(store: &Store, layers: &[LayerId], change: LayerId, same_parent: bool) {
    let mut stack: Stack = [layers[0], change].into_iter().chain(layers[1..GIVEN].iter().copied()).collect();
    for (step, made) in layers[GIVEN..].iter().enumerate() {
        let found = store.lookup(&key(step), &stack).expect("a look-up").expect("a result");
        assert_eq!((found.result.layers, found.same_parent), (vec![*made], same_parent));
        stack.push(*made);
    }
}

fn key(step: usize) -> StepKey {
    StepKey::of(&step.to_le_bytes())
}

/// A store with all layers and what each step looked at.
fn prepare(home: &Path) -> Vec<LayerId> {
    let store = Store::open(home).expect("a store");
    let mut rng = Rng::with_seed(1);
    let mut layers: Vec<LayerId> = Vec::new();
    let mut folders: Vec<TreePath> = Vec::new();
    let mut entries = 0;
    for number in 0..GIVEN + STEPS {
        let tree = store.tree(&layers).expect("a tree");
        let wanted = if number == 0 { BASE_ENTRIES } else { OTHER_ENTRIES };
        let index = layer(&mut rng, &tree, number, wanted, &mut folders);
        let made = keep(&store, &tree, index);
        entries += store.index(&made).expect("an index").len();
        if let Some(step) = number.checked_sub(GIVEN) {
            let set = look(&mut rng, &tree, &folders);
            let result = StepResult { layers: vec![made], created: 1, millis: 1, ..StepResult::default() };
            store.record(&key(step), &tree, &set, &result).expect("a record");
        }
        layers.push(made);
    }
    println!("{entries} entries in {} layers, {} folders", layers.len(), folders.len());
    layers
}

fn keep(store: &Store, below: &Tree, index: IndexBuilder) -> LayerId {
    let pending = store.begin_layer(below).expect("a layer");
    store.keep_layer(pending, index.finish().expect("an index")).expect("a layer").expect("entries")
}

/// A layer with folders of 1 to 50 files, most of them new, some of them below: there it replaces files, removes some and adds more.
fn layer(rng: &mut Rng, below: &Tree, number: usize, wanted: usize, folders: &mut Vec<TreePath>) -> IndexBuilder {
    let mut entries = std::collections::BTreeMap::new();
    while entries.len() < wanted {
        let known = !folders.is_empty() && rng.u8(..10) == 0;
        let folder = match known {
            true => folders[rng.usize(..folders.len())].clone(),
            // A third of the folders is inside another one.
            false => {
                let above = match folders.is_empty() || rng.u8(..3) > 0 {
                    true => path(&format!("usr/lib/python3/site-packages/{:02}", rng.u8(..40))),
                    false => folders[rng.usize(..folders.len())].clone(),
                };
                above.join(format!("package-{number}-{}", entries.len()).as_bytes())
            }
        };
        for file in 0..rng.usize(1..=50) {
            let at = folder.join(format!("module_{file:02}.py").as_bytes());
            let entry = match known && rng.u8(..20) == 0 && below.find(&at).is_some() {
                true => Entry::whiteout(at.clone()),
                false => self::file(at.clone(), number),
            };
            entries.insert(at, entry);
        }
        // As overlayfs does, with all folders on the way.
        let mut at = Some(folder.clone());
        while let Some(folder) = at {
            at = folder.parent();
            entries.entry(folder.clone()).or_insert_with(|| self::folder(folder));
        }
        if !known {
            folders.push(folder);
        }
    }
    if number == 0 {
        let at = path(ELSEWHERE);
        entries.extend([path("srv"), at.clone()].map(|at| (at.clone(), folder(at))));
        entries.extend((0..5).map(|n| at.join(&[b'0' + n])).map(|at| (at.clone(), file(at, number))));
    }
    let mut index = IndexBuilder::default();
    entries.into_values().for_each(|entry| index.push(entry));
    index
}

/// What a step looks at: folders with all their files, and as many names that are not there, as Python does on its way to a module.
fn look(rng: &mut Rng, tree: &Tree, folders: &[TreePath]) -> shiplap_cache::PathSet {
    let mut watcher = Watcher::new(tree);
    'enough: loop {
        let folder = &folders[rng.usize(..folders.len())];
        watcher.note(folder, Question::Listing);
        for file in 0..rng.usize(1..=50) {
            watcher.note(&folder.join(format!("module_{file:02}.py").as_bytes()), Question::Content);
            if watcher.len() >= OBSERVATIONS {
                break 'enough;
            }
        }
    }
    watcher.path_set()
}

/// A layer that changes files in which no step is interested.
fn change(home: &Path, number: usize) -> LayerId {
    let mut index = IndexBuilder::default();
    [path("srv"), path(ELSEWHERE)].into_iter().for_each(|at| index.push(folder(at)));
    (0..3).for_each(|n| index.push(file(path(ELSEWHERE).join(&[b'0' + n]), 1000 + number)));
    keep(&Store::open(home).expect("a store"), &Tree::default(), index)
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

fn file(path: TreePath, layer: usize) -> Entry {
    let hash = ContentHash::of(&[path.as_bytes(), &layer.to_le_bytes()].concat());
    let kind = Kind::File { size: path.as_bytes().len() as u64, hash, link: None };
    Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
}

fn folder(path: TreePath) -> Entry {
    let kind = Kind::Dir { opaque: false };
    Entry { path, kind, mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
}
