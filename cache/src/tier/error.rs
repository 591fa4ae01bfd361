use thiserror::Error;

use crate::Digest;

/// Why a tier did not do what it was asked.
#[derive(Debug, Error)]
pub enum TierError {
    /// The thing is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// The tier refuses us.
    #[error("it refuses: {0}")]
    Denied(String),
    /// The tier takes nothing more.
    #[error("it has no space: {0}")]
    Full(String),
    /// The tier cannot do that at all, such as a registry that deletes nothing.
    #[error("it cannot do that: {0}")]
    Unsupported(String),
    /// The tier cannot be reached, does not answer, or fails.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The tier gave other bytes than it was asked for.
    #[error("it gave something else for {digest}: {why}")]
    Corrupt {
        /// What was asked for.
        digest: Digest,
        /// What came.
        why: String,
    },
    /// It is this machine that failed.
    #[error(transparent)]
    Here(#[from] crate::Error),
}
