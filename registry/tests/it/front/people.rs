//! What people and Prometheus read.

use super::lab::{ADA, BOB, challenge, closed, open, status};

const ACCESS: &str =
    "[users]\nada = [\"repository:**:pull,push\", \"registry:catalog:*\"]\nbob = [\"repository:**:pull\"]\n";

#[tokio::test]
async fn the_page_lists_what_is_there() {
    let lab = open().await;
    assert!(lab.get("/").send().await.unwrap().text().await.unwrap().contains("Nothing here yet"));
    assert_eq!(status(lab.push("campus/openedx", b"{}")).await, 201);
    let digest = shiplap_cache::Digest::of(b"{}");
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"{digest}\",\"size\":2}},\"layers\":[]}}"
    );
    let put = lab.request(reqwest::Method::PUT, "/v2/campus/openedx/manifests/v1");
    assert_eq!(
        status(put.header("content-type", "application/vnd.oci.image.manifest.v1+json").body(manifest)).await,
        201
    );
    let page = lab.get("/").send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(
        page.contains(&format!("<code>{}/campus/openedx</code>", lab.address)) && page.contains("<code>v1</code>"),
        "{page}"
    );
}

#[tokio::test]
async fn page_and_metrics_are_for_who_may_list() {
    let lab = closed(ACCESS).await;
    for path in ["/", "/metrics"] {
        let nobody = lab.get(path).send().await.unwrap();
        assert_eq!(nobody.status(), 401);
        assert!(challenge(&nobody).starts_with("Basic "));
        assert_eq!(status(lab.get(path).basic_auth(BOB.0, Some(BOB.1))).await, 403);
        assert_eq!(status(lab.get(path).basic_auth(ADA.0, Some(ADA.1))).await, 200);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(lab.get(path)).await, 200, "{path}");
    }
}

#[tokio::test]
async fn the_metrics_count_what_happened() {
    let lab = open().await;
    assert_eq!(status(lab.push("a", vec![1; 1000])).await, 201);
    let digest = shiplap_cache::Digest::of(&[1; 1000]);
    let blob = lab.get(&format!("/v2/a/blobs/{digest}")).send().await.unwrap();
    assert_eq!(blob.bytes().await.unwrap().len(), 1000);
    assert_eq!(status(lab.get(&format!("/v2/b/blobs/{digest}"))).await, 404);
    let mut text = String::new();
    // A request is counted when its last byte is on the way, which its client may see first.
    for _ in 0..100 {
        text = lab.get("/metrics").send().await.unwrap().text().await.unwrap();
        if text.contains("route=\"blob\",status=\"404\"") {
            break;
        }
    }
    for line in [
        "shiplap_http_requests_total{method=\"POST\",route=\"upload\",status=\"201\"} 1",
        "shiplap_http_requests_total{method=\"GET\",route=\"blob\",status=\"200\"} 1",
        "shiplap_http_requests_total{method=\"GET\",route=\"blob\",status=\"404\"} 1",
        "shiplap_http_request_seconds_count{method=\"GET\",route=\"blob\"} 2",
        "shiplap_http_received_bytes_total 1000",
        "shiplap_http_requests_running 1",
        "shiplap_uploads 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    let value = |name: &str| -> i64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("shiplap_http_sent_bytes_total") >= 1000);
    assert!(value("shiplap_connections") >= 1);
    assert!(value("shiplap_store_free_bytes") > 0);
    assert!(text.ends_with("# EOF\n"));
}
