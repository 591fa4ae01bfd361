//! An image that an engine has.

use std::path::Path;

use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::{Engine, EngineError};
use crate::{Platform, Reference};

/// An image of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id, which changes with it.
    pub id: String,
    /// What it runs on.
    pub platform: Platform,
}

impl Engine {
    /// The image that a name stands for in the engine.
    ///
    /// # Errors
    /// [`EngineError::Refused`].
    pub async fn find(&self, name: &Reference) -> Result<Option<Found>, EngineError> {
        let Some(found) = self.inspect(&name.to_string()).await? else { return Ok(None) };
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        Ok(Some(Found {
            id: found.id.unwrap_or_default(),
            platform: Platform {
                os: text(found.os).unwrap_or_else(|| "linux".to_owned()),
                architecture: text(found.architecture).unwrap_or_else(|| self.architecture().to_owned()),
                variant: text(found.variant),
            },
        }))
    }

    /// Writes an image of the engine into a file, as `docker save` does.
    ///
    /// # Errors
    /// [`EngineError::Refused`], or the disk fails.
    pub async fn save(&self, id: &str, to: &Path) -> Result<(), EngineError> {
        let failed = |source| EngineError::Io { what: format!("write {}", to.display()), source };
        let mut file = tokio::fs::File::create_new(to).await.map_err(failed)?;
        let docker = self.patient();
        let mut pieces = docker.export_image(id);
        while let Some(piece) = pieces.try_next().await.map_err(self.refused(format!("save the image {id}")))? {
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }
}
