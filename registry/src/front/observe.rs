//! Sees every request from its beginning to the last byte of its answer: for the log, for the metrics, and for the limits on time and number.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Front;
use super::body::{Incoming, Outgoing};
use super::metrics::Metrics;
use crate::server::{Fault, Route, code};

/// Who was found behind a request, on its answer's way out.
#[derive(Debug, Clone)]
pub(super) struct Who(pub String);

/// One request.
struct Seen {
    metrics: Arc<Metrics>,
    start: Instant,
    remote: std::net::IpAddr,
    who: String,
    method: Method,
    /// Without the query, which may have a token in it.
    path: String,
    route: &'static str,
    status: StatusCode,
    sent: u64,
    /// Whether an answer was begun.
    answered: bool,
}

impl Seen {
    fn send(&mut self, bytes: u64) {
        self.sent += bytes;
    }
}

impl Drop for Seen {
    /// When the last byte was sent, or the client went away.
    fn drop(&mut self) {
        let took = self.start.elapsed();
        // 499 is what nginx writes for a client that did not wait.
        let status = if self.answered { self.status.as_u16() } else { 499 };
        self.metrics.ended(known(&self.method), self.route, status, took);
        tracing::info!(
            target: "shiplap::access",
            remote = %self.remote,
            user = %self.who,
            method = %self.method,
            path = %self.path,
            status,
            bytes = self.sent,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        );
    }
}

/// The middleware.
pub(super) async fn observe(State(front): State<Front>, request: Request, next: Next) -> Response {
    let inner = &front.0;
    let path = request.uri().path();
    let route = class(path);
    inner.metrics.began();
    let mut seen = Seen {
        metrics: inner.metrics.clone(),
        start: Instant::now(),
        remote: inner.trust.remote(request.headers(), request.extensions()),
        who: "-".to_owned(),
        method: request.method().clone(),
        path: path.to_owned(),
        route,
        status: StatusCode::OK,
        sent: 0,
        answered: false,
    };
    // Who asks whether we live is answered though all turns are taken.
    let turn = if matches!(route, "health" | "metrics") {
        None
    } else {
        match tokio::time::timeout(inner.limits.turn, inner.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Some(turn),
            _ => {
                (seen.answered, seen.status) = (true, StatusCode::SERVICE_UNAVAILABLE);
                let fault = Fault::new(code::TOOMANYREQUESTS, "too many requests at once: try again in a moment");
                return fault.status(seen.status).header(header::RETRY_AFTER, "5").into_response();
            }
        }
    };
    let received = inner.metrics.received();
    let request = request.map(|body| {
        Incoming::wrap(body, inner.limits.patience, move |bytes| {
            received.inc_by(bytes as u64);
        })
    });
    let mut response = next.run(request).await;
    seen.answered = true;
    seen.status = response.status();
    if let Some(Who(who)) = response.extensions_mut().remove() {
        seen.who = who;
    }
    let sent = inner.metrics.sent();
    let count = move |bytes: usize| {
        sent.inc_by(bytes as u64);
        seen.send(bytes as u64);
    };
    response.map(|body| Outgoing::wrap(body, count, turn))
}

/// Few enough to be a label.
fn class(path: &str) -> &'static str {
    match path {
        "/" => return "page",
        "/healthz" | "/readyz" => return "health",
        "/metrics" => return "metrics",
        "/v2/token" => return "token",
        _ => {}
    }
    match Route::parse(path) {
        Ok(Route::Base) => "base",
        Ok(Route::Catalog) => "catalog",
        Ok(Route::Tags(_)) => "tags",
        Ok(Route::Manifest(..)) => "manifest",
        Ok(Route::Blob(..)) => "blob",
        Ok(Route::Uploads(_) | Route::Upload(..)) => "upload",
        Ok(Route::Referrers(..)) => "referrers",
        Err(_) => "other",
    }
}

/// Clients may invent methods; labels must not grow with them.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_few_classes_whatever_is_asked_for() {
        let digest = shiplap_cache::Digest::of(b"x");
        for (path, expected) in [
            ("/", "page"),
            ("/readyz", "health"),
            ("/v2/token", "token"),
            ("/v2/a/manifests/1", "manifest"),
            ("/v2/a/blobs/uploads/", "upload"),
            (&format!("/v2/a/blobs/{digest}"), "blob"),
            ("/v2/../../etc/passwd", "other"),
        ] {
            assert_eq!(class(path), expected, "{path}");
        }
        assert_eq!(known(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }
}
