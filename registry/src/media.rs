//! Media types and descriptors.
//!
//! Documents are read with types of our own: they must take Docker's manifests as well as OCI's, and leave out nothing when a
//! descriptor is passed on.

use serde::{Deserialize, Serialize};
use shiplap_cache::Digest;

use crate::{Compression, Platform};

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is not compressed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer in gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer in zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The artifact manifest of the release candidates of image-spec 1.1: some tools still push it.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// Whether something is a manifest or an index of a kind that a registry keeps.
pub fn is_manifest(media_type: &str) -> bool {
    media_type == OCI_ARTIFACT || MANIFESTS.contains(&media_type)
}

/// Whether a blob is kept by its vendor, and need not be where the manifest is (image-spec, layer.md, *Non-Distributable Layers*).
pub(crate) fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// What we accept as a manifest, what we would make first.
pub const MANIFESTS: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

/// A layer's media type in OCI's words, none when it is no layer that can be unpacked.
pub fn layer(media_type: &str) -> Option<&'static str> {
    match media_type {
        LAYER_TAR | "application/vnd.docker.image.rootfs.diff.tar" => Some(LAYER_TAR),
        LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(LAYER_GZIP),
        LAYER_ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(LAYER_ZSTD),
        _ => None,
    }
}

/// Whether a media type is one of an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// What to tell about a layer that cannot be unpacked.
pub fn hint(media_type: &str) -> &'static str {
    if media_type.contains("foreign") || media_type.contains("nondistributable") {
        "; such layers are kept by their vendor and not in the registry (Windows base images): there is no Linux image in it"
    } else if media_type.contains("encrypted") {
        "; encrypted layers are not supported: decrypt the image first, with skopeo for example"
    } else {
        "; is it an artifact, such as a Helm chart or a signature, and no image?"
    }
}

impl Compression {
    /// The media type of a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zstd => LAYER_ZSTD,
            Self::Gzip => LAYER_GZIP,
        }
    }
}

/// Points at a blob (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// For an image in an index: what it runs on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub platform: Option<Platform>,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
    /// For an artifact among the referrers of an image: what it is (distribution-spec, *Listing Referrers*).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Points at some bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Points at a blob.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: None, artifact_type: None }
    }
}

/// An image manifest, OCI's or Docker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type; OCI allows to leave it out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// What it is, when it is no image (image-spec, manifest.md, *Guidelines for Artifact Usage*).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The manifest that it says something about: a signature's image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// An image index or manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// What it is, when it is no image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_type: Option<String>,
    /// The images.
    pub manifests: Vec<Descriptor>,
    /// The manifest that it says something about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Index {
    /// An index of these.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(OCI_INDEX.to_owned());
        Self { schema_version: 2, media_type, artifact_type: None, manifests, subject: None, annotations: None }
    }
}

/// A manifest or an index, told apart by what is in it: the media type may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads one.
    pub fn parse(bytes: &[u8], digest: Digest) -> crate::Result<Self> {
        let bad = |why: String| crate::Error::BadDocument { what: "manifest", digest, why };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        match value.get("schemaVersion").and_then(serde_json::Value::as_u64) {
            Some(2) => {}
            Some(1) => {
                return Err(bad(
                    "it has Docker's schema 1, which is out of use; push the image again with a newer Docker".into(),
                ));
            }
            _ => return Err(bad("it has no schemaVersion of 2".into())),
        }
        // Both in one document make two readers see two images (CVE-2021-41190).
        match (value.get("manifests").is_some(), value.get("layers").is_some() || value.get("config").is_some()) {
            (true, true) => Err(bad("it is an index and a manifest at once".into())),
            (true, false) => serde_json::from_value(value).map(Self::Index).map_err(|e| bad(e.to_string())),
            (false, _) => serde_json::from_value(value).map(Self::Manifest).map_err(|e| bad(e.to_string())),
        }
    }

    /// The media type to send it with.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(m) => m.media_type.as_deref().unwrap_or(OCI_MANIFEST),
            Self::Index(i) => i.media_type.as_deref().unwrap_or(OCI_INDEX),
        }
    }

    /// The manifest that it says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(m) => m.subject.as_ref(),
            Self::Index(i) => i.subject.as_ref(),
        }
    }

    /// How the referrers of its subject name it: the config's type stands in for a missing one (distribution-spec, *Pushing Manifests with
    /// Subject*).
    pub fn as_referrer(&self, bytes: &[u8]) -> Descriptor {
        let (artifact_type, annotations) = match self {
            Self::Manifest(m) => {
                let kind = m.artifact_type.clone().filter(|kind| !kind.is_empty());
                (kind.or_else(|| Some(m.config.media_type.clone())), m.annotations.clone())
            }
            Self::Index(i) => (i.artifact_type.clone().filter(|kind| !kind.is_empty()), i.annotations.clone()),
        };
        Descriptor { artifact_type, annotations, ..Descriptor::of(self.media_type(), bytes) }
    }
}

impl Index {
    /// The image for a platform. Attestations (platform `unknown`) are none; the only image of an index that names no
    /// platform is it.
    pub fn pick(&self, wanted: &Platform, name: &str) -> crate::Result<&Descriptor> {
        let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| wanted.matches(p));
        let lone = match &self.manifests[..] {
            [one] if one.platform.is_none() => Some(one),
            _ => None,
        };
        self.manifests.iter().find(fits).or(lone).ok_or_else(|| {
            let named = self.manifests.iter().filter_map(|d| d.platform.as_ref()).filter(|p| p.os != "unknown");
            let has: Vec<String> = named.map(ToString::to_string).collect();
            let has = if has.is_empty() { "none that names a platform".to_owned() } else { has.join(", ") };
            crate::Error::NoPlatform { name: name.to_owned(), wanted: Box::new(wanted.clone()), has }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_a_manifest_too_is_refused() {
        let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        assert!(Document::parse(both, Digest::of(both)).is_err());
        let one = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(Document::parse(one, Digest::of(one)).unwrap_err().to_string().contains("schema 1"));
    }

    #[test]
    fn an_attestation_is_never_picked() {
        let entry = |os: &str, arch: &str| {
            let platform = Some(Platform { os: os.into(), architecture: arch.into(), variant: None });
            Descriptor { platform, ..Descriptor::of(OCI_MANIFEST, arch.as_bytes()) }
        };
        let manifests = vec![entry("unknown", "unknown"), entry("linux", "arm64"), entry("linux", "amd64")];
        let index = Index::new(manifests);
        let pick = |s: &str| index.pick(&s.parse().unwrap(), "x").map(|d| d.digest);
        assert_eq!(pick("linux/aarch64").unwrap(), Digest::of(b"arm64"));
        assert!(pick("linux/s390x").unwrap_err().to_string().contains("linux/arm64, linux/amd64"));
    }
}
