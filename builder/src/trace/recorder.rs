//! A path's way through the parent tree.
//!
//! Paths are resolved in the parent's index. Where that could be wrong, the tree as it is now is asked before the call goes on: below a
//! mount, where files are no inputs but links may lead back; and from where the step itself put a link, or something renamed that may
//! hold links.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;

use foldhash::fast::RandomState;
use nix::libc::c_int;
use rustix::fs::{AtFlags, FileType};
use shiplap_cache::{Question, Tree, TreePath, Watcher};
use shiplap_registry::remote::Parts;

use super::caller::{self, Caller};
use super::memory::{Folder, Memory};
use super::programs;

/// How many links one path may lead through, as in Linux (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What readlink(2) puts behind the path of something deleted.
const DELETED: &[u8] = b" (deleted)";

/// Where a path starts, and the root that it cannot leave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Start {
    /// Where a relative path starts from.
    pub(super) base: TreePath,
    /// Where an absolute one does: not the tree's root after a `chroot`.
    pub(super) root: TreePath,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// To this path of the tree.
    Tree(TreePath),
    /// To this path, which something is mounted on or above.
    Mounted(TreePath),
    /// To no file of the step: a pipe, a circle.
    Nowhere,
}

/// Notes what a step asks.
#[derive(Debug)]
pub(super) struct Recorder<'t> {
    pub(super) watcher: Watcher<'t>,
    pub(super) network: bool,
    pub(super) untraced: Option<String>,
    pub(super) calls: u64,
    /// Whether a `chroot` was seen: until then everybody's root is the tree's.
    pub(super) chroot: bool,
    /// The root of the tree as it is now.
    live: Option<OwnedFd>,
    mounts: HashSet<TreePath, RandomState>,
    /// Those of them that are caches, with what they are called and the parts of them that were asked for.
    pub(super) caches: HashMap<TreePath, (String, Parts), RandomState>,
    /// From here on the index may be wrong about links.
    changed: HashSet<TreePath, RandomState>,
    memory: Memory,
}

/// The way of one path.
struct Walk<'r, 't> {
    recorder: &'r mut Recorder<'t>,
    caller: Caller,
    root: TreePath,
    at: TreePath,
    /// Components still to go, the next one last.
    rest: Vec<Vec<u8>>,
    /// The mount or the step's own work that we are in, if so.
    inside: Option<(TreePath, Inside)>,
    /// Whether we are below something that is not in the index, where only the step's own links count.
    missing: bool,
    links: usize,
    /// Whether the answer holds as long as nothing on its way is changed.
    lasting: bool,
    /// All that it led over.
    way: Vec<TreePath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Mount,
    Changed,
}

