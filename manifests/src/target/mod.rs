//! Deploy targets: the places that say which images an instance runs.

mod argocd;
mod compose;
mod document;
mod error;
mod exec;
mod file;
mod kustomize;
mod parts;
mod tutor;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use argocd::ArgoCd;
pub use compose::Compose;
pub use error::TargetError;
pub use exec::Exec;
pub(crate) use exec::{Call, Program};
pub use file::FileChange;
pub(crate) use file::{Edit, Side};
pub use kustomize::Kustomize;
pub use tutor::Tutor;
pub use values::Values;

use crate::config::{Config, Deploy, Git, Instance, Pin};
use crate::names::ImageName;
use crate::release::{Release, ReleaseImage};

/// What a target says: for each of its places (a service, a key) the image, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(pub BTreeMap<String, Option<String>>);

impl State {
    /// The places where `self` says something else than `wanted`. Places that nobody asked about do not count.
    pub fn differences(&self, wanted: &Self) -> Vec<Difference> {
        let says = |state: &Self, place: &str| state.0.get(place).cloned().flatten();
        wanted
            .0
            .keys()
            .map(|place| Difference { place: place.clone(), wanted: says(wanted, place), found: says(self, place) })
            .filter(|difference| difference.wanted != difference.found)
            .collect()
    }
}

/// A place that says something else than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The place.
    pub place: String,
    /// What it should say.
    pub wanted: Option<String>,
    /// What it says.
    pub found: Option<String>,
}

/// What a deploy would do to a target.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The target.
    pub target: String,
    /// The files to write; those that stay as they are too.
    pub files: Vec<FileChange>,
    /// The program to run, for a target that is none of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<Program>,
    /// What the target says afterwards.
    pub wanted: State,
}

impl Change {
    /// A change of files alone.
    fn of_files(target: String, files: Vec<FileChange>, wanted: State) -> Self {
        Self { target, files, program: None, wanted }
    }

    /// The change as text: only lines that change, so that no neighbour of theirs (a password in Tutor's `config.yml`) is shown; and what is run.
    pub fn diff(&self) -> String {
        let files = self.files.iter().map(FileChange::diff);
        files.chain(self.program.iter().map(Program::words)).collect()
    }
}

/// A place that says which images an instance runs. A target plans; writing is the journal's, so that a crash leaves nothing half done.
pub trait Target {
    /// Its name, for people and for the log.
    fn name(&self) -> String;

    /// What it says now.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self) -> Result<State, TargetError>;

    /// What it says after that release was deployed.
    ///
    /// # Errors
    /// The release lacks an image that the target wants.
    fn wanted(&self, release: &Release) -> Result<State, TargetError>;

    /// What has to be written to deploy that release.
    ///
    /// # Errors
    /// It cannot be read, or must not be written.
    fn plan(&self, release: &Release) -> Result<Change, TargetError>;

    /// What is left to do by hand before the release really runs.
    fn advice(&self, release: &Release) -> Vec<String>;

    /// The files that Shiplap owns whole.
    fn owned(&self) -> Vec<PathBuf>;

    /// Whether a deploy is a commit in the repository of its files.
    fn git(&self) -> Git {
        Git::default()
    }
}

/// The targets of an instance.
pub fn of_instance(config: &Config, instance: &Instance) -> Vec<Box<dyn Target>> {
    let folder = config.folder();
    let make = |deploy: &Deploy| -> Box<dyn Target> {
        match deploy {
            Deploy::Compose(target) => Box::new(Compose::new(folder, target)),
            Deploy::Tutor(target) => Box::new(Tutor::new(folder, instance, target)),
            Deploy::Kustomize(target) => Box::new(Kustomize::new(folder, target)),
            Deploy::Helm(target) => Box::new(Values::of_helm(folder, instance, target)),
            Deploy::Argocd(target) => Box::new(ArgoCd::new(folder, instance, target)),
            Deploy::Terraform(target) => Box::new(Values::of_terraform(folder, instance, target)),
            Deploy::Exec(target) => Box::new(Exec::new(folder, instance, target)),
        }
    };
    instance.deploy.iter().map(make).collect()
}

/// The release's image of that name.
fn image<'a>(release: &'a Release, name: &ImageName) -> Result<&'a ReleaseImage, TargetError> {
    release
        .image(name)
        .ok_or_else(|| TargetError::NotInRelease { image: name.clone(), version: release.version.clone() })
}

/// What is written for an image.
fn pinned(image: &ReleaseImage, pin: Pin) -> String {
    match pin {
        Pin::Digest => image.reference.pinned(&image.digest),
        Pin::Tag => image.reference.to_string(),
    }
}
