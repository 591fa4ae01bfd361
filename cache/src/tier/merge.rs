//! Several segments become one, and what nobody used for long stays behind.

use std::collections::{HashMap, HashSet};

use super::segment::{Blob, Exact, Known, Layer, Mount, Run, Segment};
use super::{SegmentName, TierBlob};
use crate::Digest;
use crate::steps::{is_newer, layers_of};

/// What may stay in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// What was last used before this day goes.
    pub since: u32,
    /// Bytes of all blobs; above it, what was used longest ago goes first.
    pub most: Option<u64>,
}

/// Puts segments together. Of what they say of the same thing, the newest counts, and of two results the newer one: somebody wanted it anew, or both are right.
pub fn merge(mut segments: Vec<(SegmentName, Segment)>, retention: Retention) -> Segment {
    segments.sort_by_key(|(name, _)| *name);
    let mut all = All::default();
    for (name, segment) in &segments {
        all.take(name, segment);
    }
    all.into_segment(retention)
}

/// A segment without what is gone: layers that cannot be had any more keep no result, and a mount of which a part is gone is none.
pub fn without(segment: Segment, gone: &HashSet<Digest>) -> Segment {
    let is_there = |blob: &Blob| !gone.contains(&TierBlob::from(*blob).digest);
    let mut left = segment.clone();
    left.mounts.retain(|mount| mount.parts.iter().all(is_there));
    left.layers.retain(|layer| is_there(&layer.index));
    for layer in &mut left.layers {
        layer.files = layer.files.take().filter(|files| is_there(&files.blob));
        let all = layer.contents.len();
        layer.contents.retain(|source| is_there(&source.pack) && is_there(&source.table));
        layer.complete = layer.complete.filter(|_| layer.contents.len() == all);
    }
    // What it stands for stays, and it does not stand for itself.
    let name = SegmentName { time: 0, digest: Digest::of(b"") };
    let everything = Retention { since: 0, most: None };
    Segment { replaces: segment.replaces, ..merge(vec![(name, left)], everything) }
}

/// A step key and a tree.
type OnTree = ([u8; 32], [u8; 32]);

