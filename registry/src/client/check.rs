//! Is an image in its registry, all of it?

use futures::{StreamExt, TryStreamExt};
use oci_client::RegistryOperation;
use shiplap_cache::Digest;

use super::{Client, Session};
use crate::media::Document;
use crate::{Descriptor, Error, Reference, Result, Trouble};

impl Client {
    /// Checks that a name stands for a manifest in its registry and that the registry has every blob of it. Fetches manifests only.
    ///
    /// # Errors
    /// [`Error::OtherDigest`], [`Error::NotWhole`], that the tag is not there, or that the registry cannot say.
    pub async fn check_whole(&self, reference: &Reference, manifest: &Digest) -> Result<()> {
        let session = self.session(reference.repository(), RegistryOperation::Pull).await?;
        let existing = session.digest(reference).await?;
        if existing != *manifest {
            let reference = Box::new(reference.clone());
            return Err(Error::OtherDigest { reference, existing, wanted: *manifest });
        }
        match session.parts(manifest, manifest).await? {
            Document::Manifest(document) => {
                session.have(manifest, document.layers.iter().chain([&document.config])).await
            }
            Document::Index(index) => {
                for image in &index.manifests {
                    if let Document::Manifest(document) = session.parts(manifest, &image.digest).await? {
                        session.have(manifest, document.layers.iter().chain([&document.config])).await?;
                    }
                }
                Ok(())
            }
        }
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
                let (here, name) = (self.any(), blob.to_string());
                let what = format!("look up blob {blob} of {}", self.repository.familiar());
                match self.attempt(&what, || self.oci.blob_exists(&here, &name)).await? {
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
