//! Cache mounts that come from a tier in parts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use shiplap_cache::TreePath;
use shiplap_cache::tier::object::{ObjectOptions, ObjectTier};
use shiplap_registry::remote::{Learnt, Parts, Remote, RemoteWatch, TierUse, UsedMount};

use crate::fixture::{Home, client, home};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl RemoteWatch for Told {
    fn warn(&self, _: &str, problem: &str) {
        self.0.lock().unwrap().push(problem.to_owned());
    }

    fn fetching(&self, _: usize, _: u64) {}
}

/// A machine with a cache in a folder.
struct Machine {
    home: Home,
    remote: Remote,
    told: Arc<Told>,
}

async fn machine(place: &Path) -> Machine {
    let (home, told) = (home(), Arc::new(Told::default()));
    let none: [(&str, &str); 0] = [];
    let options = ObjectOptions { attempts: 1, ..ObjectOptions::default() };
    let tier = Arc::new(ObjectTier::open(&format!("file://{}", place.display()), none, options).unwrap());
    let used = TierUse { tier, read: true, write: true, everything: true, most: None, days: 30, mounts: 1_000_000 };
    let remote = Remote::new(home.images.clone(), vec![used], client(), told.clone());
    remote.sync().await.unwrap();
    Machine { home, remote, told }
}

fn mount() -> UsedMount {
    UsedMount { label: "run pip".to_owned(), owner: (0, 0, 0o755), seeded: false }
}

fn of(paths: &[&str]) -> Parts {
    let mut parts = Parts::NONE;
    paths.iter().for_each(|path| parts.add(&TreePath::new(path).unwrap()));
    parts
}

impl Machine {
    fn data(&self) -> PathBuf {
        self.home.store().cache_mount(&mount().label).unwrap().join("data")
    }

    fn write(&self, path: &str, text: &str) {
        let at = self.data().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    /// The file `x` in each unpacked wheel.
    fn wheels(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for item in fs::read_dir(self.data().join("archive-v0")).into_iter().flatten() {
            let item = item.unwrap();
            all.push((item.file_name().into_string().unwrap(), fs::read_to_string(item.path().join("x")).unwrap()));
        }
        all.sort();
        all
    }

    async fn publish(&self) -> u64 {
        let learnt = Learnt { mounts: vec![mount()], ..Learnt::default() };
        self.remote.publish(&learnt).await.unwrap().iter().map(|done| done.bytes).sum()
    }

    async fn restore(&self, wanted: Parts) -> bool {
        self.remote.restore(&mount(), wanted).await.unwrap()
    }
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// A place with three wheels.
async fn filled() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let first = machine(place.path()).await;
    for name in ["a", "b", "c"] {
        first.write(&format!("archive-v0/{name}/x"), "first");
    }
    assert!(first.publish().await > 0);
    assert_eq!(first.publish().await, 0, "it is there");
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_as_they_are_wanted_and_replace_nothing() {
    let place = filled().await;
    let there = machine(place.path()).await;
    assert!(there.restore(of(&["archive-v0/a/x"])).await);
    assert_eq!(there.wheels(), pairs(&[("a", "first")]));
    assert!(!there.restore(of(&["archive-v0/a/x"])).await, "it is here");
    // Somebody makes the next one before it comes.
    there.write("archive-v0/b/x", "newer");
    assert!(there.restore(Parts::ALL).await);
    assert_eq!(there.wheels(), pairs(&[("a", "first"), ("b", "newer"), ("c", "first")]));
    // What was not in any part that came is not taken away from the others.
    assert!(there.publish().await > 0);
    let third = machine(place.path()).await;
    third.restore(Parts::ALL).await;
    assert_eq!(third.wheels(), there.wheels());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_come_stays_in_the_tier_and_what_is_gone_here_goes_there() {
    let place = filled().await;
    let there = machine(place.path()).await;
    there.restore(of(&["archive-v0/a/x"])).await;
    fs::remove_dir_all(there.data().join("archive-v0")).unwrap();
    there.write("archive-v0/d/x", "second");
    there.publish().await;
    let third = machine(place.path()).await;
    third.restore(Parts::ALL).await;
    assert_eq!(third.wheels(), pairs(&[("b", "first"), ("c", "first"), ("d", "second")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_of_which_nothing_is_wanted_is_not_taken_for_a_whole_one() {
    let place = filled().await;
    let there = machine(place.path()).await;
    assert!(there.restore(Parts::NONE).await);
    assert!(there.data().is_dir() && there.wheels().is_empty());
    assert_eq!(there.publish().await, 0);
    assert!(there.restore(Parts::ALL).await);
    assert_eq!(there.wheels().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_lost_or_damaged_costs_itself_alone() {
    let place = filled().await;
    let blobs: Vec<_> =
        fs::read_dir(place.path().join("shiplap-cache/v1/blobs")).unwrap().map(|item| item.unwrap().path()).collect();
    // Which of them is a segment or a part does not matter: the segment is elsewhere.
    fs::remove_file(&blobs[0]).unwrap();
    fs::write(&blobs[1], "damaged").unwrap();
    let there = machine(place.path()).await;
    assert!(there.restore(Parts::ALL).await);
    assert_eq!(there.wheels().len(), blobs.len() - 2, "{blobs:?}");
    assert_eq!(there.told.0.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_a_step_has_to_itself_is_left_alone_and_one_that_is_shared_is_not() {
    use rustix::fs::{FlockOperation, flock};
    let place = filled().await;
    let there = machine(place.path()).await;
    there.restore(of(&["archive-v0/a/x"])).await;
    let lock = fs::File::open(there.data().parent().unwrap()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert!(!there.restore(Parts::ALL).await);
    assert_eq!(there.wheels().len(), 1);
    flock(&lock, FlockOperation::LockShared).unwrap();
    assert!(there.restore(Parts::ALL).await);
    assert_eq!(there.wheels().len(), 3);
}
