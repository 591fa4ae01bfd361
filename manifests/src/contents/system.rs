//! Which distribution an image is made of.

use serde::{Deserialize, Serialize};
use shiplap_cache::TreePath;

use super::ContentsError;
use super::files::Files;

/// A distribution, as os-release(5) names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `debian`.
    pub id: String,
    /// `12`.
    pub version: Option<String>,
    /// For people.
    pub name: Option<String>,
}

impl System {
    /// Its name in the qualifier `distro` of a package URL.
    pub(super) fn distro(&self) -> String {
        self.version.as_ref().map_or_else(|| self.id.clone(), |version| format!("{}-{version}", self.id))
    }
}

pub(super) fn read(files: &Files<'_>) -> Result<Option<System>, ContentsError> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let Ok(path) = TreePath::new(path) else { continue };
        if let Some(text) = files.text(&path)? {
            return Ok(parse(&text));
        }
    }
    Ok(None)
}

fn parse(text: &str) -> Option<System> {
    let value = |wanted: &str| {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        let value = lines.filter(|(key, _)| *key == wanted).map(|(_, value)| value).next_back()?;
        let value = value.trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    // os-release(5): without an ID it is `linux`; that tells nobody where a package is from.
    Some(System { id: value("ID")?, version: value("VERSION_ID"), name: value("PRETTY_NAME") })
}
