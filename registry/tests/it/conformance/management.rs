//! distribution-spec, *Content Management*.

use serde_json::json;

use super::lab::{Lab, digest, index};

/// end-9, *Deleting tags*
#[tokio::test]
async fn a_tag_is_deleted_and_what_it_stood_for_is_not() {
    let lab = Lab::start().await;
    let image = lab.push("a", "v1", "one").await;
    lab.push("a", "v2", "one").await;
    lab.delete("/v2/a/manifests/v1").await.is(202);
    lab.get("/v2/a/manifests/v1").await.fails(404, "MANIFEST_UNKNOWN");
    lab.delete("/v2/a/manifests/v1").await.fails(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/a/manifests/{image}")).await.is(200);
    assert_eq!(lab.get("/v2/a/tags/list").await.json()["tags"], json!(["v2"]));
}

/// end-9, *Deleting Manifests*, and end-10, *Deleting Blobs*
#[tokio::test]
async fn a_manifest_is_deleted_with_its_tags_and_then_its_blobs() {
    let lab = Lab::start().await;
    let (image, other) = (lab.image("a", "one").await, lab.push("a", "other", "other").await);
    lab.put("a", "v1", &image).await.is(201);
    lab.put("a", "v2", &image).await.is(201);
    let layer = format!("/v2/a/blobs/{}", image["layers"][0]["digest"].as_str().unwrap());
    let refused = lab.delete(&layer).await.fails(403, "DENIED");
    assert!(refused.message().contains(&digest(&image).to_string()), "{}", refused.message());
    let path = format!("/v2/a/manifests/{}", digest(&image));
    lab.delete(&path).await.is(202);
    for gone in [path.as_str(), "/v2/a/manifests/v1", "/v2/a/manifests/v2"] {
        lab.get(gone).await.fails(404, "MANIFEST_UNKNOWN");
        lab.delete(gone).await.fails(404, "MANIFEST_UNKNOWN");
    }
    lab.get(&layer).await.is(200);
    lab.delete(&layer).await.is(202);
    lab.get(&layer).await.fails(404, "BLOB_UNKNOWN");
    lab.delete(&layer).await.fails(404, "BLOB_UNKNOWN");
    lab.get(&format!("/v2/a/manifests/{other}")).await.is(200);
    assert_eq!(lab.get("/v2/a/tags/list").await.json()["tags"], json!(["other"]));
}

#[tokio::test]
async fn a_child_of_an_index_under_a_tag_that_moves_is_deleted() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    lab.put("a", digest(&image), &image).await.is(201);
    lab.put("a", "both", &index(&[&image])).await.is(201);
    lab.delete(&format!("/v2/a/manifests/{}", digest(&image))).await.is(202);
    lab.get("/v2/a/manifests/both").await.is(200);
}

#[tokio::test]
async fn what_another_repository_has_stays_there() {
    let lab = Lab::start().await;
    let image = lab.push("a", "v1", "one").await;
    lab.push("b", "v1", "one").await;
    lab.delete(&format!("/v2/a/manifests/{image}")).await.is(202);
    lab.get(&format!("/v2/b/manifests/{image}")).await.is(200);
}
