//! A folder in the container's volume, brought to what it is on the other side.
//!
//! Beside the folder is a list of what is in it, which is there only while it is true: a crash in the middle makes the folder be sent anew.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use shiplap_cache::ContentHash;

use super::wire::{Entry, Kind};

/// A folder that is kept.
pub struct Tree {
    files: PathBuf,
    list: PathBuf,
    /// Others wait until this is dropped.
    _lock: fs::File,
    known: BTreeMap<String, Entry>,
}

impl Tree {
    /// Opens one, when nobody else has it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = fs::File::create(folder.join("lock"))?;
        lock.lock()?;
        let (files, list) = (folder.join("files"), folder.join("list.json"));
        let known: Vec<Entry> =
            fs::read(&list).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        if known.is_empty() && files.exists() {
            fs::remove_dir_all(&files)?;
        }
        fs::create_dir_all(&files)?;
        let known = known.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        Ok(Self { files, list, _lock: lock, known })
    }

    /// Where the files are.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Which contents are nowhere in it.
    pub fn lacks(&self, entries: &[Entry]) -> Vec<usize> {
        let known: HashMap<&ContentHash, &Entry> = self.contents();
        let mut asked = std::collections::HashSet::new();
        let lacks = |entry: &Entry| match &entry.kind {
            Kind::File { hash, .. } => !known.contains_key(hash),
            _ => false,
        };
        let wanted = entries.iter().enumerate().filter(|(_, entry)| lacks(entry));
        // Of several with one content the first is sent.
        wanted.filter(|(_, entry)| asked.insert(hash_of(entry))).map(|(at, _)| at).collect()
    }

    fn contents(&self) -> HashMap<&ContentHash, &Entry> {
        self.known.values().filter_map(|entry| Some((hash_of(entry)?, entry))).collect()
    }

    /// Makes the folder what `entries` say. What it lacks is read from `incoming`, in the order of [`Tree::lacks`], and checked.
    pub fn become_like(&self, entries: &[Entry], incoming: &mut impl Read) -> io::Result<()> {
        let lacks = self.lacks(entries);
        let wanted: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        if self.list.exists() {
            fs::remove_file(&self.list)?;
        }
        // Contents first, under names of their own: a file may have moved to where another one was.
        let beside = self.files.with_file_name("incoming");
        if beside.exists() {
            fs::remove_dir_all(&beside)?;
        }
        fs::create_dir(&beside)?;
        let mut arrived: HashMap<ContentHash, PathBuf> = HashMap::new();
        for at in lacks {
            let Kind::File { size, hash } = &entries[at].kind else { continue };
            let path = beside.join(at.to_string());
            receive(incoming, &path, *size, hash, &entries[at].path)?;
            arrived.insert(*hash, path);
        }
        let here = self.contents();
        for entry in entries {
            if let Kind::File { hash, .. } = &entry.kind
                && !self.has(entry)
                && !arrived.contains_key(hash)
                && let Some(known) = here.get(hash)
            {
                let path = beside.join(format!("moved-{}", arrived.len()));
                fs::copy(self.at(&known.path), &path)?;
                arrived.insert(*hash, path);
            }
        }
        let gone = |old: &&Entry| {
            wanted
                .get(old.path.as_str())
                .is_none_or(|new| std::mem::discriminant(&new.kind) != std::mem::discriminant(&old.kind))
        };
        // What is below a folder sorts behind it.
        for old in self.known.values().rev().filter(gone) {
            remove(&self.at(&old.path))?;
        }
        for entry in entries {
            self.make(entry, &arrived)?;
        }
        // Making something in a folder changes the folder's time.
        for entry in entries.iter().rev() {
            set_times(&self.at(&entry.path), entry)?;
        }
        fs::remove_dir_all(&beside)?;
        fs::write(&self.list, serde_json::to_vec(entries)?)
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.files.clone() } else { self.files.join(path) }
    }

    /// Whether the content is in its place.
    fn has(&self, entry: &Entry) -> bool {
        self.known.get(&entry.path).is_some_and(|known| known.kind == entry.kind)
    }

    fn make(&self, entry: &Entry, arrived: &HashMap<ContentHash, PathBuf>) -> io::Result<()> {
        let at = self.at(&entry.path);
        match &entry.kind {
            Kind::Dir => {
                if !at.is_dir() {
                    remove(&at)?;
                    fs::create_dir(&at)?;
                }
                fs::set_permissions(&at, fs::Permissions::from_mode(entry.mode))
            }
            _ if self.known.get(&entry.path) == Some(entry) => Ok(()),
            Kind::Link { target } => {
                remove(&at)?;
                std::os::unix::fs::symlink(target, &at)
            }
            Kind::File { hash, .. } => {
                if !self.has(entry) {
                    let missing = || io::Error::other(format!("the content of {} did not come", entry.path));
                    let content = arrived.get(hash).ok_or_else(missing)?;
                    remove(&at)?;
                    fs::copy(content, &at)?;
                }
                fs::set_permissions(&at, fs::Permissions::from_mode(entry.mode))
            }
        }
    }
}

fn hash_of(entry: &Entry) -> Option<&ContentHash> {
    match &entry.kind {
        Kind::File { hash, .. } => Some(hash),
        _ => None,
    }
}

