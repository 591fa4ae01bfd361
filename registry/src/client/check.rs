//! Is an image in its registry, all of it?

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::Digest;

use super::{Access, Client, Session};
use crate::media::Document;
use crate::{Descriptor, Error, Reference, Result, Trouble};

impl Client {
    /// Checks that a name stands for a manifest in its registry and that the registry has every blob of it. Fetches manifests only.
    ///
    /// # Errors
    /// [`Error::OtherDigest`], [`Error::NotWhole`], that the tag is not there, or that the registry cannot say.
    pub async fn check_whole(&self, reference: &Reference, manifest: &Digest) -> Result<()> {
        let session = self.session(reference.repository(), Access::Pull).await?;
        let existing = session.digest(reference).await?;
        if existing != *manifest {
            let reference = Box::new(reference.clone());
            return Err(Error::OtherDigest { reference, existing, wanted: *manifest });
        }
        let mut next = vec![*manifest];
        while let Some(part) = next.pop() {
            match session.parts(manifest, &part).await? {
                Document::Manifest(document) => {
                    session.have(manifest, document.layers.iter().chain([&document.config])).await?;
                }
                Document::Index(index) => next.extend(index.manifests.iter().map(|image| image.digest)),
            }
        }
        Ok(())
    }
}

impl Session {
    async fn parts(&self, whole: &Digest, part: &Digest) -> Result<Document> {
        match self.manifest(&self.repository.with_digest(*part)).await {
            Ok((bytes, digest)) => Document::parse(&bytes, digest),
            Err(e) if matches!(e.trouble, Trouble::NotFound) => Err(missing(whole, "manifest", part)),
            Err(e) => Err(e.into()),
        }
    }

    async fn have(&self, whole: &Digest, blobs: impl Iterator<Item = &Descriptor>) -> Result<()> {
        let blobs: Vec<Digest> = blobs.map(|d| d.digest).collect();
        futures::stream::iter(blobs)
            .map(|blob| async move {
                let what = format!("look up blob {blob} of {}", self.repository.familiar());
                match self.attempt(&what, || self.has_blob(&blob)).await? {
                    true => Ok(()),
                    false => Err(missing(whole, "blob", &blob)),
                }
            })
            .buffer_unordered(self.options.parallel)
            .try_collect()
            .await
    }
}

fn missing(manifest: &Digest, what: &'static str, digest: &Digest) -> Error {
    Error::NotWhole { manifest: *manifest, what, digest: *digest, problem: "is missing in the registry".to_owned() }
}
