use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::{Asked, Observation, PathSet, Stack, StepKey, StepResult, Tree, TreePath};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Nothing is young, and what nobody may use any more is unlinked in the same run.
const NOW: Policy =
    Policy { grace: Duration::ZERO, quarantine: Duration::ZERO, unused_for: None, max_used_space: None };

/// References that a test makes.
#[derive(Default)]
struct Known {
    blobs: Mutex<HashSet<Digest>>,
    layers: Mutex<HashSet<LayerId>>,
    broken: bool,
}

impl References for Known {
    fn needs(&self) -> Result<Needs, Box<dyn std::error::Error + Send + Sync>> {
        if self.broken {
            return Err("the manifest of campus/x:1 cannot be read".into());
        }
        let mut needs = Needs::default();
        self.blobs.lock().unwrap().iter().for_each(|blob| needs.blob(*blob, Need::Tag));
        self.layers.lock().unwrap().iter().for_each(|layer| needs.layer(*layer, Need::Name));
        Ok(needs)
    }

    fn stale(&self, there: &OnDisk) -> Result<Vec<Stale>, Box<dyn std::error::Error + Send + Sync>> {
        let name = |text: &str| Stale::Name { space: "of-blob", name: text.to_owned() };
        let gone = Digest::of(b"garbage");
        Ok(if there.blob(&gone) { Vec::new() } else { vec![name(&gone.hex())] })
    }
}

struct Lab {
    home: tempfile::TempDir,
    known: Known,
}

impl Lab {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), known: Known::default() }
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(self.home.path()).unwrap())
    }

    fn collect(&self, policy: &Policy) -> Collected {
        self.store().collect(&self.known, policy).unwrap()
    }
}

fn layer(store: &Store, text: &str) -> LayerId {
    let pending = store.begin_layer(&Tree::default()).unwrap();
    std::fs::write(pending.upper().join(text), text).unwrap();
    store.commit_layer(pending, &Tree::default()).unwrap().unwrap()
}

fn step(store: &Store, text: &str) -> (StepKey, LayerId) {
    let (key, layer) = (StepKey::of(text.as_bytes()), layer(store, text));
    let set = PathSet::new([Observation { path: TreePath::root().join(b"x"), asked: Asked::Exists }]);
    let result = StepResult { layers: vec![layer], created: 1, ..StepResult::default() };
    store.record(&key, &Tree::default(), &set, &result).unwrap();
    (key, layer)
}

fn used(store: &Store, layer: &LayerId, ago: Duration) {
    let time = crate::store::now() - ago.as_secs() as i64;
    store
        .transact(|db| {
            db.execute("UPDATE layers SET used = ?2 WHERE id = ?1", rusqlite::params![layer.as_bytes(), time])
        })
        .unwrap();
}

fn is_found(store: &Store, key: &StepKey) -> bool {
    store.lookup(key, &Stack::default()).unwrap().is_some()
}

#[test]
fn what_nothing_refers_to_goes_and_the_rest_stays() {
    let lab = Lab::new();
    let store = lab.store();
    let (tagged, garbage) = (store.blobs().put(b"tagged").unwrap(), store.blobs().put(b"garbage").unwrap());
    let (named, loose) = (layer(&store, "named"), layer(&store, "loose"));
    let (key, result) = step(&store, "result");
    lab.known.blobs.lock().unwrap().insert(tagged);
    lab.known.layers.lock().unwrap().insert(named);
    store.set_name("of-blob", &garbage.hex(), "1").unwrap();
    drop(store);

    let survey = lab.store().survey(&lab.known, &NOW).unwrap();
    let dead: HashSet<_> = survey.dead.iter().map(|dead| dead.thing.clone()).collect();
    assert_eq!(dead, HashSet::from([Thing::Blob(garbage), Thing::Layer(loose)]));
    assert!(survey.dead.iter().all(|dead| dead.why == Why::Unreferenced));
    let store = lab.store();
    assert!(
        store.blobs().size(&garbage).unwrap().is_some() && store.has_layer(&loose).unwrap(),
        "a survey removes nothing"
    );
    drop(store);

    let collected = lab.collect(&NOW);
    assert_eq!(collected.freed.count, 2);
    assert_eq!(collected.waiting, Amount::default());
    let store = lab.store();
    assert_eq!(store.blobs().size(&tagged).unwrap(), Some(6));
    assert_eq!(store.blobs().size(&garbage).unwrap(), None);
    assert!(store.has_layer(&named).unwrap() && store.has_layer(&result).unwrap() && is_found(&store, &key));
    assert!(!store.has_layer(&loose).unwrap() && !store.layer_dir(&loose).exists());
    // The name of what was unlinked goes with the next run: until then somebody could have taken it back.
    let name = || store.name("of-blob", &garbage.hex()).unwrap();
    assert_eq!(name().as_deref(), Some("1"));
    lab.collect(&NOW);
    assert_eq!(name(), None);
}

