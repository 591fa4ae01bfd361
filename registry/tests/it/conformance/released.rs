//! What was released on this machine is served beside what was pushed.

use serde_json::{Value, json};
use shiplap_cache::Digest;
use shiplap_registry::{Images, Repository};

use super::lab::{Lab, RELEASE, digest, image, index};

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
