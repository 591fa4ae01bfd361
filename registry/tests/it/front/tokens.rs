//! Tokens: those of some minutes, and those that last.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use shiplap_cache::Digest;

use super::lab::{ADA, BOB, Lab, challenge, closed, json, outcome, status};

const ACCESS: &str =
    "[users]\nada = [\"repository:campus/*:pull,push,delete\"]\nbob = [\"repository:campus/*:pull\"]\n";

async fn token(lab: &Lab, user: (&str, &str), scopes: &[&str]) -> String {
    let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
    let answer = json(lab.get(&format!("/v2/token?service=shiplap{scopes}")).basic_auth(user.0, Some(user.1))).await;
    assert_eq!(answer["token"], answer["access_token"]);
    assert_eq!(answer["expires_in"], 300);
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_opens_what_was_asked_for_as_far_as_it_is_granted() {
    let lab = closed(ACCESS).await;
    let pull = token(&lab, ADA, &["repository:campus/a:pull"]).await;
    let push = token(&lab, ADA, &["repository:campus/a:pull,push"]).await;
    let digest = Digest::of(b"x");
    let blob = format!("/v2/campus/a/blobs/{digest}");
    let refused = lab.push("campus/a", b"x").bearer_auth(&pull).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    // Its owner may: another token will do.
    assert!(challenge(&refused).ends_with("scope=\"repository:campus/a:pull,push\",error=\"insufficient_scope\""));
    assert_eq!(status(lab.push("campus/a", b"x").bearer_auth(&push)).await, 201);
    assert_eq!(status(lab.get(&blob).bearer_auth(&pull)).await, 200);
    assert_eq!(status(lab.get(&blob.replace("campus/a", "campus/b")).bearer_auth(&pull)).await, 401);
    assert_eq!(status(lab.request(Method::DELETE, &blob).bearer_auth(&push)).await, 401);
    let delete = token(&lab, ADA, &["repository:campus/a:delete"]).await;
    assert_eq!(status(lab.request(Method::DELETE, &blob).bearer_auth(&delete)).await, 202);
    // Bob may not, whatever he asks for.
    let greedy = token(&lab, BOB, &["repository:campus/a:pull,push,delete", "repository:other:pull"]).await;
    let denied = (StatusCode::FORBIDDEN, "DENIED".to_owned());
    assert_eq!(outcome(lab.push("campus/a", b"x").bearer_auth(&greedy)).await, denied);
    assert_eq!(outcome(lab.get("/v2/other/tags/list").bearer_auth(&greedy)).await, denied);
}

#[tokio::test]
async fn the_oauth_form_gives_the_same() {
    let lab = closed(ACCESS).await;
    let form = |user: &str, password: &str| {
        let text = format!(
            "grant_type=password&service=shiplap&client_id=test&username={user}&password={password}&scope=repository:campus/a:pull,push"
        );
        lab.request(Method::POST, "/v2/token").header("content-type", "application/x-www-form-urlencoded").body(text)
    };
    let answer = json(form(ADA.0, "correct+horse")).await;
    assert_eq!(answer["scope"], "repository:campus/a:pull,push");
    assert_eq!(status(lab.push("campus/a", b"x").bearer_auth(answer["access_token"].as_str().unwrap())).await, 201);
    assert_eq!(status(form(ADA.0, "wrong")).await, 401);
    let secret = lab.token("ci", &["repository:campus/*:pull"]).await;
    let form = format!("grant_type=refresh_token&refresh_token={secret}&scope=repository:campus/a:pull,push");
    assert_eq!(json(lab.request(Method::POST, "/v2/token").body(form)).await["scope"], "repository:campus/a:pull");
}

#[tokio::test]
async fn a_token_is_not_had_for_nothing_or_for_another_token() {
    let lab = closed(ACCESS).await;
    let nobody = lab.get("/v2/token?scope=repository:campus/a:pull").send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert!(challenge(&nobody).starts_with("Basic "));
    assert_eq!(status(lab.get("/v2/token").basic_auth("ada", Some("wrong"))).await, 401);
    let short = token(&lab, ADA, &["repository:campus/a:pull"]).await;
    assert_eq!(status(lab.get("/v2/token?scope=repository:campus/a:push").bearer_auth(short)).await, 401);
}

#[tokio::test]
async fn a_forged_token_opens_nothing() {
    let lab = closed(ACCESS).await;
    let good = token(&lab, BOB, &["repository:campus/a:pull"]).await;
    let parts: Vec<&str> = good.split('.').collect();
    let claims = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let richer =
        BASE64_URL_SAFE_NO_PAD.encode(claims.replace("user:bob", "user:ada").replace("\"pull\"", "\"pull\",\"push\""));
    let none = BASE64_URL_SAFE_NO_PAD.encode("{\"alg\":\"none\",\"typ\":\"JWT\"}");
    for forged in [
        format!("{}.{richer}.{}", parts[0], parts[2]),
        format!("{none}.{richer}."),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{good}x"),
        "x".repeat(5000),
    ] {
        let refused = lab.push("campus/a", b"x").bearer_auth(&forged).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{forged}");
        assert!(challenge(&refused).ends_with("error=\"invalid_token\""));
    }
}

#[tokio::test]
async fn a_token_that_lasts_is_a_password_and_a_bearer_token_until_it_is_revoked() {
    let lab = closed(ACCESS).await;
    let secret = lab.token("ci", &["repository:campus/*:pull,push"]).await;
    assert_eq!(status(lab.push("campus/a", b"x").bearer_auth(&secret)).await, 201);
    assert_eq!(status(lab.push("campus/a", b"y").basic_auth("whoever", Some(&secret))).await, 201);
    assert_eq!(status(lab.push("other", b"y").basic_auth("whoever", Some(&secret))).await, 403);
    let delete = lab.request(Method::DELETE, &format!("/v2/campus/a/blobs/{}", Digest::of(b"x")));
    assert_eq!(status(delete.bearer_auth(&secret)).await, 403);
    let short = token(&lab, ("whoever", &secret), &["repository:campus/a:pull"]).await;
    let tags = || lab.get(&format!("/v2/campus/a/blobs/{}", Digest::of(b"x")));
    assert_eq!(status(tags().bearer_auth(&short)).await, 200);
    lab.tokens().revoke("ci").unwrap();
    lab.until(|| async { status(tags().bearer_auth(&secret)).await == 401 }).await;
    // What was had with it ends with it.
    assert_eq!(status(tags().bearer_auth(&short)).await, 401);
    assert_eq!(status(tags().basic_auth("whoever", Some(&secret))).await, 401);
}
