//! Requests that are wrong, cut short, too large, or come from somebody who wants something else.

use reqwest::Method;
use serde_json::json;
use shiplap_cache::Digest;

use super::lab::{INDEX, Lab, MANIFEST};

#[tokio::test]
async fn bytes_with_another_digest_are_refused_and_leave_nothing() {
    let lab = Lab::start().await;
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"other"));
    let refused = lab.send(Method::POST, &path, &[], "hello").await.fails(400, "DIGEST_INVALID");
    assert!(refused.message().contains(&Digest::of(b"hello").to_string()), "{}", refused.message());
    let at = lab.begin("a").await;
    lab.send(Method::PATCH, &at, &[], "hello").await.is(202);
    for query in ["", "?digest=", "?digest=sha256:x", "?digest=sha512:00", "?digest=md5:x"] {
        lab.send(Method::PUT, &format!("{at}{query}"), &[], "").await.fails(400, "DIGEST_INVALID");
    }
    lab.send(Method::PUT, &format!("{at}?digest={}", Digest::of(b"other")), &[], "").await.fails(400, "DIGEST_INVALID");
    lab.get(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!((lab.files(), lab.server.open_uploads()), (0, 0));
    lab.post("/v2/a/blobs/uploads/?digest=sha512:00").await.fails(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_the_upload_where_it_got_to() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    let request = format!("PATCH {at} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello");
    lab.cut(request).await;
    let goes_on = async {
        while lab.get(&at).await.is(204).header("range") != "0-4" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), goes_on).await.unwrap();
    let blob = Digest::of(b"hello world");
    let put = format!("{at}?digest={blob}");
    // It may be some moments until the broken request lets go of the upload.
    let done =
        async { while lab.send(Method::PUT, &put, &[("content-range", "5-10")], " world").await.status == 409 {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), done).await.unwrap();
    assert_eq!(lab.get(&format!("/v2/a/blobs/{blob}")).await.is(200).body, b"hello world");
}

#[tokio::test]
async fn a_blob_that_breaks_off_leaves_nothing() {
    let lab = Lab::start().await;
    let request = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello",
        Digest::of(b"hello")
    );
    lab.cut(request).await;
    let gone = async {
        while lab.files() > 0 || lab.server.open_uploads() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.unwrap();
    lab.get(&format!("/v2/a/blobs/{}", Digest::of(b"hello"))).await.fails(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn more_bytes_than_the_range_announced_are_refused() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    let request = format!(
        "PATCH {at} HTTP/1.1\r\nhost: x\r\ncontent-range: 0-4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"
    );
    let answer = lab.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("SIZE_INVALID"), "{answer}");
    assert_eq!(lab.get(&at).await.is(204).header("range"), "0-0");
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_no_names() {
    let lab = Lab::start().await;
    lab.push("a", "v1", "one").await;
    let hex = Digest::of(b"x").hex();
    for (path, status) in [
        ("/v2/../../etc/passwd/blobs/uploads/".to_owned(), [400, 404]),
        ("/v2/a/../b/manifests/v1".to_owned(), [400, 404]),
        ("/v2/%2e%2e/%2e%2e/manifests/v1".to_owned(), [400, 400]),
        ("/v2/a%2f..%2fb/tags/list".to_owned(), [400, 400]),
        ("/v2/a/blobs/sha256:../../../../etc/passwd".to_owned(), [400, 404]),
        ("/v2/a/blobs/sha256:%2e%2e%2f%2e%2e%2fcache.db".to_owned(), [400, 404]),
        (format!("/v2/a/blobs/sha256:{}", &hex[..63]), [400, 400]),
        (format!("/v2/a/blobs/sha256:{}", hex.to_uppercase()), [400, 400]),
        ("/v2/a/blobs/uploads/../../../../../etc/passwd".to_owned(), [404, 400]),
        ("/v2/A/tags/list".to_owned(), [400, 400]),
        (format!("/v2/{}/tags/list", "a".repeat(256)), [400, 400]),
        ("/etc/passwd".to_owned(), [404, 404]),
        ("/v2/a".to_owned(), [404, 404]),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            // As it stands: clients take `..` out before they send it.
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let answer = lab.raw(request).await;
            let got: u16 = answer[9..12].parse().unwrap();
            assert!(status.contains(&got), "{method} {path}: {answer}");
        }
    }
    assert_eq!(lab.get("/v2/_catalog").await.json()["repositories"], json!(["a"]));
}

