//! What can go wrong with an engine.

use shiplap_cache::Digest;

use super::Address;
use crate::Reference;

/// A failure of an engine, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is none.
    #[error("`{text}` is no address of a container engine: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody answers.
    #[error("no container engine answers at {address}: {why}")]
    Unreachable {
        /// Where.
        address: Box<Address>,
        /// Why not.
        why: String,
    },
    /// It runs containers of another system.
    #[error("the engine at {address} runs containers of {os}, and the image is for linux")]
    OtherSystem {
        /// Where.
        address: Box<Address>,
        /// Which.
        os: String,
    },
    /// It refused something.
    #[error("{engine} cannot {what}: {why}")]
    Refused {
        /// `Docker 28.5.2`.
        engine: String,
        /// What was asked of it.
        what: String,
        /// What it says.
        why: String,
    },
    /// A release's tag stands for other files in the engine.
    #[error(
        "{} is another image in {engine} ({existing}, not {wanted}), and a release tag never moves; if that one is a mistake, remove it there",
        name.familiar()
    )]
    TagExists {
        /// `Docker 28.5.2`.
        engine: String,
        /// The tag.
        name: Box<Reference>,
        /// The image that it stands for there.
        existing: String,
        /// The image's config here.
        wanted: Digest,
    },
    /// Something on our side failed.
    #[error(transparent)]
    Image(#[from] crate::Error),
    /// A file of ours could not be written or read.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl From<shiplap_cache::Error> for EngineError {
    fn from(error: shiplap_cache::Error) -> Self {
        Self::Image(error.into())
    }
}

/// What an engine says, without the words that only a programmer reads.
pub(super) fn told(error: &bollard::errors::Error) -> String {
    use bollard::errors::Error as E;
    match error {
        E::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        E::DockerStreamError { error } => error.trim().to_owned(),
        E::RequestTimeoutError => "no answer in time".to_owned(),
        E::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        other => {
            let mut text = other.to_string();
            let mut next = std::error::Error::source(other);
            while let Some(cause) = next {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                next = cause.source();
            }
            text
        }
    }
}
