//! Exit codes of the errors of releases and deployments.

use shiplap_manifests::Error;

use crate::failure::Kind;

/// What kind of failure an error is.
pub fn kind_of(error: &Error) -> Kind {
    match error {
        Error::Config(_) | Error::Git(_) | Error::Version(_) | Error::Tag(_) | Error::NoTarget(_) => Kind::Usage,
        Error::NoRelease(_)
        | Error::UnknownRelease { .. }
        | Error::NeverDeployed(_)
        | Error::NothingEarlier { .. }
        | Error::NotDeployedBefore { .. }
        | Error::Image { .. } => Kind::Missing,
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
