//! What a pushed manifest says, read without asking what it is for: images, charts, signatures and bills of materials are all
//! kept. The bytes stay as they came.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use shiplap_cache::Digest;

use crate::media::{DOCKER_INDEX, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, is_foreign, is_manifest};

/// A manifest or index, as far as a registry must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// What it is sent as.
    pub media_type: String,
    /// The blobs that it names, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// Blobs that are kept by their vendor and may be here too (image-spec, layer.md, *Non-Distributable Layers*).
    pub foreign: Vec<(Digest, u64)>,
    /// The manifests that it names.
    pub manifests: Vec<Digest>,
    /// What it says something about.
    pub subject: Option<Digest>,
    /// What kind of artifact it is (distribution-spec, *Listing Referrers*).
    pub artifact_type: Option<String>,
    /// Its annotations, as a JSON object.
    pub annotations: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

impl RawDescriptor {
    fn digest(&self) -> Result<Digest, String> {
        let why = |_| {
            format!("it names `{}`, and this registry keeps sha256 digests alone", super::name::shortened(&self.digest))
        };
        self.digest.parse().map_err(why)
    }
}

impl Document {
    /// Reads a manifest that was sent as `content_type`. The error says what is wrong with it.
    pub(super) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err("it has Docker's schema 1, which is out of use: push it again with a newer Docker".to_owned());
        }
        let (is_index, is_artifact) = (raw.manifests.is_some(), raw.blobs.is_some());
        let is_image = raw.config.is_some() || raw.layers.is_some();
        // Both in one document make two readers see two images (CVE-2021-41190).
        if [is_index, is_artifact, is_image].into_iter().filter(|is| *is).count() > 1 {
            return Err("it is several kinds of manifest at once".to_owned());
        }
        let media_type = media_type(&raw, content_type, is_index)?;
        let fits = match media_type.as_str() {
            OCI_INDEX | DOCKER_INDEX => is_index,
            OCI_ARTIFACT => !is_index && !is_image,
            _ => raw.config.is_some(),
        };
        if !fits {
            return Err(format!("it is sent as {media_type} and has not what such a manifest has"));
        }
        if raw.schema_version != Some(2) && media_type != OCI_ARTIFACT {
            return Err("it has no schemaVersion of 2".to_owned());
        }
        let (mut blobs, mut foreign, mut manifests) = (Vec::new(), Vec::new(), Vec::new());
        let named = [raw.layers, raw.blobs, raw.manifests].into_iter().flatten().flatten();
        for part in raw.config.iter().chain(&named.collect::<Vec<_>>()) {
            let digest = part.digest()?;
            // BuildKit's caches are indexes of layers: what is no manifest is a blob.
            if is_index && is_manifest(&part.media_type) {
                manifests.push(digest);
            } else if is_foreign(&part.media_type) {
                foreign.push((digest, part.size));
            } else {
                blobs.push((digest, part.size));
            }
        }
        for list in [&mut blobs, &mut foreign] {
            list.sort_unstable();
            list.dedup();
        }
        manifests.sort_unstable();
        manifests.dedup();
        let of_config = raw.config.map(|config| config.media_type);
        let artifact_type = [raw.artifact_type, of_config].into_iter().flatten().find(|kind| !kind.is_empty());
        Ok(Self {
            media_type,
            blobs,
            foreign,
            manifests,
            subject: raw.subject.map(|subject| subject.digest()).transpose()?,
            artifact_type,
            annotations: raw.annotations.and_then(|notes| serde_json::to_string(&notes).ok()),
        })
    }
}

