//! distribution-spec, *Pushing blobs*.

use std::time::Duration;

use reqwest::Method;
use shiplap_cache::Digest;
use shiplap_registry::server::ServerOptions;

use super::lab::Lab;

const CHUNK: (&str, &str) = ("content-type", "application/octet-stream");

/// end-4b, *Single POST*
#[tokio::test]
async fn a_blob_in_one_request() {
    let lab = Lab::start().await;
    let blob = Digest::of(b"hello");
    let path = format!("/v2/a/blobs/uploads/?digest={blob}");
    let done = lab.send(Method::POST, &path, &[CHUNK], "hello").await.is(201);
    assert_eq!(done.header("location"), format!("/v2/a/blobs/{blob}"));
    assert_eq!(done.header("docker-content-digest"), blob.to_string());
    assert_eq!(lab.get(done.header("location")).await.is(200).body, b"hello");
    assert_eq!(lab.server.open_uploads(), 0);
}

/// end-4a and end-6, *POST then PUT*
#[tokio::test]
async fn a_blob_in_two_requests() {
    let lab = Lab::start().await;
    let at = lab.begin("a/b").await;
    assert!(at.starts_with("/v2/a/b/blobs/uploads/"), "{at}");
    let blob = Digest::of(b"hello");
    let done = lab.send(Method::PUT, &format!("{at}?digest={blob}"), &[CHUNK], "hello").await.is(201);
    assert_eq!(done.header("location"), format!("/v2/a/b/blobs/{blob}"));
    lab.get(done.header("location")).await.is(200);
    lab.get(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
}

/// end-5 and end-13, *Pushing a blob in chunks*
#[tokio::test]
async fn a_blob_in_pieces_with_its_status_between() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    let status = lab.get(&at).await.is(204);
    assert_eq!((status.header("range"), status.header("location")), ("0-0", at.as_str()));
    for (range, text, now) in [("0-4", "hello", "0-4"), ("5-5", " ", "0-5")] {
        let taken = lab.send(Method::PATCH, &at, &[CHUNK, ("content-range", range)], text).await.is(202);
        assert_eq!((taken.header("range"), taken.header("location")), (now, at.as_str()));
        assert_eq!(lab.get(&at).await.is(204).header("range"), now);
    }
    let blob = Digest::of(b"hello world");
    lab.send(Method::PUT, &format!("{at}?digest={blob}"), &[CHUNK, ("content-range", "6-10")], "world").await.is(201);
    assert_eq!(lab.get(&format!("/v2/a/blobs/{blob}")).await.is(200).body, b"hello world");
    // Without a last piece, and without a Content-Range, as Docker does it.
    let at = lab.begin("a").await;
    for text in ["hello", " world"] {
        lab.send(Method::PATCH, &at, &[], text).await.is(202);
    }
    lab.send(Method::PUT, &format!("{at}?digest={blob}"), &[], "").await.is(201);
}

/// end-5: a chunk that does not begin where the last one ended
#[tokio::test]
async fn a_piece_out_of_order_is_refused_and_the_upload_goes_on() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    lab.send(Method::PATCH, &at, &[("content-range", "0-4")], "hello").await.is(202);
    for range in ["0-4", "6-10", "4-8", "x", "5-", "10-5", "-5", "bytes 5-9/10"] {
        let refused =
            lab.send(Method::PATCH, &at, &[("content-range", range)], "world").await.fails(416, "BLOB_UPLOAD_INVALID");
        assert_eq!((refused.header("range"), refused.header("location")), ("0-4", at.as_str()), "{range}");
    }
    let put = format!("{at}?digest={}", Digest::of(b"helloworld"));
    lab.send(Method::PUT, &put, &[("content-range", "0-4")], "world").await.is(416);
    // A piece that is shorter than its range.
    lab.send(Method::PATCH, &at, &[("content-range", "5-99")], "world").await.fails(400, "SIZE_INVALID");
    assert_eq!(lab.get(&at).await.header("range"), "0-4");
    lab.send(Method::PUT, &put, &[("content-range", "5-9")], "world").await.is(201);
}

/// end-14, *Canceling an upload*
#[tokio::test]
async fn a_cancelled_upload_is_gone_with_its_bytes() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    lab.send(Method::PATCH, &at, &[], "hello").await.is(202);
    assert_eq!((lab.files(), lab.server.open_uploads()), (1, 1));
    lab.delete(&at).await.is(204);
    lab.get(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    lab.delete(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    lab.send(Method::PATCH, &at, &[], "x").await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!((lab.files(), lab.server.open_uploads()), (0, 0));
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    let elsewhere = at.replace("/v2/a/", "/v2/b/");
    lab.get(&elsewhere).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    lab.delete(&elsewhere).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    lab.get(&at).await.is(204);
}

#[tokio::test]
async fn no_more_uploads_are_open_than_allowed() {
    let lab = Lab::with(ServerOptions { max_uploads: 2, ..ServerOptions::default() }).await;
    let first = lab.begin("a").await;
    lab.begin("a").await;
    let refused = lab.post("/v2/a/blobs/uploads/").await.fails(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "60");
    lab.delete(&first).await.is(204);
    lab.begin("a").await;
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_forgotten() {
    let lab = Lab::with(ServerOptions { upload_expiry: Duration::from_millis(50), ..ServerOptions::default() }).await;
    let at = lab.begin("a").await;
    let gone = async {
        while lab.files() > 0 || lab.server.open_uploads() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    lab.get(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_blob_above_the_limit_is_refused_and_leaves_nothing() {
    let lab = Lab::with(ServerOptions { max_blob: 10, ..ServerOptions::default() }).await;
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"hello world"));
    lab.send(Method::POST, &path, &[], "hello world").await.fails(413, "SIZE_INVALID");
    let at = lab.begin("a").await;
    lab.send(Method::PATCH, &at, &[], "hello").await.is(202);
    lab.send(Method::PATCH, &at, &[], " world").await.fails(413, "SIZE_INVALID");
    // As large as it may be, and one more without saying so before.
    lab.push_blob("a", "0123456789").await;
    let request = format!(
        "PATCH {at} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n6\r\n world\r\n0\r\n\r\n"
    );
    let answer = lab.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    lab.get(&at).await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(lab.files(), 1);
}