/// Takes so many bytes, which must be these.
fn receive(incoming: &mut impl Read, to: &Path, size: u64, hash: &ContentHash, name: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    incoming.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if ContentHash::of(&bytes) != *hash {
        return Err(io::Error::other(format!("{name} changed while it was sent: build again")));
    }
    fs::write(to, bytes)
}

fn remove(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(at),
        Ok(_) => fs::remove_file(at),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn set_times(at: &Path, entry: &Entry) -> io::Result<()> {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1 };
    let meta = fs::symlink_metadata(at)?;
    use std::os::unix::fs::MetadataExt;
    // One that is right stays untouched, and is not read again by the build.
    if (meta.mtime(), meta.mtime_nsec()) == entry.mtime {
        return Ok(());
    }
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        let mode = if kind == Kind::Dir { 0o755 } else { 0o640 };
        Entry { path: path.to_owned(), mode, mtime: (1_700_000_000, 5), kind }
    }

    fn file(path: &str, text: &str) -> Entry {
        entry(path, Kind::File { size: text.len() as u64, hash: ContentHash::of(text.as_bytes()) })
    }

    /// Brings a folder to this, and says what had to be sent.
    fn sync(folder: &Path, wanted: &[(Entry, &str)]) -> Vec<String> {
        let entries: Vec<Entry> = wanted.iter().map(|(entry, _)| entry.clone()).collect();
        let tree = Tree::open(folder).unwrap();
        let lacks = tree.lacks(&entries);
        let sent: String = lacks.iter().map(|at| wanted[*at].1).collect();
        tree.become_like(&entries, &mut sent.as_bytes()).unwrap();
        assert!(tree.lacks(&entries).is_empty() || !lacks.is_empty());
        lacks.iter().map(|at| entries[*at].path.clone()).collect()
    }

    fn text(folder: &Path, path: &str) -> String {
        fs::read_to_string(folder.join("files").join(path)).unwrap()
    }

    fn root() -> (Entry, &'static str) {
        (entry("", Kind::Dir), "")
    }

    #[test]
    fn only_contents_that_are_nowhere_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let all = [root(), (file("a", "one"), "one"), (entry("d", Kind::Dir), ""), (file("d/b", "two"), "two")];
        assert_eq!(sync(at, &all), ["a", "d/b"]);
        assert_eq!(sync(at, &all), Vec::<String>::new());
        // Moved, copied, swapped, one changed and one gone.
        let moved = [root(), (file("a", "two"), "two"), (file("c", "one"), "one"), (file("e", "new"), "new")];
        assert_eq!(sync(at, &moved), ["e"]);
        assert_eq!((text(at, "a"), text(at, "c"), text(at, "e")), ("two".into(), "one".into(), "new".into()));
        assert!(!at.join("files/d").exists());
        // Twice the same, sent once.
        let twice = [root(), (file("x", "same"), "same"), (file("y", "same"), "same")];
        assert_eq!(sync(at, &twice), ["x"]);
        assert_eq!((text(at, "x"), text(at, "y")), ("same".into(), "same".into()));
    }

    #[test]
    fn a_folder_may_become_a_file_and_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        sync(at, &[root(), (entry("d", Kind::Dir), ""), (file("d/b", "two"), "two")]);
        sync(at, &[root(), (file("d", "two"), "two")]);
        assert_eq!(text(at, "d"), "two");
        sync(at, &[root(), (entry("d", Kind::Link { target: "nowhere".into() }), "")]);
        assert_eq!(fs::read_link(at.join("files/d")).unwrap(), Path::new("nowhere"));
        sync(at, &[root(), (entry("d", Kind::Dir), ""), (file("d/b", "x"), "x")]);
        assert_eq!(text(at, "d/b"), "x");
    }

    #[test]
    fn modes_and_times_come_along_and_what_is_right_is_not_touched() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let all = [root(), (entry("d", Kind::Dir), ""), (file("d/b", "two"), "two")];
        sync(at, &all);
        let meta = |path: &str| fs::metadata(at.join("files").join(path)).unwrap();
        assert_eq!(
            (meta("d/b").mode() & 0o7777, meta("d/b").mtime(), meta("d").mtime_nsec()),
            (0o640, 1_700_000_000, 5)
        );
        let changed = meta("d/b").ctime_nsec();
        sync(at, &[root(), (entry("d", Kind::Dir), ""), (file("d/b", "two"), "two"), (file("d/c", "3"), "3")]);
        assert_eq!(meta("d/b").ctime_nsec(), changed);
        assert_eq!(meta("d").mtime(), 1_700_000_000);
    }

    #[test]
    fn a_sync_that_broke_is_begun_anew_and_wrong_bytes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let all = [root(), (file("a", "one"), "one")];
        sync(at, &all);
        let entries = [entry("", Kind::Dir), file("a", "other")];
        let tree = Tree::open(at).unwrap();
        assert!(tree.become_like(&entries, &mut &b"otter"[..]).unwrap_err().to_string().contains("changed while"));
        assert!(tree.become_like(&entries, &mut &b"ot"[..]).is_err());
        drop(tree);
        assert_eq!(sync(at, &all), ["a"], "nothing is known any more");
    }
}
