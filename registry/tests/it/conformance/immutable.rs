//! Tags that never move.

use serde_json::json;
use shiplap_registry::server::{Immutable, ServerOptions};

use super::lab::{Lab, RELEASE, digest, index};

#[tokio::test]
async fn a_release_tag_is_made_once_and_the_refusal_names_both_digests() {
    let lab = Lab::start().await;
    let first = lab.push("a", RELEASE, "one").await;
    assert_eq!(lab.push("a", RELEASE, "one").await, first, "the same again succeeds");
    let other = lab.image("a", "two").await;
    let refused = lab.put("a", RELEASE, &other).await.fails(409, "DENIED");
    for part in [RELEASE.to_owned(), first.to_string(), digest(&other).to_string()] {
        assert!(refused.message().contains(&part), "{}", refused.message());
    }
    assert_eq!(
        refused.json()["errors"][0]["detail"],
        json!({ "tag": RELEASE, "existing": first, "refused": digest(&other) })
    );
    assert_eq!(
        lab.head(&format!("/v2/a/manifests/{RELEASE}")).await.header("docker-content-digest"),
        first.to_string()
    );
    lab.get(&format!("/v2/a/manifests/{}", digest(&other))).await.fails(404, "MANIFEST_UNKNOWN");
    lab.put("b", RELEASE, &lab.image("b", "two").await).await.is(201);
}

#[tokio::test]
async fn a_release_is_not_deleted_and_neither_is_what_is_in_it() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    lab.put("a", digest(&image), &image).await.is(201);
    let both = index(&[&image]);
    lab.put("a", RELEASE, &both).await.is(201);
    for what in [RELEASE.to_owned(), digest(&both).to_string(), digest(&image).to_string()] {
        let refused = lab.delete(&format!("/v2/a/manifests/{what}")).await.fails(403, "DENIED");
        assert!(refused.message().contains(RELEASE), "{}", refused.message());
        lab.get(&format!("/v2/a/manifests/{what}")).await.is(200);
    }
    let layer = image["layers"][0]["digest"].as_str().unwrap();
    lab.delete(&format!("/v2/a/blobs/{layer}")).await.fails(403, "DENIED");
}

#[tokio::test]
async fn patterns_make_other_tags_so_and_an_option_lets_them_be_deleted() {
    let immutable = Immutable::new(["campus/*:v*"]).unwrap();
    let lab = Lab::with(ServerOptions { immutable, delete_immutable: true, ..ServerOptions::default() }).await;
    let image = lab.push("campus/a", "v1", "one").await;
    lab.put("campus/a", "v1", &lab.image("campus/a", "two").await).await.fails(409, "DENIED");
    lab.push("campus/a", "latest", "one").await;
    lab.push("campus/a", "latest", "two").await;
    lab.delete("/v2/campus/a/manifests/v1").await.is(202);
    lab.delete(&format!("/v2/campus/a/manifests/{image}")).await.is(202);
    lab.push("campus/a", "v1", "two").await;
}
