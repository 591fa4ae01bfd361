//! `shiplap-images.json` in the root of a Tutor project: the digest of each repository, for the cluster.
//!
//! Tutor writes `env/kustomization.yml` anew at each `config save`, so a digest that is to stay comes from a plugin. The one that
//! `shiplap tutor install` writes reads this file and puts `images:` into the patch `kustomization` (Tutor's docs, *Template patch catalog*).
//! Kustomize sets them wherever a resource names the repository (kustomize's reference, *images*).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::target::TargetError;
use crate::target::file::{At, FileChange};

/// The name of the file, beside `config.yml`, where `--clean` of `tutor config save` does not reach.
const FILE: &str = "shiplap-images.json";

const SCHEMA: &str = "shiplap.tutor/1";

/// Its first member says who writes it: JSON has no comments.
const ABOUT: &str = "Written by `shiplap deploy` and `shiplap rollback`, read by Tutor's plugin shiplap.";

/// The file.
#[derive(Debug)]
pub(super) struct Pins {
    pub path: PathBuf,
    pub overwrite: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    about: String,
    schema: String,
    images: BTreeMap<String, Pin>,
}

/// What one repository is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    pub tag: String,
    pub digest: String,
}

impl Pin {
    /// The image that a cluster runs by it.
    pub(super) fn of(&self, repository: &str) -> String {
        format!("{repository}:{}@{}", self.tag, self.digest)
    }
}

impl Pins {
    pub(super) fn of(root: &Path, overwrite: bool) -> Self {
        Self { path: root.join(FILE), overwrite }
    }

    /// What is pinned; nothing where there is no file.
    pub(super) fn read(&self) -> Result<BTreeMap<String, Pin>, TargetError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(self.parse(&text)?.images),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(e).at("read", &self.path),
        }
    }

    fn parse(&self, text: &str) -> Result<Document, TargetError> {
        let document: Option<Document> = serde_json::from_str(text).ok();
        document.filter(|document| document.schema == SCHEMA).ok_or_else(|| TargetError::Foreign(self.path.clone()))
    }

    /// Plans to pin these, if the file is ours to write.
    pub(super) fn plan(&self, images: BTreeMap<String, Pin>) -> Result<FileChange, TargetError> {
        FileChange::plan(&self.path, |before| {
            if let Some(text) = before.filter(|_| !self.overwrite) {
                // Another digest is drift, which a deploy puts right; another form is someone's work.
                if render(self.parse(text)?.images) != text {
                    return Err(TargetError::EditedByHand(self.path.clone()));
                }
            }
            Ok(render(images))
        })
    }

    /// The file, if it is there and ours.
    pub(super) fn owned(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        self.parse(&text).is_ok().then(|| self.path.clone())
    }
}

fn render(images: BTreeMap<String, Pin>) -> String {
    let document = Document { about: ABOUT.to_owned(), schema: SCHEMA.to_owned(), images };
    // Strings in maps of strings are always JSON.
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_somebody_made_or_edited_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::of(dir.path(), false);
        assert!(pins.read().unwrap().is_empty() && pins.owned().is_none());
        let pin = Pin { tag: "1".to_owned(), digest: "sha256:00".to_owned() };
        let ours = render(BTreeMap::from([("campus/openedx".to_owned(), pin.clone())]));
        std::fs::write(&pins.path, &ours).unwrap();
        assert_eq!(pins.read().unwrap()["campus/openedx"], pin);
        assert!(pins.plan(BTreeMap::new()).unwrap().is_change());
        assert_eq!(pins.owned(), Some(pins.path.clone()));
        std::fs::write(&pins.path, ours.replace("  ", " ")).unwrap();
        assert!(matches!(pins.plan(BTreeMap::new()), Err(TargetError::EditedByHand(_))));
        std::fs::write(&pins.path, "{\"images\": {}}").unwrap();
        assert!(matches!(pins.plan(BTreeMap::new()), Err(TargetError::Foreign(_))));
        assert!(pins.owned().is_none());
        assert!(Pins::of(dir.path(), true).plan(BTreeMap::new()).is_ok());
    }
}
