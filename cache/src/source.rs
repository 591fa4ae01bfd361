//! A folder of the host that a build takes files from, and the memory of what its files' contents were.
//!
//! A file whose device, inode, size, modification and change time are what they were is not read again. As git does
//! (`Documentation/technical/racy-git.txt`), a file touched so close to the time it was hashed that a later write could
//! carry the same times is not trusted.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use crate::capture::hash_file;
use crate::error::At;
use crate::{ContentHash, Result, TreePath};

/// Clocks of file systems are coarser than `time(2)`: a file is only trusted when it was left alone this long before it
/// was hashed.
const RACY_NS: i128 = 50_000_000;

/// A file's identity as `stat(2)` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: i128,
    ctime: i128,
}

impl Stat {
    fn of(meta: &std::fs::Metadata) -> Self {
        let ns = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.len(),
            mtime: ns(meta.mtime(), meta.mtime_nsec()),
            ctime: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// One file, directory or link of a source.
#[derive(Debug)]
pub struct SourceFile {
    /// What `lstat(2)` says of it.
    pub meta: std::fs::Metadata,
    hash: OnceLock<ContentHash>,
}

/// What to do with something that a walk meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// It belongs to the source.
    Take,
    /// It does not, nor does anything below it.
    Skip,
    /// A directory that belongs to the source only if something in it does.
    Through,
}

/// A folder of the host, walked once.
#[derive(Debug)]
pub struct SourceTree {
    root: PathBuf,
    files: BTreeMap<TreePath, SourceFile>,
    known: HashMap<TreePath, (Stat, ContentHash)>,
}

impl SourceTree {
    /// Walks `root`, asking of each path and whether it is a directory what to do with it. `memory` is what
    /// [`SourceTree::memory`] gave the last time; damaged or empty is fine.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn scan(root: &Path, memory: &[u8], ask: impl Fn(&TreePath, bool) -> Walk) -> Result<Self> {
        let mut files: BTreeMap<TreePath, SourceFile> = BTreeMap::new();
        let mut through = Vec::new();
        let meta = std::fs::metadata(root).at("read", root)?;
        files.insert(TreePath::root(), SourceFile { meta, hash: OnceLock::new() });
        let mut folders = vec![TreePath::root()];
        while let Some(folder) = folders.pop() {
            let at = folder.below(root);
            for item in std::fs::read_dir(&at).at("read", &at)? {
                let item = item.at("read", &at)?;
                let path = folder.join(item.file_name().as_bytes());
                let is_dir = item.file_type().at("read", &item.path())?.is_dir();
                match ask(&path, is_dir) {
                    Walk::Skip => continue,
                    Walk::Through => through.push(path.clone()),
                    Walk::Take => {}
                }
                let meta = item.metadata().at("read", &item.path())?;
                if is_dir {
                    folders.push(path.clone());
                }
                files.insert(path, SourceFile { meta, hash: OnceLock::new() });
            }
        }
        // The walk meets parents first, so children are judged first here.
        while let Some(folder) = through.pop() {
            // What is in a folder sorts somewhere behind it, all of it together.
            let first = folder.join(b"\0");
            let empty = files.range(first..).next().is_none_or(|(path, _)| path.parent().as_ref() != Some(&folder));
            if empty {
                files.remove(&folder);
            }
        }
        Ok(Self { root: root.to_owned(), files, known: remember(memory).unwrap_or_default() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything found, by path. The root has the empty path.
    pub fn files(&self) -> &BTreeMap<TreePath, SourceFile> {
        &self.files
    }

    /// Where a file is on the host.
    pub fn locate(&self, path: &TreePath) -> PathBuf {
        path.below(&self.root)
    }

    /// Hashes these regular files, several at once; those known from the last time are not read.
    ///
    /// # Errors
    /// A file cannot be read, or changed while it was.
    pub fn hash_all<'a>(&self, paths: impl IntoParallelIterator<Item = &'a TreePath>) -> Result<()> {
        paths.into_par_iter().try_for_each(|path| self.hash(path).map(drop))
    }

    /// The content hash of a regular file that was found.
    ///
    /// # Errors
    /// It cannot be read, or changed while it was.
    pub fn hash(&self, path: &TreePath) -> Result<ContentHash> {
        let at = self.locate(path);
        let Some(file) = self.files.get(path) else {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(gone).at("read", &at);
        };
        if let Some(hash) = file.hash.get() {
            return Ok(*hash);
        }
        let stat = Stat::of(&file.meta);
        let hash = match self.known.get(path) {
            Some((known, hash)) if *known == stat => *hash,
            _ => hash_file(&at, stat.size)?,
        };
        Ok(*file.hash.get_or_init(|| hash))
    }

    /// What to remember for the next scan of this folder.
    pub fn memory(&self) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        let mut out = Vec::new();
        for (path, file) in &self.files {
            let stat = Stat::of(&file.meta);
            // What this build had no need of is kept as it was known.
            let hash = file
                .hash
                .get()
                .copied()
                .or_else(|| self.known.get(path).filter(|(known, _)| *known == stat).map(|(_, hash)| *hash));
            let Some(hash) = hash.filter(|_| now - stat.mtime.max(stat.ctime) > RACY_NS) else { continue };
            out.extend_from_slice(&(path.as_bytes().len() as u32).to_le_bytes());
            out.extend_from_slice(path.as_bytes());
            [stat.dev, stat.ino, stat.size].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
            [stat.mtime, stat.ctime].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
            out.extend_from_slice(hash.as_bytes());
        }
        // The digest in front makes a memory that was cut short or scribbled over no memory at all.
        [blake3::hash(&out).as_bytes(), out.as_slice()].concat()
    }
}

/// Reads a memory; none when it is damaged.
fn remember(memory: &[u8]) -> Option<HashMap<TreePath, (Stat, ContentHash)>> {
    let (digest, mut rest) = memory.split_at_checked(32)?;
    if blake3::hash(rest).as_bytes() != digest {
        return None;
    }
    let mut known = HashMap::new();
    let mut take = |n: usize| {
        let (taken, left) = rest.split_at_checked(n)?;
        rest = left;
        Some(taken)
    };
    while let Some(length) = take(4) {
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let path = TreePath::from_clean(take(length)?);
        let mut word = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
        let (dev, ino, size) = (word()?, word()?, word()?);
        let mut time = || Some(i128::from_le_bytes(take(16)?.try_into().ok()?));
        let (mtime, ctime) = (time()?, time()?);
        let hash = ContentHash::from_bytes(take(32)?.try_into().ok()?);
        known.insert(path, (Stat { dev, ino, size, mtime, ctime }, hash));
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(s: &str) -> TreePath {
        TreePath::new(s).unwrap()
    }

    fn scan(root: &Path, memory: &[u8]) -> SourceTree {
        let ask = |path: &TreePath, _| match path.name() {
            b"skip" => Walk::Skip,
            b"through" => Walk::Through,
            _ => Walk::Take,
        };
        SourceTree::scan(root, memory, ask).unwrap()
    }

    fn settle() {
        std::thread::sleep(std::time::Duration::from_millis(80));
    }

    #[test]
    fn what_is_skipped_is_not_walked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("skip/deep")).unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let tree = scan(dir.path(), &[]);
        assert_eq!(tree.files().keys().cloned().collect::<Vec<_>>(), [TreePath::root(), path("a")]);
    }

