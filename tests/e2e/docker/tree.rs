//! The files of a tar, to be compared.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use tar::EntryType;

/// Paths without a leading slash, each with what is there in words.
pub type Files = BTreeMap<String, Node>;

/// What is at a path, all but its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: String,
    pub content: Vec<u8>,
    pub mode: u32,
    pub owner: (u64, u64),
    /// The first of the names of a file that has several.
    pub names: Option<String>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Contents above this size are kept as a hash.
const LARGE: usize = 4096;

/// Reads a tar with the extensions of pax (`SCHILY.xattr.*`, as BuildKit and we write attributes).
pub fn read(tar: impl Read) -> Files {
    read_with(tar, |_, _| {})
}

/// The same, with a look at each file's content before it is kept.
pub fn read_with(tar: impl Read, adjust: impl Fn(&str, &mut [u8])) -> Files {
    let mut files = Files::new();
    let mut links: Vec<(String, String)> = Vec::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = clean(&entry.path_bytes());
        if path.is_empty() {
            continue;
        }
        let kind = entry.header().entry_type();
        let target =
            entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
        if kind == EntryType::Link {
            links.push((path, clean(target.as_bytes())));
            continue;
        }
        let mut xattrs = BTreeMap::new();
        if let Some(extensions) = entry.pax_extensions().unwrap() {
            for extension in extensions.map(|e| e.unwrap()) {
                if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                    xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
                }
            }
        }
        let header = entry.header();
        let device = || (header.device_major().unwrap().unwrap_or(0), header.device_minor().unwrap().unwrap_or(0));
        let mode = header.mode().unwrap() & 0o7777;
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => "file".to_owned(),
            EntryType::Directory => "directory".to_owned(),
            // The mode of a link says nothing.
            EntryType::Symlink => format!("link to {target}"),
            EntryType::Fifo => "fifo".to_owned(),
            EntryType::Char => format!("character device {:?}", device()),
            EntryType::Block => format!("block device {:?}", device()),
            other => panic!("{path} is a {other:?}"),
        };
        let mode = if kind.starts_with("link") { 0o777 } else { mode };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        adjust(&path, &mut content);
        if content.len() > LARGE {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            content = format!("{} bytes, hash {:016x}", content.len(), hasher.finish()).into_bytes();
        }
        files.insert(path, Node { kind, content, mode, owner, names: None, xattrs });
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, target) in links {
        let node = files.get(&target).unwrap_or_else(|| panic!("{path} links to {target}, which is not there")).clone();
        files.insert(path.clone(), node);
        groups.entry(target.clone()).or_insert_with(|| vec![target]).push(path);
    }
    for mut names in groups.into_values() {
        names.sort();
        for name in &names {
            files.get_mut(name).unwrap().names = Some(names.join(" = "));
        }
    }
    files
}

fn clean(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches("./").trim_matches('/').trim_end_matches("/.").to_owned()
}

/// A line for each path that differs.
pub fn differences(docker: &Files, shiplap: &Files, kept: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    let paths: std::collections::BTreeSet<_> = docker.keys().chain(shiplap.keys()).collect();
    for path in paths.into_iter().filter(|path| !kept(path)) {
        let (theirs, ours) = (docker.get(path), shiplap.get(path));
        if theirs != ours {
            theirs.iter().for_each(|node| lines.push(format!("- {path}: {}", show(node))));
            ours.iter().for_each(|node| lines.push(format!("+ {path}: {}", show(node))));
        }
    }
    lines
}

fn show(node: &Node) -> String {
    let Node { kind, content, mode, owner, names, xattrs } = node;
    let text = String::from_utf8_lossy(&content[..content.len().min(1000)]);
    format!("{kind} {mode:04o} {}:{} {text:?} {names:?} {xattrs:?}", owner.0, owner.1)
}