/// What a manifest is sent as: as it says itself, and as the request said. They must not differ.
fn media_type(raw: &Raw, content_type: Option<&str>, is_index: bool) -> Result<String, String> {
    let sent = content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    // Not every client says more than that it is JSON.
    let sent = sent.filter(|sent| !matches!(sent.as_str(), "" | "application/json" | "application/octet-stream"));
    let own = raw.media_type.clone().filter(|own| !own.is_empty());
    let media_type = match (sent, own) {
        (Some(sent), Some(own)) if sent != own => {
            return Err(format!("it is sent as {sent} and says itself that it is {own}"));
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) if is_index => OCI_INDEX.to_owned(),
        (None, None) => OCI_MANIFEST.to_owned(),
    };
    if is_manifest(&media_type) {
        Ok(media_type)
    } else {
        let media_type = super::name::shortened(&media_type);
        Err(format!("`{media_type}` is not kept here: manifests and indexes of OCI and of Docker's schema 2 are"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::DOCKER_MANIFEST;
    use serde_json::json;

    fn part(text: &str, media_type: &str) -> serde_json::Value {
        json!({ "mediaType": media_type, "digest": Digest::of(text.as_bytes()), "size": text.len() })
    }

    fn parse(value: &serde_json::Value, content_type: &str) -> Result<Document, String> {
        Document::parse(value.to_string().as_bytes(), Some(content_type).filter(|c| !c.is_empty()))
    }

    #[test]
    fn an_image_a_chart_and_an_index_are_read() {
        let image = json!({ "schemaVersion": 2, "config": part("c", "application/vnd.oci.image.config.v1+json"), "more": [1],
            "layers": [part("l", "x"), part("l", "x"), part("f", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")],
            "subject": part("s", OCI_MANIFEST), "annotations": { "a": "b" } });
        let read = parse(&image, OCI_MANIFEST).unwrap();
        assert_eq!((read.blobs.len(), read.foreign.len(), read.manifests.len()), (2, 1, 0));
        assert_eq!(read.subject, Some(Digest::of(b"s")));
        assert_eq!(read.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
        assert_eq!(read.annotations.as_deref(), Some(r#"{"a":"b"}"#));
        assert_eq!(parse(&image, "application/json; charset=utf-8").unwrap(), read);
        assert_eq!(parse(&image, "").unwrap(), read);
        assert_eq!(parse(&image, DOCKER_MANIFEST).unwrap().media_type, DOCKER_MANIFEST);

        let chart = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "chart", "config": part("{}", "e"), "layers": null });
        assert_eq!(parse(&chart, OCI_MANIFEST).unwrap().artifact_type.as_deref(), Some("chart"));
        let index = json!({ "schemaVersion": 2, "manifests": [part("m", OCI_MANIFEST), part("b", "application/vnd.buildkit.cacheconfig.v0")] });
        let read = parse(&index, "").unwrap();
        assert_eq!(
            (read.media_type.as_str(), read.blobs.len(), read.manifests),
            (OCI_INDEX, 1, vec![Digest::of(b"m")])
        );
        assert_eq!(read.artifact_type, None);
        let artifact = json!({ "mediaType": OCI_ARTIFACT, "artifactType": "sbom", "blobs": [part("b", "x")] });
        assert_eq!(parse(&artifact, OCI_ARTIFACT).unwrap().blobs.len(), 1);
    }

    #[test]
    fn what_is_no_manifest_or_two_is_refused_with_the_reason() {
        let config = part("c", "x");
        let cases = [
            (json!({ "schemaVersion": 1, "fsLayers": [] }), "", "schema 1"),
            (json!({ "schemaVersion": 2, "config": config, "layers": [], "manifests": [] }), "", "several kinds"),
            (json!({ "schemaVersion": 2, "config": config, "layers": [] }), OCI_INDEX, "has not what"),
            (json!({ "schemaVersion": 2, "layers": [] }), OCI_MANIFEST, "has not what"),
            (json!({ "schemaVersion": 2, "manifests": [] }), OCI_MANIFEST, "has not what"),
            (json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }), DOCKER_INDEX, "says itself"),
            (json!({ "config": config }), "", "schemaVersion"),
            (json!({ "schemaVersion": 2, "config": config }), "text/html", "text/html"),
            (
                json!({ "schemaVersion": 2, "config": { "mediaType": "x", "digest": "sha512:00", "size": 1 } }),
                "",
                "sha512:00",
            ),
            (
                json!({ "schemaVersion": 2, "config": { "mediaType": "x", "digest": Digest::of(b""), "size": -1 } }),
                "",
                "cannot be read",
            ),
            (json!({ "schemaVersion": 2, "config": config, "annotations": { "a": 1 } }), "", "cannot be read"),
            (json!([]), "", "cannot be read"),
        ];
        for (value, content_type, why) in cases {
            let error = parse(&value, content_type).unwrap_err();
            assert!(error.contains(why), "{value}: {error}");
        }
        assert!(Document::parse(b"", None).is_err());
        assert!(Document::parse(br#"{"schemaVersion":2,"layers":[],"layers":[]}"#, None).is_err(), "twice");
    }
}