#[derive(Default)]
struct All<'a> {
    replaces: Vec<super::segment::Name>,
    runs: HashMap<[u8; 32], (&'a Run, &'a [u8], &'a str, u32)>,
    exact: HashMap<OnTree, (&'a str, u32)>,
    layers: HashMap<[u8; 32], Layer>,
    names: HashMap<(&'a str, &'a str), &'a Known>,
    mounts: HashMap<[u8; 32], &'a Mount>,
}

impl<'a> All<'a> {
    fn take(&mut self, name: &SegmentName, segment: &'a Segment) {
        self.replaces.push(name.into());
        // A tier that takes nothing away still lists what those stood for.
        self.replaces.extend(&segment.replaces);
        for run in &segment.runs {
            let (set, result) = (&segment.sets[run.set as usize], &segment.results[run.result as usize]);
            let kept = self.runs.entry(run.input).or_insert((run, set, result, run.day));
            if is_newer(result, kept.2) {
                (kept.0, kept.1, kept.2) = (run, set, result);
            }
            kept.3 = kept.3.max(run.day);
        }
        for exact in &segment.exact {
            let result = &segment.results[exact.result as usize];
            let kept = self.exact.entry((exact.step, exact.parent)).or_insert((result, exact.day));
            if is_newer(result, kept.0) {
                kept.0 = result;
            }
            kept.1 = kept.1.max(exact.day);
        }
        for layer in &segment.layers {
            let kept = self.layers.entry(layer.id).or_insert_with(|| layer.clone());
            let day = kept.day.max(layer.day);
            let files = layer.files.clone().or_else(|| kept.files.take());
            let complete = layer.complete.or(kept.complete);
            let mut contents = std::mem::take(&mut kept.contents);
            contents.extend(layer.contents.iter().filter(|source| !contents.contains(source)).collect::<Vec<_>>());
            *kept = Layer { files, contents, complete, day, ..layer.clone() };
        }
        for known in &segment.names {
            self.names.insert((&known.space, &known.name), known);
        }
        for mount in &segment.mounts {
            let kept = self.mounts.entry(mount.key).or_insert(mount);
            if mount.time > kept.time {
                *kept = mount;
            }
        }
    }

    fn into_segment(self, retention: Retention) -> Segment {
        let mut mounts: Vec<Mount> = self.mounts.into_values().cloned().collect();
        mounts.retain(|mount| mount.time / 86_400 >= i64::from(retention.since));
        mounts.sort_by_key(|mount| mount.key);
        let mut layers: Vec<Layer> = self.layers.into_values().filter(|layer| layer.day >= retention.since).collect();
        layers.sort_by_key(|layer| (std::cmp::Reverse(layer.day), layer.id));
        let mut counted: HashSet<Blob> = HashSet::new();
        let mut size: u64 = 0;
        let mut count = |blobs: &mut dyn Iterator<Item = Blob>| {
            blobs.filter(|blob| counted.insert(*blob)).for_each(|(_, bytes)| size = size.saturating_add(bytes));
            retention.most.is_none_or(|most| size <= most)
        };
        mounts.retain(|mount| count(&mut mount.parts.iter().copied()));
        layers.retain(|layer| {
            let packs = layer.contents.iter().flat_map(|source| [source.pack, source.table]);
            count(&mut layer.files.iter().map(|files| files.blob).chain([layer.index]).chain(packs))
        });
        layers.sort_by_key(|layer| layer.id);

        let with_files: HashSet<[u8; 32]> =
            layers.iter().filter(|layer| layer.can_be_had()).map(|layer| layer.id).collect();
        let is_whole = |result: &str| layers_of(result).iter().all(|layer| with_files.contains(layer.as_bytes()));
        let mut merged = Segment { replaces: self.replaces, layers, mounts, ..Segment::default() };
        let (mut sets, mut results) = (HashMap::new(), HashMap::new());

        let mut runs: Vec<_> =
            self.runs.into_values().filter(|run| run.3 >= retention.since && is_whole(run.2)).collect();
        runs.sort_by_key(|run| run.0.input);
        for (run, set, result, day) in runs {
            let set = *sets.entry(set).or_insert_with(|| add(&mut merged.sets, set.to_vec()));
            let result = *results.entry(result).or_insert_with(|| add(&mut merged.results, result.to_owned()));
            merged.runs.push(Run { set, result, day, ..run.clone() });
        }
        let mut exact: Vec<_> =
            self.exact.into_iter().filter(|(_, (result, day))| *day >= retention.since && is_whole(result)).collect();
        exact.sort_by_key(|(key, _)| *key);
        for ((step, parent), (result, day)) in exact {
            let result = *results.entry(result).or_insert_with(|| add(&mut merged.results, result.to_owned()));
            merged.exact.push(Exact { step, parent, result, day });
        }
        let mut names: Vec<Known> =
            self.names.into_values().filter(|known| known.day >= retention.since).cloned().collect();
        names.sort_by(|a, b| (&a.space, &a.name).cmp(&(&b.space, &b.name)));
        merged.names = names;
        merged.replaces.sort_unstable();
        merged.replaces.dedup();
        merged
    }
}

fn add<T>(list: &mut Vec<T>, value: T) -> u32 {
    list.push(value);
    (list.len() - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::segment::{Files, Source};
    use crate::{LayerId, StepResult};

    fn layer(n: u8, size: u64, day: u32) -> Layer {
        let files = Files { media_type: "m".into(), diff_id: [n; 32], blob: ([n; 32], size) };
        Layer { id: [n; 32], index: ([n + 100; 32], 1), files: Some(files), contents: Vec::new(), complete: None, day }
    }

    /// A step that made layer `n` and was used that day.
    fn segment(n: u8, size: u64, day: u32) -> Segment {
        let result = StepResult { layers: vec![LayerId::from_bytes([n; 32])], ..StepResult::default() };
        Segment {
            sets: vec![vec![n]],
            results: vec![serde_json::to_string(&result).unwrap()],
            runs: vec![Run { input: [n; 32], step: [n; 32], set: 0, parent: vec![], result: 0, day }],
            exact: vec![Exact { step: [n; 32], parent: [9; 32], result: 0, day }],
            layers: vec![layer(n, size, day)],
            ..Segment::default()
        }
    }

    fn name(n: u8) -> SegmentName {
        SegmentName { time: n.into(), digest: Digest::of(&[n]) }
    }

    fn merged(segments: &[(u8, Segment)], retention: Retention) -> Segment {
        merge(segments.iter().map(|(n, segment)| (name(*n), segment.clone())).collect(), retention)
    }

    const ALL: Retention = Retention { since: 0, most: None };

    #[test]
    fn all_is_there_once_and_says_what_it_stands_for() {
        let both = merged(&[(1, segment(1, 10, 5)), (2, segment(2, 20, 6)), (3, segment(1, 10, 8))], ALL);
        assert_eq!((both.runs.len(), both.exact.len(), both.layers.len()), (2, 2, 2));
        assert_eq!((both.sets.len(), both.results.len(), both.replaces.len()), (2, 2, 3));
        let day = |n: u8| both.runs.iter().find(|run| run.input == [n; 32]).unwrap().day;
        assert_eq!((day(1), day(2)), (8, 6));
        // The order in which they come makes no difference.
        assert_eq!(both, merged(&[(3, segment(1, 10, 8)), (2, segment(2, 20, 6)), (1, segment(1, 10, 5))], ALL));
        assert!(Segment::decode(&both.encode().unwrap()).is_ok());
    }

    #[test]
    fn what_nobody_used_since_goes() {
        let kept = merged(&[(1, segment(1, 10, 5)), (2, segment(2, 20, 6))], Retention { since: 6, most: None });
        assert_eq!((kept.runs.len(), kept.exact.len(), kept.layers.len()), (1, 1, 1));
        assert_eq!(kept.layers[0].id, [2; 32]);
    }

    #[test]
    fn what_was_used_longest_ago_goes_until_the_rest_fits_and_its_results_with_it() {
        let retention = Retention { since: 0, most: Some(25) };
        let kept = merged(&[(1, segment(1, 10, 5)), (2, segment(2, 20, 6)), (3, segment(3, 2, 4))], retention);
        assert_eq!(kept.layers.iter().map(|layer| layer.id[0]).collect::<Vec<_>>(), [2]);
        assert_eq!((kept.runs.len(), kept.exact.len(), kept.results.len()), (1, 1, 1));
    }

    #[test]
    fn an_index_alone_does_not_take_files_away() {
        let mut bare = segment(1, 10, 7);
        bare.layers[0].files = None;
        let both = merged(&[(1, segment(1, 10, 5)), (2, bare)], ALL);
        assert!(both.layers[0].files.is_some());
        assert_eq!(both.layers[0].day, 7);
    }

    #[test]
    fn what_is_gone_takes_the_results_with_it_that_need_it_and_nothing_else() {
        let source = |n: u8| Source { pack: ([n; 32], 10), table: ([n + 1; 32], 1) };
        let mut third = segment(3, 30, 7);
        third.layers[0] =
            Layer { files: None, contents: vec![source(50), source(60)], complete: Some(4), ..third.layers[0].clone() };
        let mut second = segment(2, 20, 6);
        second.layers[0].contents = vec![source(70)];
        second.mounts = vec![Mount { key: [1; 32], time: 1, parts: vec![([80; 32], 1)] }];
        let all = merged(&[(1, segment(1, 10, 5)), (2, second), (3, third)], ALL);
        let left = |gone: &[u8]| {
            let gone = gone.iter().map(|n| Digest::from_bytes([*n; 32])).collect();
            let left = without(all.clone(), &gone);
            assert_eq!(left.replaces, all.replaces);
            assert!(Segment::decode(&left.encode().unwrap()).is_ok());
            (left.layers.len(), left.runs.iter().map(|run| run.input[0]).collect::<Vec<_>>(), left.mounts.len())
        };
        assert_eq!(left(&[]), (3, vec![1, 2, 3], 1));
        assert_eq!(without(all.clone(), &HashSet::new()), all);
        assert_eq!(left(&[1]), (3, vec![2, 3], 1), "its files: what is in it is known all the same");
        assert_eq!(left(&[101]), (2, vec![2, 3], 1), "its index");
        assert_eq!(left(&[61]), (3, vec![1, 2], 1), "a table without which it cannot be put together");
        assert_eq!(left(&[71]), (3, vec![1, 2, 3], 1), "a table of what is there whole");
        assert_eq!(left(&[80]), (3, vec![1, 2, 3], 0), "a part of a mount");
    }

    #[test]
    fn a_layer_whose_contents_are_elsewhere_keeps_its_results_and_the_packs_count() {
        let source = |n: u8, size| Source { pack: ([n; 32], size), table: ([n + 1; 32], 1) };
        let mut elsewhere = segment(1, 10, 7);
        elsewhere.layers[0] =
            Layer { files: None, contents: vec![source(50, 10)], complete: Some(4), ..elsewhere.layers[0].clone() };
        let mut more = elsewhere.clone();
        more.layers[0].contents = vec![source(50, 10), source(60, 20)];
        more.layers[0].complete = None;
        let both = merged(&[(1, elsewhere.clone()), (2, more)], ALL);
        assert_eq!((both.runs.len(), both.exact.len()), (1, 1));
        assert_eq!(both.layers[0].contents, [source(50, 10), source(60, 20)]);
        assert_eq!(both.layers[0].complete, Some(4));
        assert_eq!(both.parts().len(), 5);
        // The index, and a pack of 10 with its table.
        let fits = |most| merged(&[(1, elsewhere.clone())], Retention { since: 0, most: Some(most) }).layers.len();
        assert_eq!((fits(12), fits(11)), (1, 0));
        elsewhere.layers[0].complete = None;
        assert_eq!(merged(&[(1, elsewhere)], ALL).runs, []);
    }
}
