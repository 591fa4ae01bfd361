//! A program that deploys: Nomad, Swarm, an API of a hoster, whatever is not a file.
//!
//! Nothing takes back what a program did. So it is run after all files are written, and where something goes wrong it is run again, with the release that
//! ran before. When Shiplap was killed, nobody knows whether it ran: the next command runs it (once more) with what the log decided. It has to be
//! able to bear that: *set this release* is fine, *go one release on* is not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Change, State, Target, TargetError, pinned};
use crate::act::program;
use crate::config::{ExecTarget, Instance, Pin};
use crate::names::ImageName;
use crate::release::Release;

/// How long a program may take, where nobody says it.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A program.
#[derive(Debug)]
pub struct Exec {
    name: String,
    folder: PathBuf,
    command: Vec<String>,
    read: Vec<String>,
    timeout: Duration,
    images: Vec<ImageName>,
    pin: Pin,
}

/// A program to run with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) timeout: Duration,
    pub(crate) call: Call,
}

/// What a program is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Added to its environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The release manifest, which it finds in the file that `SHIPLAP_RELEASE` names.
    pub(crate) manifest: String,
}

impl Program {
    /// For people.
    pub(super) fn words(&self) -> String {
        let env = self.call.env.iter().map(|(name, value)| format!("  {name}={value}\n"));
        std::iter::once(format!("run {}\n", self.command.join(" "))).chain(env).collect()
    }
}

impl Exec {
    pub(super) fn new(folder: &Path, instance: &Instance, target: &ExecTarget) -> Self {
        Self {
            name: format!("exec {}", target.command.join(" ")),
            folder: folder.to_owned(),
            command: target.command.clone(),
            read: target.read.clone(),
            timeout: target.timeout.map_or(TIMEOUT, |timeout| timeout.0),
            images: instance.image.keys().cloned().collect(),
            pin: target.pin,
        }
    }
}

/// `SHIPLAP_IMAGE_OPENEDX` for `openedx`.
fn variable(image: &ImageName) -> String {
    let name: String =
        image.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("SHIPLAP_IMAGE_{name}")
}

impl Target for Exec {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// Without a program that says it, nothing is known, and nothing is compared.
    fn read(&self) -> Result<State, TargetError> {
        if self.read.is_empty() {
            return Ok(State::default());
        }
        let out = program::ask(&self.read, &self.folder, self.timeout)?;
        let wrong = |why: String| TargetError::Program { command: self.read.join(" "), why };
        let said: BTreeMap<String, Option<String>> = serde_json::from_slice(&out)
            .map_err(|e| wrong(format!("does not print a JSON object of image name to reference: {e}")))?;
        let says = |name: &ImageName| (name.to_string(), said.get(name.as_str()).cloned().flatten());
        Ok(State(self.images.iter().map(says).collect()))
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        if self.read.is_empty() {
            return Ok(State::default());
        }
        let says = |name: &ImageName| Ok((name.to_string(), Some(pinned(super::image(release, name)?, self.pin))));
        Ok(State(self.images.iter().map(says).collect::<Result<_, TargetError>>()?))
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let mut env = BTreeMap::from([
            ("SHIPLAP_INSTANCE".to_owned(), release.instance.to_string()),
            ("SHIPLAP_VERSION".to_owned(), release.version.to_string()),
            ("SHIPLAP_TAG".to_owned(), release.tag.to_string()),
        ]);
        for name in &self.images {
            env.insert(variable(name), pinned(super::image(release, name)?, self.pin));
        }
        let manifest = release
            .to_bytes()
            .map_err(|e| e.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string()));
        let manifest = manifest.map_err(|why| TargetError::Program { command: self.command.join(" "), why })?;
        let program = Program {
            command: self.command.clone(),
            folder: self.folder.clone(),
            timeout: self.timeout,
            call: Call { env, manifest },
        };
        let wanted = self.wanted(release)?;
        Ok(Change { target: self.name(), files: Vec::new(), program: Some(program), wanted })
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        Vec::new()
    }

    fn owned(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