impl<'t> Recorder<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        Self {
            watcher: Watcher::new(tree),
            network: false,
            untraced: None,
            calls: 0,
            chroot: false,
            live: None,
            mounts: HashSet::default(),
            caches: HashMap::default(),
            changed: HashSet::default(),
            memory: Memory::default(),
        }
    }

    /// Something is mounted here: what is in it is no input, but that the mount point could be found is.
    pub(super) fn mount(&mut self, target: &str) {
        let Ok(target) = TreePath::new(target.as_bytes()) else { return };
        let resolved = self.watcher.ask(&target, true, Question::Exists);
        self.mounts.insert(resolved.path);
    }

    /// What is mounted here is a cache: the parts that are used are noted, for machines that do not have it yet.
    pub(super) fn cache(&mut self, target: &str) {
        let Ok(path) = TreePath::new(target.as_bytes()) else { return };
        let resolved = self.watcher.ask(&path, true, Question::Exists);
        self.caches.insert(resolved.path, (target.to_owned(), Parts::NONE));
    }

    /// Notes that something in a mount was asked for.
    fn use_cache(&mut self, mount: &TreePath, path: &TreePath) {
        if let Some((_, parts)) = self.caches.get_mut(mount)
            && let Some(inside) = path.strip_prefix(mount)
        {
            parts.add(&inside);
        }
    }

    pub(super) fn give_up(&mut self, why: impl Into<String>) {
        self.untraced.get_or_insert_with(|| why.into());
    }

    /// Opens the step's root, once.
    pub(super) fn live(&mut self, caller: Caller) -> io::Result<&OwnedFd> {
        if self.live.is_none() {
            self.live = Some(caller.open_root()?);
        }
        self.live.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A path that the kernel gave. Of something deleted, where it was: unless there is something of that very name.
    pub(super) fn path_now(&mut self, caller: Caller, path: &[u8]) -> io::Result<TreePath> {
        let whole = TreePath::new(path).unwrap_or_default();
        let Some(stripped) = path.strip_suffix(DELETED) else { return Ok(whole) };
        let there = rustix::fs::statat(self.live(caller)?, whole.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        Ok(if there { whole } else { TreePath::new(stripped).unwrap_or_default() })
    }

    /// Whether a question is noted already. `base` is what the kernel says of the directory that the path starts from.
    pub(super) fn has_asked(&mut self, base: &[u8], path: &[u8], follow: bool, question: Question) -> bool {
        let base = base.strip_prefix(b"/").unwrap_or(base);
        !self.chroot && !base.ends_with(DELETED) && self.memory.has_asked(base, path, follow, question)
    }

    /// Notes a question about a path.
    pub(super) fn ask(
        &mut self,
        caller: Caller,
        start: &Start,
        path: &[u8],
        follow: bool,
        question: Question,
    ) -> io::Result<()> {
        let (place, way) = self.walk(caller, start, path, follow)?;
        self.note(&place, question);
        if let (Some(way), true) = (way, start.root.is_root()) {
            self.memory.ask(start.base.as_bytes(), path, follow, question, way);
        }
        Ok(())
    }

    /// As [`Recorder::ask`], of a path that is not only looked at: says where it leads.
    pub(super) fn find(
        &mut self,
        caller: Caller,
        start: &Start,
        path: &[u8],
        follow: bool,
        question: Question,
    ) -> io::Result<Place> {
        let (place, _) = self.walk(caller, start, path, follow)?;
        self.note(&place, question);
        Ok(place)
    }

    /// Notes a question about something found.
    fn note(&mut self, place: &Place, question: Question) {
        if let Place::Tree(path) = place {
            self.watcher.note(path, question);
        }
    }

    /// Notes a question about an open file, by the path that it has now.
    pub(super) fn ask_open(&mut self, path: &TreePath, question: Question) {
        let mounted = self.mounts.iter().any(|mount| path.starts_with(mount));
        if !mounted {
            self.watcher.note(path, question);
        }
    }

    /// From now on the index is not trusted about links at and below a path.
    pub(super) fn change(&mut self, place: &Place) {
        if let Place::Tree(path) = place {
            self.change_at(path);
        }
    }

    fn change_at(&mut self, path: &TreePath) {
        if self.changed.insert(path.clone()) {
            self.memory.change(path);
        }
    }

    /// Whether a place holds a regular file now.
    pub(super) fn is_file_now(&mut self, caller: Caller, place: &Place) -> io::Result<bool> {
        let (Place::Tree(path) | Place::Mounted(path)) = place else { return Ok(false) };
        let status = rustix::fs::statat(self.live(caller)?, path.as_bytes(), AtFlags::SYMLINK_NOFOLLOW);
        Ok(status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile))
    }

    /// Something is removed. A link that the parent has there must not be followed any more.
    pub(super) fn remove(&mut self, place: &Place) {
        if let Place::Tree(path) = place
            && self.watcher.link(path).is_some()
        {
            self.change_at(path);
        }
    }

    /// Notes what executing a file reads besides it. `start` is where the caller stands: a relative interpreter is looked up there.
    /// `descriptor` is the file's, where it was named by one: it may have no other name.
    pub(super) fn executed(
        &mut self,
        caller: Caller,
        start: &Start,
        place: &Place,
        descriptor: Option<c_int>,
    ) -> io::Result<()> {
        let (Place::Tree(path) | Place::Mounted(path)) = place else { return Ok(()) };
        let mut file = path.clone();
        let mut descriptor = descriptor.and_then(|number| caller.open(number));
        // The kernel goes five deep (fs/exec.c).
        for _ in 0..5 {
            let program = match descriptor.take() {
                Some(program) => Some(program),
                None => programs::open(self.live(caller)?, &file),
            };
            let Some(program) = program else { return Ok(()) };
            let mut next = None;
            for (number, interpreter) in programs::interpreters(&program).into_iter().enumerate() {
                let place = self.find(caller, start, &interpreter, true, Question::Stat)?;
                if let (0, Place::Tree(at) | Place::Mounted(at)) = (number, place) {
                    next = Some(at);
                }
            }
            match next {
                Some(next) => file = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Where a path leads and, if that lasts, what it leads over.
    fn walk(
        &mut self,
        caller: Caller,
        start: &Start,
        path: &[u8],
        follow: bool,
    ) -> io::Result<(Place, Option<Vec<TreePath>>)> {
        let base = start.base.as_bytes();
        let (folder, name) = path.split_at(path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1));
        let by_folder = start.root.is_root() && !matches!(name, b"" | b"." | b"..");
        let known = if by_folder { self.memory.folder(base, folder) } else { None };
        let mut walk = Walk {
            recorder: self,
            caller,
            root: start.root.clone(),
            at: TreePath::root(),
            rest: Vec::new(),
            inside: None,
            missing: false,
            links: 0,
            lasting: true,
            way: Vec::new(),
        };
        match known {
            Some(Folder { at, missing, links }) => (walk.at, walk.missing, walk.links) = (at, missing, links),
            None => {
                walk.rest = split(folder);
                walk.jump(if path.starts_with(b"/") { &start.root } else { &start.base });
                if !walk.go(true)? {
                    return Ok((Place::Nowhere, None));
                }
                if by_folder && walk.lasting && walk.inside.is_none() {
                    let leads = Folder { at: walk.at.clone(), missing: walk.missing, links: walk.links };
                    let way = std::mem::take(&mut walk.way);
                    walk.recorder.memory.keep_folder(base, folder, leads, &way);
                }
            }
        }
        walk.rest.extend((!name.is_empty()).then(|| name.to_vec()));
        // A slash at the end asks for the directory that a link leads to.
        if !walk.go(follow)? {
            return Ok((Place::Nowhere, None));
        }
        let place = match walk.inside {
            Some((mount, Inside::Mount)) => {
                walk.recorder.use_cache(&mount, &walk.at);
                Place::Mounted(walk.at)
            }
            _ => Place::Tree(walk.at),
        };
        Ok((place, walk.lasting.then_some(walk.way)))
    }
}

impl Walk<'_, '_> {
    /// Goes on to the end; false when it goes in circles.
    fn go(&mut self, follow: bool) -> io::Result<bool> {
        while let Some(name) = self.rest.pop() {
            match name.as_slice() {
                b"." => {}
                b".." => self.up(),
                name => {
                    let next = self.at.join(name);
                    let is_last = self.rest.is_empty();
                    let target = self.enter(&next)?;
                    self.way.push(next.clone());
                    match target {
                        Some(target) if follow || !is_last => {
                            self.links += 1;
                            if self.links > MAX_LINKS {
                                return Ok(false);
                            }
                            self.follow(target);
                        }
                        _ => self.at = next,
                    }
                }
            }
        }
        Ok(true)
    }

    fn up(&mut self) {
        if self.at == self.root {
            return;
        }
        self.at = self.at.parent().unwrap_or_default();
        if self.missing || self.inside.is_some() {
            // We may have left what was missing, mounted or changed.
            let at = self.at.clone();
            self.jump(&at);
        }
    }

    /// Goes to a path that leads through no link now.
    fn jump(&mut self, path: &TreePath) {
        self.at = TreePath::root();
        self.inside = None;
        self.missing = false;
        for name in path.components() {
            let next = self.at.join(name);
            self.look_around(&next);
            if self.inside.is_none() && !self.missing && !self.recorder.watcher.is_folder(&next) {
                self.missing = true;
            }
            self.way.push(next.clone());
            self.at = next;
        }
    }

    /// Whether something begins here in which the index does not count.
    fn look_around(&mut self, next: &TreePath) {
        if self.recorder.mounts.contains(next) {
            self.inside = Some((next.clone(), Inside::Mount));
        } else if self.inside.is_none() && self.recorder.changed.contains(next) {
            self.inside = Some((next.clone(), Inside::Changed));
        }
    }

    /// Steps onto the next component: the target, if it is a link.
    fn enter(&mut self, next: &TreePath) -> io::Result<Option<Link>> {
        self.look_around(next);
        if let Some((_, inside)) = self.inside {
            self.lasting = false;
            if inside == Inside::Changed {
                // What the parent has here may have been replaced, or may still be there: a call that would have put something here can
                // have failed.
                let is_link = self.recorder.watcher.link(next).is_some();
                let question = if is_link { Question::Content } else { Question::Exists };
                self.recorder.watcher.note(next, question);
            }
            let link = self.live_link(next)?;
            // A link may lead into another part.
            if let (Some(_), Some((mount, Inside::Mount))) = (&link, &self.inside) {
                self.recorder.use_cache(mount, next);
            }
            return Ok(link);
        }
        if self.missing || self.recorder.watcher.knows_folder(next) {
            return Ok(None);
        }
        let Some(found) = self.recorder.watcher.find(next) else {
            self.missing = true;
            self.recorder.watcher.note(next, Question::Exists);
            return Ok(None);
        };
        if self.recorder.watcher.tree().is_folder(found) {
            self.recorder.watcher.is_folder(next);
            return Ok(None);
        }
        match self.recorder.watcher.link(next) {
            Some(target) => {
                // Whether it is followed or not, what it says counts.
                self.recorder.watcher.note(next, Question::Content);
                Ok(Some(Link::Written(target)))
            }
            None => {
                self.missing = !self.rest.is_empty();
                if self.missing {
                    self.recorder.watcher.note(next, Question::Exists);
                }
                Ok(None)
            }
        }
    }

    /// The link at a path of the tree as it is now.
    fn live_link(&mut self, next: &TreePath) -> io::Result<Option<Link>> {
        let caller = self.caller;
        let mut components = next.components();
        if components.next() != Some(b"proc") {
            let live = self.recorder.live(caller)?;
            return Ok(caller::link_target(live, next.as_bytes()).map(Link::Written));
        }
        // In /proc, `self` is whoever looks; and links of processes do not say where they lead, they lead there.
        let whose = components.next().unwrap_or_default();
        let rest: Vec<&[u8]> = components.collect();
        let mut path = b"proc/".to_vec();
        match whose {
            b"self" | b"thread-self" if rest.is_empty() => return Ok(None),
            b"self" | b"thread-self" => {
                let Some((process, thread)) = caller.own_numbers()? else { return Ok(None) };
                path.extend_from_slice(process.as_bytes());
                if whose == b"thread-self" {
                    path.extend_from_slice(b"/task/");
                    path.extend_from_slice(thread.as_bytes());
                }
            }
            whose => path.extend_from_slice(whose),
        }
        for part in &rest {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        let live = self.recorder.live(caller)?;
        let magic = matches!(rest.last(), Some(&(b"cwd" | b"root" | b"exe")))
            || rest.iter().rev().nth(1).is_some_and(|above| matches!(*above, b"fd" | b"map_files"));
        if magic && whose.first().is_some_and(|b| b.is_ascii_digit() || *b == b's' || *b == b't') {
            let Some(target) = caller::read_link(live, path.as_slice())? else { return Ok(None) };
            return Ok(Some(Link::Magic(self.recorder.path_now(caller, &target)?)));
        }
        Ok(caller::link_target(live, &path).map(Link::Written))
    }

    fn follow(&mut self, link: Link) {
        match link {
            Link::Written(target) => {
                if target.starts_with(b"/") {
                    let root = self.root.clone();
                    self.jump(&root);
                }
                self.rest.extend(split(&target));
            }
            Link::Magic(path) => self.jump(&path),
        }
    }
}

/// How a link leads on.
enum Link {
    /// By what is written in it.
    Written(Vec<u8>),
    /// To a file that has this path now, wherever the caller's root is.
    Magic(TreePath),
}

/// The components of a path, the first one last.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&b| b == b'/').rev().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}