#[test]
fn what_is_young_stays() {
    let lab = Lab::new();
    let store = lab.store();
    let (blob, layer) = (store.blobs().put(b"garbage").unwrap(), layer(&store, "loose"));
    drop(store);
    let collected = lab.collect(&Policy { grace: DAY, ..NOW });
    assert_eq!(collected.survey.dead, []);
    assert_eq!(collected.survey.kept[&Need::Young].count, 2);
    let store = lab.store();
    assert!(store.blobs().size(&blob).unwrap().is_some() && store.has_layer(&layer).unwrap());
}

#[test]
fn who_has_seen_something_keeps_it_on_disk() {
    let lab = Lab::new();
    let user = lab.store();
    let (blob, layer) = (user.blobs().put(b"garbage").unwrap(), layer(&user, "loose"));
    let collected = lab.collect(&NOW);
    assert_eq!((collected.freed.count, collected.waiting.count, collected.leases), (0, 2, 1));
    // The layer is where it was, for a step may have it mounted; the blob comes back when it is asked for.
    assert!(user.has_layer(&layer).unwrap() && user.layer_dir(&layer).join("loose").exists());
    assert_eq!(user.blobs().read(&blob).unwrap(), b"garbage");
    lab.collect(&NOW);
    assert_eq!(user.blobs().read(&blob).unwrap(), b"garbage");
    drop(user);
    // One run dooms the blob anew, for it came back; as nobody is there any more, it goes in the same run.
    assert_eq!(lab.collect(&NOW).freed.count, 2);
}

#[test]
fn who_comes_later_takes_a_doomed_layer_back() {
    let lab = Lab::new();
    let user = lab.store();
    let layer = layer(&user, "loose");
    lab.collect(&NOW);
    let later = lab.store();
    assert!(later.has_layer(&layer).unwrap());
    drop(user);
    lab.known.layers.lock().unwrap().insert(layer);
    drop(later);
    assert_eq!(lab.collect(&NOW).freed.count, 0);
    assert!(lab.store().has_layer(&layer).unwrap());
}

#[test]
fn a_result_recorded_on_a_doomed_layer_brings_it_back() {
    let lab = Lab::new();
    let user = lab.store();
    let (key, layer) = (StepKey::of(b"s"), layer(&user, "loose"));
    lab.collect(&NOW);
    // The user believes it has a row still.
    let result = StepResult { layers: vec![layer], created: 1, ..StepResult::default() };
    user.record(&key, &Tree::default(), &PathSet::new([]), &result).unwrap();
    drop(user);
    assert_eq!(lab.collect(&NOW).freed.count, 0);
    let store = lab.store();
    assert!(is_found(&store, &key) && store.has_layer(&layer).unwrap());
}

#[test]
fn a_reference_made_to_a_blob_in_quarantine_brings_it_back() {
    let lab = Lab::new();
    let user = lab.store();
    let blob = user.blobs().put(b"garbage").unwrap();
    lab.collect(&NOW);
    assert!(!user.blobs().path(&blob).exists());
    lab.known.blobs.lock().unwrap().insert(blob);
    drop(user);
    let collected = lab.collect(&NOW);
    assert_eq!((collected.freed.count, collected.waiting.count), (0, 0));
    assert!(lab.store().blobs().path(&blob).exists());
}

