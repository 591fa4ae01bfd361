//! A layer that one machine published and another reads in part.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use shiplap_cache::tier::object::{ObjectOptions, ObjectTier};
use shiplap_cache::tier::{Part, SegmentName, Swept, Tier, TierBlob, TierResult};
use shiplap_cache::{Contents, Digest, LayerId, Stack, StepKey, StepResult, Store, Tree, TreePath, UsedStep};
use shiplap_registry::remote::{Learnt, OnDemand, Remote, RemoteWatch, TierUse};

use crate::fixture::{Home, client, home};

/// What a tier was asked for, and how.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// What becomes of a part of a blob.
pub type Twist = Arc<dyn Fn(&TierBlob, u64, Vec<u8>) -> TierResult<Vec<u8>> + Send + Sync>;

/// A tier in a folder, which does with parts what it is told.
#[derive(Clone)]
pub struct Odd {
    pub inner: Arc<ObjectTier>,
    pub asked: Asked,
    pub twist: Twist,
    /// The same for what is read whole into memory.
    pub twist_read: Twist,
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Odd({:?})", self.inner)
    }
}

pub fn odd(place: &std::path::Path) -> Odd {
    let inner = ObjectTier::open(&format!("file://{}", place.display()), [("", ""); 0], ObjectOptions::default());
    let honest: Twist = Arc::new(|_, _, bytes| Ok(bytes));
    Odd { inner: Arc::new(inner.unwrap()), asked: Asked::default(), twist: honest.clone(), twist_read: honest }
}

impl Odd {
    pub fn twisted(
        mut self,
        twist: impl Fn(&TierBlob, u64, Vec<u8>) -> TierResult<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.twist = Arc::new(twist);
        self
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How often something was asked for.
    pub fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with(what)).count()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Tier for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn segments(&self) -> BoxFuture<'_, TierResult<Vec<SegmentName>>> {
        self.inner.segments()
    }

    fn segment<'a>(&'a self, name: &'a SegmentName, most: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        self.inner.segment(name, most)
    }

    fn read<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        self.note(format!("read {}", blob.digest));
        async move { (self.twist_read)(blob, 0, self.inner.read(blob).await?) }.boxed()
    }

    fn fetch<'a>(&'a self, store: &'a Store, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<()>> {
        self.note(format!("fetch {}", blob.digest));
        self.inner.fetch(store, blob)
    }

    fn range<'a>(&'a self, blob: &'a TierBlob, offset: u64, length: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        self.note(format!("range {offset} {length} {}", blob.digest));
        async move { (self.twist)(blob, offset, self.inner.range(blob, offset, length).await?) }.boxed()
    }

    fn has<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<bool>> {
        self.inner.has(blob)
    }

    fn put<'a>(&'a self, store: &'a Store, part: &'a Part) -> BoxFuture<'a, TierResult<u64>> {
        self.inner.put(store, part)
    }

    fn publish<'a>(
        &'a self,
        store: &'a Store,
        name: &'a SegmentName,
        parts: &'a [Part],
    ) -> BoxFuture<'a, TierResult<()>> {
        self.inner.publish(store, name, parts)
    }

    fn remove<'a>(
        &'a self,
        segments: &'a [SegmentName],
        keep: &'a HashSet<Digest>,
    ) -> BoxFuture<'a, TierResult<Swept>> {
        self.inner.remove(segments, keep)
    }
}

/// Hears what is wrong with tiers.
#[derive(Default)]
pub struct Heard(Mutex<Vec<String>>);

impl RemoteWatch for Heard {
    fn warn(&self, _tier: &str, problem: &str) {
        self.0.lock().unwrap().push(problem.to_owned());
    }

    fn fetching(&self, _layers: usize, _bytes: u64) {}
}

impl Heard {
    pub fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Uses of tiers.
pub fn uses(tiers: Vec<Arc<dyn Tier>>) -> Vec<TierUse> {
    let of = |tier| TierUse { tier, read: true, write: true, everything: true, most: None, days: 30, mounts: 0 };
    tiers.into_iter().map(of).collect()
}

pub fn remote(home: &Home, tiers: Vec<Arc<dyn Tier>>) -> (Arc<Remote>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (Arc::new(Remote::new(home.images.clone(), uses(tiers), client(), heard.clone())), heard)
}

/// Steps that made these layers, each on all below it.
pub fn learnt(layers: &[LayerId]) -> Learnt {
    let step = |(at, layer): (usize, &LayerId)| UsedStep {
        step: StepKey::of(layer.as_bytes()),
        parent: Stack::from_iter(layers[..at].iter().copied()),
        result: StepResult { layers: vec![*layer], ..StepResult::default() },
    };
    Learnt { steps: layers.iter().enumerate().map(step).collect(), image: layers.to_vec(), ..Learnt::default() }
}

/// Bytes that cannot be packed, and are others for each seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

/// A layer of sixty files of 200 kB, a large and an empty one, a hard link and a symbolic one.
pub struct Site {
    pub here: Home,
    pub layer: LayerId,
}

pub const FILES: u64 = 60;
pub const SMALL: usize = 200_000;
pub const LARGE: usize = 11_000_000;

pub fn site() -> Site {
    let here = home();
    let layer = here.layer(&Tree::default(), |at| {
        std::fs::create_dir(at.join("d")).unwrap();
        for number in 0..FILES {
            std::fs::write(at.join(file(number)), noise(number, SMALL)).unwrap();
        }
        std::fs::write(at.join("large"), noise(1000, LARGE)).unwrap();
        std::fs::write(at.join("empty"), "").unwrap();
        std::fs::hard_link(at.join(file(3)), at.join("link")).unwrap();
        std::os::unix::fs::symlink("large", at.join("symlink")).unwrap();
    });
    Site { here, layer }
}

pub fn file(number: u64) -> String {
    format!("d/{number:03}")
}

pub fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

impl Site {
    /// Tells a tier of the layer.
    pub async fn publish(&self, tier: &Odd) {
        let (remote, heard) = remote(&self.here, vec![Arc::new(tier.clone())]);
        let told = remote.publish(&learnt(&[self.layer])).await.unwrap();
        assert_eq!((told[0].layers, heard.warnings()), (1, Vec::new()));
    }

    pub fn reads(&self, files: &[&str]) -> Vec<(LayerId, TreePath)> {
        files.iter().map(|file| (self.layer, path(file))).collect()
    }
}

/// Reads a file, as a thread that is none of the runtime's.
pub async fn read(files: &Arc<OnDemand>, layer: LayerId, at: &str) -> std::io::Result<Vec<u8>> {
    let (files, at) = (files.clone(), path(at));
    let read = move || {
        let mut bytes = Vec::new();
        files.open(&layer, &at)?.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// A layer that one machine told a tier of, and another machine that knows that.
pub struct Ready {
    pub site: Site,
    pub tier: Odd,
    pub there: Home,
    pub remote: Arc<Remote>,
    pub heard: Arc<Heard>,
    pub place: tempfile::TempDir,
}

pub async fn ready(twist: impl FnOnce(Odd) -> Odd) -> Ready {
    let (site, place, there) = (site(), tempfile::tempdir().unwrap(), home());
    let tier = twist(odd(place.path()));
    site.publish(&tier).await;
    let (remote, heard) = remote(&there, vec![Arc::new(tier.clone())]);
    remote.sync().await.unwrap();
    Ready { site, tier, there, remote, heard, place }
}
