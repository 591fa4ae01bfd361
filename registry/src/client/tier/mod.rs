//! A tier in a repository of a registry.
//!
//! Blobs are blobs. A segment is a blob too, and an artifact (image-spec, manifest.md, *Guidelines for Artifact Usage*) under a tag of its own says that it
//! is there; its manifest names the segment first and then the blobs that the segment speaks of, so that the registry keeps them. The tag has the digest of
//! the segment in it, so whoever has the list of tags needs no manifest.

mod fault;
mod manifest;
mod range;

use std::collections::HashSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use manifest::{EMPTY, tag_of};
use shiplap_cache::tier::segment::SEGMENT;
use shiplap_cache::tier::{Part, SegmentName, Swept, Tier, TierBlob, TierError, TierResult};
use shiplap_cache::{Digest, Store};

use super::fault::Fault;
use super::push::{Outgoing, SOURCES};
use super::session::Removal;
use super::{Access, Client, Session};
use crate::{Descriptor, Reference, RemoteError, Repository, Result, Trouble};

/// A tier in a repository.
#[derive(Debug, Clone)]
pub struct RegistryTier {
    client: Client,
    repository: Repository,
    name: String,
}

impl RegistryTier {
    /// The tier in a repository, which images may be in too. The client's options say how patient we are.
    pub fn new(client: Client, repository: Repository) -> Self {
        Self { client, name: repository.to_string(), repository }
    }

    async fn list(&self) -> Result<Vec<SegmentName>> {
        let tags = match self.client.tags(&self.repository).await {
            Err(crate::Error::Remote(e)) if matches!(e.trouble, Trouble::NotFound) => Vec::new(),
            tags => tags?,
        };
        let mut names: Vec<_> = tags.iter().filter_map(|tag| manifest::segment_of(tag)).collect();
        names.sort();
        Ok(names)
    }

    async fn bytes(&self, digest: &Digest, most: u64) -> Result<Vec<u8>> {
        let session = self.client.session(&self.repository, Access::Pull).await?;
        Ok(session.blob(digest, most).await?)
    }

    async fn download(&self, store: &Store, blob: &TierBlob) -> Result<()> {
        let session = self.client.session(&self.repository, Access::Pull).await?;
        session.download(store, &Descriptor::new("", blob.digest, blob.size)).await?;
        // A later push to this registry mounts it.
        Ok(store.set_name(SOURCES, &blob.digest.hex(), &self.name)?)
    }

    async fn has_part(&self, blob: &TierBlob) -> Result<bool> {
        let session = self.client.session(&self.repository, Access::Pull).await?;
        let what = format!("look for blob {} in {}", blob.digest, self.repository.familiar());
        Ok(session.attempt(&what, || session.has_blob(&blob.digest)).await?)
    }

    async fn part(&self, blob: &TierBlob, offset: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let session = self.client.session(&self.repository, Access::Pull).await?;
        Ok(session.range(blob, offset, length).await?)
    }

    async fn upload(&self, store: &Store, part: &Part) -> Result<u64> {
        let session = self.client.session(&self.repository, Access::Push).await?;
        session.upload_noted(store, &Descriptor::new(&part.media_type, part.blob.digest, part.blob.size)).await
    }

