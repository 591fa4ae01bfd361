//! One deployment of an instance at a time.
//!
//! A file lock (`flock(2)`) falls with its process, however that ends. So whoever holds the lock and finds a pending deployment knows that its process
//! died.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::InstanceName;
use crate::{Error, Result};

/// `status` holds the lock for a moment to see whether it is free; that should not turn a deploy away.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The right to deploy an instance, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// Who holds a lock, as the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    actor: String,
    since: Timestamp,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(folder: &Path, instance: &InstanceName, actor: &str) -> Result<Self> {
        let mut file = open(folder, instance)?;
        for _ in 1..TRIES {
            match try_lock(&file, folder)? {
                true => {
                    let holder = Holder { actor: actor.to_owned(), since: crate::now() };
                    // Only for the message of whoever comes second: a failure costs nothing.
                    let text = serde_json::to_vec(&holder).unwrap_or_default();
                    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
                    return Ok(Self { file });
                }
                false => std::thread::sleep(PAUSE),
            }
        }
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        let holder: Option<Holder> = serde_json::from_str(&text).ok();
        let (actor, since) = holder.map(|holder| (holder.actor, holder.since)).unzip();
        Err(Error::Busy { instance: instance.clone(), actor, since })
    }

    /// A share of the lock that programs inherit which are started while it is there: the lock is free when all who share it have ended. `dup(2)` leaves
    /// close-on-exec off.
    pub(crate) fn share(&self) -> std::io::Result<OwnedFd> {
        Ok(rustix::io::dup(&self.file)?)
    }

    /// Whether someone has the lock.
    pub(super) fn is_taken(folder: &Path, instance: &InstanceName) -> Result<bool> {
        Ok(!try_lock(&open(folder, instance)?, folder)?)
    }
}

fn open(folder: &Path, instance: &InstanceName) -> Result<File> {
    let path = folder.join(format!("{instance}.lock"));
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    opened.map_err(|source| Error::Io { what: "open", path, source })
}

fn try_lock(file: &File, folder: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(Error::Io { what: "lock a file in", path: folder.to_owned(), source }),
    }
}
