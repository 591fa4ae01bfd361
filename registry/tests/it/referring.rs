//! What says something about an image is found again, in registries that know of such things and in those that do not.

use shiplap_cache::Digest;
use shiplap_registry::{Client, ClientOptions, Descriptor, Repository};

use crate::fixture::{Home, client, home};
use crate::server::Server;
use crate::shelf::{Habits, Shelf};

const MEDIA: &str = "application/vnd.oci.image.manifest.v1+json";

/// An artifact about a manifest.
fn about(here: &Home, subject: &Descriptor, kind: Option<&str>, text: &str) -> Digest {
    let blobs = here.store().blobs();
    let blob = |media: &str, bytes: &[u8]| Descriptor::new(media, blobs.put(bytes).unwrap(), bytes.len() as u64);
    let mut manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MEDIA,
        "config": blob("application/vnd.example.config", b"{}"), "layers": [blob("text/plain", text.as_bytes())],
        "subject": subject, "annotations": {"note": text}});
    if let Some(kind) = kind {
        manifest["artifactType"] = kind.into();
    }
    blobs.put(manifest.to_string().as_bytes()).unwrap()
}

async fn refers(client: &Client, repository: &Repository, is_shelf: bool) {
    let here = home();
    let (_, packed) = here.packed();
    let subject = packed.manifest.clone();
    assert_eq!(client.referrers(repository, &subject.digest, None).await.unwrap(), []);
    client.push(&here.images, &subject.digest, &repository.tagged("t").unwrap()).await.unwrap();
    let sbom = about(&here, &subject, Some("application/vnd.example.sbom"), "parts");
    let plain = about(&here, &subject, None, "words");
    for artifact in [sbom, plain, sbom] {
        client.push_artifact(&here.images, &artifact, repository).await.unwrap();
    }
    let mut all = client.referrers(repository, &subject.digest, None).await.unwrap();
    all.sort_by_key(|d| d.digest != sbom);
    assert_eq!(all.iter().map(|d| d.digest).collect::<Vec<_>>(), [sbom, plain]);
    assert_eq!(all[0].artifact_type.as_deref(), Some("application/vnd.example.sbom"));
    if !is_shelf {
        assert_eq!(all[1].artifact_type.as_deref(), Some("application/vnd.example.config"));
        assert_eq!(all[0].annotations.as_ref().unwrap()["note"], "parts");
    }
    let sboms = client.referrers(repository, &subject.digest, Some("application/vnd.example.sbom")).await.unwrap();
    assert_eq!(sboms.iter().map(|d| d.digest).collect::<Vec<_>>(), [sbom]);
    assert_eq!(client.referrers(repository, &subject.digest, Some("application/x")).await.unwrap(), []);

    let there = home();
    let got = client.pull_artifact(&there.images, &repository.with_digest(sbom)).await.unwrap();
    assert_eq!((got.digest, got.media_type.as_str()), (sbom, MEDIA));
    assert_eq!(there.store().blobs().read(&Digest::of(b"parts")).unwrap(), b"parts");
    assert_eq!(there.kept().1, 0, "nothing is unpacked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_knows_no_referrers_gets_a_list_of_them() {
    let server = Server::start();
    let repository = server.repository("campus/x");
    refers(&client(), &repository, false).await;
    let tags = client().tags(&repository).await.unwrap();
    assert!(tags.iter().any(|tag| tag.starts_with("sha256-") && tag.len() == 71), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_knows_referrers_is_asked() {
    let shelf = Shelf::new(Habits { keeps_referrers: true, ..Habits::default() });
    refers(&client(), &shelf.name("campus/x").parse().unwrap(), true).await;
    assert_eq!(shelf.fake.count("PUT", "/manifests/sha256-"), 0, "no list is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_note_a_referrer_at_once_none_is_lost() {
    let server = Server::start();
    let repository = server.repository("campus/x");
    let here = home();
    let (_, packed) = here.packed();
    client().push(&here.images, &packed.manifest.digest, &repository.tagged("t").unwrap()).await.unwrap();
    let artifacts: Vec<Digest> =
        (0..4).map(|i| about(&here, &packed.manifest, Some("application/x"), &format!("number {i}"))).collect();
    let clients = artifacts.iter().map(|artifact| {
        let (images, repository, artifact) = (here.images.clone(), repository.clone(), *artifact);
        let backoff = std::time::Duration::from_millis(50);
        let client = Client::new(ClientOptions { backoff, ..ClientOptions::default() });
        async move { client.push_artifact(&images, &artifact, &repository).await }
    });
    for pushed in futures::future::join_all(clients).await {
        pushed.unwrap();
    }
    let mut all: Vec<Digest> = client()
        .referrers(&repository, &packed.manifest.digest, None)
        .await
        .unwrap()
        .iter()
        .map(|d| d.digest)
        .collect();
    all.sort();
    let mut expected = artifacts;
    expected.sort();
    assert_eq!(all, expected);
}
