//! Images for several platforms: what is picked, what is skipped, what travels.

use serde_json::{Value, json};
use shiplap_cache::Digest;
use shiplap_registry::{NoProgress, PackOptions, Packed};

use crate::fixture::{Home, client, home};
use crate::server::Server;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn pack(here: &Home, text: &str) -> Packed {
    here.images.pack(&here.image_of(text).0, &PackOptions::default(), &NoProgress).unwrap()
}

fn entry(digest: Digest, size: u64, media: &str, platform: &str) -> Value {
    let mut entry = json!({"mediaType": media, "digest": digest, "size": size});
    let words: Vec<&str> = platform.split('/').filter(|word| !word.is_empty()).collect();
    if let [os, architecture, variant @ ..] = &words[..] {
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if let [variant] = variant {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    entry
}

fn put(here: &Home, value: &Value) -> (Digest, u64) {
    let bytes = value.to_string();
    (here.store().blobs().put(bytes.as_bytes()).unwrap(), bytes.len() as u64)
}

fn index(here: &Home, entries: &[Value]) -> (Digest, u64) {
    put(here, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
}

/// What BuildKit puts beside an image: a manifest that is none of an image, for no platform.
fn attestation(here: &Home, about: Digest) -> Value {
    let blob = |media: &str, text: &str| {
        let digest = here.store().blobs().put(text.as_bytes()).unwrap();
        json!({"mediaType": media, "digest": digest, "size": text.len()})
    };
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": blob("application/vnd.oci.image.config.v1+json", "{}"),
        "layers": [blob("application/vnd.in-toto+json", "{\"x\":1}")]});
    let (digest, size) = put(here, &manifest);
    let mut entry = entry(digest, size, MANIFEST, "unknown/unknown");
    entry["annotations"] =
        json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about});
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variant_is_picked_and_attestations_are_skipped_and_indices_in_indices_are_looked_into() {
    let server = Server::start();
    let here = home();
    let of = |packed: &Packed, platform: &str| entry(packed.manifest.digest, packed.manifest.size, MANIFEST, platform);
    let (v6, v7, arm64) = (pack(&here, "v6"), pack(&here, "v7"), pack(&here, "arm64"));
    let (amd64, s390x) = (pack(&here, "amd64"), pack(&here, "s390x"));
    let inner = index(&here, &[attestation(&here, s390x.manifest.digest), of(&s390x, "linux/s390x")]);
    let all = [
        attestation(&here, amd64.manifest.digest),
        of(&v6, "linux/arm/v6"),
        of(&v7, "linux/arm/v7"),
        of(&arm64, "linux/arm64/v8"),
        of(&amd64, "linux/amd64"),
        entry(inner.0, inner.1, INDEX, ""),
    ];
    let top = index(&here, &all).0;
    let tag = server.repository("x").tagged("all").unwrap();
    client().push(&here.images, &top, &tag).await.unwrap();
    client().check_whole(&tag, &top).await.unwrap();
    for (platform, expected) in [
        ("linux/arm/v6", &v6),
        ("linux/arm/v7", &v7),
        ("linux/arm", &v7),
        ("linux/arm64", &arm64),
        ("linux/aarch64", &arm64),
        ("linux/x86_64", &amd64),
        ("linux/s390x", &s390x),
    ] {
        let there = home();
        let pulled = client().pull(&there.images, &tag, &platform.parse().unwrap()).await.unwrap();
        assert_eq!((pulled.manifest, pulled.index), (expected.manifest.digest, Some(top)), "{platform}");
    }
    let error = client().pull(&home().images, &tag, &"linux/riscv64".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("linux/arm/v6, linux/arm/v7") && !error.contains("unknown"), "{error}");

    // Moved whole, by digest: the same bytes in another registry.
    let (other, there) = (Server::start(), home());
    let moved = client().pull_artifact(&there.images, &tag).await.unwrap();
    assert_eq!(moved.digest, top);
    let copy = other.repository("y").tagged("all").unwrap();
    client().push(&there.images, &top, &copy).await.unwrap();
    client().check_whole(&copy, &top).await.unwrap();
    assert_eq!(there.kept().1, 0, "nothing is unpacked");
}