    async fn announce(&self, store: &Store, name: &SegmentName, parts: &[Part]) -> Result<()> {
        let session = self.client.session(&self.repository, Access::Push).await?;
        let missing = shiplap_cache::Error::MissingBlob(name.digest);
        let size = store.blobs().size(&name.digest)?.ok_or(missing)?;
        let segment = Descriptor::new(SEGMENT, name.digest, size);
        let empty = Descriptor::new(EMPTY, store.blobs().put(b"{}")?, 2);
        for blob in [&segment, &empty] {
            session.upload_noted(store, blob).await?;
        }
        // Whoever sees the first tag finds everything that the others keep, so it is written last.
        for (number, manifest) in manifest::of(name, &segment, &empty, parts)?.iter().enumerate().rev() {
            let tag = self.tagged(&tag_of(name, number))?;
            if let Err(error) = session.place_soon(&tag, manifest).await {
                // A registry that lets no tag be written twice refuses the second attempt, when only the answer to the first was lost.
                let there = session.digest(&tag).await;
                if !there.is_ok_and(|there| there == manifest.digest) {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn tagged(&self, tag: &str) -> Result<Reference> {
        let bad = |_| crate::Error::BadTag { repository: Box::new(self.repository.clone()), tag: tag.to_owned() };
        self.repository.tagged(tag).map_err(bad)
    }

    async fn sweep(&self, segments: &[SegmentName]) -> TierResult<Swept> {
        let mut swept = Swept::default();
        if segments.is_empty() {
            return Ok(swept);
        }
        let failed = |e: crate::Error| fault::of(e);
        let tags: HashSet<String> = self.client.tags(&self.repository).await.map_err(failed)?.into_iter().collect();
        let session = self.client.session(&self.repository, Access::Delete).await.map_err(failed)?;
        for name in segments {
            // The first tag first: from then on nobody sees the segment.
            for tag in (0..).map(|number| tag_of(name, number)).take_while(|tag| tags.contains(tag)) {
                let tag = self.tagged(&tag).map_err(failed)?;
                self.remove_tag(&session, &tag).await?;
            }
            swept.segments += u64::from(tags.contains(&tag_of(name, 0)));
        }
        Ok(swept)
    }

    /// Removes a tag with its manifest, which has no other: it has its name in it.
    async fn remove_tag(&self, session: &Session, tag: &Reference) -> TierResult<()> {
        let failed = |e: RemoteError| fault::of(e.into());
        let digest = match session.digest(tag).await {
            Ok(digest) => digest,
            Err(e) if matches!(e.trouble, Trouble::NotFound) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let mut why = String::new();
        // Some registries delete tags alone.
        for target in [self.repository.with_digest(digest), tag.clone()] {
            match session.delete(&target).await.map_err(failed)? {
                Removal::Done => return Ok(()),
                Removal::Unsupported(words) => why = words,
            }
        }
        Err(TierError::Unsupported(format!("{} deletes nothing ({why})", self.repository.registry())))
    }
}

impl Session {
    /// Puts a manifest in its place whose blobs were there a moment ago. While somebody else uploads one of them too, distribution's registry, which writes its
    /// links in place, says for an instant that it does not know it.
    async fn place_soon(&self, target: &Reference, manifest: &Outgoing) -> Result<(), RemoteError> {
        let what = format!("push the manifest of {}", target.familiar());
        let call = || async {
            match self.put_manifest(target, manifest).await {
                Err(Fault::Answer(r)) if r.has(&["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"]) => {
                    Err(Fault::Stalled(r.message))
                }
                placed => placed.map(drop),
            }
        };
        self.attempt(&what, call).await
    }
}

impl Tier for RegistryTier {
    fn name(&self) -> &str {
        &self.name
    }

    fn segments(&self) -> BoxFuture<'_, TierResult<Vec<SegmentName>>> {
        async move { self.list().await.map_err(fault::of) }.boxed()
    }

    fn segment<'a>(&'a self, name: &'a SegmentName, most: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        async move { self.bytes(&name.digest, most).await.map_err(fault::of) }.boxed()
    }

    fn read<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        async move {
            let bytes = self.bytes(&blob.digest, blob.size).await.map_err(fault::of)?;
            match bytes.len() as u64 {
                len if len == blob.size => Ok(bytes),
                len => {
                    let why = format!("{len} bytes instead of {}", blob.size);
                    Err(TierError::Corrupt { digest: blob.digest, why })
                }
            }
        }
        .boxed()
    }

    fn fetch<'a>(&'a self, store: &'a Store, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<()>> {
        async move { self.download(store, blob).await.map_err(fault::of) }.boxed()
    }

    fn range<'a>(&'a self, blob: &'a TierBlob, offset: u64, length: u64) -> BoxFuture<'a, TierResult<Vec<u8>>> {
        async move {
            let whole = || TierError::Unsupported(format!("{} gives blobs whole alone", self.repository.registry()));
            self.part(blob, offset, length).await.map_err(fault::of)?.ok_or_else(whole)
        }
        .boxed()
    }

    fn has<'a>(&'a self, blob: &'a TierBlob) -> BoxFuture<'a, TierResult<bool>> {
        async move { self.has_part(blob).await.map_err(fault::of) }.boxed()
    }

    fn put<'a>(&'a self, store: &'a Store, part: &'a Part) -> BoxFuture<'a, TierResult<u64>> {
        async move { self.upload(store, part).await.map_err(fault::of) }.boxed()
    }

    fn publish<'a>(
        &'a self,
        store: &'a Store,
        name: &'a SegmentName,
        parts: &'a [Part],
    ) -> BoxFuture<'a, TierResult<()>> {
        async move { self.announce(store, name, parts).await.map_err(fault::of) }.boxed()
    }

    /// Blobs are the registry's to take away, when no manifest names them.
    fn remove<'a>(
        &'a self,
        segments: &'a [SegmentName],
        _keep: &'a HashSet<Digest>,
    ) -> BoxFuture<'a, TierResult<Swept>> {
        self.sweep(segments).boxed()
    }
}
