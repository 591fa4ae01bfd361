//! What can be wrong with a tar.

/// Why a tar cannot be read or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum TarProblem {
    /// It ends too early.
    #[error("it is cut short: it ends in the middle of {0}; fetch or make it again")]
    Truncated(String),
    /// A header is broken.
    #[error("the header at byte {offset} is broken: {why}; is it a tar?")]
    Header {
        /// Where.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A name leaves the archive.
    #[error("the entry `{0}` leads out of the archive")]
    Name(String),
    /// An entry cannot be made where it should be.
    #[error("the entry `{name}` cannot be made: {why}")]
    Entry {
        /// The entry.
        name: String,
        /// Why not.
        why: String,
    },
    /// An owner that this user namespace does not have.
    #[error(
        "`{name}` belongs to {uid}:{gid}, which this user may not give away: add a range to /etc/subuid and /etc/subgid, or run as root"
    )]
    Owner {
        /// The entry.
        name: String,
        /// Its owner.
        uid: u64,
        /// Its group.
        gid: u64,
    },
    /// The disk or the stream fails.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl TarProblem {
    /// What a failed read of the archive means: an end too early is a tar cut short, wherever in the stack it is noticed.
    pub(crate) fn reading(source: std::io::Error, place: &str) -> Self {
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            return Self::Truncated(place.to_owned());
        }
        Self::Io { what: format!("{place} cannot be read"), source }
    }
}
