//! Is an image in its registry, all of it?

use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use shiplap_cache::Digest;

use super::fault::Fault;
use super::{Access, Client, Session};
use crate::media::Document;
use crate::{Descriptor, Error, Reference, Result, Trouble};

impl Client {
    /// Checks that a name stands for a manifest in its registry and that the registry has every blob of it, in its length. Fetches manifests only: bytes that
    /// changed and are as many as before are found by whoever pulls them.
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
        let blobs: Vec<Descriptor> = blobs.cloned().collect();
        futures::stream::iter(blobs)
            .map(|blob| async move {
                let what = format!("look up blob {} of {}", blob.digest, self.repository.familiar());
                match self.attempt(&what, || self.length_of(&blob.digest)).await? {
                    None => Err(missing(whole, "blob", &blob.digest)),
                    Some(Some(found)) if found != blob.size => Err(Error::NotWhole {
                        manifest: *whole,
                        what: "blob",
                        digest: blob.digest,
                        problem: format!("has {found} bytes in the registry, not {}", blob.size),
                    }),
                    Some(_) => Ok(()),
                }
            })
            .buffer_unordered(self.options.parallel)
            .try_collect()
            .await
    }

    /// The length of a blob, if it is there and the registry says how long it is (RFC 9110, 8.6: an answer to `HEAD` may leave it out).
    async fn length_of(&self, blob: &Digest) -> Result<Option<Option<u64>>, Fault> {
        let answer = self.send(Method::HEAD, &self.url(&format!("blobs/{blob}"))?, Ok).await?;
        match answer.status().as_u16() {
            200 => Ok(Some(answer.headers().get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok()))),
            404 => Ok(None),
            _ => Err(Fault::of(answer).await),
        }
    }
}

fn missing(manifest: &Digest, what: &'static str, digest: &Digest) -> Error {
    Error::NotWhole { manifest: *manifest, what, digest: *digest, problem: "is missing in the registry".to_owned() }
}
