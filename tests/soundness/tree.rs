//! A small tree of files as plain data: made at random, changed, and written out as a tar or as a folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::{fmt, fs};

use crate::{elf, paths};

/// What a path is. No pipes: a shell that reads one waits for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File(Vec<u8>),
    /// A further name of the file at this path.
    Hard(Vec<u8>),
    Link(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Node {
    pub fn new(kind: Kind) -> Self {
        let mode = if matches!(kind, Kind::Dir) { 0o755 } else { 0o644 };
        Self { kind, mode, owner: (0, 0), xattrs: Vec::new() }
    }

    pub fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::File(content.into()))
    }
}

/// Paths without the leading slash; every folder of a path is in it too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl Tree {
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    pub fn paths(&self) -> impl ExactSizeIterator<Item = &Vec<u8>> {
        self.nodes.keys()
    }

    pub fn is_dir(&self, path: &[u8]) -> bool {
        path.is_empty() || self.nodes.get(path).is_some_and(|node| node.kind == Kind::Dir)
    }

    pub fn folders(&self) -> Vec<Vec<u8>> {
        self.nodes.keys().filter(|path| self.is_dir(path)).cloned().collect()
    }

    /// Puts something at a path whose folder is there. What is at that path goes, with all below it.
    pub fn put(&mut self, path: &[u8], node: Node) -> bool {
        let fits = self.is_dir(paths::parent(path)) && !path.is_empty();
        if fits {
            self.remove(path);
            self.nodes.insert(path.to_vec(), node);
        }
        fits
    }

    /// Removes a path and all below it.
    pub fn remove(&mut self, path: &[u8]) {
        let inside = [path, b"/"].concat();
        self.nodes.retain(|at, _| at != path && !at.starts_with(&inside));
    }

    /// Moves a path and all below it.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        let inside = [from, b"/"].concat();
        if !self.is_dir(paths::parent(to)) || to.starts_with(&inside) || from == to {
            return;
        }
        let moved: Vec<_> = self.nodes.iter().filter(|(at, _)| *at == from || at.starts_with(&inside)).collect();
        let moved: Vec<_> = moved.into_iter().map(|(at, node)| (at[from.len()..].to_vec(), node.clone())).collect();
        self.remove(from);
        self.remove(to);
        self.nodes.extend(moved.into_iter().map(|(rest, node)| ([to, &rest[..]].concat(), node)));
    }

    /// Names everybody needs, below `t` what random steps look at.
    pub fn base(rng: &mut fastrand::Rng) -> Self {
        let mut tree = Self::default();
        for folder in ["etc", "t", "w", "opt"] {
            tree.put(folder.as_bytes(), Node::new(Kind::Dir));
        }
        // Whoever a step runs as, it can make something there.
        if let Some(node) = tree.get_mut(b"w") {
            node.mode = 0o1777;
        }
        let users = "root::0:0:root:/root:/bin/sh\nbob:x:3333:3333::/home:/bin/sh\n";
        tree.put(b"etc/passwd", Node::file(users));
        tree.put(b"etc/group", Node::file("root:x:0:\nbob:x:3333:\nstaff:x:50:bob\n"));
        for _ in 0..rng.usize(8..28) {
            tree.grow(rng);
        }
        tree.programs(rng);
        if rng.u8(0..8) == 0 {
            tree.chain();
        }
        tree
    }

    /// What a build context holds.
    pub fn context(rng: &mut fastrand::Rng) -> Self {
        let mut tree = Self::default();
        for folder in ["t", "t/a"] {
            tree.put(folder.as_bytes(), Node::new(Kind::Dir));
        }
        tree.put(b"t/a/b", Node::file(text(rng)));
        for _ in 0..rng.usize(2..9) {
            tree.grow(rng);
        }
        tree
    }

    /// Adds something at random.
    pub fn grow(&mut self, rng: &mut fastrand::Rng) {
        let folders: Vec<_> = self.folders().into_iter().filter(|f| f.starts_with(b"t") || f == b"opt").collect();
        let Some(folder) = rng.choice(&folders) else { return };
        let path = paths::join(folder, paths::name(rng));
        if self.nodes.contains_key(&path) || paths::depth(&path) > 5 {
            return;
        }
        let node = self.random_node(rng);
        self.put(&path, node);
    }

    /// Something of any kind.
    pub fn random_node(&self, rng: &mut fastrand::Rng) -> Node {
        let kind = match rng.u8(0..20) {
            0..=7 => Kind::File(text(rng)),
            8..=12 => Kind::Dir,
            13 => {
                let files: Vec<_> = self.paths().filter(|p| paths::inside(p) && self.is_file(p)).collect();
                Kind::Hard(rng.choice(&files).map_or_else(|| b"t/a".to_vec(), |path| path.to_vec()))
            }
            _ => Kind::Link(self.link_target(rng)),
        };
        let mut node = Node::new(kind);
        node.mode = mode(rng, &node.kind);
        if rng.u8(0..5) == 0 {
            node.owner = owner(rng);
        }
        if rng.u8(0..5) == 0 && !matches!(node.kind, Kind::Link(_)) {
            node.xattrs.push(xattr(rng, &node.kind));
        }
        node
    }

    /// Relative or absolute, to something or to nothing, round in circles, climbing, through other links and through `/proc`.
    pub fn link_target(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        let inside: Vec<_> = self.paths().filter(|p| p.starts_with(b"t/") || p.starts_with(b"opt")).collect();
        let some = rng.choice(&inside).map_or_else(|| b"t/a".to_vec(), |p| p.to_vec());
        match rng.u8(0..14) {
            0..=2 => [b"/", &some[..]].concat(),
            3..=4 => paths::name(rng).to_vec(),
            5 => [b"../", paths::name(rng)].concat(),
            6 => [paths::name(rng), b"/", paths::name(rng)].concat(),
            7 => [b"/t/", paths::name(rng), b"/../", paths::name(rng)].concat(),
            8 => b"..".to_vec(),
            9 => b".".to_vec(),
            10 => [b"../../../../t/", paths::name(rng)].concat(),
            11 => [b"/", &some[..], b"/"].concat(),
            12 => [b"/proc/self/root/", &some[..]].concat(),
            _ => [b"./", paths::name(rng), b"//", paths::name(rng)].concat(),
        }
    }

    /// Scripts whose interpreter is itself in the tree, a program with a loader of its own, a library for Python.
    fn programs(&mut self, rng: &mut fastrand::Rng) {
        let mut add = |path: &str, content: Vec<u8>| {
            let node = Node { mode: 0o755, ..Node::file(content) };
            self.put(path.as_bytes(), node);
        };
        add("opt/inner", format!("#!/bin/sh\necho inner {} \"$@\"\n", rng.u8(..)).into_bytes());
        add("opt/interpreter", b"#!/opt/inner middle\n".to_vec());
        add("opt/script", b"#!/opt/interpreter of the script\n".to_vec());
        add("opt/loader", elf::loader(&format!("loader {}\n", rng.u8(..))));
        add("opt/program", elf::program("/opt/loader"));
        add("opt/sourced", format!("echo sourced {}\n", rng.u8(..)).into_bytes());
        add("opt/module.py", format!("VALUE = {}\n", rng.u8(..)).into_bytes());
        if rng.bool() {
            self.put(b"opt/to-script", Node::new(Kind::Link(b"script".to_vec())));
        }
    }

    /// As many links in a row as the kernel follows, and a few more (path_resolution(7)).
    fn chain(&mut self) {
        self.put(b"chain", Node::new(Kind::Dir));
        self.put(b"chain/0", Node::file("one"));
        for link in 1..=42 {
            let target = format!("{}", link - 1);
            self.put(format!("chain/{link}").as_bytes(), Node::new(Kind::Link(target.into_bytes())));
        }
    }

    /// Writes it as a tar, always with the same bytes.
    pub fn to_tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        // A further name of a file comes behind the file.
        let late = |node: &Node| matches!(node.kind, Kind::Hard(_));
        let (further, first): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|(_, node)| late(node));
        for (path, node) in first.into_iter().chain(further) {
            self.append(&mut builder, path, node);
        }
        builder.into_inner().unwrap()
    }

    fn append(&self, builder: &mut tar::Builder<Vec<u8>>, path: &[u8], node: &Node) {
        let mut header = tar::Header::new_ustar();
        header.set_mode(node.mode);
        header.set_uid(node.owner.0.into());
        header.set_gid(node.owner.1.into());
        header.set_mtime(1_735_689_600);
        header.set_size(0);
        let xattrs = node.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value));
        let xattrs: Vec<_> = xattrs.collect();
        builder.append_pax_extensions(xattrs.iter().map(|(name, value)| (name.as_str(), value.as_slice()))).unwrap();
        let (path, name) = (Path::new(OsStr::from_bytes(path)), |target: &[u8]| OsStr::from_bytes(target).to_owned());
        match &node.kind {
            Kind::File(content) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_slice()).unwrap();
            }
            Kind::Hard(first) if self.is_file(first) => {
                header.set_entry_type(tar::EntryType::Link);
                builder.append_link(&mut header, path, name(first)).unwrap();
            }
            // The file is gone, and with it what it had.
            Kind::Hard(_) => builder.append_data(&mut header, path, std::io::empty()).unwrap(),
            Kind::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(target).unwrap();
                builder.append_data(&mut header, path, std::io::empty()).unwrap();
            }
            Kind::Dir => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, path, std::io::empty()).unwrap();
            }
        }
    }

    fn is_file(&self, path: &[u8]) -> bool {
        self.nodes.get(path).is_some_and(|node| matches!(node.kind, Kind::File(_)))
    }

    /// Writes it into a folder that is empty.
    pub fn to_folder(&self, folder: &Path) {
        let at = |path: &[u8]| folder.join(OsStr::from_bytes(path));
        for (path, node) in &self.nodes {
            match &node.kind {
                Kind::Dir => fs::create_dir(at(path)).unwrap(),
                Kind::File(content) => fs::write(at(path), content).unwrap(),
                Kind::Link(target) => symlink(OsStr::from_bytes(target), at(path)).unwrap(),
                // Second round: its file may sort behind it.
                Kind::Hard(_) => continue,
            }
            if !matches!(node.kind, Kind::Link(_)) {
                fs::set_permissions(at(path), fs::Permissions::from_mode(node.mode)).unwrap();
            }
        }
        for (path, node) in &self.nodes {
            match &node.kind {
                Kind::Hard(first) if self.is_file(first) => fs::hard_link(at(first), at(path)).unwrap(),
                Kind::Hard(_) => fs::write(at(path), "").unwrap(),
                _ => {}
            }
        }
    }

    /// One line for each path, for people.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        for (path, node) in &self.nodes {
            out += &format!("/{}  {node}\n", path.escape_ascii());
        }
        out
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (uid, gid) = self.owner;
        match &self.kind {
            Kind::Dir => write!(f, "folder")?,
            Kind::File(content) if content.len() > 200 => write!(f, "file of {} bytes", content.len())?,
            Kind::File(content) => write!(f, "file \"{}\"", content.escape_ascii())?,
            Kind::Hard(first) => write!(f, "hard link to /{}", first.escape_ascii())?,
            Kind::Link(target) => write!(f, "-> {}", target.escape_ascii())?,
        }
        write!(f, " {:o} {uid}:{gid}", self.mode)?;
        self.xattrs.iter().try_for_each(|(name, value)| write!(f, " {name}={}", value.escape_ascii()))
    }
}

