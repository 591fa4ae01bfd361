//! Exit codes of the errors of releases and deployments, and what to do about some.

use shiplap_manifests::Error;
use shiplap_manifests::config::ConfigError;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::share::ShareError;

use crate::failure::Kind;

/// What kind of failure an error is.
pub fn kind_of(error: &Error) -> Kind {
    match error {
        Error::Config(ConfigError::UnknownInstance { .. } | ConfigError::Read { .. }) => Kind::Missing,
        Error::Config(_) | Error::Git(_) | Error::Version(_) | Error::Tag(_) | Error::NoTarget(_) => Kind::Usage,
        Error::NoRelease(_)
        | Error::UnknownRelease { .. }
        | Error::NeverDeployed(_)
        | Error::NothingEarlier { .. }
        | Error::NotDeployedBefore { .. } => Kind::Missing,
        Error::Image {
            problem: ImageProblem::Missing | ImageProblem::NotPushed | ImageProblem::OtherDigest(_),
            ..
        } => Kind::Missing,
        Error::Image { problem: ImageProblem::NotAsked(_), .. } => Kind::Network,
        Error::Image { problem: ImageProblem::NotSigned(_), .. } => Kind::Refused,
        Error::Image { problem: ImageProblem::Incomplete(_) | ImageProblem::Unknown(_), .. } => Kind::Store,
        Error::Share(ShareError::Claimed { .. }) => Kind::Refused,
        Error::Share(ShareError::Place { .. } | ShareError::Busy(_)) => Kind::Network,
        Error::Share(ShareError::Diverged { .. } | ShareError::Damaged { .. }) => Kind::Store,
        Error::Unhealthy { .. } => Kind::Unhealthy,
        Error::DirtyTree { .. }
        | Error::VersionTaken { .. }
        | Error::OtherImages { .. }
        | Error::NotTheSet { .. }
        | Error::WrongReference { .. }
        | Error::Busy { .. }
        | Error::Superseded { .. }
        | Error::NothingToReplace { .. }
        | Error::Held { .. }
        | Error::AlreadyCurrent { .. }
        | Error::Migrations { .. } => Kind::Refused,
        Error::Database { .. }
        | Error::NewerHistory { .. }
        | Error::NotAHistory(_)
        | Error::Damaged { .. }
        | Error::Overtaken { .. }
        | Error::Manifest { .. }
        | Error::Store(_) => Kind::Store,
        Error::Target(_) | Error::Canonical(_) | Error::Io { .. } | Error::Undone { .. } | Error::NotUndone { .. } => {
            Kind::Failed
        }
    }
}

/// What to do about an error, where its own words do not say so.
pub fn advice(error: &Error) -> Option<&'static str> {
    match error {
        Error::Image { problem: ImageProblem::NotAsked(_), .. } => Some(
            "wait for the registry; `deploy` and `rollback` go on without it with --accept-unchecked, which is recorded",
        ),
        Error::Image { problem: ImageProblem::NotPushed, .. } => {
            Some("`shiplap push` takes the image there, and the release again does too")
        }
        _ => None,
    }
}
