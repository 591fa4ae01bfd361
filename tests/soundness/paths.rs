//! Paths at random: names from a small pool, so that they meet, and many ways to write the same path.

use crate::tree::{Kind, Tree};

/// The kernel calls a file that is gone by such a name as the eighth.
const NAMES: [&[u8]; 10] =
    [b"a", b"b", b"c", b"d", b"lib", b"x y", b"a.b", b"a (deleted)", "\u{e9}".as_bytes(), b"\xff\xfe"];

pub fn name(rng: &mut fastrand::Rng) -> &'static [u8] {
    // The odd ones are rarer than the others.
    NAMES[if rng.u8(0..4) == 0 { rng.usize(0..NAMES.len()) } else { rng.usize(0..4) }]
}

pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

pub fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&b| b == b'/').map_or(b"", |slash| &path[..slash])
}

pub fn depth(path: &[u8]) -> usize {
    path.split(|&b| b == b'/').count()
}

/// Whether a path belongs to what random steps look at. The programs among it are looked at by those who run them.
pub fn inside(path: &[u8]) -> bool {
    let programs: [&[u8]; 6] = [b"inner", b"interpreter", b"script", b"loader", b"program", b"sourced"];
    let is_program = path.strip_prefix(b"opt/").is_some_and(|name| programs.contains(&name));
    (path.starts_with(b"t/") || path.starts_with(b"opt/")) && !is_program
}

/// An absolute path for a step to look at: most often one that is there, or nearly.
pub fn some(rng: &mut fastrand::Rng, tree: &Tree) -> Vec<u8> {
    let candidates: Vec<_> = tree.paths().filter(|path| inside(path)).collect();
    let known = rng.choice(&candidates).map_or_else(|| b"t".to_vec(), |p| p.to_vec());
    let path = match rng.u8(0..12) {
        0..=6 => known,
        7 => join(&known, name(rng)),
        8 => join(parent(&known), name(rng)),
        9 => join(b"t", name(rng)),
        10 => join(&join(parent(&known), b".."), &join(name(rng), name(rng))),
        _ => through_link(rng, tree),
    };
    spelled(rng, &path)
}

/// A path that leads through a link.
pub fn through_link(rng: &mut fastrand::Rng, tree: &Tree) -> Vec<u8> {
    let is_link = |path: &&Vec<u8>| matches!(tree.get(path).map(|node| &node.kind), Some(Kind::Link(_)));
    let links: Vec<_> = tree.paths().filter(is_link).collect();
    let link = rng.choice(&links).map_or_else(|| b"t/a".to_vec(), |p| p.to_vec());
    match rng.u8(0..5) {
        0 => link,
        1 | 2 => join(&link, name(rng)),
        // Not the link's own folder, but that of what it leads to.
        3 => join(&join(&link, b".."), name(rng)),
        _ => join(&join(&link, name(rng)), name(rng)),
    }
}

/// One of the ways to write a path.
pub fn spelled(rng: &mut fastrand::Rng, path: &[u8]) -> Vec<u8> {
    let absolute = [b"/", path].concat();
    match rng.u8(0..24) {
        0 => [b"//", path].concat(),
        1 => [b"/./", path].concat(),
        2 => [&absolute[..], b"/"].concat(),
        3 => [&absolute[..], b"/."].concat(),
        4 => [b"/../", path].concat(),
        5 => [b"/w/../", path].concat(),
        _ => absolute,
    }
}

/// A name relative to some folder.
pub fn relative(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(0..10) {
        0..=3 => name(rng).to_vec(),
        4 => [b"./", name(rng)].concat(),
        5 => [b"../", name(rng)].concat(),
        6 => [b"../../", name(rng)].concat(),
        7 => [name(rng), b"/../", name(rng)].concat(),
        _ => join(name(rng), name(rng)),
    }
}

/// For an argument of the helper.
pub fn encoded(path: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/.-_+".contains(b);
    path.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02x}") }).collect()
}

/// For a shell or Python, whose text has to be UTF-8; names that are not stand for another.
pub fn quoted(path: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(path).replace('\u{fffd}', "a"))
}
