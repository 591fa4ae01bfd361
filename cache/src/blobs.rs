//! Blobs as files, named by their digest.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::Digest as _;

use crate::durable::DurableFile;
use crate::error::At;
use crate::{Digest, Error, Result};

/// A folder of blobs in the shape of an OCI image layout's `blobs/` (image-spec, image-layout.md).
///
/// A blob that nothing referred to is in quarantine for a while before it is unlinked. Whoever asks for it by its digest brings it back.
#[derive(Debug, Clone)]
pub struct BlobStore {
    folder: PathBuf,
    quarantine: PathBuf,
    damaged: PathBuf,
}

impl BlobStore {
    /// Opens `<home>/blobs/sha256`, making it if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(home: &Path) -> Result<Self> {
        let (folder, quarantine) = (home.join("blobs/sha256"), home.join("quarantine"));
        for folder in [&folder, &quarantine] {
            std::fs::create_dir_all(folder).at("make", folder)?;
        }
        Ok(Self { folder, quarantine, damaged: home.join("damaged") })
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Where a blob is that is in quarantine.
    pub(crate) fn quarantined(&self, digest: &Digest) -> PathBuf {
        self.quarantine.join(digest.hex())
    }

    /// The folders of blobs that are here, and of those in quarantine.
    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.folder, &self.quarantine]
    }

    /// All blobs that are here.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        for item in std::fs::read_dir(&self.folder).at("read", &self.folder)? {
            let name = item.at("read", &self.folder)?.file_name();
            all.extend(format!("sha256:{}", name.to_string_lossy()).parse::<Digest>());
        }
        Ok(all)
    }

    /// Moves the file of a blob that was found damaged to `damaged/`, for whoever wants to look at it, so that a push or pull brings the blob anew.
    /// Says where it is; nothing when the file is gone or right by now.
    ///
    /// # Errors
    /// The disk fails.
    pub fn put_away_damaged(&self, digest: &Digest) -> Result<Option<PathBuf>> {
        let path = self.path(digest);
        // Under another name nobody reads it, and what is read now is what is moved. Another process may have replaced it meanwhile.
        let damaged = self.damaged.join(digest.hex());
        std::fs::create_dir_all(&self.damaged).at("make", &self.damaged)?;
        if !moved(&path, &damaged)? {
            return Ok(None);
        }
        if File::open(&damaged).is_ok_and(|file| io::copy(&mut BlobReader::new(file, *digest), &mut io::sink()).is_ok())
        {
            moved(&damaged, &path)?;
            return Ok(None);
        }
        Ok(Some(damaged))
    }

    /// Puts a blob into quarantine; says whether it was there.
    pub(crate) fn set_aside(&self, digest: &Digest) -> Result<bool> {
        moved(&self.path(digest), &self.quarantined(digest))
    }

    /// Brings a blob back from quarantine; says whether it is here. One that was written anew meanwhile was checked then, and is not replaced by an
    /// older copy, which nobody has read since. `renameat2(2)` is atomic: of this and the unlinking one wins.
    pub(crate) fn bring_back(&self, digest: &Digest) -> Result<bool> {
        let (aside, path) = (self.quarantined(digest), self.path(digest));
        match renameat_with(CWD, &aside, CWD, &path, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            // A file system that cannot promise that.
            Err(Errno::INVAL | Errno::NOSYS) => Ok(path.exists() || moved(&aside, &path)?),
            Err(e) => Err(e).at("move", &aside),
        }
    }

    /// Does something with a blob's path. When it is not there, it is looked for in quarantine.
    fn here<T>(&self, digest: &Digest, look: impl Fn(&Path) -> io::Result<T>) -> Result<Option<T>> {
        let path = self.path(digest);
        loop {
            match look(&path) {
                Ok(found) => return Ok(Some(found)),
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).at("read", &path),
                Err(_) if self.bring_back(digest)? => {}
                // Another thread may have brought it back between the two looks.
                Err(_) => return look(&path).map_or(Ok(None), |found| Ok(Some(found))),
            }
        }
    }

    /// The size of a blob in bytes, none when it is not here.
    ///
    /// # Errors
    /// The disk fails.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.here(digest, |path| std::fs::metadata(path))?.map(|meta| meta.len()))
    }

    /// Opens a blob. The reader checks the digest and fails at the end, not silently, when the bytes are others.
    ///
    /// # Errors
    /// [`Error::MissingBlob`], or the disk fails.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader<File>> {
        Ok(BlobReader::new(self.open_file(digest)?, *digest))
    }

    /// Opens a blob's file; whoever reads it checks the bytes.
    ///
    /// # Errors
    /// As [`BlobStore::open_blob`].
    pub fn open_file(&self, digest: &Digest) -> Result<File> {
        self.here(digest, |path| File::open(path))?.ok_or(Error::MissingBlob(*digest))
    }

    /// Reads a small blob whole and checks it.
    ///
    /// # Errors
    /// [`Error::MissingBlob`], [`Error::WrongDigest`], or the disk fails.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(digest)?.read_to_end(&mut bytes).at("read", &self.path(digest))?;
        let actual = Digest::of(&bytes);
        if actual == *digest { Ok(bytes) } else { Err(Error::WrongDigest { expected: *digest, actual }) }
    }

    /// Reads a blob to its end and checks its digest; returns its size.
    ///
    /// # Errors
    /// [`Error::MissingBlob`], [`Error::WrongDigest`], or the disk fails.
    pub fn verify(&self, digest: &Digest) -> Result<u64> {
        let path = self.path(digest);
        let mut file = self.open_file(digest)?;
        let mut hasher = sha2::Sha256::new();
        let mut buf = vec![0; 1 << 17];
        let mut size = 0;
        loop {
            match file.read(&mut buf).at("read", &path)? {
                0 => break,
                n => {
                    hasher.update(&buf[..n]);
                    size += n as u64;
                }
            }
        }
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual == *digest { Ok(size) } else { Err(Error::WrongDigest { expected: *digest, actual }) }
    }

    /// Stores bytes and returns their name.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.size(&digest)? == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let mut writer = self.writer()?;
        writer.write_all(bytes).at("write", &self.folder)?;
        Ok(writer.commit(Some((&digest, bytes.len() as u64)))?.0)
    }

    /// Starts a blob whose bytes come one after the other. Dropped without a commit, it leaves nothing.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn writer(&self) -> Result<BlobWriter> {
        let file = DurableFile::new_in(&self.folder).at("write", &self.folder)?;
        Ok(BlobWriter { file, hasher: sha2::Sha256::new(), size: 0, folder: self.folder.clone() })
    }
}

