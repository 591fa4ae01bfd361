//! Random changes of what lies below a step.

use std::fmt;

use crate::paths;
use crate::tree::{Kind, Node, Tree, mode, owner, text, xattr};

/// Which of the two trees of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Base,
    Context,
}

#[derive(Debug, Clone)]
pub struct Mutation {
    pub place: Where,
    pub change: Change,
}

/// One change; paths without the leading slash. What does not fit the tree does nothing.
#[derive(Debug, Clone)]
pub enum Change {
    /// Puts something there, with the folders on the way.
    Put(Vec<u8>, Node),
    Edit(Vec<u8>, Vec<u8>),
    Mode(Vec<u8>, u32),
    Owner(Vec<u8>, (u32, u32)),
    Xattrs(Vec<u8>, Vec<(String, Vec<u8>)>),
    Remove(Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    /// Moves what is there elsewhere and leaves a link to it.
    BecomeLink(Vec<u8>, Vec<u8>),
    /// Turns a link to something in the tree into a copy of that.
    BecomeCopy(Vec<u8>, Vec<u8>),
}

impl Mutation {
    pub fn apply(&self, base: &mut Tree, context: &mut Tree) {
        let tree = if self.place == Where::Base { base } else { context };
        match &self.change {
            Change::Put(path, node) => {
                let mut at = Vec::new();
                for name in paths::parent(path).split(|&b| b == b'/').filter(|name| !name.is_empty()) {
                    at = paths::join(&at, name);
                    if tree.get(&at).is_none() {
                        tree.put(&at, Node::new(Kind::Dir));
                    }
                }
                tree.put(path, node.clone());
            }
            Change::Edit(path, content) => {
                if let Some(Node { kind: Kind::File(old), .. }) = tree.get_mut(path) {
                    old.clone_from(content);
                }
            }
            Change::Mode(path, mode) => {
                if let Some(node) = tree.get_mut(path) {
                    node.mode = *mode;
                }
            }
            Change::Owner(path, owner) => {
                if let Some(node) = tree.get_mut(path) {
                    node.owner = *owner;
                }
            }
            Change::Xattrs(path, xattrs) => {
                if let Some(node) = tree.get_mut(path) {
                    node.xattrs.clone_from(xattrs);
                }
            }
            Change::Remove(path) => tree.remove(path),
            Change::Rename(from, to) => tree.rename(from, to),
            Change::BecomeLink(path, to) => {
                if tree.get(path).is_some() && tree.get(to).is_none() {
                    tree.rename(path, to);
                    tree.put(path, Node::new(Kind::Link([b"/", &to[..]].concat())));
                }
            }
            Change::BecomeCopy(path, of) => {
                if let Some(node) = tree.get(of).cloned() {
                    tree.put(path, node);
                }
            }
        }
    }

    /// A change near something that a step looks at (`hot`), or anywhere.
    pub fn random(rng: &mut fastrand::Rng, base: &Tree, context: &Tree, hot: &[Vec<u8>]) -> Self {
        let place = if rng.u8(0..6) == 0 { Where::Context } else { Where::Base };
        let tree = if place == Where::Base { base } else { context };
        let inside = |path: &[u8]| path.starts_with(b"t/") || path.starts_with(b"opt/");
        let there: Vec<_> = tree.paths().filter(|path| inside(path)).collect();
        let any = rng.choice(&there).map_or_else(|| b"t/a".to_vec(), |path| path.to_vec());
        let path = match rng.choice(hot) {
            Some(hot) if place == Where::Base && rng.u8(0..5) < 2 => match rng.u8(0..6) {
                0 if inside(paths::parent(hot)) => paths::parent(hot).to_vec(),
                1 => paths::join(hot, paths::name(rng)),
                2 => paths::join(paths::parent(hot), paths::name(rng)),
                _ => hot.clone(),
            },
            _ => any,
        };
        Self { place, change: Self::change(rng, tree, &path) }
    }

