//! A cache in a repository: of Debian's registry, and of ours.

use std::collections::HashSet;

use futures::StreamExt;
use shiplap_cache::tier::{Part, SegmentName, Tier, TierBlob, TierError};
use shiplap_cache::{Digest, Error};
use shiplap_registry::{RegistryTier, Repository};

use crate::conformance::lab::Lab;
use crate::fixture::{Home, client, home};
use crate::server::Server;

/// Registries of both kinds.
pub struct Registries {
    debian: Server,
    ours: Lab,
}

impl Registries {
    pub async fn start() -> Self {
        Self { debian: Server::start(), ours: Lab::start().await }
    }

    pub fn repositories(&self, path: &str) -> [Repository; 2] {
        [self.debian.repository(path), self.ours.repository(path)]
    }
}

pub fn part(home: &Home, bytes: &[u8]) -> Part {
    let digest = home.store().blobs().put(bytes).unwrap();
    let blob = TierBlob { digest, size: bytes.len() as u64 };
    Part { blob, media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned() }
}

/// The same, without waiting for the disk a thousand times.
fn quick_part(home: &Home, bytes: &[u8]) -> Part {
    let blob = TierBlob { digest: Digest::of(bytes), size: bytes.len() as u64 };
    std::fs::write(home.store().blobs().path(&blob.digest), bytes).unwrap();
    Part { blob, media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned() }
}

pub fn segment(home: &Home, time: i64, bytes: &[u8]) -> SegmentName {
    SegmentName { time, digest: part(home, bytes).blob.digest }
}

pub async fn publish(tier: &RegistryTier, home: &Home, name: &SegmentName, parts: &[Part]) {
    for part in parts {
        tier.put(home.store(), part).await.unwrap();
    }
    tier.publish(home.store(), name, parts).await.unwrap();
}

