//! What registries answer when all is not well, on the way down and with manifests, tags and tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shiplap_cache::Digest;
use shiplap_registry::auth::Credentials;
use shiplap_registry::{Client, ClientOptions, Error, Packed, Platform, Reference, Repository, Trouble};

use crate::fake::{Answer, Fake, Request, answer};
use crate::fixture::{Home, client, home};

const RELEASE: &str = "1.4.0-g3f2c1ab09d4e";

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn tag(fake: &Fake) -> Reference {
    format!("127.0.0.1:{}/x:t", fake.port).parse().unwrap()
}

fn repository(fake: &Fake, path: &str) -> Repository {
    format!("127.0.0.1:{}/{path}", fake.port).parse().unwrap()
}

/// Answers pulls of what is in a store, rightly: one manifest by every tag, all else by digest.
fn pulls(here: &Home, packed: &Packed) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let (store, manifest) = (here.store().clone(), packed.manifest.digest);
    move |request| {
        if request.path == "/v2/" {
            return answer(200);
        }
        let last = request.path.rsplit('/').next().unwrap();
        let digest: Digest = last.parse().unwrap_or(manifest);
        let Ok(body) = store.blobs().read(&digest) else { return answer(404) };
        let size = body.len();
        match request.header("range").strip_prefix("bytes=").and_then(|r| r.split('-').next()?.parse::<usize>().ok()) {
            Some(from) => {
                answer(206).with("content-range", format!("bytes {from}-{}/{size}", size - 1)).body(&body[from..])
            }
            None => answer(200).with("docker-content-digest", digest).body(body),
        }
    }
}

type Bend = fn(&Request, Answer, &[u8]) -> Answer;

