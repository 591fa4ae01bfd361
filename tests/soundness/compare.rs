//! Two images file by file, from the indices of their layers: everything but times.

use std::collections::BTreeMap;

use shiplap_cache::{Kind, Tree, TreePath};

type Seen = BTreeMap<TreePath, String>;

/// What is not the same in both, a line for each path.
pub fn differences(reused: &Tree, forced: &Tree) -> Vec<String> {
    let (reused, forced) = (see(reused), see(forced));
    let mut paths: Vec<_> = reused.keys().chain(forced.keys()).collect();
    paths.sort();
    paths.dedup();
    let differs = paths.into_iter().filter(|path| reused.get(path) != forced.get(path));
    let show = |seen: &Seen, path| seen.get(path).map_or("absent", String::as_str).to_owned();
    differs
        .map(|path| format!("{path}\n    reused: {}\n    forced: {}", show(&reused, path), show(&forced, path)))
        .collect()
}

/// Kind, mode, owner, attributes, content or target, and the first of the names that a file has.
fn see(tree: &Tree) -> Seen {
    let mut entries: Vec<_> = tree.walk(&TreePath::root());
    entries.extend(tree.find(&TreePath::root()));
    let group = |layer: usize, path: &TreePath, link: &Option<TreePath>| (layer, link.as_ref().unwrap_or(path).clone());
    let mut first: BTreeMap<(usize, TreePath), TreePath> = BTreeMap::new();
    for found in &entries {
        let entry = tree.entry(*found);
        if let Kind::File { link, .. } = &entry.kind {
            let name = first.entry(group(found.layer, &entry.path, link)).or_insert_with(|| entry.path.clone());
            *name = entry.path.clone().min(name.clone());
        }
    }
    let mut seen = Seen::new();
    for found in entries {
        let entry = tree.entry(found);
        let what = match &entry.kind {
            Kind::File { size, hash, link } => {
                let first = &first[&group(found.layer, &entry.path, link)];
                let linked = if *first == entry.path { String::new() } else { format!(" linked to {first}") };
                format!("file {size} {hash}{linked}")
            }
            Kind::Dir { .. } => "folder".to_owned(),
            Kind::Symlink { target } => format!("-> {}", target.escape_ascii()),
            other => format!("{other:?}"),
        };
        let xattrs: Vec<_> =
            entry.xattrs.iter().map(|(k, v)| format!(" {}={}", k.escape_ascii(), v.escape_ascii())).collect();
        let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
        seen.insert(entry.path.clone(), format!("{what} {mode:o} {uid}:{gid}{}", xattrs.concat()));
    }
    seen
}
