//! Reading a layer directory: what overlayfs left in an upper directory, as an index.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{FileType, lgetxattr, llistxattr};

use crate::error::At;
use crate::{ContentHash, Entry, Error, IndexBuilder, Kind, LayerIndex, Result, TreePath, holes};

/// Files above this size are hashed by all cores together.
const LARGE: u64 = 16 << 20;

/// How much of such a file is read at a time: enough for all processors.
const READ: usize = 4 << 20;

/// Which extended attributes overlayfs keeps its own marks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// `trusted.overlay.*`, for real root.
    Trusted,
    /// `user.overlay.*`, the mount option `userxattr`, in a user namespace (Linux 5.11).
    User,
}

impl Overlay {
    /// What this process must use: `trusted.` attributes need the initial user namespace, where every id maps to itself.
    pub fn detect() -> Self {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
        if initial { Self::Trusted } else { Self::User }
    }

    /// The beginning of the attributes' names.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }

    /// The attribute that marks an opaque directory with the value `y`.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// For people: who makes such a store.
    pub fn people(self) -> &'static str {
        match self {
            Self::Trusted => "as root",
            Self::User => "without root, in a user namespace",
        }
    }
}

/// Indexes a layer directory: reads and hashes every file, several at once.
///
/// # Errors
/// A file cannot be read, or is a socket that nothing can pack. (Sockets that a step left behind are skipped, as
/// Docker does.)
pub fn capture(dir: &Path, overlay: Overlay) -> Result<LayerIndex> {
    let mut found = Vec::new();
    found.push(Seen::at(dir, TreePath::root())?);
    list(dir, &TreePath::root(), &mut found)?;

    // Hard links: the name that sorts first is the file, the others refer to it.
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let mut first: HashMap<(u64, u64), TreePath> = HashMap::new();
    for seen in &mut found {
        if seen.meta.is_file() && seen.meta.nlink() > 1 {
            match first.entry((seen.meta.dev(), seen.meta.ino())) {
                std::collections::hash_map::Entry::Occupied(o) => seen.link = Some(o.get().clone()),
                std::collections::hash_map::Entry::Vacant(v) => drop(v.insert(seen.path.clone())),
            }
        }
    }

    let entries: Vec<Option<Entry>> =
        found.into_par_iter().map(|seen| seen.index(dir, overlay)).collect::<Result<_>>()?;
    let mut builder = IndexBuilder::default();
    entries.into_iter().flatten().for_each(|e| builder.push(e));
    builder.finish()
}

struct Seen {
    path: TreePath,
    meta: std::fs::Metadata,
    link: Option<TreePath>,
}

fn list(dir: &Path, at: &TreePath, found: &mut Vec<Seen>) -> Result<()> {
    let here = at.below(dir);
    for item in std::fs::read_dir(&here).at("read", &here)? {
        let name = item.at("read", &here)?.file_name();
        let seen = Seen::at(dir, at.join(name.as_bytes()))?;
        let (is_dir, path) = (seen.meta.is_dir(), seen.path.clone());
        found.push(seen);
        if is_dir {
            list(dir, &path, found)?;
        }
    }
    Ok(())
}

impl Seen {
    fn at(dir: &Path, path: TreePath) -> Result<Self> {
        let at = path.below(dir);
        let meta = std::fs::symlink_metadata(&at).at("read", &at)?;
        Ok(Self { path, meta, link: None })
    }

    fn index(self, dir: &Path, overlay: Overlay) -> Result<Option<Entry>> {
        let Self { path, meta, link } = self;
        let at = path.below(dir);
        let (device, mode) = (meta.rdev(), meta.mode());
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let (xattrs, opaque) = xattrs(&at, overlay)?;
        let kind = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Kind::File { size: meta.len(), hash: hash_file(&at, meta.len())?, link },
            FileType::Directory => Kind::Dir { opaque },
            FileType::Symlink => {
                Kind::Symlink { target: std::fs::read_link(&at).at("read", &at)?.into_os_string().into_encoded_bytes() }
            }
            FileType::CharacterDevice if device == 0 => return Ok(Some(Entry::whiteout(path))),
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        };
        let (uid, gid) = (meta.uid(), meta.gid());
        Ok(Some(Entry { path, kind, mode: mode & 0o7777, uid, gid, mtime: meta.mtime(), xattrs }))
    }
}