#[tokio::test]
async fn a_manifest_that_is_none_is_refused() {
    let lab = Lab::start().await;
    let good = lab.image("a", "one").await;
    let (kind, put) = (("content-type", MANIFEST), "/v2/a/manifests/v1");
    for body in ["", "{", "null", "[]", "{}", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":1,"fsLayers":[]}"#, "\u{0}"]
    {
        lab.send(Method::PUT, put, &[kind], body.to_owned()).await.fails(400, "MANIFEST_INVALID");
    }
    let text = good.to_string();
    for kind in [INDEX, "text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
        lab.send(Method::PUT, put, &[("content-type", kind)], text.clone()).await.fails(400, "MANIFEST_INVALID");
    }
    let other = format!("/v2/a/manifests/{}", Digest::of(b"other"));
    lab.send(Method::PUT, &other, &[kind], text.clone()).await.fails(400, "DIGEST_INVALID");
    lab.send(Method::PUT, "/v2/a/manifests/.x", &[kind], text.clone()).await.fails(400, "MANIFEST_INVALID");
    lab.send(Method::PUT, "/v2/a/manifests/sha512:00", &[kind], text).await.fails(400, "DIGEST_INVALID");
    let mut longer = good.clone();
    longer["layers"][0]["size"] = json!(1);
    lab.put("a", "v1", &longer).await.fails(400, "SIZE_INVALID");
    lab.get(put).await.fails(404, "MANIFEST_UNKNOWN");
    lab.put("a", "v1", &good).await.is(201);
}

#[tokio::test]
async fn a_manifest_of_four_megabytes_is_taken_and_a_larger_one_is_not() {
    let lab = Lab::start().await;
    let mut image = lab.image("a", "one").await;
    let rest = (4 << 20) - image.to_string().len() - r#","annotations":{"a":""}"#.len();
    image["annotations"] = json!({ "a": "x".repeat(rest) });
    assert_eq!(image.to_string().len(), 4 << 20);
    lab.put("a", "v1", &image).await.is(201);
    assert_eq!(lab.get("/v2/a/manifests/v1").await.is(200).body, image.to_string().as_bytes());
    image["annotations"] = json!({ "a": "x".repeat(rest + 1) });
    // Who is refused before he has sent all may see the connection closed instead.
    let head =
        format!("PUT /v2/a/manifests/v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {MANIFEST}\r\n");
    let known = format!("{head}content-length: {}\r\n\r\n", image.to_string().len());
    assert!(lab.raw(known).await.starts_with("HTTP/1.1 413"));
    let unknown =
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{image}\r\n0\r\n\r\n", image.to_string().len());
    assert!(lab.raw(unknown).await.starts_with("HTTP/1.1 413"));
    lab.get("/v2/a/manifests/v2").await.fails(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_method_that_does_nothing_is_told_what_does() {
    let lab = Lab::start().await;
    let digest = Digest::of(b"x");
    for (path, method, allowed) in [
        ("/v2/".to_owned(), Method::POST, "GET, HEAD"),
        ("/v2/_catalog".to_owned(), Method::DELETE, "GET, HEAD"),
        ("/v2/a/tags/list".to_owned(), Method::PUT, "GET, HEAD"),
        (format!("/v2/a/blobs/{digest}"), Method::PUT, "GET, HEAD, DELETE"),
        ("/v2/a/manifests/v1".to_owned(), Method::POST, "GET, HEAD, PUT, DELETE"),
        ("/v2/a/blobs/uploads/".to_owned(), Method::GET, "POST"),
        (format!("/v2/a/referrers/{digest}"), Method::DELETE, "GET, HEAD"),
    ] {
        let refused = lab.send(method, &path, &[], "").await.fails(405, "UNSUPPORTED");
        assert_eq!(refused.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn nothing_that_is_asked_at_random_breaks_the_registry() {
    let lab = Lab::start().await;
    lab.push("a", "v1", "one").await;
    let mut random = fastrand::Rng::with_seed(7);
    let digest = Digest::of(b"layer one").to_string();
    let upload = "0".repeat(32);
    let parts = [
        "v2",
        "",
        "a",
        "..",
        "blobs",
        "uploads",
        "manifests",
        "tags",
        "list",
        "referrers",
        "_catalog",
        "%00",
        "%ff",
        "%2f",
        "v1",
        &digest,
        &upload,
        "sha256:",
        "ü",
        "?n=1",
        "?digest=x",
        "?mount=x&from=y",
        "a:b",
        "*",
    ];
    let methods = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "ODD"];
    for _ in 0..1500 {
        let path: Vec<&str> = (0..random.usize(1..7)).map(|_| parts[random.usize(..parts.len())]).collect();
        let start = if random.bool() { "/v2/a/" } else { "/" };
        let body: String = (0..random.usize(..9)).map(|_| random.alphanumeric()).collect();
        let request = format!(
            "{} {start}{} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nrange: bytes={}\r\ncontent-range: {}-{}\r\nconnection: close\r\n\r\n{body}",
            methods[random.usize(..methods.len())],
            path.join("/"),
            body.len(),
            random.i8(..),
            random.u8(..3),
            random.u8(..9)
        );
        let answer = lab.raw(request.clone()).await;
        assert!(answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    lab.get("/v2/a/manifests/v1").await.is(200);
}
