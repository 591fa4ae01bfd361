//! Names and passwords, and what they open.

use reqwest::{Method, StatusCode};
use shiplap_cache::Digest;
use shiplap_registry::front::FrontOptions;

use super::lab::{ADA, BOB, Lab, challenge, closed, closed_with, open, outcome, status, write_passwords};

const ACCESS: &str = "[users]\nada = [\"repository:campus/*:pull,push,delete\", \"registry:catalog:*\"]\nbob = [\"repository:campus/*:pull\"]\n";

#[tokio::test]
async fn without_login_everybody_may_do_everything() {
    let lab = open().await;
    let digest = Digest::of(b"x");
    assert_eq!(status(lab.push("a/b", b"x")).await, 201);
    assert_eq!(status(lab.get(&format!("/v2/a/b/blobs/{digest}"))).await, 200);
    assert_eq!(status(lab.get("/v2/_catalog")).await, 200);
    assert_eq!(status(lab.request(Method::DELETE, &format!("/v2/a/b/blobs/{digest}"))).await, 202);
    assert_eq!(status(lab.get("/v2/token")).await, 404);
}

/// A page of the web whose name leads to 127.0.0.1 all of a sudden would otherwise read and delete with its reader's browser (DNS rebinding).
#[tokio::test]
async fn without_login_it_answers_to_names_of_this_machine_alone() {
    let lab = open().await;
    for (host, expected) in [
        ("localhost", 200),
        ("127.0.0.1:5000", 200),
        ("127.9.9.9", 200),
        ("[::1]:5000", 200),
        ("registry.localhost", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
    ] {
        for path in ["/v2/", "/"] {
            assert_eq!(status(lab.get(path).header("host", host)).await, expected, "{host} {path}");
        }
        assert_eq!(status(lab.get("/healthz").header("host", host)).await, 200);
    }
    let named = Some("http://registry.example.org:5000".to_owned());
    let lab = Lab::start(tempfile::tempdir().unwrap(), FrontOptions { url: named, ..FrontOptions::default() }).await;
    assert_eq!(status(lab.get("/v2/").header("host", "registry.example.org:5000")).await, 200);
    assert_eq!(status(lab.get("/v2/").header("host", "evil.example")).await, 403);
}

/// A browser sends a form or a `fetch` to 127.0.0.1 for any page, with the password that it knows; only the answer is kept from the page.
#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    for lab in [open().await, closed("").await] {
        let own = format!("http://{}", lab.address);
        for (origin, expected) in
            [("http://evil.example", 403), ("http://localhost:3000", 403), ("null", 403), (own.as_str(), 201)]
        {
            let push = lab.push("a/b", b"x").basic_auth(ADA.0, Some(ADA.1)).header("origin", origin);
            assert_eq!(status(push).await, expected, "{origin}");
        }
        let read = lab.get("/v2/").basic_auth(ADA.0, Some(ADA.1)).header("origin", "http://evil.example");
        assert_eq!(status(read).await, 200);
    }
}

#[tokio::test]
async fn who_says_nothing_is_told_where_to_get_a_token_and_for_what() {
    let lab = closed("").await;
    let url = format!("http://{}", lab.address);
    let base = lab.get("/v2/").send().await.unwrap();
    assert_eq!(base.status(), 401);
    assert_eq!(challenge(&base), format!("Bearer realm=\"{url}/v2/token\",service=\"shiplap\""));
    let push = lab.push("campus/openedx", b"x").send().await.unwrap();
    assert_eq!(push.status(), 401);
    let scope = "scope=\"repository:campus/openedx:pull,push\"";
    assert_eq!(challenge(&push), format!("Bearer realm=\"{url}/v2/token\",service=\"shiplap\",{scope}"));
    assert_eq!(outcome(lab.push("campus/openedx", b"x")).await, (StatusCode::UNAUTHORIZED, "UNAUTHORIZED".to_owned()));
}

#[tokio::test]
async fn a_password_opens_what_the_access_file_says_and_nothing_else() {
    let lab = closed(ACCESS).await;
    let digest = Digest::of(b"x");
    let blob = format!("/v2/campus/a/blobs/{digest}");
    let as_ada = |request: reqwest::RequestBuilder| request.basic_auth(ADA.0, Some(ADA.1));
    let as_bob = |request: reqwest::RequestBuilder| request.basic_auth(BOB.0, Some(BOB.1));
    let denied = (StatusCode::FORBIDDEN, "DENIED".to_owned());
    assert_eq!(outcome(as_bob(lab.push("campus/a", b"x"))).await, denied);
    assert_eq!(status(as_ada(lab.push("campus/a", b"x"))).await, 201);
    assert_eq!(status(as_bob(lab.get(&blob))).await, 200);
    assert_eq!(outcome(as_bob(lab.request(Method::DELETE, &blob))).await, denied);
    assert_eq!(outcome(as_ada(lab.push("other/a", b"x"))).await, denied);
    assert_eq!(outcome(as_bob(lab.get("/v2/_catalog"))).await, denied);
    assert_eq!(status(as_ada(lab.get("/v2/_catalog"))).await, 200);
    assert_eq!(status(as_ada(lab.request(Method::DELETE, &blob))).await, 202);
}