/// An image's manifest of these parts, as one that is pushed.
fn image(home: &Home, parts: &[Part]) -> Digest {
    let point = |part: &Part| {
        let (digest, size) = (part.blob.digest, part.blob.size);
        serde_json::json!({"mediaType": "application/octet-stream", "digest": digest, "size": size})
    };
    let layers: Vec<_> = parts.iter().map(point).collect();
    let media = "application/vnd.oci.image.manifest.v1+json";
    let config = point(&part(home, b"{}"));
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers});
    home.store().blobs().put(manifest.to_string().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_puts_another_gets() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let tier = RegistryTier::new(client(), repository.clone());
        assert_eq!(tier.name(), repository.to_string());
        let (here, there) = (home(), home());
        assert_eq!(tier.segments().await.unwrap(), [], "{repository}: it is not there yet");
        let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect();
        let parts = [b"small".as_slice(), &large].map(|bytes| part(&here, bytes));
        let first = segment(&here, 1_790_000_000, b"first");
        for part in &parts {
            assert_eq!(tier.put(here.store(), part).await.unwrap(), part.blob.size, "{repository}");
            assert_eq!(tier.put(here.store(), part).await.unwrap(), 0, "{repository}: it is there");
        }
        assert_eq!(tier.segments().await.unwrap(), [], "{repository}: nothing is published yet");
        tier.publish(here.store(), &first, &parts).await.unwrap();
        let second = segment(&here, 1_790_000_001, b"second");
        tier.publish(here.store(), &second, &[]).await.unwrap();
        tier.publish(here.store(), &second, &[]).await.unwrap();

        let packed = here.packed().1;
        let release = repository.tagged("1.4.0-g3f2c1ab09d4e").unwrap();
        client().push(&here.images, &packed.manifest.digest, &release).await.unwrap();
        assert_eq!(tier.segments().await.unwrap(), [first, second], "{repository}: images beside it are none");
        assert_eq!(tier.segment(&first, 5).await.unwrap(), b"first");
        assert_eq!(tier.read(&parts[0].blob).await.unwrap(), b"small");
        for part in &parts {
            tier.fetch(there.store(), &part.blob).await.unwrap();
            assert_eq!(there.store().blobs().verify(&part.blob.digest).unwrap(), part.blob.size, "{repository}");
        }
        for range in [0..1, 0..3_000_000, 1_234_567..1_300_000, 2_999_999..3_000_000] {
            let got = tier.range(&parts[1].blob, range.start as u64, range.len() as u64).await.unwrap();
            assert!(got == large[range.clone()], "{repository} {range:?}");
        }
        assert_eq!(tier.range(&parts[0].blob, 2, 0).await.unwrap(), b"", "{repository}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_too_long_or_of_another_size_is_told_apart() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let tier = RegistryTier::new(client(), repository.clone());
        let (here, there) = (home(), home());
        let part = part(&here, b"hello");
        let name = segment(&here, 1_790_000_000, b"a segment");
        publish(&tier, &here, &name, std::slice::from_ref(&part)).await;
        let nowhere = TierBlob { digest: Digest::of(b"never"), size: 5 };
        let unknown = SegmentName { time: 1, digest: Digest::of(b"never") };
        assert!(matches!(tier.read(&nowhere).await, Err(TierError::Missing(_))), "{repository}");
        assert!(tier.has(&part.blob).await.unwrap() && !tier.has(&nowhere).await.unwrap(), "{repository}");
        assert!(matches!(tier.fetch(there.store(), &nowhere).await, Err(TierError::Missing(_))), "{repository}");
        assert!(matches!(tier.segment(&unknown, 100).await, Err(TierError::Missing(_))), "{repository}");
        assert!(matches!(tier.segment(&name, 8).await, Err(TierError::Corrupt { .. })), "{repository}");
        for wrong in [TierBlob { size: 6, ..part.blob }, TierBlob { size: 4, ..part.blob }] {
            assert!(matches!(tier.read(&wrong).await, Err(TierError::Corrupt { .. })), "{repository}");
            assert!(matches!(tier.fetch(there.store(), &wrong).await, Err(TierError::Corrupt { .. })), "{repository}");
            let part = tier.range(&wrong, 1, 2).await;
            assert!(matches!(part, Err(TierError::Corrupt { .. })), "{repository} {part:?}");
        }
        assert!(matches!(tier.range(&part.blob, 4, 2).await, Err(TierError::Corrupt { .. })), "{repository}");
        assert!(matches!(tier.range(&nowhere, 0, 1).await, Err(TierError::Missing(_))), "{repository}");
        assert_eq!(there.kept().0, 0, "{repository}: nothing half is kept");
        let gone = segment(&here, 2, b"gone");
        std::fs::remove_file(here.store().blobs().path(&gone.digest)).unwrap();
        let error = tier.publish(here.store(), &gone, &[]).await.unwrap_err();
        assert!(matches!(error, TierError::Here(Error::MissingBlob(_))), "{repository}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_go_between_cache_and_images_without_being_sent_again() {
    let registries = Registries::start().await;
    let pairs = registries.repositories("campus/cache").into_iter().zip(registries.repositories("campus/openedx"));
    for (cache, images) in pairs {
        let tier = RegistryTier::new(client(), cache.clone());
        let here = home();
        let parts = [b"one".as_slice(), b"two"].map(|bytes| part(&here, bytes));
        publish(&tier, &here, &segment(&here, 1, b"s"), &parts).await;
        let manifest = image(&here, &parts);
        let pushed = client().push(&here.images, &manifest, &images.tagged("t").unwrap()).await.unwrap();
        assert_eq!(pushed.sent, 0, "{cache}: mounted");

        let other = part(&here, b"three");
        let tag = images.tagged("u").unwrap();
        client().push(&here.images, &image(&here, std::slice::from_ref(&other)), &tag).await.unwrap();
        assert_eq!(tier.put(here.store(), &other).await.unwrap(), 0, "{cache}: mounted from the images");

        let fresh = home();
        tier.fetch(fresh.store(), &other.blob).await.unwrap();
        let elsewhere = images.registry().to_owned() + "/campus/elsewhere:t";
        let only = image(&fresh, std::slice::from_ref(&other));
        let pushed = client().push(&fresh.images, &only, &elsewhere.parse().unwrap()).await.unwrap();
        assert_eq!(pushed.sent, 2, "{cache}: the config alone, for what was fetched from here is mounted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_parts_than_one_manifest_names_are_published_and_go_again() {
    let registries = Registries::start().await;
    for repository in registries.repositories("campus/cache") {
        let tier = RegistryTier::new(client(), repository.clone());
        let here = home();
        let many: Vec<Part> = (0..1_000_u32).map(|i| quick_part(&here, &i.to_le_bytes())).collect();
        let (to, store) = (&tier, here.store());
        let sent = futures::stream::iter(&many).map(|part| to.put(store, part)).buffer_unordered(16);
        assert!(sent.all(async |sent| sent.is_ok()).await);
        let name = segment(&here, 1_790_000_000, b"many");
        let twin = SegmentName { time: 1_790_000_001, ..name };
        for name in [&name, &twin] {
            tier.publish(store, name, &many).await.unwrap();
        }
        let tags = client().tags(&repository).await.unwrap();
        assert_eq!(tags.len(), 4, "{repository}: {tags:?}");
        assert_eq!(tier.segments().await.unwrap(), [name, twin], "{repository}");
        let none = HashSet::new();
        let unknown = SegmentName { time: 3, ..name };
        assert_eq!(tier.remove(&[name, unknown], &none).await.unwrap().segments, 1, "{repository}");
        assert_eq!(tier.segments().await.unwrap(), [twin], "{repository}: one with the same bytes stays");
        assert_eq!(tier.segment(&twin, 4).await.unwrap(), b"many");
        assert_eq!(tier.remove(&[twin], &none).await.unwrap().segments, 1, "{repository}");
        assert_eq!(client().tags(&repository).await.unwrap_or_default(), [""; 0], "{repository}");
        assert_eq!(tier.segments().await.unwrap(), [], "{repository}");
    }
}

/// What `shiplap serve` keeps: its collector must see what the manifest of a segment names.
#[tokio::test(flavor = "multi_thread")]
async fn our_registry_finds_the_artifact_whole() {
    let lab = Lab::start().await;
    let repository = lab.repository("campus/cache");
    let tier = RegistryTier::new(client(), repository.clone());
    let here = home();
    let parts = [part(&here, b"one")];
    let name = segment(&here, 1_790_000_000, b"s");
    publish(&tier, &here, &name, &parts).await;
    let tag = repository.tagged(&format!("shiplap-cache-{name}")).unwrap();
    let digest = client().resolve(&tag).await.unwrap().unwrap();
    client().check_whole(&tag, &digest).await.unwrap();
    lab.images.check_whole(&digest, true).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&lab.images.store().blobs().read(&digest).unwrap()).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.shiplap.cache.segment.v1");
    assert_eq!(manifest["layers"][0]["digest"], name.digest.to_string());
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.shiplap.cache.segment.v1+zstd");
    assert_eq!(manifest["layers"][1]["digest"], parts[0].blob.digest.to_string());
}
