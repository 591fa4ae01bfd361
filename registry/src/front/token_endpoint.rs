//! `/v2/token`: exchanges a name and a password for a token that opens some repositories for some minutes (distribution, `docs/spec/auth/token.md` and
//! `oauth.md`).

use std::time::SystemTime;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::Front;
use super::auth::{Auth, Decision, Login, Refusal, Subject};
use super::challenge;
use super::jwt::LIFETIME;
use super::observe::Who;
use super::scope::{Actions, Scope};
use crate::server::{Fault, code};

/// The longest form that is read.
const FORM: usize = 16 << 10;
/// The most scopes that one token has.
const SCOPES: usize = 64;

pub(super) async fn answer(State(front): State<Front>, request: Request) -> Response {
    let Some(auth) = &front.0.auth else {
        let fault = Fault::new(code::UNSUPPORTED, "this registry asks nobody for a token");
        return fault.status(StatusCode::NOT_FOUND).into_response();
    };
    let remote = front.0.trust.remote(request.headers(), request.extensions());
    let (login, scopes) = match *request.method() {
        Method::GET => {
            let scopes = scopes(request.uri().query().unwrap_or_default().as_bytes());
            (auth.login(request.headers(), remote).await, scopes)
        }
        Method::POST => {
            let Ok(form) = to_bytes(request.into_body(), FORM).await else {
                return Fault::new(code::SIZE_INVALID, "the form is too long or was cut off").into_response();
            };
            (oauth(auth, &form, remote).await, scopes(&form))
        }
        _ => return Fault::new(code::UNSUPPORTED, "tokens are asked for with GET or POST").into_response(),
    };
    let login = match login {
        // A token does not get another: its owner could never be shut out.
        Ok(Login { narrowed: Some(_), .. }) => Err(Refusal::Wrong),
        Ok(Login { subject: Subject::Anonymous, .. }) if !auth.anonymous_pull => {
            return challenge::denied(Decision::LogIn, &[], |_| challenge::basic());
        }
        other => other,
    };
    let login = match login {
        Ok(login) => login,
        Err(refusal) => {
            front.0.metrics.refused();
            return challenge::refused(refusal, |_| challenge::basic());
        }
    };
    let granted = granted(auth, &login, scopes);
    let Ok(token) = auth.signer.issue(&login.subject.to_string(), &granted, SystemTime::now()) else {
        return Fault::new(code::UNKNOWN, "the system gives no random numbers").into_response();
    };
    let scope = granted.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ");
    let body = json!({
        "token": token,
        "access_token": token,
        "scope": scope,
        "expires_in": LIFETIME.as_secs(),
        "issued_at": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    response.extensions_mut().insert(Who::of(&login.subject));
    response
}

/// The scopes of a query or form: one or many `scope`s, each with one or many in it. What is no scope of ours is not granted, and no error.
fn scopes(form: &[u8]) -> Vec<Scope> {
    let all = form_urlencoded::parse(form).filter(|(key, _)| key == "scope");
    all.flat_map(|(_, value)| value.split_whitespace().filter_map(|one| one.parse().ok()).collect::<Vec<_>>())
        .take(SCOPES)
        .collect()
}

/// What is asked for as far as it is granted.
fn granted(auth: &Auth, login: &Login, scopes: Vec<Scope>) -> Vec<Scope> {
    let grants = auth.grants(&login.subject).unwrap_or_default();
    let part = |scope| match scope {
        Scope::Repository { name, actions } => {
            let actions = grants.on(&name).both(actions);
            (actions != Actions::NONE).then_some(Scope::Repository { name, actions })
        }
        Scope::Catalog => grants.catalog().then_some(Scope::Catalog),
    };
    scopes.into_iter().filter_map(part).collect()
}

/// The OAuth2 form. A refresh token is the secret of a token that lasts.
async fn oauth(auth: &Auth, form: &[u8], remote: std::net::IpAddr) -> Result<Login, Refusal> {
    let field = |name: &str| {
        let found = form_urlencoded::parse(form).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let subject = match field("grant_type").as_str() {
        "password" => auth.password(&field("username"), &field("password"), remote).await?,
        "refresh_token" => auth.secret(&field("refresh_token"), remote)?,
        _ => return Err(Refusal::Wrong),
    };
    Ok(Login { subject, narrowed: None })
}