fn moved(from: &Path, to: &Path) -> Result<bool> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).at("move", from),
    }
}

/// A blob on its way in: hashes as it is written.
#[derive(Debug)]
pub struct BlobWriter {
    file: DurableFile,
    hasher: sha2::Sha256,
    size: u64,
    folder: PathBuf,
}

impl BlobWriter {
    /// The bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Checks the blob against what was announced, if anything was, and puts it in its place.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], [`Error::WrongSize`], or the disk fails; the store is as it was then.
    pub fn commit(self, announced: Option<(&Digest, u64)>) -> Result<(Digest, u64)> {
        let actual = Digest::from_bytes(self.hasher.finalize().into());
        if let Some((digest, size)) = announced {
            if size != self.size {
                return Err(Error::WrongSize { digest: *digest, expected: size, actual: self.size });
            }
            if *digest != actual {
                return Err(Error::WrongDigest { expected: *digest, actual });
            }
        }
        let path = self.folder.join(actual.hex());
        self.file.persist(&path).at("write", &path)?;
        Ok((actual, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads bytes that must have a certain digest; the last read fails if they do not.
#[derive(Debug)]
pub struct BlobReader<R> {
    inner: R,
    hasher: sha2::Sha256,
    expected: Digest,
    done: bool,
}

impl<R: Read> BlobReader<R> {
    /// Wraps a reader whose bytes should be those of `expected`.
    pub fn new(inner: R, expected: Digest) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), expected, done: false }
    }
}

impl<R: Read> Read for BlobReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        if n == 0 && !buf.is_empty() && !self.done {
            self.done = true;
            let actual = Digest::from_bytes(self.hasher.clone().finalize().into());
            if actual != self.expected {
                let error = Error::WrongDigest { expected: self.expected, actual };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path()).unwrap();
        (dir, blobs)
    }

