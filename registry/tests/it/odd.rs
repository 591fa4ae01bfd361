//! Registries and networks that are not as they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shiplap_cache::Digest;
use shiplap_registry::auth::Credentials;
use shiplap_registry::{Client, ClientOptions, Error, Packed, Platform, Reference, Trouble};

use crate::fake::{Answer, Fake, Request, answer};
use crate::fixture::{Home, client, home};

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn tag(fake: &Fake) -> Reference {
    format!("127.0.0.1:{}/x:t", fake.port).parse().unwrap()
}

/// Answers pulls of an image, rightly.
fn pulls(here: &Home, packed: &Packed) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let (store, manifest, media) = (here.store().clone(), packed.manifest.digest, packed.manifest.media_type.clone());
    move |request| {
        if request.path == "/v2/" {
            return answer(200);
        }
        if request.path.contains("/manifests/") {
            let body = store.blobs().read(&manifest).unwrap();
            return answer(200).with("docker-content-digest", manifest).with("content-type", &media).body(body);
        }
        let digest: Digest = request.path.rsplit('/').next().unwrap().parse().unwrap();
        let body = store.blobs().read(&digest).unwrap();
        match request.header("range").strip_prefix("bytes=").and_then(|r| r.split('-').next()?.parse::<usize>().ok()) {
            Some(from) => answer(206).body(&body[from..]),
            None => answer(200).body(body),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_stopped() {
    let (here, there) = (home(), home());
    let (_, packed) = here.packed();
    let large = packed.layers[0].clone();
    let right = pulls(&here, &packed);
    let tries = AtomicUsize::new(0);
    let name = large.digest.to_string();
    let fake = Fake::start(move |request| {
        let answer = right(request);
        match request.path.contains(&name) && tries.fetch_add(1, Ordering::SeqCst) < 2 {
            true => Answer { cut: Some(answer.body.len() / 2), ..answer },
            false => answer,
        }
    });
    client().pull(&there.images, &tag(&fake), &platform()).await.unwrap();
    let asked: Vec<Request> = fake.seen().into_iter().filter(|r| r.path.contains(&large.digest.to_string())).collect();
    assert_eq!(asked.len(), 3);
    let from = |r: &Request| r.header("range").to_owned();
    assert_eq!(from(&asked[0]), "");
    assert!(from(&asked[1]).starts_with("bytes=") && from(&asked[1]) != "bytes=0-", "{asked:?}");
    assert_eq!(there.store().blobs().verify(&large.digest).unwrap(), large.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_busy_is_asked_again_and_one_that_stays_busy_is_given_up() {
    let (here, there) = (home(), home());
    let (_, packed) = here.packed();
    let right = pulls(&here, &packed);
    let count = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        n if n > 0 && n % 2 == 1 => answer(if n % 4 == 1 { 429 } else { 503 }),
        _ => right(request),
    });
    client().pull(&there.images, &tag(&fake), &platform()).await.unwrap();

    let busy = Fake::start(|r| if r.path == "/v2/" { answer(200) } else { answer(503) });
    let error = client().pull(&home().images, &tag(&busy), &platform()).await.unwrap_err();
    let Error::Remote(error) = error else { panic!("{error}") };
    assert!(matches!(error.trouble, Trouble::Status { status: 503, .. }), "{error}");
    assert_eq!(busy.count("GET", "/manifests/"), 3);
}

/// A registry that takes pushes, keeps them, and refuses a blob that comes in one piece.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_pieces_gets_pieces() {
    let here = home();
    let (_, packed) = here.packed();
    let manifest = packed.manifest.digest;
    let fake = Fake::start(move |r| match r.method.as_str() {
        "GET" => answer(200),
        "POST" => answer(202).with("location", "/v2/x/blobs/uploads/1"),
        "PATCH" => answer(202).with("location", "/v2/x/blobs/uploads/1"),
        "PUT" if r.path.contains("/manifests/") => answer(201).with("location", "/v2/x/manifests/t"),
        "PUT" if r.body.is_empty() => answer(201).with("location", "/v2/x/blobs/y"),
        "PUT" => answer(405),
        "HEAD" if r.path.contains("/manifests/") => answer(200).with("docker-content-digest", manifest),
        _ => answer(404),
    });
    let pushed = client().push(&here.images, &manifest, &tag(&fake)).await.unwrap();
    assert_eq!(pushed.sent + packed.manifest.size, packed.size());
    assert!(fake.count("PATCH", "/uploads/") >= 3);
    let sent: usize = fake.seen().iter().filter(|r| r.method == "PATCH").map(|r| r.body.len()).sum();
    assert_eq!(sent as u64, pushed.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_reads_back_as_something_else_is_an_error() {
    let here = home();
    let (_, packed) = here.packed();
    let other = Digest::of(b"other");
    let fake = Fake::start(move |r| match r.method.as_str() {
        "HEAD" if r.path.contains("/manifests/") => answer(200).with("docker-content-digest", other),
        "PUT" => answer(201).with("location", "/v2/x/manifests/t"),
        _ => answer(200),
    });
    let error = client().push(&here.images, &packed.manifest.digest, &tag(&fake)).await.unwrap_err();
    let Error::Remote(error) = error else { panic!("{error}") };
    assert!(matches!(&error.trouble, Trouble::ReadBack { actual, .. } if *actual == other.to_string()), "{error}");
}

fn with_auths(entry: &serde_json::Value, fake: &Fake) -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let auths = serde_json::json!({"auths": {format!("127.0.0.1:{}", fake.port): entry}});
    std::fs::write(&path, auths.to_string()).unwrap();
    (dir, Client::new(ClientOptions { credentials: Credentials::from_file(&path), ..ClientOptions::default() }))
}

/// A registry with a token server, which knows one password and one identity token.
fn guarded(right: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
    let port = Arc::new(AtomicUsize::new(0));
    let own = port.clone();
    let fake = Fake::start(move |r| {
        let body = String::from_utf8_lossy(&r.body).into_owned();
        if r.is("POST", "/token") {
            let good = body.contains("refresh_token=t0ken") && body.contains("scope=repository%3Ax%3Apull");
            return if good { answer(200).body(r#"{"access_token":"opened"}"#) } else { answer(401) };
        }
        if r.is("GET", "/token") {
            // campus:s3cret
            let good = r.header("authorization") == "Basic Y2FtcHVzOnMzY3JldA==";
            return if good { answer(200).body(r#"{"token":"opened"}"#) } else { answer(401).body("bad credentials") };
        }
        if r.header("authorization") == "Bearer opened" {
            return right(r);
        }
        let realm = format!("Bearer realm=\"http://127.0.0.1:{}/token\",service=\"r\"", own.load(Ordering::SeqCst));
        answer(401).with("www-authenticate", realm)
    });
    port.store(fake.port.into(), Ordering::SeqCst);
    fake
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_identity_tokens_are_exchanged_for_access() {
    let here = home();
    let (_, packed) = here.packed();
    let fake = guarded(pulls(&here, &packed));
    for (entry, opens) in [
        (serde_json::json!({"auth": "Y2FtcHVzOnMzY3JldA=="}), true),
        (serde_json::json!({"auth": "Y2FtcHVzOndyb25n"}), false),
        (serde_json::json!({"auth": "MDA6", "identitytoken": "t0ken"}), true),
        (serde_json::json!({"auth": "MDA6", "identitytoken": "0ld"}), false),
    ] {
        let (_dir, client) = with_auths(&entry, &fake);
        match client.pull(&home().images, &tag(&fake), &platform()).await {
            Ok(pulled) => assert!(opens && pulled.manifest == packed.manifest.digest, "{entry}"),
            Err(Error::Remote(e)) => {
                assert!(!opens && matches!(e.trouble, Trouble::Refused { .. }), "{entry}: {e}");
                let text = format!("{e} {e:?}");
                assert!(!["s3cret", "wrong", "t0ken", "0ld"].iter().any(|secret| text.contains(secret)), "{text}");
            }
            Err(e) => panic!("{entry}: {e}"),
        }
    }
}

/// TLS by a name that is no loopback address but leads here, with an authority of our own. Runs itself in a process with `SSL_CERT_FILE`.
#[test]
fn an_authority_of_ones_own_is_trusted_through_ssl_cert_file() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let here = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 0))
        .is_ok_and(|mut a| a.any(|a| a.ip().is_loopback()));
    if !here || name == "localhost" {
        eprintln!("skipped: this machine's name does not lead to a loopback address");
        return;
    }
    let server = crate::server::Server::with_tls(&name);
    plain(&name);
    for (trusted, word) in [(true, "is not there"), (false, "not trusted")] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "odd::asks_for_a_tag", "--ignored", "--nocapture"]);
        child.env("SHIPLAP_TEST_TAG", format!("{name}:{}/x:t", server.port)).env_remove("SSL_CERT_DIR");
        child.env(
            "SSL_CERT_FILE",
            if trusted { server.authority() } else { "/etc/ssl/certs/ca-certificates.crt".into() },
        );
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains(word), "trusted {trusted}: {text}");
    }
}

