//! From frames to files, each under the hash of its content.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use shiplap_cache::ContentHash;
use shiplap_cache::tier::table::Content;

use crate::error::At;

/// Names of files that are not whole yet.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where the contents with a hash are.
pub(in crate::remote) fn place(folder: &Path, hash: &ContentHash) -> PathBuf {
    folder.join(hash.to_string())
}

/// Keeps the contents of empty files, which are in no pack. Gives their hash.
pub(in crate::remote) fn keep_empty(folder: &Path) -> crate::Result<ContentHash> {
    let hash = ContentHash::of(b"");
    let at = place(folder, &hash);
    std::fs::write(&at, b"").at("write", &at)?;
    Ok(hash)
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Contents have another hash than the table says.
    Wrong,
    /// The disk.
    Disk(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Takes the plain form of frames that follow each other, and keeps the contents in it.
pub(super) struct Sorter {
    folder: PathBuf,
    /// What is still to come, the last first.
    contents: Vec<Content>,
    position: u64,
    current: Option<Growing>,
    done: Vec<ContentHash>,
}

/// Contents of which not all has come.
struct Growing {
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
}

impl Sorter {
    /// Of these contents, which follow each other, from a place in the plain form on.
    pub fn new(folder: &Path, contents: &[Content], position: u64) -> Self {
        let contents = contents.iter().rev().copied().collect();
        Self { folder: folder.to_owned(), contents, position, current: None, done: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, plain: &[u8]) -> Result<(), Trouble> {
        let end = self.position + plain.len() as u64;
        while let Some(next) = self.contents.last().copied() {
            if next.offset >= end {
                break;
            }
            let from = next.offset.max(self.position);
            let bytes = &plain[(from - self.position) as usize..(next.end().min(end) - self.position) as usize];
            if self.current.is_none() && next.end() <= end {
                self.contents.pop();
                self.keep(&next, bytes)?;
                continue;
            }
            let mut growing = match self.current.take() {
                Some(growing) => growing,
                None => Growing::new(&self.folder)?,
            };
            growing.hasher.update(bytes);
            growing.file.write_all(bytes)?;
            if next.end() > end {
                self.current = Some(growing);
                break;
            }
            self.contents.pop();
            let hash = checked(&next, &growing.hasher.finalize())?;
            std::fs::rename(&growing.path, place(&self.folder, &hash))?;
            self.done.push(hash);
        }
        self.position = end;
        Ok(())
    }

    /// Keeps contents of which all is here.
    fn keep(&mut self, content: &Content, bytes: &[u8]) -> Result<(), Trouble> {
        let hash = checked(content, &blake3::hash(bytes))?;
        let to = place(&self.folder, &hash);
        // The same contents may come from several packs at once, and who has them open must not see them change.
        if !to.exists() {
            let mut growing = Growing::new(&self.folder)?;
            growing.file.write_all(bytes)?;
            std::fs::rename(&growing.path, &to)?;
        }
        self.done.push(hash);
        Ok(())
    }

    /// What is whole now.
    pub fn finish(self) -> Vec<ContentHash> {
        self.done
    }
}

impl Growing {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!("part-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        Ok(Self { file: File::create_new(&path)?, path, hasher: blake3::Hasher::new() })
    }
}

fn checked(content: &Content, hash: &blake3::Hash) -> Result<ContentHash, Trouble> {
    let hash = ContentHash::from_bytes(*hash.as_bytes());
    if Content::prefix(&hash) == content.hash { Ok(hash) } else { Err(Trouble::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str, offset: u64) -> Content {
        let hash = Content::prefix(&ContentHash::of(text.as_bytes()));
        Content { hash, offset, size: text.len() as u64 }
    }

    #[test]
    fn contents_are_kept_however_the_bytes_come() {
        let plain = b"..hello....worldwide.";
        let contents = [content("hello", 2), content("world", 11), content("wide", 16)];
        for piece in [1, 2, 3, 7, 100] {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(folder.path(), &contents, 0);
            plain.chunks(piece).for_each(|bytes| sorter.take(bytes).unwrap());
            let hashes = ["hello", "world", "wide"].map(|text| ContentHash::of(text.as_bytes()));
            assert_eq!(sorter.finish(), hashes);
            for (hash, text) in hashes.iter().zip(["hello", "world", "wide"]) {
                assert_eq!(std::fs::read_to_string(place(folder.path(), hash)).unwrap(), text, "{piece}");
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "{piece}");
        }
    }

    #[test]
    fn it_begins_in_the_middle_and_leaves_out_what_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), &[content("world", 11)], 10);
        sorter.take(b".worldwi").unwrap();
        assert_eq!(sorter.finish(), [ContentHash::of(b"world")]);
    }

    #[test]
    fn other_contents_than_the_table_says_are_not_kept() {
        for piece in [1, 100] {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(folder.path(), &[content("world", 0)], 0);
            let taken: Result<Vec<()>, Trouble> = b"wOrld".chunks(piece).map(|bytes| sorter.take(bytes)).collect();
            assert!(matches!(taken, Err(Trouble::Wrong)), "{piece}");
            assert!(!place(folder.path(), &ContentHash::of(b"wOrld")).exists());
        }
    }
}
