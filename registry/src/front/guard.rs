//! Lets requests for `/v2/` through to the registry, or does not.

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Front;
use super::auth::{Decision, Login, Subject};
use super::challenge;
use super::observe::Who;
use super::scope::{Actions, Scope};
use crate::server::{Fault, Route, code};

/// What a request needs. Nothing at all: to be somebody.
///
/// # Errors
/// The path or the method means nothing to a registry. Such a request goes no further: what is not understood here is not allowed.
pub(super) fn needs(method: &Method, route: &Route) -> Result<Vec<Scope>, Fault> {
    let action = match (route, method) {
        (Route::Base, &Method::GET | &Method::HEAD) => return Ok(Vec::new()),
        (Route::Catalog, &Method::GET | &Method::HEAD) => return Ok(vec![Scope::Catalog]),
        (Route::Uploads(_), &Method::POST) => Actions::PUSH,
        (Route::Upload(..), &Method::GET | &Method::HEAD | &Method::PATCH | &Method::PUT | &Method::DELETE) => {
            Actions::PUSH
        }
        (Route::Manifest(..), &Method::PUT) => Actions::PUSH,
        (Route::Manifest(..) | Route::Blob(..), &Method::DELETE) => Actions::DELETE,
        (
            Route::Manifest(..) | Route::Blob(..) | Route::Tags(_) | Route::Referrers(..),
            &Method::GET | &Method::HEAD,
        ) => Actions::PULL,
        _ => return Err(Fault::new(code::UNSUPPORTED, format!("{method} does nothing here"))),
    };
    // A push asks first what is there already.
    let actions = if action == Actions::PUSH { action.with(Actions::PULL) } else { action };
    let name = route.name().map(ToString::to_string).unwrap_or_default();
    Ok(vec![Scope::Repository { name, actions }])
}

/// The middleware.
pub(super) async fn guard(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let trust = &front.0.trust;
    if trust.is_forged(request.method(), request.uri(), request.headers()) {
        return challenge::forged();
    }
    let Some(auth) = &front.0.auth else {
        if !trust.is_asked_here(request.uri(), request.headers()) {
            return challenge::elsewhere();
        }
        return next.run(request).await;
    };
    let remote = trust.remote(request.headers(), request.extensions());
    let url = trust.url(request.uri(), request.headers(), request.extensions());
    let route = Route::parse(request.uri().path());
    let needs = match route.map_err(Fault::from).and_then(|route| needs(request.method(), &route)) {
        Ok(needs) => needs,
        Err(fault) => return fault.into_response(),
    };
    let login = match auth.login(request.headers(), remote).await {
        Ok(login) => login,
        Err(refusal) => {
            front.0.metrics.refused();
            return challenge::refused(refusal, |error| challenge::bearer(&url, &needs, error));
        }
    };
    let decision = auth.decide(&login, &needs);
    if decision != Decision::Allowed {
        let mut response = challenge::denied(decision, &needs, |error| challenge::bearer(&url, &needs, error));
        response.extensions_mut().insert(Who::of(&login.subject));
        return response;
    }
    if let Some(uri) = without_mount(request.uri(), |from| may_pull(&front, &login, from)) {
        *request.uri_mut() = uri;
    }
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Who::of(&login.subject));
    response
}

fn may_pull(front: &Front, login: &Login, repository: &str) -> bool {
    let need = Scope::Repository { name: repository.to_owned(), actions: Actions::PULL };
    front.0.auth.as_ref().is_none_or(|auth| auth.decide(login, &[need]) == Decision::Allowed)
}

/// A mount takes a blob out of another repository, which needs leave to read there. Without it the request becomes an ordinary upload, which is what a
/// client is told as well when the blob is not there (distribution-spec, *Mounting a blob from another repository*): so it does not learn which.
fn without_mount(uri: &Uri, may_pull: impl Fn(&str) -> bool) -> Option<Uri> {
    let query = uri.query()?;
    let pairs = || form_urlencoded::parse(query.as_bytes());
    if pairs().filter(|(key, _)| key == "from").all(|(_, from)| may_pull(&from)) {
        return None;
    }
    let mut kept = form_urlencoded::Serializer::new(String::new());
    kept.extend_pairs(pairs().filter(|(key, _)| key != "from" && key != "mount"));
    let kept = kept.finish();
    let path = uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.parse().ok();
    // What was a target without two of its parameters is one; should it not be, nothing is mounted either.
    Some(Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/")))
}

impl Who {
    /// For the log.
    pub(super) fn of(subject: &Subject) -> Self {
        Self(subject.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(method: Method, path: &str) -> Option<String> {
        let scopes = needs(&method, &Route::parse(path).unwrap()).ok()?;
        Some(scopes.iter().map(Scope::to_string).collect())
    }

    #[test]
    fn every_endpoint_needs_what_it_does() {
        let digest = shiplap_cache::Digest::of(b"x");
        let upload = format!("/v2/a/b/blobs/uploads/{}", "0".repeat(32));
        let (blob, manifest) = (format!("/v2/a/b/blobs/{digest}"), "/v2/a/b/manifests/v1".to_owned());
        let (pull, push, delete) = ("repository:a/b:pull", "repository:a/b:pull,push", "repository:a/b:delete");
        for (method, path, expected) in [
            (Method::GET, "/v2/", Some("")),
            (Method::GET, "/v2/_catalog", Some("registry:catalog:*")),
            (Method::GET, "/v2/a/b/tags/list", Some(pull)),
            (Method::GET, &format!("/v2/a/b/referrers/{digest}"), Some(pull)),
            (Method::HEAD, &blob, Some(pull)),
            (Method::GET, &blob, Some(pull)),
            (Method::DELETE, &blob, Some(delete)),
            (Method::GET, &manifest, Some(pull)),
            (Method::PUT, &manifest, Some(push)),
            (Method::DELETE, &manifest, Some(delete)),
            (Method::POST, "/v2/a/b/blobs/uploads/", Some(push)),
            (Method::PATCH, &upload, Some(push)),
            (Method::PUT, &upload, Some(push)),
            (Method::GET, &upload, Some(push)),
            (Method::DELETE, &upload, Some(push)),
            (Method::POST, &manifest, None),
            (Method::PUT, &blob, None),
            (Method::PUT, "/v2/_catalog", None),
            (Method::TRACE, "/v2/", None),
        ] {
            assert_eq!(needed(method.clone(), path).as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_mount_from_where_one_may_not_read_is_an_ordinary_upload() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let path = "/v2/a/blobs/uploads/";
        let left = |query: &str| {
            without_mount(&uri(&format!("{path}?{query}")), |from| from == "mine").map(|uri| uri.to_string())
        };
        assert_eq!(left("mount=sha256:0&from=mine"), None);
        assert_eq!(left("mount=sha256:0"), None);
        assert_eq!(left("mount=sha256:0&from=other"), Some(path.to_owned()));
        assert_eq!(left("mount=sha256:0&from=mine&fr%6Fm=other"), Some(path.to_owned()));
        assert_eq!(left("digest=sha256:0&mount=x&from=other"), Some(format!("{path}?digest=sha256%3A0")));
        assert_eq!(without_mount(&uri(path), |_| false), None);
    }
}
