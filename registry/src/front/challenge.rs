//! The answers to those who must not.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::auth::{Decision, Refusal};
use super::jwt::SERVICE;
use super::scope::Scope;
use crate::server::{Fault, code};

/// Asks for a token in the way of distribution (`docs/spec/auth/token.md`): `docker`, `containerd`, `skopeo`, `crane` and `oras` know it.
///
/// One challenge and no second one for `Basic`: clients differ in which of two they answer, and some answer both, with the password on each request.
/// Who sends a password unasked is let in all the same.
pub(super) fn bearer(url: &str, scopes: &[Scope], error: Option<&str>) -> String {
    let mut challenge = format!("Bearer realm=\"{url}/v2/token\",service=\"{SERVICE}\"");
    if !scopes.is_empty() {
        let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        challenge.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error=\"{error}\""));
    }
    challenge
}

/// Asks for name and password: the token endpoint itself, and what browsers and Prometheus read.
pub(super) fn basic() -> String {
    format!("Basic realm=\"{SERVICE}\", charset=\"UTF-8\"")
}

/// What is answered to credentials that do not count.
pub(super) fn refused(refusal: Refusal, challenge: impl FnOnce(Option<&'static str>) -> String) -> Response {
    match refusal {
        Refusal::Wrong => unauthorized("the name, password or token is wrong", challenge(None)),
        Refusal::Expired => {
            unauthorized("the token is not valid, or not any more: get a new one", challenge(Some("invalid_token")))
        }
        Refusal::Slow(wait) => {
            let seconds = wait.as_secs().max(1);
            let message = format!("too many wrong passwords from this address: try again in {seconds} seconds");
            Fault::new(code::TOOMANYREQUESTS, message).header(header::RETRY_AFTER, seconds.to_string()).into_response()
        }
    }
}

/// What is answered to somebody who may not.
pub(super) fn denied(
    decision: Decision,
    needs: &[Scope],
    challenge: impl FnOnce(Option<&'static str>) -> String,
) -> Response {
    let what = needs.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ");
    match decision {
        Decision::Denied => {
            Fault::new(code::DENIED, format!("you are logged in, and may not do this: it needs {what}")).into_response()
        }
        Decision::Insufficient => {
            unauthorized(&format!("the token does not open {what}"), challenge(Some("insufficient_scope")))
        }
        Decision::LogIn | Decision::Allowed => unauthorized("log in first", challenge(None)),
    }
}

/// What is answered to who asks by a strange name where nobody logs in.
pub(super) fn elsewhere() -> Response {
    let message = "without login this registry answers to localhost and 127.0.0.1 alone; `shiplap serve --url` names another name";
    Fault::new(code::DENIED, message).into_response()
}

/// What is answered to a page of another site.
pub(super) fn forged() -> Response {
    let message = "a page of another site asks for this: only pages of the registry itself may change something";
    Fault::new(code::DENIED, message).into_response()
}

fn unauthorized(message: &str, challenge: String) -> Response {
    let fault = Fault::new(code::UNAUTHORIZED, message).status(StatusCode::UNAUTHORIZED);
    fault.header(header::WWW_AUTHENTICATE, challenge).into_response()
}
