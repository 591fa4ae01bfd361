//! Pushing an image.

use futures::{StreamExt, TryStreamExt};
use oci_client::RegistryOperation;
use reqwest::header::HeaderValue;
use shiplap_cache::Digest;

use super::{Client, Session};
use crate::media::Document;
use crate::tag::ReleaseTag;
use crate::{Descriptor, Error, Images, Reference, Repository, Result, Trouble};

/// The repository that a blob was last seen in, to be mounted from.
pub(crate) const SOURCES: &str = "blob-source";

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest, read back from the registry.
    pub digest: Digest,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes of blobs that were there.
    pub present: u64,
    /// The tag stood for this manifest already; nothing was sent.
    pub unchanged: bool,
}

impl Client {
    /// Pushes a manifest or index and everything that it names under a tag, and reads the tag back. A name that is the manifest's digest, and
    /// no tag, makes none.
    ///
    /// A release's tag is made if it is absent. When it is there for the same digest that is fine; for another it is an error; and when the
    /// look-up fails nothing is pushed.
    ///
    /// # Errors
    /// [`Error::TagExists`], [`Error::NotWhole`], or the registry cannot be reached or refuses.
    pub async fn push(&self, images: &Images, manifest: &Digest, reference: &Reference) -> Result<Pushed> {
        let repository = reference.repository();
        let bad = |tag: &str| Error::BadTag { repository: Box::new(repository.clone()), tag: tag.to_owned() };
        let target = match reference.tag() {
            Some(tag) => repository.tagged(tag).map_err(|_| bad(tag))?,
            None if reference.digest() == Some(*manifest) => reference.clone(),
            None => return Err(bad("")),
        };
        images.check_whole(manifest, false)?;
        if target.tag().is_some_and(ReleaseTag::is_release)
            && let Some(existing) = self.resolve(&target).await?
        {
            return match existing == *manifest {
                true => Ok(Pushed { digest: existing, sent: 0, present: 0, unchanged: true }),
                false => Err(Error::TagExists { reference: Box::new(target), existing, wanted: *manifest }),
            };
        }
        let session = self.session(repository, RegistryOperation::Push).await?;
        let mut pushed = Pushed { digest: *manifest, sent: 0, present: 0, unchanged: false };
        let bytes = images.store().blobs().read(manifest)?;
        let document = Document::parse(&bytes, *manifest)?;
        if let Document::Index(index) = &document {
            for image in &index.manifests {
                let bytes = images.store().blobs().read(&image.digest)?;
                let inner = Document::parse(&bytes, image.digest)?;
                session.blobs(images, &inner, &mut pushed).await?;
                session.put(&repository.with_digest(image.digest), bytes, inner.media_type()).await?;
            }
        }
        session.blobs(images, &document, &mut pushed).await?;
        session.put(&target, bytes, document.media_type()).await?;
        let actual = session.digest(&target).await?;
        if actual != *manifest {
            let trouble = Trouble::ReadBack { expected: *manifest, actual: actual.to_string() };
            return Err(session.error(&format!("push {}", target.familiar()), trouble).into());
        }
        Ok(pushed)
    }
}

impl Session {
    async fn blobs(&self, images: &Images, document: &Document, pushed: &mut Pushed) -> Result<()> {
        let Document::Manifest(manifest) = document else { return Ok(()) };
        let mut all: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        all.sort_by_key(|d| d.digest);
        all.dedup_by_key(|d| d.digest);
        let store = images.store();
        let sent: Vec<(u64, u64)> = futures::stream::iter(all)
            .map(|blob| async move {
                let source = store.name(SOURCES, &blob.digest.hex())?.and_then(|s| s.parse::<Repository>().ok());
                let source = source.filter(|s| s.registry() == self.repository.registry() && *s != self.repository);
                let sent = self.upload(store, blob, source.as_ref().map(Repository::path)).await?;
                store.set_name(SOURCES, &blob.digest.hex(), &self.repository.to_string())?;
                Ok::<_, Error>((sent, blob.size))
            })
            .buffer_unordered(self.options.parallel)
            .try_collect()
            .await?;
        for (sent, size) in sent {
            pushed.sent += sent;
            pushed.present += size - sent;
        }
        Ok(())
    }

    async fn put(&self, target: &Reference, bytes: Vec<u8>, media_type: &str) -> Result<()> {
        let what = format!("push the manifest of {}", target.familiar());
        let (oci, bytes) = (target.to_oci(), bytes::Bytes::from(bytes));
        let Ok(media_type) = media_type.parse::<HeaderValue>() else {
            return Err(self.error(&what, Trouble::Other(format!("`{media_type}` is no media type"))).into());
        };
        self.attempt(&what, || self.oci.push_manifest_raw(&oci, bytes.clone(), media_type.clone())).await?;
        Ok(())
    }
}
