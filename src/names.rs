//! Exit codes of the errors of releases and deployments.

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
        | Error::Manifest { .. }
        | Error::Store(_) => Kind::Store,
        Error::Target(_) | Error::Canonical(_) | Error::Io { .. } | Error::Undone { .. } | Error::NotUndone { .. } => {
            Kind::Failed
        }
    }
}
