//! Directories that outlive steps: those of `RUN --mount=type=cache`, and bare git repositories.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};

use super::{Store, now};
use crate::Result;
use crate::error::At;

/// When a directory was used last, for whoever looks for space.
pub(super) const SCHEMA: &str = "
CREATE TABLE mounts (folder TEXT PRIMARY KEY, label TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
";

/// Not every use is written down: an hour more or less makes no difference to what was used longest ago.
pub(crate) const USE: i64 = 3600;

impl Store {
    /// The directory of a `RUN --mount=type=cache`, by the mount's identity.
    ///
    /// # Errors
    /// It cannot be made, or the database fails.
    pub fn cache_mount(&self, key: &str) -> Result<PathBuf> {
        let name = blake3::hash(key.as_bytes()).to_hex();
        let folder = self.home.join("mounts").join(name.as_str());
        let used: Option<i64> = self.query(|db| {
            db.prepare_cached("SELECT used FROM mounts WHERE folder = ?1")?
                .query_row([name.as_str()], |row| row.get(0))
                .optional()
        })?;
        if used.is_none_or(|used| used < now() - USE) {
            let row = params![name.as_str(), key, now()];
            self.transact(|db| db.execute("INSERT OR REPLACE INTO mounts VALUES (?1, ?2, ?3)", row))?;
        }
        std::fs::create_dir_all(&folder).at("make", &folder)?;
        Ok(folder)
    }
}