    #[test]
    fn bytes_come_back() {
        let (_dir, blobs) = store();
        let digest = blobs.put(b"hello").unwrap();
        assert_eq!(blobs.read(&digest).unwrap(), b"hello");
        assert_eq!(blobs.size(&digest).unwrap(), Some(5));
        assert_eq!(blobs.verify(&digest).unwrap(), 5);
    }

    #[test]
    fn a_blob_with_the_wrong_digest_or_size_is_refused_and_leaves_nothing() {
        let (dir, blobs) = store();
        for announced in [(Digest::of(b"other"), 5), (Digest::of(b"hello"), 4)] {
            let mut writer = blobs.writer().unwrap();
            writer.write_all(b"hello").unwrap();
            assert!(writer.commit(Some((&announced.0, announced.1))).is_err());
        }
        assert_eq!(std::fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count(), 0);
    }

    #[test]
    fn a_blob_in_quarantine_comes_back_to_whoever_asks_for_it() {
        let (_dir, blobs) = store();
        let digest = blobs.put(b"hello").unwrap();
        assert!(blobs.set_aside(&digest).unwrap() && !blobs.path(&digest).exists());
        assert!(!blobs.set_aside(&digest).unwrap());
        assert_eq!(blobs.size(&digest).unwrap(), Some(5));
        assert!(blobs.path(&digest).exists() && !blobs.quarantined(&digest).exists());
        blobs.set_aside(&digest).unwrap();
        assert_eq!(blobs.read(&digest).unwrap(), b"hello");
        blobs.set_aside(&digest).unwrap();
        assert_eq!(blobs.put(b"hello").unwrap(), digest);
        assert!(blobs.path(&digest).exists());
    }

    #[test]
    fn a_blob_that_was_written_anew_is_not_replaced_by_a_damaged_one_of_the_quarantine() {
        let (_dir, blobs) = store();
        let digest = blobs.put(b"hello").unwrap();
        blobs.set_aside(&digest).unwrap();
        std::fs::write(blobs.quarantined(&digest), b"hellp").unwrap();
        let mut writer = blobs.writer().unwrap();
        writer.write_all(b"hello").unwrap();
        writer.commit(Some((&digest, 5))).unwrap();
        assert!(blobs.bring_back(&digest).unwrap());
        assert_eq!(blobs.read(&digest).unwrap(), b"hello");
    }

    #[test]
    fn a_damaged_blob_is_put_away_and_can_be_had_anew() {
        let (_dir, blobs) = store();
        let (right, wrong) = (blobs.put(b"right").unwrap(), blobs.put(b"hello").unwrap());
        std::fs::write(blobs.path(&wrong), b"hellp").unwrap();
        assert_eq!(blobs.put_away_damaged(&right).unwrap(), None);
        let away = blobs.put_away_damaged(&wrong).unwrap().unwrap();
        assert_eq!(std::fs::read(away).unwrap(), b"hellp");
        assert_eq!(blobs.all().unwrap(), [right]);
        assert_eq!(blobs.size(&wrong).unwrap(), None);
        assert_eq!(blobs.put(b"hello").unwrap(), wrong);
        assert_eq!(blobs.put_away_damaged(&wrong).unwrap(), None);
    }

    #[test]
    fn a_flipped_byte_is_found_by_every_way_to_read() {
        let (_dir, blobs) = store();
        let digest = blobs.put(b"hello").unwrap();
        std::fs::write(blobs.path(&digest), b"hellp").unwrap();
        assert!(matches!(blobs.read(&digest), Err(Error::WrongDigest { .. })));
        assert!(blobs.verify(&digest).is_err());
        let error = io::copy(&mut blobs.open_blob(&digest).unwrap(), &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
