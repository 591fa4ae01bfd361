//! distribution-spec, *Pull*.

use reqwest::Method;
use shiplap_cache::Digest;

use super::lab::{Lab, MANIFEST, digest, index};

/// end-1, *Determining Support*
#[tokio::test]
async fn the_registry_says_what_it_is() {
    let lab = Lab::start().await;
    for path in ["/v2/", "/v2"] {
        lab.get(path).await.is(200);
        lab.head(path).await.is(200);
    }
}

/// end-2, *Pulling blobs*
#[tokio::test]
async fn a_blob_comes_as_it_was_pushed_and_only_from_its_repository() {
    let lab = Lab::start().await;
    // More than one piece of a body.
    let bytes: Vec<u8> = (0..1_300_000_u32).map(|i| (i % 251) as u8).collect();
    let blob = lab.push_blob("campus/openedx", bytes.clone()).await;
    let path = format!("/v2/campus/openedx/blobs/{blob}");
    let got = lab.get(&path).await.is(200);
    assert!(got.body == bytes);
    for answer in [got, lab.head(&path).await.is(200)] {
        assert_eq!(answer.header("docker-content-digest"), blob.to_string());
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
    }
    lab.get(&format!("/v2/campus/mfe/blobs/{blob}")).await.fails(404, "BLOB_UNKNOWN");
    lab.head(&format!("/v2/campus/mfe/blobs/{blob}")).await.is(404);
    lab.get(&format!("/v2/campus/openedx/blobs/{}", Digest::of(b"other"))).await.fails(404, "BLOB_UNKNOWN");
    let empty = lab.push_blob("campus/openedx", "").await;
    let got = lab.get(&format!("/v2/campus/openedx/blobs/{empty}")).await.is(200);
    assert_eq!((got.body.len(), got.header("content-length")), (0, "0"));
}

/// RFC 9110, section 14, which *Pulling blobs* says a registry should support
#[tokio::test]
async fn a_part_of_a_blob_can_be_asked_for() {
    let lab = Lab::start().await;
    let bytes: Vec<u8> = (0..1_300_000_u32).map(|i| (i % 251) as u8).collect();
    let path = format!("/v2/a/blobs/{}", lab.push_blob("a", bytes.clone()).await);
    let len = bytes.len();
    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=600000-1200000", 600_000..1_200_001),
        ("bytes=1299999-", 1_299_999..len),
        ("bytes=-5", len - 5..len),
    ] {
        let got = lab.send(Method::GET, &path, &[("range", range)], "").await.is(206);
        assert!(got.body == bytes[part.clone()], "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {}-{}/{len}", part.start, part.end - 1));
        assert_eq!(got.header("content-length"), part.len().to_string());
    }
    let beyond = lab.send(Method::GET, &path, &[("range", "bytes=1300000-")], "").await.is(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{len}"));
    let etag = lab.head(&path).await.header("etag").to_owned();
    lab.send(Method::GET, &path, &[("range", "bytes=0-3"), ("if-range", &etag)], "").await.is(206);
    lab.send(Method::GET, &path, &[("range", "bytes=0-3"), ("if-range", "\"other\"")], "").await.is(200);
    assert!(lab.send(Method::GET, &path, &[("if-none-match", &etag)], "").await.is(304).body.is_empty());
}

/// end-3, *Pulling manifests*
#[tokio::test]
async fn a_manifest_comes_by_tag_and_by_digest_with_the_type_that_it_was_pushed_as() {
    let lab = Lab::start().await;
    let image = lab.image("a/b", "one").await;
    lab.put("a/b", "latest", &image).await.is(201);
    let digest = digest(&image);
    for reference in ["latest".to_owned(), digest.to_string()] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let got = lab.get(&path).await.is(200);
        assert_eq!(got.body, image.to_string().as_bytes());
        // Whoever accepts something else is not served something else.
        let other = lab.send(Method::GET, &path, &[("accept", "text/html")], "").await.is(200);
        for answer in [got, other, lab.head(&path).await.is(200)] {
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert_eq!(answer.header("content-type"), MANIFEST);
            assert_eq!(answer.header("content-length"), image.to_string().len().to_string());
        }
        let etag = format!("\"{digest}\"");
        lab.send(Method::GET, &path, &[("if-none-match", &etag)], "").await.is(304);
        lab.get(&format!("/v2/other/manifests/{reference}")).await.fails(404, "MANIFEST_UNKNOWN");
        lab.head(&format!("/v2/other/manifests/{reference}")).await.is(404);
    }
    // No tag looks so, and nothing is under it.
    lab.get("/v2/a/b/manifests/.INVALID_MANIFEST_NAME").await.fails(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/a/b/blobs/{digest}")).await.fails(404, "BLOB_UNKNOWN");
}

/// end-3 for an index, and its children by digest
#[tokio::test]
async fn an_index_comes_with_what_is_in_it() {
    let lab = Lab::start().await;
    let (one, two) = (lab.image("a", "one").await, lab.image("a", "two").await);
    for image in [&one, &two] {
        lab.put("a", digest(image), image).await.is(201);
    }
    let both = index(&[&one, &two]);
    lab.put("a", "both", &both).await.is(201);
    assert_eq!(lab.get("/v2/a/manifests/both").await.is(200).json(), both);
    for child in both["manifests"].as_array().unwrap() {
        lab.get(&format!("/v2/a/manifests/{}", child["digest"].as_str().unwrap())).await.is(200);
    }
}

/// A client that is told so pushes it again; one that is told of a failure gives up.
#[tokio::test]
async fn a_manifest_that_was_put_away_is_unknown_until_it_is_pushed_again() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    lab.put("a", "v1", &image).await.is(201);
    std::fs::remove_file(lab.images.store().blobs().path(&digest(&image))).unwrap();
    for reference in ["v1".to_owned(), digest(&image).to_string()] {
        lab.get(&format!("/v2/a/manifests/{reference}")).await.fails(404, "MANIFEST_UNKNOWN");
    }
    lab.put("a", "v1", &image).await.is(201);
    lab.get("/v2/a/manifests/v1").await.is(200);
}
