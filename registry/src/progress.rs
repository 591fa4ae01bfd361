//! How far something is, told to whoever wants to show it.

use shiplap_cache::{Digest, LayerId};

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes of a blob went over the network.
    Transfer {
        /// The blob.
        blob: Digest,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// Up to the registry, not down.
        up: bool,
    },
    /// A blob is where it should be already.
    Present {
        /// The blob.
        blob: Digest,
        /// Its size.
        total: u64,
        /// In the registry, not in the store.
        up: bool,
    },
    /// A layer's blob is being unpacked.
    Unpack {
        /// The blob.
        blob: Digest,
    },
    /// A layer is in the store.
    Unpacked {
        /// The blob.
        blob: Digest,
    },
    /// A layer is being packed.
    Pack {
        /// The layer.
        layer: LayerId,
        /// Bytes of its files.
        total: u64,
    },
    /// A layer is packed.
    Packed {
        /// The layer.
        layer: LayerId,
        /// The blob made of it.
        blob: Digest,
        /// Its size.
        size: u64,
    },
    /// Something failed and is tried again.
    Retry {
        /// What is tried.
        what: String,
        /// Why it failed.
        why: String,
    },
}

/// Takes note of what happens. Called from several threads; must not block.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn event(&self, _: Event) {}
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
