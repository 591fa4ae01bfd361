//! The files of an archive, in a folder or in a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_cache::{Store, TreePath};

use crate::compress::{Magic, decompress, detect};
use crate::error::At;
use crate::tarball::{Head, Kind, Reader};
use crate::{Error, Result};

/// A document is read whole; configs and manifests have kilobytes.
const MAX_DOCUMENT: u64 = 64 << 20;

/// An open archive.
pub(super) struct Source {
    path: PathBuf,
    files: Files,
}

enum Files {
    Folder,
    Tar { file: Arc<File>, entries: HashMap<TreePath, Entry>, _unpacked: Option<tempfile::TempDir> },
}

enum Entry {
    File { at: u64, size: u64 },
    Link(TreePath),
}

impl Source {
    pub(super) fn open(store: &Store, path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).at("read", path)?;
        if meta.is_dir() {
            return Ok(Self { path: path.to_owned(), files: Files::Folder });
        }
        let mut file = File::open(path).at("read", path)?;
        let mut unpacked = None;
        if detect(&mut BufReader::new(&file)).at("read", path)? != Magic::Plain {
            // To be read out of order, it must not be compressed.
            let folder = store.temporary()?;
            let at = folder.path().join("archive");
            let mut out = File::create_new(&at).at("write", &at)?;
            let whole = File::open(path).at("read", path)?;
            let mut plain = decompress(whole).at("read", path)?.0;
            if let Err(e) = io::copy(&mut plain, &mut out) {
                if e.kind() == io::ErrorKind::StorageFull {
                    return Err(e).at("write", &at);
                }
                let problem = crate::tarball::TarProblem::reading(e, "the compressed archive");
                return Err(Error::BadTar { archive: path.display().to_string(), problem });
            }
            file = File::open(&at).at("read", &at)?;
            unpacked = Some(folder);
        }
        let file = Arc::new(file);
        let entries = list(&file).map_err(|problem| Error::BadTar { archive: path.display().to_string(), problem })?;
        Ok(Self { path: path.to_owned(), files: Files::Tar { file, entries, _unpacked: unpacked } })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about the archive.
    pub(super) fn bad(&self, why: String) -> Error {
        Error::NoArchive { path: self.path.clone(), why }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match &self.files {
            Files::Folder => self.path.join(name).is_file(),
            Files::Tar { entries, .. } => find(entries, name).is_some(),
        }
    }

    /// Opens a file of the archive. `name` comes from documents in it: it may name nothing outside.
    pub(super) fn open_file(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let missing = || self.bad(format!("`{name}` is missing in it"));
        match &self.files {
            Files::Folder => {
                let inside = TreePath::new(name).map_err(|_| missing())?;
                let at = inside.below(&self.path);
                if !at.is_file() {
                    return Err(missing());
                }
                Ok(Box::new(File::open(&at).at("read", &at)?))
            }
            Files::Tar { file, entries, .. } => {
                let (at, size) = find(entries, name).ok_or_else(missing)?;
                Ok(Box::new(Section { file: file.clone(), at, left: size }))
            }
        }
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(name)?.take(MAX_DOCUMENT).read_to_end(&mut bytes).at("read", &self.path)?;
        Ok(bytes)
    }

    /// The whole tar, decompressed, from its beginning.
    pub(super) fn whole(&self) -> Result<Box<dyn Read + Send>> {
        match &self.files {
            Files::Folder => Err(self.bad("it is a folder, not a tar".into())),
            Files::Tar { file, .. } => {
                let size = file.metadata().at("read", &self.path)?.len();
                Ok(Box::new(BufReader::with_capacity(1 << 17, Section { file: file.clone(), at: 0, left: size })))
            }
        }
    }
}

fn list(file: &Arc<File>) -> Result<HashMap<TreePath, Entry>, crate::tarball::TarProblem> {
    let size = file.metadata().map_or(u64::MAX, |m| m.len());
    let section = Section { file: file.clone(), at: 0, left: size };
    let mut tar = Reader::new(BufReader::with_capacity(1 << 20, section));
    let mut entries = HashMap::new();
    while let Some(Head { path, kind, size, link, .. }) = tar.next()? {
        // What leads out of the archive is not to be found in it; a root file system is checked when it is unpacked.
        let Ok(path) = TreePath::new(&path) else { continue };
        let at = tar.position();
        match kind {
            Kind::File => drop(entries.insert(path, Entry::File { at, size })),
            Kind::HardLink => {
                if let Ok(target) = TreePath::new(&link) {
                    entries.insert(path, Entry::Link(target));
                }
            }
            // `docker save` once wrote a layer that it had written already as a link to it.
            Kind::Symlink => {
                let folder = path.parent().unwrap_or_default();
                if let Ok(target) = TreePath::new([folder.as_bytes(), b"/", &link].concat()) {
                    entries.insert(path, Entry::Link(target));
                }
            }
            _ => {}
        }
    }
    Ok(entries)
}

fn find(entries: &HashMap<TreePath, Entry>, name: &str) -> Option<(u64, u64)> {
    let mut path = TreePath::new(name).ok()?;
    for _ in 0..8 {
        match entries.get(&path)? {
            Entry::File { at, size } => return Some((*at, *size)),
            Entry::Link(target) => path = target.clone(),
        }
    }
    None
}

/// A piece of a file, read without moving its position: several are read at once.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..most], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}
