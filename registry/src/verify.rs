//! Reading everything again.

use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;
use shiplap_cache::{Digest, Error, LayerId, Store};

use crate::{Result, whole};

/// A blob whose bytes were not those of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// The blob.
    pub digest: Digest,
    /// Where its file is now.
    pub moved_to: PathBuf,
}

/// What was read.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were damaged. A push or a pull brings them anew.
    pub damaged: Vec<Damaged>,
    /// How many layers.
    pub layers: u64,
    /// Those that were damaged. Their steps run again.
    pub damaged_layers: Vec<LayerId>,
}

/// Reads every blob of the store, and with `layers` every file of every layer. What is damaged is put away; `told` hears of each thing that was read.
///
/// # Errors
/// The disk or the database fails.
pub fn verify(store: &Store, layers: bool, told: &(dyn Fn() + Sync)) -> Result<Verified> {
    let read = |digest: &Digest| -> Result<(u64, Option<Damaged>)> {
        let checked = store.blobs().verify(digest);
        told();
        match checked {
            Ok(size) => whole::note_verified(store, digest).map(|()| (size, None)).map_err(Into::into),
            Err(Error::WrongDigest { .. }) => {
                let moved = store.blobs().put_away_damaged(digest)?;
                Ok((0, moved.map(|moved_to| Damaged { digest: *digest, moved_to })))
            }
            // It was collected meanwhile.
            Err(Error::MissingBlob(_)) => Ok((0, None)),
            Err(error) => Err(error.into()),
        }
    };
    let blobs: Vec<_> = store.blobs().all()?.par_iter().map(read).collect::<Result<_>>()?;
    let mut verified = Verified { blobs: blobs.len() as u64, ..Verified::default() };
    for (size, damaged) in blobs {
        verified.bytes += size;
        verified.damaged.extend(damaged);
    }
    if layers {
        for layer in store.layers()? {
            verified.layers += 1;
            if !store.check_layer(&layer)? {
                verified.damaged_layers.push(layer);
            }
            told();
        }
    }
    Ok(verified)
}
