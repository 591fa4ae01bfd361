//! Reading everything again.

use std::io::ErrorKind;
use std::path::PathBuf;

use rayon::prelude::*;
use rustix::io::Errno;
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
            Err(error) if is_damage(&error) => {
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

/// Other bytes, or none: a disk that goes bad says so with `EIO` for some blocks, and the others are to be read all the same.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::WrongDigest { .. } => true,
        Error::Io { source, .. } => {
            source.kind() == ErrorKind::IsADirectory || source.raw_os_error() == Some(Errno::IO.raw_os_error())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_that_cannot_be_read_is_damaged_and_the_others_are_read() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let (right, bad) = (store.blobs().put(b"right").unwrap(), store.blobs().put(b"bad").unwrap());
        // What a file of a bad disk does to its readers, a folder does too: it opens, and cannot be read.
        std::fs::remove_file(store.blobs().path(&bad)).unwrap();
        std::fs::create_dir(store.blobs().path(&bad)).unwrap();
        let verified = verify(&store, false, &|| ()).unwrap();
        assert_eq!((verified.blobs, verified.bytes), (2, 5));
        assert_eq!(verified.damaged.iter().map(|damaged| damaged.digest).collect::<Vec<_>>(), [bad]);
        assert_eq!(store.blobs().all().unwrap(), [right]);
        assert!(is_damage(&Error::Io { what: "read", path: "x".into(), source: Errno::IO.into() }));
        assert!(!is_damage(&Error::Io { what: "read", path: "x".into(), source: Errno::MFILE.into() }));
    }
}