/// Runs itself in a process with a proxy that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_on_this_machine_is_asked_without_a_proxy() {
    let fake = Fake::start(|r| answer(if r.path == "/v2/" { 200 } else { 404 }));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "odd::asks_for_a_tag", "--ignored", "--nocapture"]);
    child.env("SHIPLAP_TEST_TAG", tag(&fake).to_string()).env_remove("NO_PROXY").env_remove("no_proxy");
    let proxy = format!("http://127.0.0.1:{}", crate::server::free_port());
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().for_each(|name| {
        child.env(name, &proxy);
    });
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("is not there"), "{text}");
}

/// Where TLS was turned off, there is none.
fn plain(name: &str) {
    let fake = Fake::start(|r| answer(if r.path == "/v2/" { 200 } else { 404 }));
    let registry = format!("{name}:{}", fake.port);
    let reference: Reference = format!("{registry}/x:t").parse().unwrap();
    let client = Client::new(ClientOptions { insecure: vec![registry], ..ClientOptions::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(client.resolve(&reference)).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by an_authority_of_ones_own_is_trusted_through_ssl_cert_file"]
async fn asks_for_a_tag() {
    let reference: Reference = std::env::var("SHIPLAP_TEST_TAG").unwrap().parse().unwrap();
    let error = client().pull(&home().images, &reference, &platform()).await.unwrap_err();
    eprintln!("{error}");
}
