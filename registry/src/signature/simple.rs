//! Signed payloads under a tag beside the image (cosign, `specs/SIGNATURE_SPEC.md`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use shiplap_cache::Digest;

use super::{KeyError, PrivateKey, PublicKey};
use crate::media::{Document, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::{Descriptor, Images, Repository, Result};

/// What the layers are.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What the payload says it is.
const TYPE: &str = "cosign container image signature";
/// Where a layer has its signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The tag of an image's signatures, `sha256-<hex>.sig`.
pub fn signature_tag(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// Whether a tag is one of signatures, and of no image.
pub fn is_signature_tag(tag: &str) -> bool {
    let hex = tag.strip_prefix("sha256-").and_then(|rest| rest.strip_suffix(".sig"));
    hex.is_some_and(|hex| format!("sha256:{hex}").parse::<Digest>().is_ok())
}

/// What is signed. The bytes are those that cosign writes; who reads it ignores the repository's name.
fn payload(repository: &Repository, image: &Digest) -> Vec<u8> {
    let critical = json!({
        "identity": {"docker-reference": repository.to_string()},
        "image": {"docker-manifest-digest": image.to_string()},
        "type": TYPE,
    });
    crate::image::canonical(json!({"critical": critical, "optional": null}))
}

/// The layer of a signature; its blob is put into the store.
pub(super) fn make(images: &Images, repository: &Repository, image: &Digest, key: &PrivateKey) -> Result<Descriptor> {
    let payload = payload(repository, image);
    let signature = STANDARD.encode(key.sign(&payload)?);
    images.store().blobs().put(&payload)?;
    let mut layer = Descriptor::of(PAYLOAD, &payload);
    layer.annotations = Some([(SIGNATURE.to_owned(), signature)].into());
    Ok(layer)
}

/// The signatures of an image that are in the store.
pub(super) fn layers(images: &Images, repository: &Repository, image: &Digest) -> Result<Vec<Descriptor>> {
    let Ok(reference) = repository.tagged(&signature_tag(image)) else { return Ok(Vec::new()) };
    let Some(digest) = images.tag_digest(&reference)? else { return Ok(Vec::new()) };
    layers_of(images, &digest)
}

/// The signatures in a manifest.
pub(super) fn layers_of(images: &Images, manifest: &Digest) -> Result<Vec<Descriptor>> {
    let bytes = images.store().blobs().read(manifest)?;
    Ok(match Document::parse(&bytes, *manifest)? {
        Document::Manifest(manifest) => manifest.layers.into_iter().filter(|l| l.media_type == PAYLOAD).collect(),
        Document::Index(_) => Vec::new(),
    })
}

/// Makes these the signatures of an image, and tags them.
pub(super) fn keep(
    images: &Images,
    repository: &Repository,
    image: &Digest,
    layers: Vec<Descriptor>,
) -> Result<Digest> {
    let blobs = images.store().blobs();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    let config = crate::image::canonical(json!({
        "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }));
    blobs.put(&config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::of(OCI_CONFIG, &config),
        layers,
        subject: None,
        annotations: None,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
    let digest = blobs.put(&bytes)?;
    images.tag(repository, &signature_tag(image), &digest)?;
    Ok(digest)
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Signed,
    r#type: String,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether a layer is a signature of this image by this key; why not.
pub(super) fn check(
    images: &Images,
    layer: &Descriptor,
    image: &Digest,
    key: &PublicKey,
) -> std::result::Result<(), String> {
    let notes = layer.annotations.as_ref();
    let text = notes.and_then(|notes| notes.get(SIGNATURE)).ok_or("a payload has no signature")?;
    let signature = STANDARD.decode(text).map_err(|_| "a signature is no base64")?;
    let payload = images.store().blobs().read(&layer.digest).map_err(|e| e.to_string())?;
    if !key.verifies(&payload, &signature) {
        return Err("a signature is by another key, or what it signs was changed".to_owned());
    }
    let signed: Payload = serde_json::from_slice(&payload).map_err(|e| format!("a payload cannot be read: {e}"))?;
    if signed.critical.r#type != TYPE {
        return Err(format!("a payload is a `{}` and no signature of an image", signed.critical.r#type));
    }
    match signed.critical.image.digest == image.to_string() {
        true => Ok(()),
        false => Err(format!("a signature is of another image, {}", signed.critical.image.digest)),
    }
}

impl From<KeyError> for crate::Error {
    fn from(error: KeyError) -> Self {
        Self::Signing(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_has_the_bytes_that_cosign_writes() {
        // Go's `json.Marshal` of sigstore's `payload.SimpleContainerImage`.
        let image = Digest::of(b"image");
        assert!(is_signature_tag(&signature_tag(&image)) && !is_signature_tag("sha256-1.sig"));
        let expected = format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"ghcr.io/campus/openedx\"}},\
             \"image\":{{\"docker-manifest-digest\":\"{image}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":null}}"
        );
        assert_eq!(payload(&"ghcr.io/campus/openedx".parse().unwrap(), &image), expected.into_bytes());
    }
}
