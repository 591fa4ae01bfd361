//! Building the images of several instances.

use shiplap_builder::build::Request;
use shiplap_manifests::names::{ImageName, InstanceName};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::many::{Select, is_pattern};

/// Whether the build of an instance is one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Several {
    /// It is the only one.
    No,
    /// They come one after the other.
    InTurn,
    /// Some go side by side.
    AtOnce,
}

impl Several {
    /// Several, so many at once.
    pub fn with(jobs: usize) -> Self {
        if jobs > 1 { Self::AtOnce } else { Self::InTurn }
    }

    /// What is other for a build among several.
    pub fn adjust(self, request: Request) -> Request {
        // Cores that a guess would use have the other instances to build, and what one runs ahead another would not wait for.
        Request { ahead: request.ahead && self != Self::AtOnce, ..request }
    }

    /// How an image is called while it is built.
    pub fn label(self, instance: &InstanceName, image: &ImageName) -> String {
        match self {
            Self::No => image.to_string(),
            Self::InTurn | Self::AtOnce => format!("{instance} {image}"),
        }
    }
}

/// The instances that `--all` or a pattern means. A word that is no pattern may be a directory, and no shiplap.toml is needed then.
pub fn instances(app: &App, select: &Select, word: Option<&str>) -> Result<Option<Vec<InstanceName>>> {
    match word {
        Some(word) if select.is_all() => Err(Failure::new(
            Kind::Usage,
            format!("--all means every instance of shiplap.toml, and there is `{word}` too"),
        )
        .hint("leave one of them out")),
        word if select.is_all() || word.is_some_and(is_pattern) => select.instances(&app.need_config()?, word),
        _ => Ok(None),
    }
}
