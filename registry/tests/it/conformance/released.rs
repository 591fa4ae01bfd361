//! What was released on this machine is served beside what was pushed.

use serde_json::{Value, json};
use shiplap_cache::Digest;
use shiplap_registry::{Error, Images, Repository};

use super::lab::{Lab, MANIFEST, RELEASE, descriptor, digest, image, index};

/// An image in the store, as a release leaves it: no client pushed it.
fn release(images: &Images, repository: &str, tag: &str, text: &str) -> Value {
    let (config, layer) = (format!(r#"{{"of":"{text}"}}"#), format!("layer {text}"));
    let image = image(&config, &layer);
    for bytes in [config, layer, image.to_string()] {
        images.store().blobs().put(bytes.as_bytes()).unwrap();
    }
    let repository: Repository = repository.parse().unwrap();
    images.tag(&repository, tag, &digest(&image)).unwrap();
    image
}

fn layer(image: &Value) -> &str {
    image["layers"][0]["digest"].as_str().unwrap()
}

#[tokio::test]
async fn a_release_can_be_pulled_under_the_name_that_people_know() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "docker.io/campus/openedx", RELEASE, "one");
    let other = release(&lab.images, "ghcr.io/campus/openedx", "1.0.0-g3f2c1ab09d4e", "other");
    for (path, tag, image) in
        [("campus/openedx", RELEASE, &one), ("ghcr.io/campus/openedx", "1.0.0-g3f2c1ab09d4e", &other)]
    {
        let digest = digest(image);
        for reference in [tag.to_owned(), digest.to_string()] {
            let got = lab.get(&format!("/v2/{path}/manifests/{reference}")).await.is(200);
            assert_eq!(got.json(), *image);
            assert_eq!(got.header("docker-content-digest"), digest.to_string());
        }
        lab.get(&format!("/v2/{path}/blobs/{}", layer(image))).await.is(200);
        lab.head(&format!("/v2/{path}/blobs/{}", layer(image))).await.is(200);
        assert_eq!(lab.get(&format!("/v2/{path}/tags/list")).await.json()["tags"], json!([tag]));
    }
    assert_eq!(
        lab.get("/v2/_catalog").await.json()["repositories"],
        json!(["campus/openedx", "ghcr.io/campus/openedx"])
    );
    // What is in the store is not therefore everybody's.
    lab.get(&format!("/v2/campus/openedx/blobs/{}", layer(&other))).await.fails(404, "BLOB_UNKNOWN");
    lab.get(&format!("/v2/campus/openedx/manifests/{}", digest(&other))).await.fails(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/docker.io/campus/openedx/manifests/{RELEASE}")).await.fails(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/elsewhere/blobs/{}", layer(&one))).await.fails(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn what_a_tag_no_longer_stands_for_cannot_be_read_any_more() {
    let lab = Lab::start().await;
    let old = release(&lab.images, "campus/openedx", "current", "old");
    let path = |image: &Value| format!("/v2/campus/openedx/blobs/{}", layer(image));
    lab.get(&path(&old)).await.is(200);
    let new = release(&lab.images, "campus/openedx", "current", "new");
    lab.get(&path(&new)).await.is(200);
    lab.get(&path(&old)).await.fails(404, "BLOB_UNKNOWN");
    lab.get(&format!("/v2/campus/openedx/manifests/{}", digest(&old))).await.fails(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_release_is_not_pushed_over_and_not_deleted() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "campus/openedx", RELEASE, "one");
    let other = lab.image("campus/openedx", "other").await;
    let refused = lab.put("campus/openedx", RELEASE, &other).await.fails(409, "DENIED");
    assert!(refused.message().contains(&digest(&one).to_string()), "{}", refused.message());
    for what in [RELEASE.to_owned(), digest(&one).to_string()] {
        lab.delete(&format!("/v2/campus/openedx/manifests/{what}")).await.fails(403, "DENIED");
    }
    lab.delete(&format!("/v2/campus/openedx/blobs/{}", layer(&one))).await.fails(403, "DENIED");
    // The same again, without its blobs: they can be read there, so nobody sends them.
    lab.put("campus/openedx", RELEASE, &one).await.is(201);
    assert_eq!(lab.get("/v2/campus/openedx/tags/list").await.json()["tags"], json!([RELEASE]));
    lab.put("campus/openedx", "another", &other).await.is(201);
    assert_eq!(lab.get("/v2/campus/openedx/tags/list").await.json()["tags"], json!([RELEASE, "another"]));
}

#[tokio::test]
async fn parts_of_a_release_are_mounted_and_named_by_what_is_pushed_there() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "campus/openedx", RELEASE, "one");
    let both = index(&[&one]);
    lab.put("elsewhere", "both", &both).await.fails(400, "MANIFEST_UNKNOWN");
    lab.put("campus/openedx", "both", &both).await.is(201);
    lab.get(&format!("/v2/campus/openedx/manifests/{}", digest(&one))).await.is(200);
    let mount = format!("/v2/elsewhere/blobs/uploads/?mount={}&from=campus/openedx", layer(&one));
    lab.post(&mount).await.is(201);
    let unknown = format!("/v2/elsewhere/blobs/uploads/?mount={}&from=campus/openedx", Digest::of(b"x"));
    lab.post(&unknown).await.is(202);
}

