//! Stores and a registry between them. The registry is a map here; a real one is in `tests/e2e/share_in_a_registry.rs` of the command.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use shiplap_cache::Digest;
use shiplap_manifests::Error;
use shiplap_manifests::share::{Fetched, Pages, Place, RegistryPlace, ShareError, Standing, claim, pull};

use crate::site::{Site, back};

#[derive(Debug, Clone, Default)]
struct Shelf {
    pages: Arc<Mutex<BTreeMap<u64, Fetched>>>,
    is_down: bool,
    /// How often it was waited for others.
    waits: Arc<AtomicU32>,
}

impl Shelf {
    fn pages(&self) -> Result<MutexGuard<'_, BTreeMap<u64, Fetched>>, String> {
        if self.is_down { Err("no answer".to_owned()) } else { Ok(self.pages.lock().unwrap()) }
    }

    fn put(&self, number: u64, bytes: &[u8]) {
        self.pages.lock().unwrap().insert(number, (Digest::of(bytes), bytes.to_vec()));
    }

    /// The page of that number as somebody else would have written it at the same moment.
    fn another(&self, number: u64) -> Vec<u8> {
        let bytes = self.pages.lock().unwrap()[&number].1.clone();
        String::from_utf8(bytes).unwrap().replace(r#""writer":""#, r#""writer":"x"#).into_bytes()
    }
}

impl Pages for Shelf {
    fn name(&self) -> String {
        "registry.example.org/campus/history".to_owned()
    }

    fn tag(&self, number: u64) -> String {
        format!("page-{number}")
    }

    fn numbers(&self) -> Result<Vec<u64>, String> {
        Ok(self.pages()?.keys().copied().collect())
    }

    fn digests(&self, numbers: &[u64]) -> Result<Vec<Option<Digest>>, String> {
        let pages = self.pages()?;
        Ok(numbers.iter().map(|number| pages.get(number).map(|(digest, _)| *digest)).collect())
    }

    fn fetch(&self, numbers: &[u64]) -> Result<Vec<Option<Fetched>>, String> {
        let pages = self.pages()?;
        Ok(numbers.iter().map(|number| pages.get(number).cloned()).collect())
    }

    fn create(&self, number: u64, bytes: &[u8], _: &str) -> Result<Option<Digest>, String> {
        let mut pages = self.pages()?;
        if pages.contains_key(&number) {
            return Ok(None);
        }
        let digest = Digest::of(bytes);
        pages.insert(number, (digest, bytes.to_vec()));
        Ok(Some(digest))
    }

    fn settle(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }
}

fn place(site: &Site, shelf: &Shelf) -> RegistryPlace<Shelf> {
    RegistryPlace::open(shelf.clone(), &site.folder.join("store/history.registry")).unwrap()
}

fn publish<T>(site: &mut Site, shelf: &Shelf, actor: &str, work: impl FnOnce(&mut Site) -> T) -> Result<T, Error> {
    let (place, name) = (place(site, shelf), site.name());
    let claimed = claim(&mut site.history, &place, &name, actor, Standing::Respected)?;
    let done = work(site);
    claimed.publish(&mut site.history)?;
    Ok(done)
}

fn take(site: &mut Site, shelf: &Shelf) -> Result<(), Error> {
    let place = place(site, shelf);
    pull(&mut site.history, &place)
}

fn head(site: &Site) -> String {
    site.history.head(&site.name()).unwrap().unwrap().hash.to_string()
}