/// BLAKE3 of a file, checked against the size that its metadata gave.
pub(crate) fn hash_file(path: &Path, size: u64) -> Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    if size > LARGE {
        let file = File::open(path).at("read", path)?;
        if holes::has_holes(&file.metadata().at("read", path)?) {
            holes::read(&file, |span| {
                hasher.update_rayon(span.bytes());
                Ok(())
            })
            .at("read", path)?;
        } else {
            // Not by mapping it: a layer of one large file would count as so much memory.
            let (mut file, mut buffer) = (file, vec![0; READ]);
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => _ = hasher.update_rayon(&buffer[..length]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e).at("read", path),
                }
            }
        }
    } else {
        hasher.update_reader(File::open(path).at("read", path)?).at("read", path)?;
    }
    if hasher.count() != size {
        return Err(Error::Changed(path.to_owned()));
    }
    Ok(ContentHash::from_bytes(*hasher.finalize().as_bytes()))
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes that belong to the image, and whether overlayfs marked the directory opaque.
fn xattrs(path: &Path, overlay: Overlay) -> Result<(Xattrs, bool)> {
    let mut names = vec![0; 1024];
    let length = loop {
        match llistxattr(path, &mut names[..]) {
            Ok(n) => break n,
            Err(rustix::io::Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(rustix::io::Errno::NOTSUP) => return Ok((Vec::new(), false)),
            Err(e) => return Err(e).at("read the extended attributes of", path),
        }
    };
    let (mut xattrs, mut opaque) = (Vec::new(), false);
    for name in names[..length].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        if name.starts_with(overlay.prefix().as_bytes()) {
            opaque |= name == overlay.opaque().as_bytes() && read_xattr(path, name)? == b"y";
        } else {
            xattrs.push((name.to_vec(), read_xattr(path, name)?));
        }
    }
    xattrs.sort();
    Ok((xattrs, opaque))
}

fn read_xattr(path: &Path, name: &[u8]) -> Result<Vec<u8>> {
    // A name from the kernel's list has no NUL.
    let name = CString::new(name).unwrap_or_default();
    let mut value = vec![0; 256];
    loop {
        match lgetxattr(path, &name, &mut value[..]) {
            Ok(n) => {
                value.truncate(n);
                return Ok(value);
            }
            Err(rustix::io::Errno::RANGE) => value.resize(value.len() * 8, 0),
            Err(e) => return Err(e).at("read the extended attributes of", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_as_it_is() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("d/f"), "hello").unwrap();
        std::fs::hard_link(at("d/f"), at("d/g")).unwrap();
        symlink("nowhere", at("l")).unwrap();
        rustix::fs::lsetxattr(at("d/f"), "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
        let index = capture(dir.path(), Overlay::Trusted).unwrap();
        let get = |p: &str| index.entry(index.find(p.as_bytes()).unwrap());
        assert_eq!(index.len(), 5);
        assert_eq!(get("d/f").kind, Kind::File { size: 5, hash: ContentHash::of(b"hello"), link: None });
        assert_eq!(get("d/f").xattrs, [(b"user.note".to_vec(), b"x".to_vec())]);
        assert!(matches!(get("d/g").kind, Kind::File { link: Some(to), .. } if to == TreePath::new("d/f").unwrap()));
        assert_eq!(get("l").kind, Kind::Symlink { target: b"nowhere".into() });
    }

    #[test]
    fn a_large_file_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..LARGE as usize + 100).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        let index = capture(dir.path(), Overlay::Trusted).unwrap();
        let Kind::File { hash, .. } = index.entry(index.find(b"f").unwrap()).kind else { panic!("no file") };
        assert_eq!(hash, ContentHash::of(&bytes));
    }
}