#[test]
fn a_blob_that_was_pushed_anew_outlives_its_damaged_copy_in_quarantine() {
    let lab = Lab::new();
    let store = lab.store();
    let blob = store.blobs().put(b"garbage").unwrap();
    let slow = Policy { quarantine: DAY, ..NOW };
    lab.collect(&slow);
    std::fs::write(store.blobs().quarantined(&blob), b"damaged").unwrap();
    let mut anew = store.blobs().writer().unwrap();
    std::io::Write::write_all(&mut anew, b"garbage").unwrap();
    anew.commit(None).unwrap();
    drop(store);
    lab.known.blobs.lock().unwrap().insert(blob);
    lab.collect(&slow);
    assert_eq!(lab.store().blobs().read(&blob).unwrap(), b"garbage");
    assert_eq!(lab.collect(&NOW).waiting, Amount::default());
    assert_eq!(lab.store().blobs().read(&blob).unwrap(), b"garbage");
    assert_eq!(std::fs::read_dir(lab.home.path().join("quarantine")).unwrap().count(), 0);
}

#[test]
fn quarantine_lasts_as_long_as_it_is_told_to() {
    let lab = Lab::new();
    let blob = lab.store().blobs().put(b"garbage").unwrap();
    let slow = Policy { quarantine: DAY, ..NOW };
    for _ in 0..2 {
        let collected = lab.collect(&slow);
        assert_eq!((collected.freed.count, collected.waiting.count), (0, 1));
        assert!(collected.next.unwrap() > crate::store::now() + 23 * 3600);
    }
    lab.store().transact(|db| db.execute("UPDATE doom SET since = since - 90000", [])).unwrap();
    assert_eq!(lab.collect(&slow).freed.count, 1);
    assert_eq!(lab.store().blobs().size(&blob).unwrap(), None);
}

#[test]
fn a_result_keeps_all_its_layers_and_goes_with_the_uppermost() {
    let lab = Lab::new();
    let store = lab.store();
    let key = StepKey::of(b"copy");
    let layers: Vec<LayerId> = ["lower.txt", "middle.txt", "upper.txt"].map(|text| layer(&store, text)).into();
    let set = PathSet::new([Observation { path: TreePath::root().join(b"x"), asked: Asked::Exists }]);
    let result = StepResult { layers: layers.clone(), created: 1, ..StepResult::default() };
    store.record(&key, &Tree::default(), &set, &result).unwrap();
    // A look-up stops at the first that is missing, so the lower ones may seem to be used the longest ago.
    for (layer, days) in layers.iter().zip([9, 8, 7]) {
        used(&store, layer, DAY * days);
    }
    drop(store);
    assert_eq!(lab.collect(&NOW).survey.dead.len(), 0);
    assert!(is_found(&lab.store(), &key));
    let collected = lab.collect(&Policy { max_used_space: Some(20), ..NOW });
    assert_eq!(
        collected.survey.dead.iter().map(|dead| dead.thing.clone()).collect::<Vec<_>>(),
        [Thing::Layer(layers[2])]
    );
    assert_eq!(collected.survey.step_results, 1);
    assert!(!is_found(&lab.store(), &key));
    // What is left of it is nobody's.
    assert_eq!(lab.collect(&NOW).freed.count, 2);
}