#[test]
fn what_one_store_records_the_other_knows() {
    let (mut one, mut other, shelf) = (Site::new(), Site::new(), Shelf::default());
    one.release("1.0.0").unwrap();
    publish(&mut one, &shelf, "ada", |site| site.deploy("1.0.0").unwrap()).unwrap();
    take(&mut other, &shelf).unwrap();
    assert_eq!(head(&other), head(&one));
    publish(&mut other, &shelf, "grace", |site| {
        site.release("1.1.0").unwrap();
        site.deploy("1.1.0").unwrap();
    })
    .unwrap();
    publish(&mut one, &shelf, "ada", |site| {
        assert_eq!(site.rollback(back()).unwrap().from.to_string(), "1.1.0");
    })
    .unwrap();
    take(&mut other, &shelf).unwrap();
    assert_eq!(head(&other), head(&one));
    for site in [&one, &other] {
        assert_eq!(site.history.audit(&site.name(), None).unwrap().problems, Vec::<String>::new());
        let place = place(site, &shelf);
        place.refresh().unwrap();
        assert_eq!(place.audit().unwrap(), Vec::<String>::new());
    }
    // A claim and its end for each of the three.
    assert_eq!(shelf.pages.lock().unwrap().keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn of_many_at_once_one_wins_and_the_others_are_told_by_whom() {
    for _ in 0..5 {
        let shelf = Shelf::default();
        let barrier = std::sync::Barrier::new(4);
        let results: Vec<Option<String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let (barrier, shelf) = (&barrier, shelf.clone());
                    scope.spawn(move || {
                        let mut site = Site::new();
                        let (place, name) = (place(&site, &shelf), site.name());
                        barrier.wait();
                        let claimed =
                            claim(&mut site.history, &place, &name, &format!("operator {n}"), Standing::Respected);
                        // Nobody ends before all have tried.
                        barrier.wait();
                        match claimed {
                            Ok(claimed) => {
                                claimed.publish(&mut site.history).unwrap();
                                None
                            }
                            Err(Error::Share(ShareError::Claimed { actor, .. })) => Some(actor),
                            Err(other) => panic!("{other}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = results.iter().position(Option::is_none).unwrap();
        let others = results.iter().enumerate().filter(|(n, _)| *n != winner);
        assert!(others.into_iter().all(|(_, told)| *told == Some(format!("operator {winner}"))), "{results:?}");
    }
}

#[test]
fn nothing_is_written_behind_a_page_that_may_still_be_replaced() {
    let (mut one, other, shelf) = (Site::new(), Site::new(), Shelf::default());
    publish(&mut one, &shelf, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    let place = place(&other, &shelf);
    let seen = place.refresh().unwrap();
    // A registry that lets tags move takes the page of another who looked at the same moment.
    let theirs = shelf.another(2);
    shelf.put(2, &theirs);
    assert!(!place.write(&seen, &BTreeMap::new(), &[], "late").unwrap());
    assert_eq!(shelf.pages.lock().unwrap().len(), 2);
    // Who looks again goes on from there.
    let seen = place.refresh().unwrap();
    assert!(place.write(&seen, &BTreeMap::new(), &[], "again").unwrap());
    assert_eq!(shelf.waits.load(Ordering::Relaxed), 2);
    // Behind a page of one's own nobody waits.
    let seen = place.refresh().unwrap();
    assert!(place.write(&seen, &BTreeMap::new(), &[], "and again").unwrap());
    assert_eq!(shelf.waits.load(Ordering::Relaxed), 2);
    // Of a page behind which something was written all the same nobody can tell which is right.
    let fourth = shelf.another(3);
    shelf.put(3, &fourth);
    let told = crate::share_in_registry::place(&Site::new(), &shelf).refresh().unwrap_err().to_string();
    assert!(told.contains("`page-4`") && told.contains("does not follow"), "{told}");
}

#[test]
fn a_page_that_is_lost_or_moved_is_named() {
    let (mut one, mut other, shelf) = (Site::new(), Site::new(), Shelf::default());
    publish(&mut one, &shelf, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    publish(&mut one, &shelf, "ada", |site| site.release("1.1.0").unwrap()).unwrap();
    let whole = shelf.pages.lock().unwrap().clone();
    let known = place(&one, &shelf);
    let said = |shelf: &Shelf| -> String {
        // What was fetched before is not fetched again: only an audit looks at it.
        known.refresh().unwrap();
        let problems = known.audit().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let fresh = Site::new();
        place(&fresh, shelf).refresh().unwrap_err();
        problems[0].clone()
    };
    shelf.pages.lock().unwrap().remove(&2);
    assert!(said(&shelf).contains("`page-2`") && said(&shelf).contains("is missing"));
    *shelf.pages.lock().unwrap() = whole.clone();
    let theirs = shelf.another(2);
    shelf.put(2, &theirs);
    assert!(said(&shelf).contains("was moved to another page"));

    // The end is looked at each time. Who never saw it cannot know.
    *shelf.pages.lock().unwrap() = whole.clone();
    shelf.pages.lock().unwrap().remove(&4);
    for refused in [known.refresh().unwrap_err(), known.refresh().unwrap_err()] {
        assert!(refused.to_string().contains("`page-4`") && refused.to_string().contains("is missing"), "{refused}");
    }
    let error = publish(&mut one, &shelf, "ada", |_| ()).unwrap_err();
    assert!(matches!(error, Error::Share(ShareError::Damaged { .. })), "{error}");
    take(&mut other, &shelf).unwrap();

    // With all of it back, everything is as it was.
    *shelf.pages.lock().unwrap() = whole;
    publish(&mut one, &shelf, "ada", |_| ()).unwrap();
    shelf.put(7, b"no page");
    assert!(take(&mut other, &shelf).unwrap_err().to_string().contains("`page-7`"));
}

#[test]
fn a_copy_that_is_damaged_is_fetched_again() {
    let (mut one, shelf) = (Site::new(), Shelf::default());
    publish(&mut one, &shelf, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    let place = place(&one, &shelf);
    let at = place.refresh().unwrap();
    let paths: Vec<String> = place.list(&at).unwrap();
    assert_eq!(paths.len(), 2, "{paths:?}");
    let before = place.read(&at, &paths).unwrap();
    for page in std::fs::read_dir(one.folder.join("store/history.registry/pages")).unwrap() {
        std::fs::write(page.unwrap().path(), "{").unwrap();
    }
    assert_eq!(place.read(&at, &paths).unwrap(), before);
}

#[test]
fn a_registry_that_is_down_is_told_and_nothing_is_changed() {
    let (mut one, shelf) = (Site::new(), Shelf::default());
    publish(&mut one, &shelf, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    let down = Shelf { is_down: true, ..shelf.clone() };
    let error = publish(&mut one, &down, "ada", |site| site.deploy("1.0.0").unwrap()).unwrap_err();
    assert!(matches!(error, Error::Share(ShareError::Place { .. })), "{error}");
    assert!(one.history.current(&one.name()).unwrap().is_none());
    publish(&mut one, &shelf, "ada", |site| site.deploy("1.0.0").unwrap()).unwrap();
}

#[test]
fn the_claim_of_a_machine_that_does_not_come_back_is_broken_by_who_says_so() {
    let (mut one, mut other, shelf) = (Site::new(), Site::new(), Shelf::default());
    publish(&mut one, &shelf, "ada", |site| site.release("1.0.0").unwrap()).unwrap();
    let (place_of_one, name) = (place(&one, &shelf), one.name());
    drop(claim(&mut one.history, &place_of_one, &name, "ada", Standing::Respected).unwrap());
    let refused = publish(&mut other, &shelf, "grace", |_| ()).unwrap_err().to_string();
    assert!(refused.contains("by ada since") && refused.contains("--break-claim"), "{refused}");
    let place_of_other = place(&other, &shelf);
    let claimed = claim(&mut other.history, &place_of_other, &name, "grace", Standing::Broken).unwrap();
    other.deploy("1.0.0").unwrap();
    claimed.publish(&mut other.history).unwrap();
    publish(&mut one, &shelf, "ada", |site| site.deploy("1.0.0").unwrap()).unwrap();
    take(&mut other, &shelf).unwrap();
    assert_eq!(head(&other), head(&one));
}
