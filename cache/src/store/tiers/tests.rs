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
    let result = StepResult { layers: vec![made], created: 5, millis: 2, ..StepResult::default() };
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
    assert!(!store.has_layer(&used.result.layers[0]).unwrap());
    assert_eq!(store.name("digest", "n").unwrap().as_deref(), Some("v"));
    assert_eq!(store.segments_of("there").unwrap(), HashSet::from([name()]));
    // The layer turned out not to be there: then it is no result.
    store.forget_place(&used.result.layers[0], "there").unwrap();
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
    let layer = used.result.layers[0];
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
    assert!(!store.lacks("there", &used.result.layers[0]).unwrap());
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

#[test]
fn a_layer_whose_contents_are_in_packs_can_be_had_until_one_of_them_is_gone() {
    let (_home, _, used, mut segment) = told();
    let blob = |text: &str| TierBlob { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
    let pack = |name: &str| Pack { blob: blob(name), table: blob(&format!("table of {name}")) };
    let layer = used.result.layers[0];
    segment.layers[0].files = None;
    segment.layers[0].complete = Some(9);
    segment.layers[0] = segment.layers[0].clone().with_contents(&[pack("one"), pack("two")]);
    let (_other, store) = store();
    store.use_tiers(["there".to_owned()]);
    store.learn("there", &name(), &Segment::decode(&segment.encode().unwrap()).unwrap(), true).unwrap();
    assert!(store.can_have_layer(&layer).unwrap());
    assert!(store.lookup_exact(&used.step, &used.parent).unwrap().is_some());
    assert!(!store.lacks("there", &layer).unwrap());
    let place = store.layer_places(&layer).unwrap().remove(0);
    assert_eq!((place.complete, place.contents.len()), (Some(9), 2));
    assert_eq!(store.layer_elsewhere(&layer, "m").unwrap(), None);
    assert_eq!(store.pack_table(&blob("one").digest).unwrap(), Some(pack("one").table));
    for part in [pack("one").blob, pack("two").table] {
        assert_eq!(store.blob_places(&part.digest).unwrap(), [("there".to_owned(), part)]);
    }
    assert_eq!(store.tier_size("there").unwrap(), 4 + 3 + 3 + 12 + 12);
    // A record with less does not take anything away.
    let bare = Segment { layers: vec![Layer::of(&layer, blob("index"), None)], ..Segment::default() };
    store.learn("there", &SegmentName { time: 2, digest: Digest::of(b"t") }, &bare, true).unwrap();
    assert!(store.can_have_layer(&layer).unwrap());
    store.forget_pack("there", &blob("one").digest).unwrap();
    assert!(!store.can_have_layer(&layer).unwrap());
    assert_eq!(store.layer_places(&layer).unwrap()[0].contents, [pack("two")]);
    store.forget_place(&layer, "there").unwrap();
    assert_eq!(store.blob_places(&blob("two").digest).unwrap(), []);
}

#[test]
fn advice_that_changed_back_is_told_again() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let names = [(GUESSES.to_owned(), "a".to_owned())];
    let tell = |time: u64, value: &str| {
        store.set_name(GUESSES, "a", value).unwrap();
        let (segment, _) = store.to_tell("tier", &[], &names).unwrap();
        let name = SegmentName { time: time as i64, digest: Digest::of(&time.to_be_bytes()) };
        store.learn("tier", &name, &segment, true).unwrap();
        segment.names.len()
    };
    let told = ["right", "right", "wrong", "right", "right"].into_iter().zip(1..).map(|(value, at)| tell(at, value));
    assert_eq!(told.collect::<Vec<_>>(), [1, 0, 1, 1, 0]);
    store.forget_tier("tier").unwrap();
    assert_eq!(tell(9, "right"), 1, "one that is not known any more is told all");
}

#[test]
fn of_two_pieces_of_advice_the_one_that_came_later_counts() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, other) = (Store::open(home.path()).unwrap(), Store::open(other.path()).unwrap());
    other.set_name(GUESSES, "a", "right").unwrap();
    store.set_name(GUESSES, "a", "wrong").unwrap();
    let (segment, _) = store.to_tell("tier", &[], &[(GUESSES.to_owned(), "a".to_owned())]).unwrap();
    let name = SegmentName { time: 1, digest: Digest::of(b"segment") };
    other.learn("tier", &name, &segment, true).unwrap();
    assert_eq!(other.name(GUESSES, "a").unwrap().as_deref(), Some("wrong"));
}
