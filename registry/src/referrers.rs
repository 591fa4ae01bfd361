//! What is attached to an image: documents about it, and signatures.
//!
//! Each is an image manifest without an image, whose `subject` is the image's manifest (image-spec, manifest.md, *Guidelines for Artifact
//! Usage*). Its blobs are in the store; the name space `referrer` says what is attached to what:
//! `<hex of the subject>/<hex of the manifest>` points at the artifact type. Garbage collection follows it.

use std::collections::BTreeMap;

use shiplap_cache::Digest;

use crate::media::{Document, Manifest, OCI_MANIFEST};
use crate::{Descriptor, Error, Images, Result};

/// The name space of the store.
pub(crate) const REFERRERS: &str = "referrer";

/// Subject and referrer of a name in that space.
pub(crate) fn parse(name: &str) -> Option<(Digest, Digest)> {
    let (subject, referrer) = name.split_once('/')?;
    Some((format!("sha256:{subject}").parse().ok()?, format!("sha256:{referrer}").parse().ok()?))
}

/// A config that says nothing (image-spec, manifest.md, *Guidance for an Empty Descriptor*).
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_BYTES: &[u8] = b"{}";

/// Something to be attached to an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Artifact {
    /// What it is, a media type; of its one blob too.
    pub artifact_type: String,
    /// The blob.
    pub bytes: Vec<u8>,
    /// Notes, which a list of referrers repeats.
    pub annotations: BTreeMap<String, String>,
    /// Notes on the blob.
    pub blob_annotations: BTreeMap<String, String>,
}

/// Something that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its manifest, with artifact type and notes.
    pub manifest: Descriptor,
    /// Its blobs.
    pub blobs: Vec<Descriptor>,
}

impl Images {
    /// Attaches something to an image whose manifest is here. The same thing again changes nothing.
    ///
    /// # Errors
    /// The manifest of the image is not here, or the store fails.
    pub fn attach(&self, subject: &Digest, artifact: &Artifact) -> Result<Attached> {
        let image = self.store().blobs().read(subject)?;
        let image = Descriptor::of(Document::parse(&image, *subject)?.media_type(), &image);
        let digest = self.compose(artifact, Some(image))?;
        self.keep_referrer(&digest)
    }

    /// Writes the manifest of something that is attached to nothing, and all that it names. Nothing in the store keeps it: it is to be pushed.
    ///
    /// # Errors
    /// The store fails.
    pub fn artifact(&self, artifact: &Artifact) -> Result<Digest> {
        self.compose(artifact, None)
    }

    fn compose(&self, artifact: &Artifact, subject: Option<Descriptor>) -> Result<Digest> {
        let blobs = self.store().blobs();
        blobs.put(EMPTY_BYTES)?;
        blobs.put(&artifact.bytes)?;
        let mut blob = Descriptor::of(&artifact.artifact_type, &artifact.bytes);
        blob.annotations = noted(&artifact.blob_annotations);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(artifact.artifact_type.clone()),
            config: Descriptor::of(EMPTY, EMPTY_BYTES),
            layers: vec![blob],
            subject,
            annotations: noted(&artifact.annotations),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
        Ok(blobs.put(&bytes)?)
    }

    /// Remembers a manifest with a subject, which is here with all its blobs, as attached to that.
    ///
    /// # Errors
    /// It has no subject, or the store fails.
    pub fn keep_referrer(&self, manifest: &Digest) -> Result<Attached> {
        let (attached, subject) = self.look(manifest)?;
        let kind = attached.manifest.artifact_type.clone().unwrap_or_default();
        self.store().create_name(REFERRERS, &format!("{}/{}", subject.hex(), manifest.hex()), &kind)?;
        Ok(attached)
    }

