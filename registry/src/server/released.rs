//! What was released on this machine, as repositories that can be read.
//!
//! A release tags its manifests in the store, under the name of its repository. A path of a request stands for that repository too, by the name that
//! people know it by: `campus/openedx` for `docker.io/campus/openedx`. Which blobs belong to it is found out by walking the manifests of its tags, and what is
//! attached to these: that a blob is in the store makes it nobody's to read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shiplap_cache::{Digest, ServedManifest};

use super::document::Document;
use super::name::{Name, Tag};
use crate::referrers::{self, REFERRERS};
use crate::{Images, Reference, Repository, Result};

/// What is known of released repositories. Manifests never change, so each is read once.
#[derive(Debug, Default)]
pub(super) struct Released {
    repositories: Mutex<HashMap<Name, Arc<Mutex<Walk>>>>,
}

/// What was found from the tags of a repository.
#[derive(Debug, Default)]
struct Walk {
    /// The manifests that tags stand for, each with such a tag.
    roots: HashMap<Digest, String>,
    parts: HashMap<Digest, Part>,
}

/// Something that belongs to a released image.
#[derive(Debug, Clone)]
struct Part {
    root: Digest,
    kind: Kind,
}

/// What belongs to a released image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A layer or a config.
    Blob,
    /// A manifest, sent as this media type.
    Manifest(String),
}

/// The repository of the store that a path stands for. Two paths never stand for one.
fn repository(name: &Name) -> Option<Repository> {
    let repository: Repository = name.as_str().parse().ok()?;
    (repository.familiar() == name.as_str()).then_some(repository)
}

/// A tag of the store that is the same as one of a served repository.
pub(super) fn reference(name: &Name, tag: &Tag) -> Option<Reference> {
    repository(name)?.tagged(tag.as_str()).ok()
}

/// The manifest that a tag stands for.
pub(super) fn tag(images: &Images, name: &Name, tag: &Tag) -> Result<Option<Digest>> {
    match reference(name, tag) {
        Some(reference) => images.tag_digest(&reference),
        None => Ok(None),
    }
}

/// The tags of a repository with their manifests.
pub(super) fn tags(images: &Images, name: &Name) -> Result<Vec<(String, Digest)>> {
    repository(name).map_or_else(|| Ok(Vec::new()), |repository| images.tags(&repository))
}

/// The repositories that a path can stand for.
pub(super) fn repositories(images: &Images) -> Result<Vec<Name>> {
    Ok(images.repositories()?.iter().filter_map(|repository| repository.familiar().parse().ok()).collect())
}

impl Released {
    /// What a digest is in a repository, none when no tag of it leads there.
    pub(super) fn find(&self, images: &Images, name: &Name, digest: &Digest) -> Result<Option<Kind>> {
        let Some(repository) = repository(name) else { return Ok(None) };
        let known = lock(&self.repositories).get(name).cloned();
        if let Some(walk) = &known {
            let walk = lock(walk);
            // One look-up tells that what was found is so still.
            if let Some(part) = walk.parts.get(digest)
                && let Some(tag) = walk.roots.get(&part.root)
                && let Ok(reference) = repository.tagged(tag)
                && images.tag_digest(&reference)? == Some(part.root)
            {
                return Ok(Some(part.kind.clone()));
            }
        }
        let tags = images.tags(&repository)?;
        if tags.is_empty() {
            // Names of repositories come from clients: nothing is remembered of those that do not exist.
            lock(&self.repositories).remove(name);
            return Ok(None);
        }
        let walk = known.unwrap_or_else(|| lock(&self.repositories).entry(name.clone()).or_default().clone());
        let mut walk = lock(&walk);
        walk.follow(images, tags)?;
        Ok(walk.parts.get(digest).map(|part| part.kind.clone()))
    }
}

impl Walk {
    /// Walks from the tags that are new, and from what was attached to manifests meanwhile. When a tag is gone, all is walked again.
    fn follow(&mut self, images: &Images, tags: Vec<(String, Digest)>) -> Result<()> {
        let roots: HashMap<Digest, String> = tags.into_iter().map(|(tag, root)| (root, tag)).collect();
        if self.roots.keys().any(|root| !roots.contains_key(root)) {
            *self = Self::default();
        }
        for (root, tag) in roots {
            if !self.roots.contains_key(&root) {
                // One that is not whole is walked again by whoever asks: a pull or a push may have brought what it lacks.
                if !self.walk(images, root, root)? {
                    continue;
                }
            }
            self.roots.insert(root, tag);
        }
        let attached = images.store().names_after(REFERRERS, "")?;
        let mut is_done = false;
        // Signatures of signatures too.
        while !std::mem::replace(&mut is_done, true) {
            for (subject, referrer) in attached.iter().filter_map(|(name, _)| referrers::parse(name)) {
                if let Some(Part { root, .. }) =
                    self.parts.get(&subject).filter(|_| !self.parts.contains_key(&referrer))
                {
                    is_done = false;
                    let root = *root;
                    // Even if it cannot be read, it was looked at.
                    self.parts.insert(referrer, Part { root, kind: Kind::Blob });
                    self.walk(images, root, referrer)?;
                }
            }
        }
        Ok(())
    }

    /// Notes what a manifest leads to. Says whether all manifests on the way could be read.
    fn walk(&mut self, images: &Images, root: Digest, start: Digest) -> Result<bool> {
        let (mut open, mut seen, mut is_whole) = (vec![start], HashSet::new(), true);
        while let Some(manifest) = open.pop() {
            if !seen.insert(manifest) {
                continue;
            }
            let bytes = match images.store().blobs().read(&manifest) {
                Ok(bytes) => bytes,
                // Of an image that is not whole the rest is served.
                Err(e @ (shiplap_cache::Error::MissingBlob(_) | shiplap_cache::Error::WrongDigest { .. })) => {
                    tracing::warn!(%manifest, error = %e, "a released manifest cannot be read");
                    is_whole = false;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            let document = match Document::parse(&bytes, None) {
                Ok(document) => document,
                Err(why) => {
                    tracing::warn!(%manifest, why, "a released manifest cannot be served");
                    continue;
                }
            };
            for (blob, _) in document.blobs.iter().chain(&document.foreign) {
                self.parts.insert(*blob, Part { root, kind: Kind::Blob });
            }
            self.parts.insert(manifest, Part { root, kind: Kind::Manifest(document.media_type) });
            open.extend(document.manifests);
        }
        Ok(is_whole)
    }
}

/// What is attached to a released manifest, as descriptors have it.
pub(super) fn referrers(images: &Images, subject: &Digest) -> Result<Vec<ServedManifest>> {
    let mut found = Vec::new();
    for (name, _) in images.store().names_after(REFERRERS, &format!("{}/", subject.hex()))? {
        let Some((_, digest)) = referrers::parse(&name) else { continue };
        let bytes = match images.store().blobs().read(&digest) {
            Ok(bytes) => bytes,
            Err(e @ (shiplap_cache::Error::MissingBlob(_) | shiplap_cache::Error::WrongDigest { .. })) => {
                tracing::warn!(%digest, error = %e, "what is attached to a released manifest cannot be read");
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if let Ok(document) = Document::parse(&bytes, None) {
            let Document { media_type, artifact_type, annotations, .. } = document;
            found.push(ServedManifest { digest, media_type, size: bytes.len() as u64, artifact_type, annotations });
        }
    }
    Ok(found)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
