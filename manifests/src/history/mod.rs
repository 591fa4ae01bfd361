//! The history: every release and every deployment of every instance.
//!
//! A folder with `history.db` (SQLite in WAL mode, `synchronous = FULL`, so what was committed survives a power cut) and the locks. The manifests themselves
//! are blobs of the store, written before the row that names them: a row never leads nowhere, a blob without a row is rubbish for GC.
//! Several processes may have it open at once.

mod audit;
mod deployments;
mod journal;
mod lock;
mod log;
mod migrate;
mod releases;
mod roots;
mod schema;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use shiplap_cache::BlobStore;

pub use audit::Audit;
pub use deployments::Pending;
pub(crate) use journal::{Entry, NewDeployment};
pub use journal::{Recovered, Recovery};
pub(crate) use lock::Lock;
pub use log::{Head, Logged};
pub use releases::ReleaseRow;
pub(crate) use releases::read_manifest;
pub use roots::Releases;

use crate::log::Origin;
use crate::names::InstanceName;
use crate::{Error, Result};

/// The history of all instances.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    locks: PathBuf,
    db: Connection,
    blobs: BlobStore,
    /// Where the commands are run from.
    origin: Option<Origin>,
}

impl History {
    /// Opens the history in `folder`, making it if there is none. Its manifests are in `blobs`.
    ///
    /// # Errors
    /// The folder cannot be written, or the history was written by a newer Shiplap.
    pub fn open(folder: &Path, blobs: BlobStore) -> Result<Self> {
        let locks = folder.join("locks");
        std::fs::create_dir_all(&locks).map_err(|source| Error::Io { what: "make", path: locks.clone(), source })?;
        let path = folder.join("history.db");
        // No instance is called so: a name begins with a letter or digit.
        let db = schema::open(&path, &locks.join(".history"))?;
        Ok(Self { path, locks, db, blobs, origin: None })
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the right to deploy an instance.
    pub(crate) fn lock(&self, instance: &InstanceName, actor: &str) -> Result<Lock> {
        Lock::take(&self.locks, instance, actor)
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Database { path: path.clone(), source }
    }

    fn transaction(&mut self) -> Result<Transaction<'_>> {
        let failed = self.failed();
        self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
    }
}

/// Reads a text column as what it stands for.
fn column<T: std::str::FromStr>(row: &Row<'_>, name: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let index = row.as_ref().column_index(name)?;
    let text: String = row.get(index)?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(e)))
}
