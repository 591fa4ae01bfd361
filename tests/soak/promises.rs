//! What the server acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use shiplap_cache::Digest;

/// A repository and a tag.
pub type Name = (String, String);

#[derive(Default)]
pub struct Promises {
    /// Releases: what each tag stands for, by the first acknowledgment.
    releases: Mutex<BTreeMap<Name, Digest>>,
    /// Blobs of manifests.
    contents: Mutex<HashMap<Digest, Vec<Digest>>>,
    pub pushes: AtomicU64,
    pub pulls: AtomicU64,
    pub deletes: AtomicU64,
    pub conflicts: AtomicU64,
    pub broken_off: AtomicU64,
}

impl Promises {
    /// A release's tag was acknowledged for this digest.
    pub fn released(&self, name: &Name, manifest: Digest) {
        let first = *self.releases.lock().unwrap().entry(name.clone()).or_insert(manifest);
        assert_eq!(first, manifest, "{name:?} was acknowledged for two manifests");
    }

    /// A release's tag was refused, or seen, because it stands for this digest.
    pub fn taken(&self, name: &Name, existing: Digest) {
        if let Some(known) = self.releases.lock().unwrap().get(name) {
            assert_eq!(*known, existing, "{name:?} has moved");
        }
    }

    pub fn contains(&self, manifest: Digest, blobs: Vec<Digest>) {
        self.contents.lock().unwrap().insert(manifest, blobs);
    }

    pub fn blobs(&self, manifest: &Digest) -> Vec<Digest> {
        self.contents.lock().unwrap()[manifest].clone()
    }

    pub fn all(&self) -> Vec<(Name, Digest)> {
        self.releases.lock().unwrap().iter().map(|(name, digest)| (name.clone(), *digest)).collect()
    }

    pub fn any(&self, random: &mut fastrand::Rng) -> Option<(Name, Digest)> {
        let releases = self.releases.lock().unwrap();
        let at = random.usize(..releases.len().max(1));
        releases.iter().nth(at).map(|(name, digest)| (name.clone(), *digest))
    }

    /// Says what was done; a soak that did nothing shows nothing.
    pub fn tell(&self) {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (pushes, pulls) = (count(&self.pushes), count(&self.pulls));
        println!(
            "{pushes} pushes, {pulls} pulls, {} deletes, {} releases refused because they were there, {} requests broken off",
            count(&self.deletes),
            count(&self.conflicts),
            count(&self.broken_off),
        );
        let distinct: HashSet<Digest> = self.all().into_iter().map(|(_, digest)| digest).collect();
        println!("{} releases of {} images are there", self.all().len(), distinct.len());
        assert!(pushes > 5 && pulls > 5 && count(&self.deletes) > 0, "the soak was too short to show anything");
    }
}
