//! The way to stop.

use std::time::Duration;

use shiplap_cache::Digest;
use shiplap_registry::front::FrontOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::{Lab, limits, open, status};

/// A download that has begun and is not done.
async fn download(lab: &Lab, size: usize) -> (TcpStream, Vec<u8>) {
    let blob = vec![7; size];
    let digest = Digest::of(&blob);
    assert_eq!(status(lab.push("a", blob)).await, 201);
    let mut stream = lab.raw().await;
    let ask = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut begun = vec![0; 1000];
    stream.read_exact(&mut begun).await.unwrap();
    (stream, begun)
}

#[tokio::test]
async fn a_download_that_runs_is_finished_and_nothing_new_begins() {
    let lab = open().await;
    let size = 32 << 20;
    let (mut stream, mut got) = download(&lab, size).await;
    let idle = lab.raw().await;
    lab.tell_to_stop();
    let address = lab.address;
    lab.until(|| async { TcpStream::connect(address).await.is_err() }).await;
    stream.read_to_end(&mut got).await.unwrap();
    let body = got.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(got.len() - body, size);
    assert_eq!(lab.stopped().await, 0);
    drop(idle);
}

#[tokio::test]
async fn who_is_not_done_in_time_is_cut_off() {
    let mut limits = limits();
    limits.drain = Duration::from_millis(200);
    let lab = Lab::start(tempfile::tempdir().unwrap(), FrontOptions { limits, ..FrontOptions::default() }).await;
    let (mut stream, mut got) = download(&lab, 64 << 20).await;
    assert_eq!(lab.stop().await, 1);
    let _ = stream.read_to_end(&mut got).await;
    assert!(got.len() < 64 << 20);
}
