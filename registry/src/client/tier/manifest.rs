//! The manifests that say that a segment is there.

use std::collections::{BTreeMap, HashSet};

use shiplap_cache::Digest;
use shiplap_cache::tier::{Part, SegmentName};

use super::super::push::Outgoing;
use crate::media::{Document, Manifest, OCI_MANIFEST};
use crate::{Descriptor, Result};

/// What such a manifest is.
const ARTIFACT: &str = "application/vnd.shiplap.cache.segment.v1";

/// The config of an artifact that needs none, `{}` (image-spec, manifest.md, *Guidance for an Empty Descriptor*).
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Which segment a manifest belongs to, and which one of its manifests it is. So no two have one digest, and deleting one deletes no other.
const ANNOTATION: &str = "dev.shiplap.cache.segment";

const PREFIX: &str = "shiplap-cache-";

/// No manifest names more blobs. Registries look for each of them before they take it, which takes time, and ECR takes 4,200 (Amazon ECR service quotas, *Layers
/// per image*); with 1,000 one has 200 KB, far below the 4 MiB that every registry takes (distribution-spec, *Pushing Manifests*).
const MOST: usize = 1000;

/// The tag of a segment's first manifest, which is the one that makes it visible, and of those after it.
///
/// They are no index: registries and those who clean them up forget that what an index names is needed, and a tag they understand.
pub(super) fn tag_of(name: &SegmentName, number: usize) -> String {
    match number {
        0 => format!("{PREFIX}{name}"),
        _ => format!("{PREFIX}{name}-{number}"),
    }
}

/// The segment that the first tag of one stands for; none for any other tag.
pub(super) fn segment_of(tag: &str) -> Option<SegmentName> {
    SegmentName::parse(tag.strip_prefix(PREFIX)?)
}

/// The manifests of a segment, the first one first.
pub(super) fn of(
    name: &SegmentName,
    segment: &Descriptor,
    empty: &Descriptor,
    parts: &[Part],
) -> Result<Vec<Outgoing>> {
    let mut seen = HashSet::new();
    let parts = parts.iter().map(|part| Descriptor::new(&part.media_type, part.blob.digest, part.blob.size));
    let layers: Vec<_> = [segment.clone()].into_iter().chain(parts).filter(|d| seen.insert(d.digest)).collect();
    let manifests = layers.chunks(MOST).enumerate().map(|(number, layers)| {
        let note = (ANNOTATION.to_owned(), tag_of(name, number));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(ARTIFACT.to_owned()),
            config: empty.clone(),
            layers: layers.to_vec(),
            subject: None,
            annotations: Some(BTreeMap::from([note])),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
        Ok(Outgoing { digest: Digest::of(&bytes), bytes, document: Document::Manifest(manifest) })
    });
    manifests.collect()
}

#[cfg(test)]
mod tests {
    use shiplap_cache::tier::TierBlob;

    use super::*;

    #[test]
    fn tags_are_tags_and_only_the_first_one_stands_for_the_segment() {
        let name = SegmentName { time: i64::MAX, digest: Digest::of(b"x") };
        let repository: crate::Repository = "r.example/x".parse().unwrap();
        for number in [0, 1, 999] {
            assert!(repository.tagged(&tag_of(&name, number)).is_ok());
        }
        assert_eq!(segment_of(&tag_of(&name, 0)).unwrap().to_string(), name.to_string());
        for other in [&tag_of(&name, 1), "shiplap-cache-", "1.4.0-g3f2c1ab09d4e", &name.to_string()] {
            assert_eq!(segment_of(other), None, "{other}");
        }
    }

    #[test]
    fn many_parts_become_several_manifests_that_name_each_of_them_once_and_all_differ() {
        let part = |i: u32| {
            let blob = TierBlob { digest: Digest::of(&i.to_le_bytes()), size: u64::MAX };
            Part { blob, media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned() }
        };
        let parts: Vec<Part> = (0..30_000).chain(0..10).map(part).collect();
        let (segment, empty) = (Descriptor::of("s", b"segment"), Descriptor::of(EMPTY, b"{}"));
        let name = SegmentName { time: 1, digest: segment.digest };
        let manifests = of(&name, &segment, &empty, &parts).unwrap();
        let layers = |one: &Outgoing| match &one.document {
            Document::Manifest(manifest) => manifest.layers.clone(),
            Document::Index(_) => Vec::new(),
        };
        let all: Vec<_> = manifests.iter().flat_map(layers).map(|d| d.digest).collect();
        assert_eq!(all[0], segment.digest);
        assert_eq!(all.len(), 30_001);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 30_001);
        assert!(manifests.iter().all(|one| one.bytes.len() < 1 << 20));

        let later = of(&SegmentName { time: 2, ..name }, &segment, &empty, &parts).unwrap();
        let digests: HashSet<_> = manifests.iter().chain(&later).map(|one| one.digest).collect();
        assert_eq!(digests.len(), 62);
        assert_eq!(of(&name, &segment, &empty, &[]).unwrap().len(), 1);
    }
}
