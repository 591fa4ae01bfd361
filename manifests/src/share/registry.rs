//! A repository of a registry.
//!
//! Each write is a page: an artifact with a number, under a tag that is made once ([`HistoryTag`](shiplap_registry::tag::HistoryTag)), and with the digest of the page
//! before. The state is what all pages together come to. To write is to make the page behind the newest one, if nobody made it before: that is the
//! compare-and-set, exact where the registry refuses to move such a tag, and as good as `Client::push` can make it where it lets tags move.
//!
//! What a page came to is kept beside the store, so that each is fetched once. The newest page of somebody else counts as settled when one follows it, or when it was there for as long
//! as two can write the same one: until then a registry that lets tags move may still have replaced it, and nothing is written behind it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use shiplap_cache::{Digest, durable};

use super::{Files, Place, ShareError, Snapshot};

/// The schema of a page.
const SCHEMA: &str = "shiplap.history/1";
/// Pages that are fetched at a time: they are held in memory.
const AT_ONCE: usize = 200;

/// A page as the registry has it: the digest of its manifest, and its bytes.
pub type Fetched = (Digest, Vec<u8>);

/// What a registry is asked for: pages by their numbers, from 1.
pub trait Pages {
    /// What it is called in messages; no credentials.
    fn name(&self) -> String;

    /// What people find a page by.
    fn tag(&self, number: u64) -> String;

    /// The numbers of all pages, sorted.
    ///
    /// # Errors
    /// It cannot be asked; why.
    fn numbers(&self) -> Result<Vec<u64>, String>;

    /// The digests of pages in the order of the numbers; none for one that is not there.
    ///
    /// # Errors
    /// It cannot be asked; why.
    fn digests(&self, numbers: &[u64]) -> Result<Vec<Option<Digest>>, String>;

    /// Pages in the order of the numbers; none for one that is not there.
    ///
    /// # Errors
    /// It cannot be asked, or one is damaged; why.
    fn fetch(&self, numbers: &[u64]) -> Result<Vec<Option<Fetched>>, String>;

    /// Makes a page, unless there is one of that number; its digest, or none if there is another.
    ///
    /// # Errors
    /// It cannot be asked; why. Whether it was made is not known then.
    fn create(&self, number: u64, bytes: &[u8], message: &str) -> Result<Option<Digest>, String>;

    /// Waits for as long as two can write the same page.
    fn settle(&self);
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    schema: String,
    number: u64,
    /// The digest of the page before; none for the first.
    previous: Option<Digest>,
    /// Of each page another: no two who write at the same moment write the same.
    writer: String,
    message: String,
    add: BTreeMap<String, String>,
    remove: Vec<String>,
}

/// What the settled pages come to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Book {
    /// The digests of the pages, the first one first.
    digests: Vec<Digest>,
    /// The files, and the number of the page that has each.
    files: BTreeMap<String, u64>,
}

impl Book {
    fn newest(&self) -> u64 {
        self.digests.len() as u64
    }

    fn add(&mut self, digest: Digest, page: &Page) {
        self.digests.push(digest);
        self.files.retain(|path, _| !page.remove.contains(path));
        self.files.extend(page.add.keys().map(|path| (path.clone(), page.number)));
    }
}

/// What was seen when somebody looked.
#[derive(Debug, Default)]
struct Seen {
    settled: Book,
    /// The page behind them, and whether it may still be replaced is not known.
    newest: Option<(Digest, Page)>,
    /// The files with that page.
    files: BTreeMap<String, u64>,
}

/// A repository of a registry.
#[derive(Debug)]
pub struct RegistryPlace<P> {
    pages: P,
    folder: PathBuf,
    seen: Mutex<Seen>,
}

impl<P: Pages> RegistryPlace<P> {
    /// The pages of a registry. `folder` is where what they came to is kept, made if there is none.
    ///
    /// # Errors
    /// `folder` cannot be made.
    pub fn open(pages: P, folder: &Path) -> Result<Self, ShareError> {
        let place = Self { pages, folder: folder.to_owned(), seen: Mutex::default() };
        fs::create_dir_all(folder.join("pages")).map_err(|e| place.failed("read", &at(folder, &e)))?;
        Ok(place)
    }

    fn failed(&self, what: &'static str, why: &dyn std::fmt::Display) -> ShareError {
        ShareError::Place { place: self.name(), what, why: why.to_string() }
    }

