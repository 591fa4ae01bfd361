//! Contents that came, one after the other in a file without a name: to make a file of each would cost more than to unpack it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shiplap_cache::tier::table::Content;
use shiplap_cache::{ContentHash, Piece, Store};

use crate::Result;
use crate::error::At;

/// Contents, each found by its hash. They end with the last who reads them.
pub(in crate::remote) struct Heap {
    file: Arc<File>,
    /// Where nothing is yet.
    end: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where they begin, and how long they are.
    here: HashMap<ContentHash, (u64, u64)>,
    /// The beginnings of the same hashes, as tables have them.
    prefixes: HashSet<[u8; 8]>,
}

impl Heap {
    /// One that has what is in empty files, which is in no pack.
    pub fn new(store: &Store) -> Result<Self> {
        let folder = store.temporary()?;
        let file = tempfile::tempfile_in(folder.path()).at("make a file in", folder.path())?;
        let heap = Self { file: Arc::new(file), end: AtomicU64::new(0), state: Mutex::default() };
        heap.add([(ContentHash::of(b""), (0, 0))]);
        Ok(heap)
    }

    /// Where contents are, if they are here.
    pub fn piece(&self, hash: &ContentHash) -> Option<Piece> {
        let (from, size) = *self.state().here.get(hash)?;
        Some(Piece { file: self.file.clone(), from, size })
    }

    pub fn has(&self, hash: &ContentHash) -> bool {
        self.state().here.contains_key(hash)
    }

    /// Whether contents of a table are likely to be here.
    pub fn has_prefix(&self, content: &Content) -> bool {
        self.state().prefixes.contains(&content.hash)
    }

    /// These are at these places of the file.
    pub(super) fn add(&self, contents: impl IntoIterator<Item = (ContentHash, (u64, u64))>) {
        let mut state = self.state();
        for (hash, place) in contents {
            state.prefixes.insert(Content::prefix(&hash));
            state.here.insert(hash, place);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Contents have another hash than the table says.
    Wrong,
    /// The disk.
    Disk(io::Error),
}

/// Takes the plain form of frames that follow each other, and finds the contents in it. They are here once all of it is.
pub(super) struct Sorter {
    heap: Arc<Heap>,
    /// What is still to come, the last first.
    contents: Vec<Content>,
    /// How far it came in the plain form of the pack, and which place of it is the first of the heap's file.
    position: u64,
    start: u64,
    from: u64,
    /// Of contents of which not all has come.
    growing: Option<blake3::Hasher>,
    done: Vec<(ContentHash, (u64, u64))>,
}

impl Sorter {
    /// Of these contents, which follow each other, in these bytes of the plain form.
    pub fn new(heap: &Arc<Heap>, contents: &[Content], plain: &std::ops::Range<u64>) -> Self {
        Self {
            heap: heap.clone(),
            contents: contents.iter().rev().copied().collect(),
            position: plain.start,
            start: plain.start,
            from: heap.end.fetch_add(plain.end - plain.start, Ordering::Relaxed),
            growing: None,
            done: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, plain: &[u8]) -> std::result::Result<(), Trouble> {
        self.heap.file.write_all_at(plain, self.at(self.position)).map_err(Trouble::Disk)?;
        let end = self.position + plain.len() as u64;
        while let Some(next) = self.contents.last().copied() {
            if next.offset >= end {
                break;
            }
            let from = next.offset.max(self.position);
            let bytes = &plain[(from - self.position) as usize..(next.end().min(end) - self.position) as usize];
            let mut hasher = self.growing.take().unwrap_or_default();
            hasher.update(bytes);
            if next.end() > end {
                self.growing = Some(hasher);
                break;
            }
            let hash = ContentHash::from_bytes(*hasher.finalize().as_bytes());
            if Content::prefix(&hash) != next.hash {
                return Err(Trouble::Wrong);
            }
            self.contents.pop();
            self.done.push((hash, (self.at(next.offset), next.size)));
        }
        self.position = end;
        Ok(())
    }

    fn at(&self, plain: u64) -> u64 {
        self.from + (plain - self.start)
    }

    /// What is whole is here from now on.
    pub fn finish(self) {
        self.heap.add(self.done);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const PLAIN: &[u8] = b"..hello....worldwide.";

    fn content(text: &str, offset: u64) -> Content {
        let hash = Content::prefix(&ContentHash::of(text.as_bytes()));
        Content { hash, offset, size: text.len() as u64 }
    }

    fn heap() -> (tempfile::TempDir, Arc<Heap>) {
        let home = tempfile::tempdir().unwrap();
        let heap = Heap::new(&Store::open(home.path()).unwrap()).unwrap();
        (home, Arc::new(heap))
    }

    fn text(heap: &Heap, text: &str) -> Option<String> {
        let mut read = String::new();
        let piece = heap.piece(&ContentHash::of(text.as_bytes()))?;
        piece.reader().read_to_string(&mut read).unwrap();
        Some(read)
    }

    #[test]
    fn contents_are_found_however_the_bytes_come() {
        let (_home, heap) = heap();
        let contents = [content("hello", 2), content("world", 11), content("wide", 16)];
        for piece in [1, 2, 3, 7, 100] {
            let mut sorter = Sorter::new(&heap, &contents, &(0..PLAIN.len() as u64));
            PLAIN.chunks(piece).for_each(|bytes| sorter.take(bytes).unwrap());
            sorter.finish();
            for word in ["hello", "world", "wide", ""] {
                assert_eq!(text(&heap, word).as_deref(), Some(word), "{piece}");
            }
        }
        assert!(heap.has_prefix(&contents[1]) && !heap.has(&ContentHash::of(b"worldwide")));
    }

    #[test]
    fn it_begins_in_the_middle_and_leaves_out_what_is_not_whole() {
        let (_home, heap) = heap();
        let mut sorter = Sorter::new(&heap, &[content("world", 11), content("wide", 16)], &(10..18));
        sorter.take(b".worldwi").unwrap();
        assert_eq!(text(&heap, "world"), None, "nothing is here before all of it is");
        sorter.finish();
        assert_eq!((text(&heap, "world").as_deref(), text(&heap, "wide")), (Some("world"), None));
    }

    #[test]
    fn other_contents_than_the_table_says_are_not_kept() {
        for piece in [1, 100] {
            let (_home, heap) = heap();
            let mut sorter = Sorter::new(&heap, &[content("world", 0)], &(0..5));
            let taken: std::result::Result<Vec<()>, Trouble> =
                b"wOrld".chunks(piece).map(|bytes| sorter.take(bytes)).collect();
            assert!(matches!(taken, Err(Trouble::Wrong)), "{piece}");
            assert!(!heap.has(&ContentHash::of(b"wOrld")));
        }
    }
}