/// A registry whose first answer for the large layer breaks in the middle and whose later ones are bent.
fn bent(here: &Home, packed: &Packed, bend: Bend) -> Fake {
    let right = pulls(here, packed);
    let layer = packed.layers[0].digest;
    let all = here.store().blobs().read(&layer).unwrap();
    let tries = AtomicUsize::new(0);
    Fake::start(move |request| {
        let answer = right(request);
        if !request.path.contains(&layer.to_string()) {
            return answer;
        }
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Answer { cut: Some(all.len() / 2), ..answer },
            _ => bend(request, answer, &all),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_go_on_in_the_middle_sends_it_all_again() {
    let here = home();
    let (_, packed) = here.packed();
    let bends: [(&str, Bend); 4] = [
        ("ignores the range", |_, _, all| answer(200).body(all)),
        ("has no such range", |r, a, _| if r.header("range").is_empty() { a } else { answer(416) }),
        ("sends another range", |r, a, all| match r.header("range") {
            "" => a,
            _ => answer(206).with("content-range", format!("bytes 0-{}/{}", all.len() - 1, all.len())).body(all),
        }),
        ("does not say which range", |_, a, _| Answer { headers: Vec::new(), ..a }),
    ];
    for (name, bend) in bends {
        let (fake, there) = (bent(&here, &packed, bend), home());
        client().pull(&there.images, &tag(&fake), &platform()).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        there.images.check_whole(&packed.manifest.digest, true).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stands_still_goes_on_over_another_connection() {
    let here = home();
    let (_, packed) = here.packed();
    let right = pulls(&here, &packed);
    let layer = packed.layers[0].clone();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        let answer = right(request);
        let first = request.path.contains(&layer.digest.to_string()) && tries.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Answer { cut: Some(1000), stall: true, ..answer } } else { answer }
    });
    let (patience, backoff) = (Duration::from_millis(200), Duration::from_millis(5));
    let client = Client::new(ClientOptions { patience, backoff, ..ClientOptions::default() });
    let there = home();
    client.pull(&there.images, &tag(&fake), &platform()).await.unwrap();
    assert!(fake.seen().iter().any(|r| r.header("range") == "bytes=1000-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_compressed_on_the_way_is_refused_and_not_kept() {
    let here = home();
    let (_, packed) = here.packed();
    let right = pulls(&here, &packed);
    let layer = packed.layers[0].digest;
    let fake = Fake::start(move |r| {
        let answer = right(r);
        if !r.path.contains(&layer.to_string()) {
            return answer;
        }
        assert_eq!(r.header("accept-encoding"), "identity");
        let body = zstd::encode_all(&answer.body[..], 1).unwrap();
        Answer { body, ..answer }.with("content-encoding", "zstd")
    });
    let there = home();
    let error = client().pull(&there.images, &tag(&fake), &platform()).await.unwrap_err();
    assert!(matches!(&error, Error::Remote(e) if matches!(e.trouble, Trouble::Corrupt { .. })), "{error}");
    assert_eq!(there.store().blobs().size(&layer).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_a_registry_does_not_follow_to_another_host() {
    let here = home();
    let (_, packed) = here.packed();
    let right = pulls(&here, &packed);
    let elsewhere = Fake::start(pulls(&here, &packed));
    let port = elsewhere.port;
    let fake = Fake::start(move |r| {
        if r.header("authorization") != "Basic Y2FtcHVzOnMzY3JldA==" {
            return answer(401).with("www-authenticate", "Basic realm=\"x\"");
        }
        match (r.method.as_str(), r.path.contains("/blobs/")) {
            ("GET", true) => answer(307).with("location", format!("http://127.0.0.1:{port}{}", r.path)),
            ("POST", _) => answer(202).with("location", format!("http://127.0.0.1:{port}/v2/x/blobs/uploads/1")),
            ("HEAD", true) => answer(404),
            _ => right(r),
        }
    });
    let (_dir, client) = with_login(&fake);
    let there = home();
    client.pull(&there.images, &tag(&fake), &platform()).await.unwrap();
    let followed = elsewhere.count("GET", "/blobs/");
    assert!(followed >= 3, "{followed}");
    assert!(client.push(&here.images, &packed.manifest.digest, &tag(&fake)).await.is_err());
    assert!(elsewhere.count("PUT", "/uploads/") > 0);
    assert!(elsewhere.seen().iter().all(|r| r.header("authorization").is_empty()));
}

fn with_login(fake: &Fake) -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    // campus:s3cret
    let entry = serde_json::json!({"auth": "Y2FtcHVzOnMzY3JldA=="});
    let auths = serde_json::json!({"auths": {format!("127.0.0.1:{}", fake.port): entry}});
    std::fs::write(&path, auths.to_string()).unwrap();
    let (credentials, backoff) = (Credentials::from_file(&path), Duration::from_millis(5));
    (dir, Client::new(ClientOptions { credentials, backoff, attempts: 3, ..ClientOptions::default() }))
}

/// A registry whose tokens open it `uses` times each, and only the newest; with no limit, any does.
fn with_tokens(uses: usize, right: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Fake {
    let (port, given, used) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0), AtomicUsize::new(0));
    let own = port.clone();
    let fake = Fake::start(move |r| {
        if r.is("GET", "/token") {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            used.store(0, Ordering::SeqCst);
            return answer(200).body(format!(r#"{{"token":"t{number}","expires_in":3600}}"#));
        }
        let newest = format!("Bearer t{}", given.load(Ordering::SeqCst));
        let fits = r.header("authorization") == newest || (uses == usize::MAX && !r.header("authorization").is_empty());
        if fits && used.fetch_add(1, Ordering::SeqCst) < uses {
            return right(r);
        }
        let realm = format!("Bearer realm=\"http://127.0.0.1:{}/token\",service=\"r\"", own.load(Ordering::SeqCst));
        answer(401).with("www-authenticate", realm)
    });
    port.store(fake.port.into(), Ordering::SeqCst);
    fake
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_is_got_again_and_one_that_opens_nothing_is_not_got_for_ever() {
    let here = home();
    let (_, packed) = here.packed();
    let fake = with_tokens(2, pulls(&here, &packed));
    let one = ClientOptions { parallel: 1, ..ClientOptions::default() };
    Client::new(one).pull(&home().images, &tag(&fake), &platform()).await.unwrap();
    assert!(fake.count("GET", "/token") >= 2);

    let closed = with_tokens(0, pulls(&here, &packed));
    let error = client().pull(&home().images, &tag(&closed), &platform()).await.unwrap_err();
    assert!(matches!(&error, Error::Remote(e) if matches!(e.trouble, Trouble::Refused { .. })), "{error}");
    assert_eq!(closed.count("GET", "/token"), 2, "at first, and once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_asks_for_a_token_that_opens_both_repositories() {
    let here = home();
    let (_, packed) = here.packed();
    let manifest = packed.manifest.digest;
    let fake = with_tokens(usize::MAX, move |r| match r.method.as_str() {
        "POST" if r.path.contains("mount=") => answer(201),
        "POST" => answer(202).with("location", "/v2/x/blobs/uploads/1"),
        "PUT" => answer(201),
        "HEAD" if r.path.contains("/manifests/") => answer(200).with("docker-content-digest", manifest),
        _ => answer(404),
    });
    let client = client();
    for path in ["campus/a", "campus/b"] {
        client.push(&here.images, &manifest, &repository(&fake, path).tagged("t").unwrap()).await.unwrap();
    }
    let both = "scope=repository%3Acampus%2Fb%3Apull%2Cpush&scope=repository%3Acampus%2Fa%3Apull";
    assert_eq!(fake.count("GET", both), 1, "{:?}", fake.seen().iter().map(|r| &r.path).collect::<Vec<_>>());
    assert_eq!(fake.count("POST", "mount="), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_without_end_and_one_with_another_digest_are_refused() {
    let here = home();
    let (_, packed) = here.packed();
    let manifest = here.store().blobs().read(&packed.manifest.digest).unwrap();
    let cases = [
        ("longer than the 4194304 bytes", [&manifest[..], &vec![b' '; 5 << 20]].concat(), None),
        ("something else", manifest, Some(Digest::of(b"other"))),
    ];
    for (word, body, says) in cases {
        let fake = Fake::start(move |r| {
            let answer = answer(200).body(if r.path == "/v2/" { Vec::new() } else { body.clone() });
            says.map_or(answer.clone(), |digest| answer.with("docker-content-digest", digest))
        });
        let there = home();
        let error = client().pull(&there.images, &tag(&fake), &platform()).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(there.kept(), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_know_head_or_says_no_digest_is_asked_for_the_manifest() {
    let here = home();
    let (_, packed) = here.packed();
    for head in [405, 200] {
        let right = pulls(&here, &packed);
        let fake = Fake::start(move |r| match r.method.as_str() {
            "HEAD" => answer(head),
            _ => Answer { headers: Vec::new(), ..right(r) },
        });
        assert_eq!(client().resolve(&tag(&fake)).await.unwrap(), Some(packed.manifest.digest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_page_by_page() {
    let fake = Fake::start(|r| match r.path.as_str() {
        "/v2/" => answer(200),
        "/v2/x/tags/list?n=1000" => {
            answer(200).with("link", "</v2/x/tags/list?n=1000&last=b>; rel=\"next\"").body(r#"{"tags":["a","b"]}"#)
        }
        "/v2/x/tags/list?n=1000&last=b" => answer(200).body(r#"{"tags":["c"]}"#),
        "/v2/empty/tags/list?n=1000" => answer(200).body(r#"{"tags":null}"#),
        _ => answer(404),
    });
    assert_eq!(client().tags(&repository(&fake, "x")).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(client().tags(&repository(&fake, "empty")).await.unwrap(), [""; 0]);
}

/// A registry that makes tags, or does not, as `put` says. It knows the tag from the first `PUT` on.
fn tagging(put: Answer, then: Digest) -> Fake {
    let written = AtomicUsize::new(0);
    Fake::start(move |r| match r.method.as_str() {
        "PUT" if r.path.contains("/manifests/") => {
            written.fetch_add(1, Ordering::SeqCst);
            put.clone()
        }
        "HEAD" if r.path.contains("/manifests/") => match written.load(Ordering::SeqCst) {
            0 => answer(404),
            _ => answer(200).with("docker-content-digest", then),
        },
        _ => answer(200),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_breaks_off_each_time_and_cannot_go_on_is_given_up() {
    let (here, there) = (home(), home());
    let (_, packed) = here.packed();
    let fake = bent(&here, &packed, |request, answer, all| match request.header("range") {
        "" => Answer { cut: Some(all.len() / 2), ..answer },
        _ => crate::fake::answer(416),
    });
    let error = client().pull(&there.images, &tag(&fake), &platform()).await.unwrap_err();
    assert!(matches!(&error, Error::Remote(e) if matches!(e.trouble, Trouble::Unreachable { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_keeps_a_tag_is_understood_in_its_own_words() {
    let here = home();
    let (_, packed) = here.packed();
    let (ours, other) = (packed.manifest.digest, Digest::of(b"other"));
    let said =
        |code: &str, message: &str| serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    for refusal in [
        answer(409),
        answer(412).body(said("PRECONDITION", "configured as immutable")),
        answer(400)
            .body(said("TAG_INVALID", "already exists and cannot be overwritten because the repository is immutable")),
        answer(403).body(said("DENIED", "immutable tag")),
    ] {
        let status = refusal.status;
        let push = async |then| {
            let fake = tagging(refusal.clone(), then);
            let tag = repository(&fake, "x").tagged(RELEASE).unwrap();
            client().push(&here.images, &ours, &tag).await
        };
        let error = push(other).await.unwrap_err();
        let both =
            |e: &Error| matches!(e, Error::TagExists { existing, wanted, .. } if (*existing, *wanted) == (other, ours));
        assert!(both(&error), "{status}: {error}");
        assert_eq!(push(ours).await.unwrap().digest, ours, "{status}: somebody pushed the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_another_image_under_its_tag_is_told_that_it_lost() {
    let here = home();
    let (_, packed) = here.packed();
    let (ours, other) = (packed.manifest.digest, Digest::of(b"other"));
    let fake = tagging(answer(201), other);
    let tag = repository(&fake, "x").tagged(RELEASE).unwrap();
    let error = client().push(&here.images, &ours, &tag).await.unwrap_err();
    assert!(matches!(&error, Error::TagExists { existing, wanted, .. } if (*existing, *wanted) == (other, ours)));
}

/// Another client that looked before our tag was there writes it a moment after us; then a registry answers with its digest.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_read_back_late_enough_to_see_who_looked_before_we_wrote() {
    let here = home();
    let (_, packed) = here.packed();
    let (ours, other) = (packed.manifest.digest, Digest::of(b"other"));
    let (written, late) = (Arc::new(Mutex::new(None::<std::time::Instant>)), Duration::from_millis(100));
    let fake = Fake::start(move |r| match r.method.as_str() {
        "PUT" if r.path.contains("/manifests/") => {
            *written.lock().unwrap() = Some(std::time::Instant::now());
            answer(201)
        }
        "HEAD" if r.path.contains("/manifests/") => match *written.lock().unwrap() {
            None => answer(404),
            Some(at) if at.elapsed() < late => answer(200).with("docker-content-digest", ours),
            Some(_) => answer(200).with("docker-content-digest", other),
        },
        _ => answer(200),
    });
    let tag = repository(&fake, "x").tagged(RELEASE).unwrap();
    let settle = Duration::from_millis(300);
    let client = Client::new(ClientOptions { settle, ..ClientOptions::default() });
    let error = client.push(&here.images, &ours, &tag).await.unwrap_err();
    assert!(matches!(&error, Error::TagExists { existing, .. } if *existing == other), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_keeps_tags_itself_is_not_waited_for() {
    let here = home();
    let (_, packed) = here.packed();
    let ours = packed.manifest.digest;
    let fake = tagging(answer(201).with("shiplap-tag-immutable", "true"), ours);
    let tag = repository(&fake, "x").tagged(RELEASE).unwrap();
    // Who waited for this would not be back today.
    let client = Client::new(ClientOptions { settle: Duration::from_secs(1 << 20), ..ClientOptions::default() });
    assert_eq!(client.push(&here.images, &ours, &tag).await.unwrap().digest, ours);
}