    #[test]
    fn a_folder_that_is_only_walked_through_stays_if_something_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/through/skip")).unwrap();
        std::fs::create_dir_all(dir.path().join("b/through/through/c")).unwrap();
        let found: Vec<_> = scan(dir.path(), &[]).files().keys().map(ToString::to_string).collect();
        assert_eq!(found, ["/", "/a", "/b", "/b/through", "/b/through/through", "/b/through/through/c"]);
    }

    #[test]
    fn a_known_file_is_not_read_again_and_a_changed_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        settle();
        let tree = scan(dir.path(), &[]);
        assert_eq!(tree.hash(&path("a")).unwrap(), ContentHash::of(b"one"));
        let memory = tree.memory();
        assert_eq!(remember(&memory).unwrap().len(), 1);
        assert_eq!(scan(dir.path(), &memory).hash(&path("a")).unwrap(), ContentHash::of(b"one"));
        // Same size, and the modification time put back: the change time tells.
        let times = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, "two").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert_eq!(scan(dir.path(), &memory).hash(&path("a")).unwrap(), ContentHash::of(b"two"));
    }

    #[test]
    fn a_file_written_just_now_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        let tree = scan(dir.path(), &[]);
        tree.hash(&path("a")).unwrap();
        assert!(remember(&tree.memory()).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_memory_is_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        settle();
        let tree = scan(dir.path(), &[]);
        tree.hash(&path("a")).unwrap();
        let mut memory = tree.memory();
        assert!(remember(&memory[..memory.len() - 1]).is_none());
        memory[40] ^= 1;
        assert!(remember(&memory).is_none());
        assert!(remember(b"").is_none());
    }
}
