//! The certificate, and a new one while the server runs.

use shiplap_registry::front::{Front, FrontOptions, TlsFiles};
use shiplap_registry::server::{Server, ServerOptions};

use super::lab::{Lab, certificate, limits, status};
use crate::fixture;

fn trusting(authority: &reqwest::Certificate) -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([authority.clone()]).build().unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_old_connections_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (certificate(&dir.path().join("old")), certificate(&dir.path().join("new")));
    let live = TlsFiles { certificate: dir.path().join("live.pem"), key: dir.path().join("live.key") };
    let put = |files: &TlsFiles| {
        std::fs::copy(&files.certificate, &live.certificate).unwrap();
        std::fs::copy(&files.key, &live.key).unwrap();
    };
    put(&old.files);
    let options = FrontOptions { tls: Some(live.clone()), limits: limits(), ..FrontOptions::default() };
    let mut lab = Lab::start(dir, options).await;
    lab.client = trusting(&old.authority);
    let newcomer = trusting(&new.authority);
    let url = format!("https://{}/healthz", lab.address);
    assert_eq!(status(lab.get("/healthz")).await, 200);
    assert!(newcomer.get(&url).send().await.is_err());
    // A certificate without its key, as between two steps of a renewal: the old pair stays in force.
    std::fs::copy(&new.files.certificate, &live.certificate).unwrap();
    assert_eq!(status(trusting(&old.authority).get(&url)).await, 200);
    put(&new.files);
    lab.until(|| async { newcomer.get(&url).send().await.is_ok() }).await;
    assert_eq!(status(lab.get("/healthz")).await, 200);
    assert!(trusting(&old.authority).get(&url).send().await.is_err());
}

#[tokio::test]
async fn plain_http_on_a_port_with_tls_is_hung_up_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let certificate = certificate(dir.path());
    let options = FrontOptions { tls: Some(certificate.files.clone()), limits: limits(), ..FrontOptions::default() };
    let mut lab = Lab::start(dir, options).await;
    let mut stream = lab.raw().await;
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    lab.client = trusting(&certificate.authority);
    assert_eq!(status(lab.get("/v2/")).await, 200);
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let home = fixture::home();
    let (one, other) = (certificate(&home.dir.path().join("one")), certificate(&home.dir.path().join("other")));
    let empty = home.dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let refused = |certificate: &std::path::Path, key: &std::path::Path| {
        let files = TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        let server = Server::new(home.images.clone(), ServerOptions::default());
        Front::new(server, FrontOptions { tls: Some(files), ..FrontOptions::default() }).unwrap_err().to_string()
    };
    assert!(refused(&one.files.certificate, &other.files.key).contains("is not the key of"));
    assert!(refused(&empty, &one.files.key).contains("no certificate in PEM"));
    assert!(refused(&one.files.certificate, &empty).contains("no private key in PEM"));
    assert!(refused(&home.dir.path().join("missing"), &one.files.key).contains("cannot read"));
}
