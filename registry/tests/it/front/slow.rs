//! Clients that take too long, send nonsense, or come in too great a number. Each waits for the server to end it; the bound on that is for a test that
//! fails.

use std::time::Duration;

use shiplap_cache::Digest;
use shiplap_registry::front::{FrontOptions, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::{Lab, limits, status};

const SHORT: Duration = Duration::from_millis(200);

async fn lab(change: impl FnOnce(&mut Limits)) -> Lab {
    let mut limits = limits();
    change(&mut limits);
    Lab::start(tempfile::tempdir().unwrap(), FrontOptions { limits, ..FrontOptions::default() }).await
}

/// What the server says before it hangs up.
async fn until_the_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    // A reset is an end, too.
    let _ = end.expect("the server does not hang up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a byte every now and then until the server hangs up.
async fn trickle(mut stream: TcpStream, byte: u8) {
    let send = async {
        while stream.write_all(&[byte]).await.is_ok() {
            tokio::time::sleep(SHORT / 8).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), send).await.expect("the server does not hang up");
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let lab = lab(|limits| limits.header = SHORT).await;
    assert_eq!(until_the_end(lab.raw().await).await, "");
    assert_eq!(status(lab.get("/healthz")).await, 200);
}

#[tokio::test]
async fn headers_that_trickle_are_cut_off() {
    let lab = lab(|limits| limits.header = SHORT).await;
    let mut stream = lab.raw().await;
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nx: ").await.unwrap();
    trickle(stream, b'a').await;
}

#[tokio::test]
async fn the_start_of_http_2_and_then_nothing_is_cut_off() {
    let lab = lab(|limits| limits.header = SHORT).await;
    let mut stream = lab.raw().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    until_the_end(stream).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let lab = lab(|limits| limits.patience = SHORT).await;
    let mut stream = lab.raw().await;
    let digest = Digest::of(b"x");
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    trickle(stream, b'a').await;
    assert_eq!(status(lab.get(&format!("/v2/a/blobs/{digest}"))).await, 404);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let lab = lab(|limits| limits.patience = SHORT).await;
    // More than both ends of a connection keep for each other.
    let blob = vec![7; 64 << 20];
    let digest = Digest::of(&blob);
    assert_eq!(status(lab.push("a", blob)).await, 201);
    let mut stream = lab.raw().await;
    stream.write_all(format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).await.unwrap();
    lab.until(|| async {
        let metrics = lab.get("/metrics").send().await.unwrap().text().await.unwrap();
        metrics.contains("shiplap_http_requests_running 1\n")
    })
    .await;
    let got = until_the_end(stream).await.len();
    assert!(got < 64 << 20, "{got}");
}

#[tokio::test]
async fn a_slow_client_that_goes_on_is_served_to_the_end() {
    let lab = lab(|limits| limits.patience = Duration::from_millis(500)).await;
    let body = "a".repeat(64 << 10);
    let digest = Digest::of(body.as_bytes());
    let mut stream = lab.raw().await;
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // In all it takes longer than the patience with one wait, and each part gives it back.
    for part in body.as_bytes().chunks(4 << 10) {
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(until_the_end(stream).await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn nonsense_is_hung_up_on_and_the_server_lives() {
    let lab = lab(|limits| limits.header = SHORT).await;
    let mut random = fastrand::Rng::with_seed(7);
    for length in [1, 10, 100, 10_000, 200_000] {
        let mut stream = lab.raw().await;
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        // It may hang up in the middle.
        let _ = stream.write_all(&bytes).await;
        until_the_end(stream).await;
    }
    let mut stream = lab.raw().await;
    let _ = stream.write_all(format!("GET /v2/ HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)).as_bytes()).await;
    let answer = until_the_end(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(status(lab.get("/v2/")).await, 200);
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back_and_health_is_answered() {
    let lab = lab(|limits| (limits.requests, limits.turn) = (1, Duration::from_millis(10))).await;
    let mut first = lab.raw().await;
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n",
        Digest::of(b"12345")
    );
    first.write_all(head.as_bytes()).await.unwrap();
    lab.until(|| async { status(lab.get("/v2/")).await == 503 }).await;
    let late = lab.get("/v2/").send().await.unwrap();
    assert_eq!(late.headers()["retry-after"], "5");
    assert_eq!(status(lab.get("/healthz")).await, 200);
    first.write_all(b"12345").await.unwrap();
    let mut status_line = [0; 12];
    first.read_exact(&mut status_line).await.unwrap();
    assert_eq!(&status_line, b"HTTP/1.1 201");
    lab.until(|| async { status(lab.get("/v2/")).await == 200 }).await;
}

#[tokio::test]
async fn a_connection_too_many_waits_for_another_to_end() {
    let lab = lab(|limits| limits.connections = 1).await;
    let mut first = lab.raw().await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    first.write_all(ask).await.unwrap();
    first.read_exact(&mut answer).await.unwrap();
    let mut second = lab.raw().await;
    second.write_all(ask).await.unwrap();
    // The first is answered again and again, the second not once.
    for _ in 0..20 {
        first.write_all(ask).await.unwrap();
        first.read_exact(&mut answer).await.unwrap();
        assert!(second.try_read(&mut answer).is_err());
    }
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