#[tokio::test]
async fn without_an_access_file_users_push_and_nobody_deletes() {
    let lab = closed("").await;
    assert_eq!(status(lab.push("a", b"x").basic_auth(BOB.0, Some(BOB.1))).await, 201);
    let delete = lab.request(Method::DELETE, &format!("/v2/a/blobs/{}", Digest::of(b"x")));
    assert_eq!(status(delete.basic_auth(BOB.0, Some(BOB.1))).await, 403);
}

#[tokio::test]
async fn what_is_no_endpoint_goes_no_further_whoever_asks() {
    let lab = closed("").await;
    for path in ["/v2/a/../b/tags/list", "/v2/a/%2e%2e/tags/list", "/v2/x", "/v1/", "/v2/a/tags/list/"] {
        // As it is, without the client putting it in order.
        let answer = raw(&lab, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_blob_is_not_mounted_out_of_a_repository_that_one_may_not_read() {
    let access = "[users]\nada = [\"repository:secret:pull,push\", \"repository:campus/*:pull,push\"]\nbob = [\"repository:campus/*:pull,push\"]\n";
    let lab = closed(access).await;
    assert_eq!(status(lab.push("secret", b"x").basic_auth(ADA.0, Some(ADA.1))).await, 201);
    let mount = |path: &str| lab.request(Method::POST, &format!("{path}?mount={}&from=secret", Digest::of(b"x")));
    let at = "/v2/campus/b/blobs/uploads/";
    assert_eq!(status(mount(at).basic_auth(BOB.0, Some(BOB.1))).await, 202);
    let read = lab.get(&format!("/v2/campus/b/blobs/{}", Digest::of(b"x")));
    assert_eq!(status(read.basic_auth(BOB.0, Some(BOB.1))).await, 404);
    assert_eq!(status(mount(at).basic_auth(ADA.0, Some(ADA.1))).await, 201);
}

#[tokio::test]
async fn who_guesses_waits_and_who_is_known_goes_on() {
    let lab = closed_with("", |options| options.limits.failures = 3).await;
    assert_eq!(status(lab.get("/v2/").basic_auth(ADA.0, Some(ADA.1))).await, 200);
    for user in ["ada", "nobody", "ada"] {
        assert_eq!(status(lab.get("/v2/").basic_auth(user, Some("guess"))).await, 401);
    }
    let late = lab.get("/v2/").basic_auth(BOB.0, Some(BOB.1)).send().await.unwrap();
    assert_eq!(late.status(), 429);
    assert!(late.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let code = outcome(lab.get("/v2/").basic_auth("ada", Some("guess"))).await;
    assert_eq!(code, (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS".to_owned()));
    assert_eq!(status(lab.get("/v2/").basic_auth(ADA.0, Some(ADA.1))).await, 200);
}

#[tokio::test]
async fn a_changed_password_file_counts_without_a_restart() {
    let lab = closed("").await;
    let may = |user: (&'static str, &'static str)| {
        let request = lab.get("/v2/").basic_auth(user.0, Some(user.1));
        async move { status(request).await == 200 }
    };
    assert!(may(ADA).await && may(BOB).await);
    write_passwords(&lab.dir.path().join("htpasswd"), &[ADA]);
    lab.until(|| async { !may(BOB).await }).await;
    assert!(may(ADA).await);
}

#[tokio::test]
async fn anybody_may_read_where_that_is_asked_for() {
    let lab = closed_with("", |options| options.login.as_mut().unwrap().anonymous_pull = true).await;
    assert_eq!(status(lab.push("a", b"x").basic_auth(ADA.0, Some(ADA.1))).await, 201);
    let blob = format!("/v2/a/blobs/{}", Digest::of(b"x"));
    assert_eq!(status(lab.get(&blob)).await, 200);
    assert_eq!(status(lab.push("a", b"y")).await, 401);
    assert_eq!(status(lab.request(Method::DELETE, &blob)).await, 401);
    // Clients ask here whether to log in; one that could not would never push.
    assert_eq!(status(lab.get("/v2/")).await, 401);
    let token = super::lab::json(lab.get("/v2/token?service=shiplap&scope=repository:a:pull,push")).await;
    assert_eq!(token["scope"], "repository:a:pull");
    let token = token["token"].as_str().unwrap();
    assert_eq!(status(lab.get("/v2/").bearer_auth(token)).await, 200);
    assert_eq!(status(lab.get(&blob).bearer_auth(token)).await, 200);
    assert_eq!(status(lab.push("a", b"y").bearer_auth(token)).await, 401);
}

#[tokio::test]
async fn behind_a_proxy_the_realm_is_what_the_client_sees() {
    let lab = closed_with("", |options| options.behind_proxy = true).await;
    let asked = lab.get("/v2/").header("host", "registry.example.org").header("x-forwarded-proto", "https");
    let realm = challenge(&asked.send().await.unwrap());
    assert!(realm.starts_with("Bearer realm=\"https://registry.example.org/v2/token\""), "{realm}");
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(lab: &Lab, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = lab.raw().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