    fn change(rng: &mut fastrand::Rng, tree: &Tree, path: &[u8]) -> Change {
        let at = path.to_vec();
        let beside = paths::join(paths::parent(path), format!("moved{}", rng.u8(0..3)).as_bytes());
        // Who builds looks into these, too.
        match rng.u8(0..60) {
            0 => {
                let users = "root::0:0:root:/root:/bin/sh\nbob:x:4444:3333::/home:/bin/sh\n";
                return Change::Edit(b"etc/passwd".to_vec(), users.into());
            }
            1 => return Change::Edit(b"etc/group".to_vec(), "root:x:0:\nbob:x:3333:\nstaff:x:51:bob\n".into()),
            2 => return Change::Put(b"opt/module/__init__.py".to_vec(), Node::file("VALUE = 'package'\n")),
            3 => return Change::Mode(b"t".to_vec(), *rng.choice(&[0o700, 0o755, 0o711, 0o2775]).unwrap_or(&0o755)),
            4..=5 => {
                let folder = if tree.is_dir(path) { path } else { paths::parent(path) };
                return Change::Xattrs(folder.to_vec(), vec![xattr(rng, &Kind::Dir)]);
            }
            6 => return Change::Edit(b"opt/inner".to_vec(), format!("#!/bin/sh\necho {}\n", rng.u8(..)).into_bytes()),
            7 => return Change::Edit(b"opt/loader".to_vec(), crate::elf::loader(&format!("other {}\n", rng.u8(..)))),
            8..=10 if tree.get(b"chain").is_some() => return Change::Edit(b"chain/0".to_vec(), text(rng)),
            _ => {}
        }
        let Some(node) = tree.get(path) else {
            // It was absent.
            return Change::Put(at, tree.random_node(rng));
        };
        match (&node.kind, rng.u8(0..12)) {
            (_, 0) => Change::Remove(at),
            (_, 1) => Change::Rename(at, beside),
            (Kind::Link(target), 2) => {
                // The file that the link is to, if it is in its own folder or absolute.
                let to =
                    target.strip_prefix(b"/").map_or_else(|| paths::join(paths::parent(path), target), <[u8]>::to_vec);
                Change::BecomeCopy(at, to)
            }
            (_, 2) => Change::BecomeLink(at, beside),
            (_, 3) => Change::Put(at, tree.random_node(rng)),
            (Kind::Link(_), _) => Change::Put(at, Node::new(Kind::Link(tree.link_target(rng)))),
            (kind, 4) => Change::Mode(at, mode(rng, kind)),
            (_, 5) => Change::Owner(at, owner(rng)),
            (kind, 6) => Change::Xattrs(at, if node.xattrs.is_empty() { vec![xattr(rng, kind)] } else { Vec::new() }),
            (Kind::Dir, 7..) => {
                let inside = paths::join(path, paths::name(rng));
                match tree.get(&inside) {
                    Some(_) => Change::Remove(inside),
                    None => Change::Put(inside, tree.random_node(rng)),
                }
            }
            (Kind::Hard(first), 7..) if rng.bool() => Change::BecomeCopy(at, first.clone()),
            (Kind::File(old), 7..) if old.starts_with(b"#!") => {
                Change::Edit(at, format!("#!/bin/sh\necho other {} \"$@\"\n", rng.u8(..)).into_bytes())
            }
            (Kind::File(old), 7..) if old.starts_with(b"\x7fELF") => {
                Change::Edit(at, crate::elf::loader(&format!("other {}\n", rng.u8(..))))
            }
            (Kind::File(old), 7..) if old.starts_with(b"VALUE") => Change::Edit(at, b"VALUE = 'other'\n".to_vec()),
            _ => Change::Edit(at, text(rng)),
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place == Where::Base { "base" } else { "context" };
        let show = |path: &[u8]| format!("/{}", path.escape_ascii());
        match &self.change {
            Change::Put(path, node) => {
                write!(f, "{place}: {} becomes {node}", show(path))
            }
            Change::Edit(path, content) => write!(f, "{place}: {} now holds {}", show(path), content.escape_ascii()),
            Change::Mode(path, mode) => write!(f, "{place}: {} has mode {mode:o}", show(path)),
            Change::Owner(path, owner) => write!(f, "{place}: {} has owner {owner:?}", show(path)),
            Change::Xattrs(path, xattrs) => write!(f, "{place}: {} has attributes {xattrs:?}", show(path)),
            Change::Remove(path) => write!(f, "{place}: {} is gone", show(path)),
            Change::Rename(from, to) => write!(f, "{place}: {} is now {}", show(from), show(to)),
            Change::BecomeLink(path, to) => {
                write!(f, "{place}: {} is a link to {}, where it went", show(path), show(to))
            }
            Change::BecomeCopy(path, of) => write!(f, "{place}: {} is a copy of {}", show(path), show(of)),
        }
    }
}