/// A few letters: two files are often the same, and an edit often keeps the size.
pub fn text(rng: &mut fastrand::Rng) -> Vec<u8> {
    let word = ["one", "two", "six", "ten", "three", "", "a longer text of several words\n"];
    rng.choice(word).unwrap_or_default().as_bytes().to_vec()
}

pub fn mode(rng: &mut fastrand::Rng, kind: &Kind) -> u32 {
    let modes: &[u32] = match kind {
        Kind::Dir => &[0o755, 0o755, 0o755, 0o755, 0o700, 0o750, 0o711, 0o777, 0o1777, 0o2775, 0o555, 0o744],
        _ => &[0o644, 0o644, 0o644, 0o755, 0o600, 0o666, 0o444, 0o640, 0o4755, 0o000],
    };
    *rng.choice(modes).unwrap_or(&0o755)
}

pub fn owner(rng: &mut fastrand::Rng) -> (u32, u32) {
    *rng.choice(&[(0, 0), (3333, 3333), (3333, 0), (0, 50), (1000, 1000)]).unwrap_or(&(0, 0))
}

/// One of the user's own, or rights that files made in a folder inherit (acl(5), the kernel's binary form).
pub fn xattr(rng: &mut fastrand::Rng, kind: &Kind) -> (String, Vec<u8>) {
    if *kind == Kind::Dir && rng.bool() {
        let others = rng.u8(0..8);
        let mut acl = vec![2, 0, 0, 0];
        for (tag, permissions) in [(1_u16, 7_u8), (4, 5), (0x20, others)] {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&[permissions, 0]);
            acl.extend_from_slice(&u32::MAX.to_le_bytes());
        }
        return ("system.posix_acl_default".to_owned(), acl);
    }
    ("user.note".to_owned(), rng.choice(["red", "blue", "green"]).unwrap_or("red").as_bytes().to_vec())
}
