//! Contents of a layer that a tier has in other layers' packs, and need not be sent again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shiplap_cache::tier::table::{Content, Pack, Table};
use shiplap_cache::{ContentHash, Kind, LayerIndex, TreePath};

use super::demand::{bytes, units};
use crate::tarball::WHITEOUT;

/// A layer with less than this in its files is sent whole: it is one small blob then.
const WORTH: u64 = 1 << 20;

/// At least one byte in so many is of use where a pack is used.
const WASTE: u64 = 4;

/// A pack, and what is in it.
pub(super) type Known = (Pack, Arc<Table>);

/// Contents of a layer: a path that has them, their hash, their size.
pub(super) type Contents = (TreePath, ContentHash, u64);

/// How a layer is put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Packs that have some of it.
    pub packs: Vec<Pack>,
    /// Bytes of these that must come.
    pub bytes: u64,
    /// The files that are in none of them.
    pub rest: Vec<Contents>,
}

/// The contents of a layer's files, each once, by the first path that has them.
pub(super) fn contents(index: &LayerIndex) -> Vec<Contents> {
    let mut seen = HashSet::new();
    let file = |entry: shiplap_cache::Entry| match entry.kind {
        Kind::File { size, hash, link: None } if size > 0 && seen.insert(hash) => Some((entry.path, hash, size)),
        _ => None,
    };
    index.iter().filter_map(file).collect()
}

/// How a layer is put together from packs, the first ones first. None where less than half of its bytes are in them.
pub(super) fn plan(index: &LayerIndex, known: &[Known]) -> Option<Plan> {
    // Such a layer cannot be put together: a tar says something else with these names.
    if index.iter().any(|entry| entry.path.name().starts_with(WHITEOUT)) {
        return None;
    }
    let mut rest = contents(index);
    let size = |contents: &[Contents]| contents.iter().map(|(_, _, size)| size).sum::<u64>();
    let all = size(&rest);
    if all < WORTH {
        return None;
    }
    let mut plan = Plan::default();
    for (pack, table) in known {
        let found: HashMap<ContentHash, Content> =
            rest.iter().filter_map(|(_, hash, size)| Some((*hash, table.find(hash, *size)?))).collect();
        let units = units(0, table, found.values().copied().collect());
        let around: u64 = units.iter().map(|unit| table.plain(&unit.frames)).map(|range| range.end - range.start).sum();
        let gain: u64 = found.values().map(|content| content.size).sum();
        // Some files in many frames: to send them is cheaper than that everybody fetches what lies around them.
        if found.is_empty() || around > WASTE * gain {
            continue;
        }
        rest.retain(|(_, hash, _)| !found.contains_key(hash));
        plan.packs.push(*pack);
        plan.bytes += bytes(table, &units);
    }
    if size(&rest) > all / 2 {
        return None;
    }
    plan.rest = rest;
    Some(plan)
}

#[cfg(test)]
mod tests {
    use shiplap_cache::tier::TierBlob;
    use shiplap_cache::tier::table::Frame;
    use shiplap_cache::{Digest, Entry, IndexBuilder};

    use super::*;

    const MB: u64 = 1 << 20;

    fn hash(name: &str) -> ContentHash {
        ContentHash::of(name.as_bytes())
    }

    /// Files of so many megabytes.
    fn index(files: &[(&str, u64)]) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        for (name, size) in files {
            let kind = Kind::File { size: size * MB, hash: hash(name), link: None };
            let (path, xattrs) = (TreePath::new(*name).unwrap(), Vec::new());
            builder.push(Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs });
        }
        builder.finish().unwrap()
    }

    /// A pack of such files, each in a frame of its own that is half as large.
    fn pack(name: &str, files: &[(&str, u64)]) -> Known {
        let frames = files.iter().map(|(_, size)| Frame { plain: (size * MB) as u32, packed: (size * MB / 2) as u32 });
        let mut offset = 0;
        let content = |(name, size): &(&str, u64)| {
            let content = Content { hash: Content::prefix(&hash(name)), offset, size: size * MB };
            offset += size * MB;
            content
        };
        let contents = files.iter().map(content).collect();
        let table = Table::new(frames.collect(), contents).unwrap();
        let blob = |text: &str| TierBlob { digest: Digest::of(text.as_bytes()), size: table.size() };
        (Pack { blob: blob(name), table: blob("table") }, Arc::new(table))
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.rest.iter().map(|(path, _, _)| path.to_string()).collect()
    }

    #[test]
    fn what_packs_have_is_left_out_and_the_rest_is_named() {
        let layer = index(&[("a", 4), ("b", 3), ("c", 2)]);
        let one = pack("one", &[("a", 4), ("other", 9)]);
        let two = pack("two", &[("a", 4), ("b", 3)]);
        let made = plan(&layer, &[one.clone(), two.clone()]).unwrap();
        assert_eq!((names(&made), made.bytes), (vec!["/c".to_owned()], 2 * MB + 3 * MB / 2));
        assert_eq!(made.packs, [one.0, two.0]);
    }

    #[test]
    fn a_layer_of_which_less_than_half_is_there_or_that_is_small_is_sent_whole() {
        let one = pack("one", &[("a", 4)]);
        assert_eq!(plan(&index(&[("a", 4), ("b", 5)]), std::slice::from_ref(&one)), None);
        assert_eq!(plan(&index(&[("x", 4)]), &[one]), None);
        let mut builder = IndexBuilder::default();
        let kind = Kind::File { size: 100, hash: hash("a"), link: None };
        let path = TreePath::new("a").unwrap();
        builder.push(Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() });
        assert_eq!(plan(&builder.finish().unwrap(), &[pack("small", &[("a", 1)])]), None);
    }

    #[test]
    fn a_pack_of_which_too_much_would_come_for_a_little_is_not_used() {
        let one = pack("one", &[("a", 3)]);
        // Of a frame of 16 MB one file of 1 MB.
        let frames = vec![Frame { plain: 16 << 20, packed: 8 << 20 }];
        let contents = vec![Content { hash: Content::prefix(&hash("b")), offset: 0, size: MB }];
        let wide = (pack("wide", &[]).0, Arc::new(Table::new(frames, contents).unwrap()));
        let made = plan(&index(&[("a", 3), ("b", 1)]), &[wide, one.clone()]).unwrap();
        assert_eq!((names(&made), made.packs), (vec!["/b".to_owned()], vec![one.0]));
    }
}
