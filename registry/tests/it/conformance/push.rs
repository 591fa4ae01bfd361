//! distribution-spec, *Push*: manifests, and blobs that are mounted. Uploads are in `uploads`.

use reqwest::Method;
use serde_json::{Value, json};
use shiplap_cache::Digest;

use super::lab::{INDEX, Lab, MANIFEST, descriptor, digest, image, index};

/// end-7, *Pushing Manifests*
#[tokio::test]
async fn a_manifest_is_taken_by_tag_and_by_digest() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    let digest = digest(&image);
    for reference in ["v1".to_owned(), digest.to_string()] {
        let done = lab.put("a", reference, &image).await.is(201);
        assert_eq!(done.header("location"), format!("/v2/a/manifests/{digest}"));
        assert_eq!(done.header("docker-content-digest"), digest.to_string());
        assert_eq!(done.header("oci-subject"), "");
        lab.get(done.header("location")).await.is(200);
    }
    let second = lab.push("a", "v1", "two").await;
    assert_eq!(lab.head("/v2/a/manifests/v1").await.header("docker-content-digest"), second.to_string(), "it moves");
    lab.get(&format!("/v2/a/manifests/{digest}")).await.is(200);
}

/// end-7: what it names must be there
#[tokio::test]
async fn a_manifest_whose_parts_are_not_in_the_repository_is_refused() {
    let lab = Lab::start().await;
    let image = lab.image("other", "one").await;
    let refused = lab.put("a", "v1", &image).await.fails(400, "MANIFEST_BLOB_UNKNOWN");
    // *Error Codes*: one for each blob, with its digest.
    let errors = refused.json();
    let mut named: Vec<&str> =
        errors["errors"].as_array().unwrap().iter().map(|e| e["detail"]["digest"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut expected = [image["config"]["digest"].as_str().unwrap(), image["layers"][0]["digest"].as_str().unwrap()];
    expected.sort_unstable();
    assert_eq!(named, expected);
    lab.get("/v2/a/manifests/v1").await.fails(404, "MANIFEST_UNKNOWN");

    let refused = lab.put("a", "both", &index(&[&image])).await.fails(400, "MANIFEST_UNKNOWN");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], digest(&image).to_string());
    lab.put("a", "none", &index(&[])).await.is(201);
}

/// image-spec, layer.md, *Non-Distributable Layers*
#[tokio::test]
async fn a_layer_that_its_vendor_keeps_need_not_be_there() {
    let lab = Lab::start().await;
    for (tag, kind) in [
        ("oci", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        ("docker", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ] {
        let mut image = lab.image("a", tag).await;
        image["layers"].as_array_mut().unwrap().push(descriptor(kind, b"not here"));
        lab.put("a", tag, &image).await.is(201);
    }
}

/// end-7: any config, any layers; Docker's manifests; the deprecated artifact manifest; BuildKit's index of layers
#[tokio::test]
async fn artifacts_of_all_kinds_are_kept_as_they_came() {
    let lab = Lab::start().await;
    let (config, layer) = (lab.push_blob("a", "{}").await, lab.push_blob("a", "layer").await);
    assert_eq!(config, Digest::of(b"{}"));
    let (empty, part) =
        (descriptor("application/vnd.oci.empty.v1+json", b"{}"), |kind: &str| descriptor(kind, b"layer"));
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let cases: [(&str, Value); 6] = [
        (
            MANIFEST,
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example", "config": empty, "layers": [empty] }),
        ),
        (
            MANIFEST,
            json!({ "schemaVersion": 2, "config": descriptor("application/vnd.cncf.helm.config.v1+json", b"{}"), "layers": [part("application/vnd.cncf.helm.chart.content.v1.tar+gzip")] }),
        ),
        (
            MANIFEST,
            json!({ "schemaVersion": 2, "config": empty, "layers": [part("application/vnd.dev.cosign.simplesigning.v1+json")], "unknown": { "field": [1] } }),
        ),
        (
            docker,
            json!({ "schemaVersion": 2, "mediaType": docker, "config": part("application/vnd.docker.container.image.v1+json"), "layers": [] }),
        ),
        (artifact, json!({ "mediaType": artifact, "artifactType": "x", "blobs": [part("text/plain")] })),
        (
            INDEX,
            json!({ "schemaVersion": 2, "manifests": [part("application/vnd.oci.image.layer.v1.tar+gzip"), descriptor("application/vnd.buildkit.cacheconfig.v0", b"{}")] }),
        ),
    ];
    for (n, (kind, manifest)) in cases.into_iter().enumerate() {
        let path = format!("/v2/a/manifests/case-{n}");
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        lab.send(Method::PUT, &path, &[("content-type", kind)], bytes.clone()).await.is(201);
        let got = lab.get(&path).await.is(200);
        assert_eq!((got.body, got.headers["content-type"].to_str().unwrap()), (bytes, kind));
    }
    lab.delete(&format!("/v2/a/blobs/{layer}")).await.fails(403, "DENIED");
}

/// *Pushing Manifests with Subject*
#[tokio::test]
async fn a_manifest_about_another_is_taken_before_it_and_the_answer_says_so() {
    let lab = Lab::start().await;
    lab.push_blob("a", "{}").await;
    let empty = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let subject = image("{}", "to come");
    let signature = json!({ "schemaVersion": 2, "config": empty, "layers": [empty], "subject": descriptor(MANIFEST, subject.to_string().as_bytes()) });
    let done = lab.put("a", digest(&signature), &signature).await.is(201);
    assert_eq!(done.header("oci-subject"), digest(&subject).to_string());
}

/// end-11, *Mounting a blob from another repository*
#[tokio::test]
async fn a_blob_is_mounted_from_where_it_can_be_read_and_uploaded_otherwise() {
    let lab = Lab::start().await;
    let blob = lab.push_blob("from/here", "x").await;
    let mount = |query: String| format!("/v2/to/blobs/uploads/?{query}");
    for query in [
        format!("mount={blob}"),
        format!("mount={blob}&from=other"),
        format!("mount={blob}&from=../x"),
        format!("mount={}&from=from/here", Digest::of(b"other")),
        "mount=sha256:x&from=from/here".to_owned(),
    ] {
        let open = lab.post(&mount(query)).await.is(202);
        assert!(open.header("location").starts_with("/v2/to/blobs/uploads/"));
    }
    lab.get(&format!("/v2/to/blobs/{blob}")).await.fails(404, "BLOB_UNKNOWN");
    let done = lab.post(&mount(format!("mount={blob}&from=from%2Fhere"))).await.is(201);
    assert_eq!(done.header("location"), format!("/v2/to/blobs/{blob}"));
    assert_eq!(done.header("docker-content-digest"), blob.to_string());
    assert_eq!(lab.get(done.header("location")).await.is(200).body, b"x");
}