#[tokio::test]
async fn a_damaged_release_does_not_hide_the_others() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "campus/openedx", RELEASE, "one");
    let two = release(&lab.images, "campus/openedx", "1.5.0-g3f2c1ab09d4e", "two");
    std::fs::write(lab.images.store().blobs().path(&digest(&one)), "damaged").unwrap();
    lab.get(&format!("/v2/campus/openedx/blobs/{}", layer(&two))).await.is(200);
    lab.get(&format!("/v2/campus/openedx/blobs/{}", layer(&one))).await.fails(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_release_whose_manifest_was_away_is_served_when_it_is_back() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "campus/openedx", RELEASE, "one");
    let blobs = lab.images.store().blobs();
    std::fs::remove_file(blobs.path(&digest(&one))).unwrap();
    let layer = format!("/v2/campus/openedx/blobs/{}", layer(&one));
    lab.get(&layer).await.fails(404, "BLOB_UNKNOWN");
    blobs.put(one.to_string().as_bytes()).unwrap();
    lab.get(&layer).await.is(200);
    lab.get(&format!("/v2/campus/openedx/manifests/{RELEASE}")).await.is(200);
}

#[tokio::test]
async fn a_tag_that_a_client_pushed_is_not_released_over() {
    let lab = Lab::start().await;
    let pushed = lab.push("campus/openedx", RELEASE, "one").await;
    let repository: Repository = "campus/openedx".parse().unwrap();
    let refused = lab.images.tag(&repository, RELEASE, &Digest::of(b"other")).unwrap_err();
    assert!(matches!(refused, Error::TagExists { existing, .. } if existing == pushed), "{refused}");
    lab.images.tag(&repository, RELEASE, &pushed).unwrap();
    lab.images.tag(&"ghcr.io/campus/openedx".parse().unwrap(), RELEASE, &Digest::of(b"other")).unwrap();
}

#[tokio::test]
async fn what_is_attached_to_a_release_is_listed_and_can_be_read() {
    let lab = Lab::start().await;
    let one = release(&lab.images, "campus/openedx", RELEASE, "one");
    let path = format!("/v2/campus/openedx/referrers/{}", digest(&one));
    assert_eq!(lab.get(&path).await.is(200).json()["manifests"], json!([]));
    let store = lab.images.store();
    let attach = |subject: &Value, text: &str| {
        store.blobs().put(b"{}").unwrap();
        store.blobs().put(text.as_bytes()).unwrap();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": text, "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor(text, text.as_bytes())], "subject": descriptor(MANIFEST, subject.to_string().as_bytes()) });
        store.blobs().put(manifest.to_string().as_bytes()).unwrap();
        let name = format!("{}/{}", digest(subject).hex(), digest(&manifest).hex());
        store.create_name("referrer", &name, text).unwrap();
        manifest
    };
    let sbom = attach(&one, "sbom");
    let signature = attach(&sbom, "signature");
    let listed = lab.get(&path).await.is(200).json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(listed["manifests"][0]["artifactType"], "sbom");
    assert_eq!(lab.get(&format!("{path}?artifactType=x")).await.json()["manifests"], json!([]));
    for manifest in [&sbom, &signature] {
        let got = lab.get(&format!("/v2/campus/openedx/manifests/{}", digest(manifest))).await.is(200);
        assert_eq!(got.json(), *manifest);
        lab.get(&format!("/v2/campus/openedx/blobs/{}", layer(manifest))).await.is(200);
        lab.get(&format!("/v2/elsewhere/blobs/{}", layer(manifest))).await.fails(404, "BLOB_UNKNOWN");
    }
    // Pushed too, it is listed once.
    lab.put("campus/openedx", digest(&sbom), &sbom).await.is(201);
    assert_eq!(lab.get(&path).await.json()["manifests"].as_array().unwrap().len(), 1);
}