    /// What is attached to a manifest, in the order of the digests.
    ///
    /// # Errors
    /// A manifest is missing or damaged, or the store fails.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Attached>> {
        let mut all = Vec::new();
        for (name, _) in self.store().names_below(REFERRERS, &subject.hex())? {
            let hex = name.rsplit('/').next().unwrap_or_default();
            let Ok(manifest) = format!("sha256:{hex}").parse() else { continue };
            all.push(self.look(&manifest)?.0);
        }
        Ok(all)
    }

    /// What is attached to a manifest and of this type.
    ///
    /// # Errors
    /// As [`Images::referrers`].
    pub fn referrers_of_type(&self, subject: &Digest, artifact_type: &str) -> Result<Vec<Attached>> {
        let mut all = self.referrers(subject)?;
        all.retain(|attached| attached.manifest.artifact_type.as_deref() == Some(artifact_type));
        Ok(all)
    }

    /// A manifest with a subject, and that.
    fn look(&self, manifest: &Digest) -> Result<(Attached, Digest)> {
        let bytes = self.store().blobs().read(manifest)?;
        let document = Document::parse(&bytes, *manifest)?;
        let bad = |why: &str| Error::BadDocument { what: "manifest", digest: *manifest, why: why.to_owned() };
        let subject = document.subject().map(|subject| subject.digest);
        let descriptor = document.as_referrer(&bytes);
        match (document, subject) {
            (Document::Manifest(document), Some(subject)) => {
                Ok((Attached { manifest: descriptor, blobs: document.layers }, subject))
            }
            (_, None) => Err(bad("it has no subject, so it is attached to nothing")),
            (Document::Index(_), _) => Err(bad("it is an index, and what is attached is a manifest")),
        }
    }
}

fn noted(notes: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!notes.is_empty()).then(|| notes.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use shiplap_cache::Store;

    use super::*;
    use crate::{Image, NoProgress, PackOptions};

    pub(crate) fn images() -> (tempfile::TempDir, Images) {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        (home, Images::new(store))
    }

    /// The manifest of an image without layers.
    pub(crate) fn packed(images: &Images, author: &str) -> Digest {
        let image = Image { config: [("author".to_owned(), author.into())].into_iter().collect(), ..Image::default() };
        images.pack(&image, &PackOptions::default(), &NoProgress).unwrap().manifest.digest
    }

    fn artifact(kind: &str, text: &str) -> Artifact {
        Artifact {
            artifact_type: kind.to_owned(),
            bytes: text.as_bytes().to_vec(),
            annotations: [("note".to_owned(), text.to_owned())].into(),
            ..Artifact::default()
        }
    }

    #[test]
    fn what_is_attached_is_found_by_its_subject() {
        let (_home, images) = images();
        let (one, other) = (packed(&images, "one"), packed(&images, "other"));
        let sbom = images.attach(&one, &artifact("application/sbom", "a")).unwrap();
        let again = images.attach(&one, &artifact("application/sbom", "a")).unwrap();
        assert_eq!(sbom, again);
        images.attach(&one, &artifact("application/note", "b")).unwrap();
        images.attach(&other, &artifact("application/sbom", "a")).unwrap();
        assert_eq!(images.referrers(&one).unwrap().len(), 2);
        assert_eq!(images.referrers(&other).unwrap().len(), 1);
        let found = images.referrers_of_type(&one, "application/sbom").unwrap();
        assert_eq!(found, [sbom]);
        assert_eq!(images.store().blobs().read(&found[0].blobs[0].digest).unwrap(), b"a");
        assert_eq!(found[0].manifest.annotations.as_ref().unwrap()["note"], "a");
    }

    #[test]
    fn the_manifest_has_the_form_of_an_artifact() {
        let (_home, images) = images();
        let subject = packed(&images, "one");
        let attached = images.attach(&subject, &artifact("application/sbom", "a")).unwrap();
        let bytes = images.store().blobs().read(&attached.manifest.digest).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest["artifactType"], "application/sbom");
        assert_eq!(manifest["config"]["mediaType"], EMPTY);
        assert_eq!(
            manifest["config"]["digest"],
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(manifest["subject"]["digest"], subject.to_string());
        assert_eq!(manifest["subject"]["mediaType"], OCI_MANIFEST);
        assert!(images.check_whole(&attached.manifest.digest, true).is_ok());
    }

    #[test]
    fn nothing_is_attached_to_what_is_not_here_and_an_image_is_no_referrer() {
        let (_home, images) = images();
        assert!(images.attach(&Digest::of(b"none"), &artifact("a/b", "a")).is_err());
        let image = packed(&images, "one");
        assert!(images.keep_referrer(&image).unwrap_err().to_string().contains("no subject"));
    }
}
