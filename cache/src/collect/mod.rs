//! Taking space back.
//!
//! A collection is planned ([`Survey`]), shown, then done ([`Store::collect`]). It runs beside builds, pushes and pulls:
//!
//! 1. Under the write lock of the database, what must stay is found anew, for a plan is old when it is carried out ([`References::needs`]).
//! 2. In the same transaction the references to all else go: step results, names, rows of layers. Bytes come after references, so that no name ever stands
//!    for something that is gone. Blobs go to quarantine, layers lose their row: both are *doomed*, and come back to whoever looks for them.
//! 3. What was doomed so long ago that the quarantine is over, and before everybody who holds a lease now began, is looked at once more under the
//!    write lock, and unlinked.
//!
//! Two processes that collect at once wait for each other. One that is killed leaves at the worst files in quarantine that the next one finds.

mod apply;
mod served;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;

pub use served::{Served, ServedEntry, ServedLink, ServedName};

use crate::{Digest, LayerId, Result, Store};

/// What may go.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What is younger stays, referred to or not.
    pub grace: Duration,
    /// How long something that nothing refers to is kept before it is unlinked.
    pub quarantine: Duration,
    /// Step results and cache mounts that nobody used for so long go.
    pub unused_for: Option<Duration>,
    /// Bytes that the store may have; when it has more, step results and cache mounts go, those used longest ago first.
    pub max_used_space: Option<u64>,
}

/// Why something stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A release of an instance.
    Release,
    /// A deploy target, which says that it runs.
    Target,
    /// A tag in the store.
    Tag,
    /// A name that a build, a pull or an import gave.
    Name,
    /// A repository that is served.
    Served,
    /// It was pushed or asked for lately, and its manifest may be on its way.
    Upload,
    /// It was fetched by an `ADD`.
    Download,
    /// A step result.
    StepResult,
    /// A directory of `RUN --mount=type=cache`, or a git repository.
    CacheMount,
    /// It is younger than the grace period.
    Young,
}

/// A reference that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Stale {
    /// A name in a space of the store.
    Name {
        /// The space.
        space: &'static str,
        /// The name.
        name: String,
    },
    /// A blob of a repository that is served.
    Link {
        /// The repository.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// A manifest of a repository that is served.
    Manifest {
        /// The repository.
        repository: String,
        /// The manifest.
        digest: Digest,
    },
}

/// What must stay, and what need not.
#[derive(Debug, Default)]
pub struct Needs {
    /// Blobs.
    pub blobs: HashMap<Digest, Need>,
    /// Layers.
    pub layers: HashMap<LayerId, Need>,
    /// Blobs that stay as long as a layer does.
    pub attached: HashMap<LayerId, Vec<Digest>>,
    /// References that go.
    pub stale: Vec<Stale>,
}

impl Needs {
    /// Adds what somebody else needs.
    pub fn extend(&mut self, other: Self) {
        other.blobs.into_iter().for_each(|(blob, need)| self.blob(blob, need));
        other.layers.into_iter().for_each(|(layer, need)| self.layer(layer, need));
        self.attached.extend(other.attached);
        self.stale.extend(other.stale);
    }

    /// A blob must stay. Of several reasons the first of [`Need`] counts.
    pub fn blob(&mut self, blob: Digest, need: Need) {
        self.blobs.entry(blob).and_modify(|known| *known = need.min(*known)).or_insert(need);
    }

    /// A layer must stay.
    pub fn layer(&mut self, layer: LayerId, need: Need) {
        self.layers.entry(layer).and_modify(|known| *known = need.min(*known)).or_insert(need);
    }
}

/// What is on disk, doomed or not.
#[derive(Debug, Default)]
pub struct OnDisk {
    blobs: HashSet<Digest>,
    layers: HashSet<LayerId>,
}

impl OnDisk {
    /// Whether a blob is.
    pub fn blob(&self, blob: &Digest) -> bool {
        self.blobs.contains(blob)
    }

    /// Whether a layer is.
    pub fn layer(&self, layer: &LayerId) -> bool {
        self.layers.contains(layer)
    }
}

/// Knows the references that the store itself cannot read: what names, tags, manifests and releases stand for.
pub trait References {
    /// What must stay. Called several times, at the end under the database's write lock: it only reads.
    ///
    /// # Errors
    /// Something cannot be read. Then nothing is collected: not to know is no reason to remove.
    fn needs(&self) -> Result<Needs, Box<dyn std::error::Error + Send + Sync>>;

    /// Names that stand for what is gone. What is only doomed somebody may know still, and he may be about to give it a name that is needed.
    ///
    /// # Errors
    /// As [`References::needs`].
    fn stale(&self, there: &OnDisk) -> Result<Vec<Stale>, Box<dyn std::error::Error + Send + Sync>>;
}

/// How many, and how large together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No tag, name, release, step result or upload refers to it.
    Unreferenced,
    /// Nobody used it since.
    Unused {
        /// Seconds since 1970.
        since: i64,
    },
    /// The store is larger than it may be, and this was used longest ago.
    OverBudget {
        /// When it was used last, in seconds since 1970.
        used: i64,
    },
}

/// A thing in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", content = "id", rename_all = "kebab-case")]
pub enum Thing {
    /// A layer's directory.
    Layer(LayerId),
    /// A blob.
    Blob(Digest),
    /// A cache mount, by what it is for.
    CacheMount(String),
}

/// Something that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// What.
    #[serde(flatten)]
    pub thing: Thing,
    /// Bytes on disk that it takes.
    pub bytes: u64,
    /// Why.
    pub why: Why,
    /// Where it is, for a cache mount.
    #[serde(skip)]
    pub(crate) folder: String,
}

/// What a collection would do, and why the rest stays.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// What goes.
    pub dead: Vec<Dead>,
    /// References that go before it.
    pub stale: Vec<Stale>,
    /// Step results that go with their layers.
    pub step_results: u64,
    /// What stays, by why it does.
    pub kept: std::collections::BTreeMap<Need, Amount>,
    /// What is in quarantine or doomed from earlier.
    pub doomed: Amount,
    /// What comes back from there, because something refers to it again.
    #[serde(skip)]
    pub(crate) returning: Vec<Thing>,
    /// Bytes above the budget when everything is gone that may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
}

impl Survey {
    /// Bytes of what goes.
    pub fn bytes(&self) -> u64 {
        self.dead.iter().map(|dead| dead.bytes).sum()
    }
}

/// What a collection did.
#[derive(Debug, Default, Serialize)]
pub struct Collected {
    /// What it found.
    pub survey: Survey,
    /// What was unlinked.
    pub freed: Amount,
    /// What is in quarantine or doomed now.
    pub waiting: Amount,
    /// When the oldest of that may go, in seconds since 1970, if nobody uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// Processes that may still use some of it.
    pub leases: usize,
}

impl Store {
    /// What a collection would do now. Changes nothing.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn survey(&self, references: &dyn References, policy: &Policy) -> Result<Survey> {
        survey::survey(self, references, policy)
    }

    /// Takes space back.
    ///
    /// # Errors
    /// [`crate::Error::Collecting`] when another process does; something cannot be read or removed. What is referred to is there in any case.
    pub fn collect(&self, references: &dyn References, policy: &Policy) -> Result<Collected> {
        apply::collect(self, references, policy)
    }
}