#[test]
fn a_store_above_its_budget_loses_what_was_used_longest_ago() {
    let lab = Lab::new();
    let store = lab.store();
    let steps: Vec<_> = ["oldest", "middle", "newest"].iter().map(|text| step(&store, text)).collect();
    let blob = store.blobs().put(b"packed").unwrap();
    let packed = crate::LayerBlob { media_type: "m".into(), diff_id: blob, digest: blob, size: 6 };
    store.set_layer_blob(&steps[0].1, &packed).unwrap();
    for (i, (_, layer)) in steps.iter().enumerate() {
        used(&store, layer, DAY * (9 - i as u32));
    }
    drop(store);
    // Each layer has six bytes, the packed blob too.
    let collected = lab.collect(&Policy { max_used_space: Some(12), ..NOW });
    assert_eq!(collected.survey.step_results, 1);
    assert_eq!(collected.survey.bytes(), 12);
    assert!(collected.survey.dead.iter().all(|dead| matches!(dead.why, Why::OverBudget { .. })));
    let store = lab.store();
    assert_eq!(steps.iter().map(|(key, _)| is_found(&store, key)).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(store.blobs().size(&blob).unwrap(), None);
}

#[test]
fn of_steps_that_stand_on_each_other_the_last_goes_first_and_what_goes_stays_gone() {
    let lab = Lab::new();
    let store = lab.store();
    let base = step(&store, "base.txt").1;
    let upon = |text: &str, parent: LayerId| {
        let tree = store.tree(&[parent]).unwrap();
        let pending = store.begin_layer(&tree).unwrap();
        std::fs::write(pending.upper().join(text), text).unwrap();
        let layer = store.commit_layer(pending, &tree).unwrap().unwrap();
        let set = PathSet::new([Observation { path: TreePath::root().join(b"x"), asked: Asked::Exists }]);
        let result = StepResult { layers: vec![layer], created: 1, ..StepResult::default() };
        let key = StepKey::of(text.as_bytes());
        store.record(&key, &tree, &set, &result).unwrap();
        layer
    };
    let (old, new) = (upon("old.txt", base), upon("new.txt", base));
    // What steps stand on was looked at before them.
    for (layer, days) in [(&base, 9), (&old, 8), (&new, 7)] {
        used(&store, layer, DAY * days);
    }
    drop(store);
    let collected = lab.collect(&Policy { max_used_space: Some(15), ..NOW });
    assert_eq!(collected.survey.dead.iter().map(|dead| dead.thing.clone()).collect::<Vec<_>>(), [Thing::Layer(old)]);
    assert_eq!((collected.freed.count, collected.waiting.count), (1, 0));
    let collected = lab.collect(&Policy { unused_for: Some(8 * DAY), ..NOW });
    assert_eq!((collected.survey.dead.len(), collected.waiting.count), (0, 0), "what is used stands on it");
    let collected = lab.collect(&Policy { max_used_space: Some(8), ..NOW });
    assert_eq!(collected.survey.dead.iter().map(|dead| dead.thing.clone()).collect::<Vec<_>>(), [Thing::Layer(new)]);
    assert!(lab.store().has_layer(&base).unwrap());
    assert_eq!(lab.collect(&Policy { max_used_space: Some(0), ..NOW }).freed.count, 1);
}

#[test]
fn what_must_stay_stays_above_the_budget_and_that_is_said() {
    let lab = Lab::new();
    let blob = lab.store().blobs().put(b"tagged").unwrap();
    lab.known.blobs.lock().unwrap().insert(blob);
    let collected = lab.collect(&Policy { max_used_space: Some(2), ..NOW });
    assert_eq!((collected.survey.above, collected.survey.dead.len()), (Some(4), 0));
}

#[test]
fn step_results_that_nobody_used_for_long_go() {
    let lab = Lab::new();
    let store = lab.store();
    let ((old, layer), (new, _)) = (step(&store, "old"), step(&store, "new"));
    let mount = store.cache_mount("pip").unwrap();
    std::fs::write(mount.join("wheel"), "12345").unwrap();
    used(&store, &layer, 40 * DAY);
    store.transact(|db| db.execute("UPDATE mounts SET used = used - 4000000", [])).unwrap();
    drop(store);
    let collected = lab.collect(&Policy { unused_for: Some(30 * DAY), ..NOW });
    assert_eq!(collected.freed.count, 2);
    let store = lab.store();
    assert!(!is_found(&store, &old) && is_found(&store, &new));
    assert!(!mount.exists() && store.cache_mount("pip").unwrap().exists());
}

#[test]
fn a_use_is_noted_and_counts() {
    let lab = Lab::new();
    let store = lab.store();
    let (key, layer) = step(&store, "old");
    used(&store, &layer, 40 * DAY);
    drop(store);
    assert!(is_found(&lab.store(), &key));
    assert_eq!(lab.collect(&Policy { unused_for: Some(30 * DAY), ..NOW }).freed.count, 0);
    assert!(is_found(&lab.store(), &key));
}

#[test]
fn what_cannot_be_read_lets_nothing_go() {
    let mut lab = Lab::new();
    let blob = lab.store().blobs().put(b"garbage").unwrap();
    lab.known.broken = true;
    let error = lab.store().collect(&lab.known, &NOW).unwrap_err();
    assert!(error.to_string().contains("campus/x:1"), "{error}");
    assert!(lab.store().blobs().path(&blob).exists());
}

#[test]
fn a_file_that_a_killed_collection_left_in_quarantine_is_found() {
    let lab = Lab::new();
    let store = lab.store();
    let (garbage, tagged) = (store.blobs().put(b"garbage").unwrap(), store.blobs().put(b"tagged").unwrap());
    lab.known.blobs.lock().unwrap().insert(tagged);
    for blob in [&garbage, &tagged] {
        store.blobs().set_aside(blob).unwrap();
    }
    drop(store);
    lab.collect(&NOW);
    let store = lab.store();
    assert!(store.blobs().path(&tagged).exists());
    assert_eq!(store.blobs().size(&garbage).unwrap(), None);
}

#[test]
fn a_blob_that_came_back_and_was_put_aside_by_a_killed_collection_waits_for_who_has_seen_it() {
    let lab = Lab::new();
    let blob = lab.store().blobs().put(b"garbage").unwrap();
    lab.collect(&Policy { quarantine: DAY, ..NOW });
    let later = lab.store();
    assert!(later.blobs().size(&blob).unwrap().is_some());
    // It gets as far as to put the blob aside, and no further.
    let killed = Known { broken: true, ..Known::default() };
    lab.store().collect(&killed, &NOW).unwrap_err();
    assert!(later.blobs().set_aside(&blob).unwrap());
    assert_eq!(lab.collect(&NOW).freed.count, 0);
    assert!(later.blobs().size(&blob).unwrap().is_some());
    drop(later);
    lab.collect(&NOW);
    assert_eq!(lab.collect(&NOW).waiting.count, 0);
    assert_eq!(lab.store().blobs().size(&blob).unwrap(), None);
}

#[test]
fn two_at_once_do_not_collect() {
    let lab = Lab::new();
    let gate = std::fs::File::create(lab.home.path().join("gc.lock")).unwrap();
    rustix::fs::flock(&gate, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(lab.store().collect(&lab.known, &NOW), Err(crate::Error::Collecting)));
}

#[test]
fn the_table_of_a_pack_stays_as_long_as_the_pack() {
    let lab = Lab::new();
    let store = lab.store();
    let (_, layer) = step(&store, "kept");
    let blob = |text: &str| store.blobs().put(text.as_bytes()).unwrap();
    let (pack, table, other) = (blob("pack"), blob("table"), blob("other table"));
    let packed = crate::LayerBlob { media_type: "m".into(), diff_id: Digest::of(b"tar"), digest: pack, size: 4 };
    store.set_layer_blob(&layer, &packed).unwrap();
    let of = |digest, size| crate::tier::TierBlob { digest, size };
    store.set_pack_table(&pack, &of(table, 5)).unwrap();
    store.set_pack_table(&Digest::of(b"a pack that was sent"), &of(other, 11)).unwrap();
    drop(store);
    lab.collect(&NOW);
    let store = lab.store();
    assert_eq!(store.pack_table(&pack).unwrap(), Some(of(table, 5)));
    assert_eq!(store.pack_table(&Digest::of(b"a pack that was sent")).unwrap(), None);
    let here = |digest: &Digest| store.blobs().path(digest).exists();
    assert!(here(&pack) && here(&table) && !here(&other));
}
