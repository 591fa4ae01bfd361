//! Making a release: checked before anything is built, visible only when all of it is there.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::Serialize;
use shiplap_cache::Digest;
use shiplap_registry::tag::ReleaseTag;

use crate::config::Instance;
use crate::git::GitState;
use crate::history::{History, ReleaseRow, read_manifest};
use crate::images::{ImageCheck, check_all};
use crate::names::{ImageName, InstanceName, Reference, Repository};
use crate::observer::{Observer, Progress};
use crate::release::{
    GitSource, ImageInputs, MigrationSet, Release, ReleaseImage, ReleaseSeq, SCHEMA, StepSummary, StoredRelease,
};
use crate::version::{self, Bump};
use crate::{Error, Result};

/// Which version to release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionChoice {
    /// This one.
    Exact(Version),
    /// The one after the newest.
    Bump(Bump),
}

impl VersionChoice {
    /// Reads a version as it was typed.
    ///
    /// # Errors
    /// It is no semantic version, or has build metadata.
    pub fn exact(text: &str) -> Result<Self> {
        Ok(Self::Exact(version::parse(text)?))
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// The version.
    pub version: VersionChoice,
    /// Whether changes that are in no commit may be released; the tag says so.
    pub allow_dirty: bool,
    /// Who makes it.
    pub creator: String,
}

/// A release that may be made: its version and tag are settled, its images are not there yet.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseDraft {
    /// Whose.
    pub instance: InstanceName,
    /// Its version.
    pub version: Version,
    /// Its tag.
    pub tag: ReleaseTag,
    /// What it is built from.
    pub git: GitSource,
    /// Who makes it.
    pub creator: String,
    /// Where each image is to be tagged.
    pub images: BTreeMap<ImageName, Repository>,
    /// Whether this version was made before, from the same: then the same images make the same release again.
    pub again: bool,
}

impl ReleaseDraft {
    /// The reference of an image of this release; none if the instance has no such image.
    pub fn reference(&self, image: &ImageName) -> Option<Reference> {
        let repository = self.images.get(image)?.clone();
        Some(Reference { repository, tag: self.tag.clone() })
    }
}

/// What was built for a draft.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// All images of the instance, tagged as the draft says.
    pub images: Vec<ReleaseImage>,
    /// What went into each.
    pub inputs: BTreeMap<ImageName, ImageInputs>,
    /// What the build did.
    pub steps: StepSummary,
    /// The Django migrations found in the images; none if nobody looked.
    pub migrations: Option<MigrationSet>,
}

/// A release that is there.
#[derive(Debug, Clone, Serialize)]
pub struct Committed {
    /// The release.
    #[serde(flatten)]
    pub release: StoredRelease,
    /// Whether it was made now; false when the same one was there already. A release has a `created` of its own.
    #[serde(rename = "made")]
    pub created: bool,
}

impl History {
    /// Settles version and tag of a release, before anything is built.
    ///
    /// # Errors
    /// The tree is dirty and must not be, or the version was released before from something else.
    pub fn prepare(
        &self,
        name: &InstanceName,
        instance: &Instance,
        git: &GitState,
        request: ReleaseRequest,
    ) -> Result<ReleaseDraft> {
        let dirty = match &git.dirty {
            Some(dirty) if !request.allow_dirty => return Err(Error::DirtyTree { files: dirty.files.clone() }),
            dirty => dirty.as_ref().map(|dirty| dirty.tree.clone()),
        };
        let version = match request.version {
            VersionChoice::Exact(version) => version,
            VersionChoice::Bump(bump) => bump.after(self.newest(name)?.map(|newest| newest.version).as_ref()),
        };
        let tag = ReleaseTag::new(&version, git.commit.as_str(), dirty.as_deref())?;
        let existing = self.find(name, &version)?;
        let again = existing.is_some();
        if let Some(existing) = existing.filter(|existing| existing.tag != tag) {
            return Err(taken(name, existing));
        }
        Ok(ReleaseDraft {
            instance: name.clone(),
            version,
            tag,
            git: GitSource { commit: git.commit.clone(), remote: git.remote.clone(), dirty },
            creator: request.creator,
            images: instance.image.iter().map(|(name, image)| (name.clone(), image.repository.clone())).collect(),
            again,
        })
    }

