//! What keeps a server from starting, or one of its files from being read.

use std::path::{Path, PathBuf};

/// A file of the server that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A line of a file makes no sense.
    #[error("{}, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A whole file makes no sense.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A token of this name is there already.
    #[error("there is a token `{0}` already; revoke it first, or choose another name")]
    TokenExists(String),
    /// There is no token of this name.
    #[error("there is no token `{0}`; `shiplap serve token list` shows those that there are")]
    NoToken(String),
    /// No name for a token.
    #[error("`{0}` cannot be the name of a token: 1 to 64 letters, digits, `_`, `.` and `-`")]
    TokenName(String),
    /// The system gives no random numbers, or a key cannot be made of them.
    #[error("cannot make a key: the system gives no random numbers")]
    Random,
}

/// What the functions of this module return.
pub type Result<T, E = FrontError> = std::result::Result<T, E>;

/// Adds what and where to an I/O error.
pub(super) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| FrontError::Io { what, path: path.to_owned(), source })
    }
}