    fn damaged(&self, number: u64, why: &str) -> ShareError {
        ShareError::Damaged { file: self.pages.tag(number), place: self.name(), why: why.to_owned() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other processes of this store from the folder until it is dropped.
    fn lock(&self) -> Result<File, ShareError> {
        let path = self.folder.join("shiplap.lock");
        let lock = || {
            let file = File::options().write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|e: std::io::Error| self.failed("read", &at(&path, &e)))
    }

    fn book_file(&self) -> PathBuf {
        self.folder.join("book.json")
    }

    fn load(&self) -> Result<Book, ShareError> {
        let path = self.book_file();
        let damaged = |e: &dyn std::fmt::Display| {
            let why = format!("{}: {e}; remove {}, and it is fetched anew", path.display(), self.folder.display());
            self.failed("read", &why)
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| damaged(&e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Book::default()),
            Err(e) => Err(damaged(&e)),
        }
    }

    fn save(&self, book: &Book) -> Result<(), ShareError> {
        let bytes = serde_json::to_vec(book).map_err(|e| self.failed("read", &e))?;
        durable::write(&self.book_file(), &bytes).map_err(|e| self.failed("read", &at(&self.book_file(), &e)))
    }

    fn page_file(&self, number: u64) -> PathBuf {
        self.folder.join("pages").join(format!("{number:010}.json"))
    }

    /// Reads the bytes of a page that follows from another one.
    fn parse(&self, number: u64, previous: Option<&Digest>, bytes: &[u8]) -> Result<Page, ShareError> {
        let page: Page =
            serde_json::from_slice(bytes).map_err(|e| self.damaged(number, &format!("cannot be read: {e}")))?;
        if page.schema != SCHEMA {
            return Err(self.damaged(number, &format!("has the form `{}`: use a newer shiplap", page.schema)));
        }
        if page.number != number || page.previous.as_ref() != previous {
            return Err(self.damaged(
                number,
                "does not follow from the one before: a tag was moved, or two wrote at the same moment and the registry lets tags move",
            ));
        }
        Ok(page)
    }

    /// A settled page: the copy that is here, else the registry's.
    fn page(&self, book: &Book, number: u64) -> Result<Page, ShareError> {
        let place = number as usize - 1;
        let previous = place.checked_sub(1).and_then(|before| book.digests.get(before));
        // A copy that a power cut left half there is as good as none.
        let here = fs::read(self.page_file(number)).ok();
        if let Some(page) = here.and_then(|bytes| self.parse(number, previous, &bytes).ok()) {
            return Ok(page);
        }
        let fetched = self.pages.fetch(&[number]).map_err(|e| self.failed("read", &e))?.pop().flatten();
        let (digest, bytes) = fetched.ok_or_else(|| self.lost(number))?;
        if book.digests.get(place) != Some(&digest) {
            return Err(self.damaged(number, "is another page than it was"));
        }
        self.keep(number, &bytes);
        self.parse(number, previous, &bytes)
    }

    /// Keeps a copy of a page. Without it the page is fetched once more.
    fn keep(&self, number: u64, bytes: &[u8]) {
        if let Err(error) = fs::write(self.page_file(number), bytes) {
            tracing::warn!(number, "a page of the shared history is not kept: {error}");
        }
    }

    fn lost(&self, number: u64) -> ShareError {
        self.damaged(number, "is missing: somebody or something removed it")
    }

    /// Fetches the pages behind those that are known. All but the last are settled, for one follows.
    fn catch_up(&self, book: &mut Book) -> Result<Option<(Digest, Page)>, ShareError> {
        let numbers = self.pages.numbers().map_err(|e| self.failed("read", &e))?;
        // A list may be older than the page that was just seen.
        let last = numbers.last().copied().unwrap_or_default().max(book.newest() + 1);
        let wanted: Vec<u64> = (book.newest() + 1..=last).collect();
        let mut newest = None;
        for some in wanted.chunks(AT_ONCE) {
            let fetched = self.pages.fetch(some).map_err(|e| self.failed("read", &e))?;
            for (number, fetched) in some.iter().zip(fetched) {
                if let Some((digest, page)) = newest.take() {
                    book.add(digest, &page);
                }
                let (digest, bytes) = fetched.ok_or_else(|| self.lost(*number))?;
                let page = self.parse(*number, book.digests.last(), &bytes)?;
                self.keep(*number, &bytes);
                newest = Some((digest, page));
            }
        }
        Ok(newest)
    }
}

impl Seen {
    fn new(settled: Book, newest: Option<(Digest, Page)>) -> Self {
        let mut with = settled.clone();
        if let Some((digest, page)) = &newest {
            with.add(*digest, page);
        }
        Self { settled, newest, files: with.files }
    }

    fn snapshot(&self) -> Snapshot {
        let digest = self.newest.as_ref().map(|(digest, _)| digest).or(self.settled.digests.last());
        Snapshot(digest.map(ToString::to_string))
    }
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl<P: Pages> Place for RegistryPlace<P> {
    fn name(&self) -> String {
        self.pages.name()
    }

    fn refresh(&self) -> Result<Snapshot, ShareError> {
        let _lock = self.lock()?;
        let mut book = self.load()?;
        let known = book.newest();
        let asked: Vec<u64> = if known == 0 { vec![1] } else { vec![known, known + 1] };
        let mut found = self.pages.digests(&asked).map_err(|e| self.failed("read", &e))?;
        let next = found.pop().flatten();
        if let Some(newest) = book.digests.last() {
            // Without this look nobody would notice when the end was cut off.
            match found.pop().flatten() {
                None => return Err(self.lost(known)),
                Some(digest) if digest != *newest => return Err(self.damaged(known, "is another page than it was")),
                Some(_) => {}
            }
        }
        let newest = match next {
            Some(_) => self.catch_up(&mut book)?,
            None => None,
        };
        if book.newest() > known {
            self.save(&book)?;
        }
        let seen = Seen::new(book, newest);
        let snapshot = seen.snapshot();
        *self.seen() = seen;
        Ok(snapshot)
    }

    fn list(&self, _: &Snapshot) -> Result<Vec<String>, ShareError> {
        Ok(self.seen().files.keys().cloned().collect())
    }

    fn read(&self, _: &Snapshot, paths: &[String]) -> Result<Files, ShareError> {
        let seen = self.seen();
        let (mut files, mut pages) = (Files::new(), BTreeMap::new());
        for path in paths {
            let number = *seen.files.get(path).ok_or_else(|| self.failed("read", &format!("there is no {path}")))?;
            let page = match (&seen.newest, pages.entry(number)) {
                (Some((_, newest)), _) if newest.number == number => newest,
                (_, Entry::Occupied(known)) => known.into_mut(),
                (_, Entry::Vacant(place)) => place.insert(self.page(&seen.settled, number)?),
            };
            let content = page.add.get(path).ok_or_else(|| self.damaged(number, "is another page than it was"))?;
            files.insert(path.clone(), content.clone().into_bytes());
        }
        Ok(files)
    }

    fn write(&self, base: &Snapshot, add: &Files, remove: &[String], message: &str) -> Result<bool, ShareError> {
        let _lock = self.lock()?;
        let mut seen = self.seen();
        if seen.snapshot() != *base {
            return Ok(false);
        }
        let mut book = seen.settled.clone();
        if let Some((digest, page)) = seen.newest.take() {
            self.pages.settle();
            let now = self.pages.digests(&[page.number]).map_err(|e| self.failed("written", &e))?.pop().flatten();
            if now != Some(digest) {
                return Ok(false);
            }
            book.add(digest, &page);
        }
        let text = |(path, bytes): (&String, &Vec<u8>)| match String::from_utf8(bytes.clone()) {
            Ok(text) => Ok((path.clone(), text)),
            Err(_) => Err(self.failed("written", &format!("{path} is no text"))),
        };
        let page = Page {
            schema: SCHEMA.to_owned(),
            number: book.newest() + 1,
            previous: book.digests.last().copied(),
            writer: format!("{:016x}", RandomState::new().build_hasher().finish()),
            message: message.to_owned(),
            add: add.iter().map(text).collect::<Result<_, _>>()?,
            remove: remove.to_vec(),
        };
        let bytes = crate::canonical::to_vec(&page).map_err(|e| self.failed("written", &e))?;
        let made = self.pages.create(page.number, &bytes, message).map_err(|e| self.failed("written", &e))?;
        let Some(digest) = made else { return Ok(false) };
        self.keep(page.number, &bytes);
        book.add(digest, &page);
        self.save(&book)?;
        *seen = Seen::new(book, None);
        Ok(true)
    }

    fn audit(&self) -> Result<Vec<String>, ShareError> {
        let seen = self.seen();
        let newest = seen.newest.as_ref().map(|(digest, _)| digest);
        let digests: Vec<&Digest> = seen.settled.digests.iter().chain(newest).collect();
        let numbers: Vec<u64> = (1..=digests.len() as u64).collect();
        let found = self.pages.digests(&numbers).map_err(|e| self.failed("read", &e))?;
        let wrong = numbers.iter().zip(digests).zip(found).filter_map(|((number, expected), found)| match found {
            None => Some(self.lost(*number).to_string()),
            Some(digest) if digest != *expected => Some(self.damaged(*number, "was moved to another page").to_string()),
            Some(_) => None,
        });
        Ok(wrong.collect())
    }
}