    /// Makes a release visible: all images of the instance are given, tagged as the draft says, there and whole. The same draft with the same
    /// images again returns the release that it made.
    ///
    /// # Errors
    /// Not all images or other ones, one that is not whole, or the version was released meanwhile from something else.
    pub fn commit(
        &mut self,
        draft: &ReleaseDraft,
        built: Built,
        check: &dyn ImageCheck,
        observer: &dyn Observer,
    ) -> Result<Committed> {
        check_set(draft, &built.images)?;
        // Nothing was made yet that somebody could be in need of: without an answer there is no release.
        check_all(&built.images, check, false)?;
        let blobs = self.blobs().clone();
        let mut before = None;
        let added = self.add_release(&draft.instance, &draft.version, |existing, newest| {
            if let Some(row) = existing {
                let release = read_manifest(&blobs, &draft.instance, &row)?;
                before = Some(same_release(draft, &built.images, row, release)?);
                return Ok(None);
            }
            let release = manifest(draft, built, newest.map(|newest| (newest.sequence, newest.digest)));
            let bytes = release.to_bytes()?;
            observer.progress(Progress::StoringManifest);
            let digest = blobs.put(&bytes)?;
            observer.progress(Progress::RecordingRelease);
            Ok(Some(StoredRelease { digest, release }))
        })?;
        match (added, before) {
            (Some(release), _) => {
                observer.progress(Progress::ReleaseRecorded);
                Ok(Committed { release, created: true })
            }
            (None, Some(release)) => Ok(Committed { release, created: false }),
            (None, None) => Err(Error::NoRelease(draft.instance.clone())),
        }
    }
}

fn manifest(draft: &ReleaseDraft, built: Built, before: Option<(ReleaseSeq, Digest)>) -> Release {
    let mut images = built.images;
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Release {
        schema: SCHEMA.to_owned(),
        instance: draft.instance.clone(),
        sequence: ReleaseSeq(before.map_or(0, |(sequence, _)| sequence.0) + 1),
        version: draft.version.clone(),
        tag: draft.tag.clone(),
        git: draft.git.clone(),
        created: crate::now(),
        creator: draft.creator.clone(),
        previous: before.map(|(_, digest)| digest),
        images,
        inputs: built.inputs,
        steps: built.steps,
        migrations: built.migrations,
    }
}

/// The set is the instance's, each image once and under its reference.
fn check_set(draft: &ReleaseDraft, images: &[ReleaseImage]) -> Result<()> {
    let mut missing: BTreeSet<&ImageName> = draft.images.keys().collect();
    let mut unknown = Vec::new();
    for image in images {
        if !missing.remove(&image.name) {
            unknown.push(image.name.clone());
        }
    }
    if !missing.is_empty() || !unknown.is_empty() {
        let missing = missing.into_iter().cloned().collect();
        return Err(Error::NotTheSet { instance: draft.instance.clone(), missing, unknown });
    }
    for image in images {
        if let Some(expected) = draft.reference(&image.name).filter(|expected| *expected != image.reference) {
            let (image, found) = (image.name.clone(), Box::new(image.reference.clone()));
            return Err(Error::WrongReference { image, expected: Box::new(expected), found });
        }
    }
    Ok(())
}

/// The release that has the version already, if it is the same one.
fn same_release(
    draft: &ReleaseDraft,
    images: &[ReleaseImage],
    row: ReleaseRow,
    release: Release,
) -> Result<StoredRelease> {
    if row.tag != draft.tag {
        return Err(taken(&draft.instance, row));
    }
    for image in images {
        match release.image(&image.name) {
            Some(released) if released.digest == image.digest && released.reference == image.reference => {}
            Some(released) if released.reference == image.reference => {
                return Err(Error::OtherImages {
                    instance: draft.instance.clone(),
                    version: Box::new(draft.version.clone()),
                    image: image.name.clone(),
                    released: released.digest,
                    found: image.digest,
                });
            }
            _ => return Err(taken(&draft.instance, row)),
        }
    }
    if release.images.len() != images.len() {
        return Err(taken(&draft.instance, row));
    }
    Ok(StoredRelease { digest: row.digest, release })
}

fn taken(instance: &InstanceName, row: ReleaseRow) -> Error {
    Error::VersionTaken {
        instance: instance.clone(),
        version: row.version,
        tag: Box::new(row.tag),
        created: row.created,
    }
}
