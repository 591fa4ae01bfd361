//! Manifests that are not to be unpacked: artifacts, and images on their way to another registry.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::Digest;

use super::push::Pushed;
use super::{Access, Client};
use crate::media::Document;
use crate::{Descriptor, Error, Images, Reference, Repository, Result, Trouble};

/// The header by which a registry says that it has noted a manifest's subject (distribution-spec, *Pushing Manifests with Subject*).
const SUBJECT: &str = "oci-subject";

impl Client {
    /// Pushes a manifest or index that is in the store, with everything that it names, by its digest. When it has a subject, it is among the
    /// referrers of that afterwards, also in a registry that does not keep them itself.
    ///
    /// # Errors
    /// [`Error::NotWhole`](crate::Error::NotWhole), or the registry cannot be reached or refuses.
    pub async fn push_artifact(&self, images: &Images, manifest: &Digest, repository: &Repository) -> Result<Pushed> {
        images.check_whole(manifest, false)?;
        let session = self.session(repository, Access::Push).await?;
        let mut pushed = Pushed { digest: *manifest, sent: 0, present: 0, unchanged: false };
        let top = session.parts_of(images, None, manifest, &mut pushed).await?;
        let headers = session.place(&repository.with_digest(*manifest), &top).await?;
        if let Some(subject) = top.document.subject()
            && !headers.contains_key(SUBJECT)
        {
            session.note_referrer(&subject.digest, &top.document.as_referrer(&top.bytes)).await?;
        }
        Ok(pushed)
    }

    /// Fetches an artifact of one blob: the digest of its manifest, and the blob. None where nothing has that name.
    ///
    /// # Errors
    /// As [`Client::pull_artifact`], or it has more blobs than one.
    pub async fn pull_blob(&self, images: &Images, reference: &Reference) -> Result<Option<(Digest, Vec<u8>)>> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let (bytes, digest) = match session.manifest(reference).await {
            Err(e) if matches!(e.trouble, Trouble::NotFound) => return Ok(None),
            found => found?,
        };
        match Document::parse(&bytes, digest)? {
            Document::Manifest(manifest) if manifest.layers.len() == 1 => {
                let blob = &manifest.layers[0];
                session.download(images.store(), blob).await?;
                Ok(Some((digest, images.store().blobs().read(&blob.digest)?)))
            }
            _ => {
                let why = "it is no artifact of one blob".to_owned();
                Err(Error::BadDocument { what: "manifest", digest, why })
            }
        }
    }

    /// Fetches a manifest or index and every blob that it names into the store, each checked against its digest. Nothing is unpacked.
    ///
    /// # Errors
    /// The registry cannot be reached, refuses, or sends something else than it should; the disk is full, ...
    pub async fn pull_artifact(&self, images: &Images, reference: &Reference) -> Result<Descriptor> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let (document, digest) = session.document(images, reference).await?;
        let bytes = images.store().blobs().read(&digest)?;
        let top = Descriptor::of(document.media_type(), &bytes);
        let (mut next, mut seen) = (vec![document], HashSet::from([digest]));
        while let Some(document) = next.pop() {
            match document {
                Document::Index(index) => {
                    for inner in index.manifests.iter().filter(|inner| seen.insert(inner.digest)) {
                        let name = reference.repository().with_digest(inner.digest);
                        next.push(session.document(images, &name).await?.0);
                    }
                }
                Document::Manifest(manifest) => {
                    let mut blobs: Vec<Descriptor> =
                        manifest.layers.iter().chain([&manifest.config]).cloned().collect();
                    blobs.sort_by_key(|blob| blob.digest);
                    blobs.dedup_by_key(|blob| blob.digest);
                    let session = &session;
                    let fetched = futures::stream::iter(blobs)
                        .map(|blob| async move {
                            session.download(images.store(), &blob).await?;
                            let source = reference.repository().to_string();
                            Ok::<_, Error>(images.store().set_name(
                                super::push::SOURCES,
                                &blob.digest.hex(),
                                &source,
                            )?)
                        })
                        .buffer_unordered(session.options.parallel)
                        .try_collect::<Vec<()>>()
                        .await;
                    if fetched.is_err() {
                        drop(session.running.write().await);
                    }
                    fetched?;
                }
            }
        }
        Ok(top)
    }
}
