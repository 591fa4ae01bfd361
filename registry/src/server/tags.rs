//! Lists: the tags of a repository, and the repositories.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Fault, Name, Query, Server, code, released};

/// How much a list holds at most. Clients that know no paging get this much.
const PAGE: usize = 10_000;

/// end-8a and end-8b, *Listing Tags*: sorted as bytes, in pages.
pub(super) async fn tags(server: Server, name: Name, query: Query) -> Result<Response, Fault> {
    let page = Page::of(&query)?;
    let here = name.clone();
    let last = page.last.clone();
    let tags = server
        .read(move |inner| {
            let store = inner.images.store();
            let mut tags = store.served_tags(name.as_str(), &last, page.n + 1)?;
            let released = released::tags(&inner.images, &name)?;
            if tags.is_empty() && released.is_empty() && !store.is_served(name.as_str())? {
                let message = format!("{name} is not here: nothing was pushed to it");
                return Err(Fault::new(code::NAME_UNKNOWN, message));
            }
            tags.extend(released.into_iter().map(|(tag, _)| tag).filter(|tag| *tag > last));
            Ok(tags)
        })
        .await?;
    let path = format!("/v2/{here}/tags/list");
    Ok(page.respond(tags, &path, |tags| json!({ "name": here.as_str(), "tags": tags })))
}

/// `GET /v2/_catalog`, which distribution's servers have and the spec leaves open.
pub(super) async fn catalog(server: Server, query: Query) -> Result<Response, Fault> {
    let page = Page::of(&query)?;
    let last = page.last.clone();
    let names = server
        .read(move |inner| {
            let mut names = inner.images.store().served_repositories(&last, page.n + 1)?;
            let released = released::repositories(&inner.images)?;
            names.extend(released.iter().map(ToString::to_string).filter(|name| *name > last));
            Ok(names)
        })
        .await?;
    Ok(page.respond(names, "/v2/_catalog", |names| json!({ "repositories": names })))
}

/// Which part of a list is wanted.
struct Page {
    n: usize,
    last: String,
}

impl Page {
    fn of(query: &Query) -> Result<Self, Fault> {
        let n = match query.get("n").map(str::parse::<usize>) {
            None => PAGE,
            Some(Ok(n)) => n.min(PAGE),
            Some(Err(_)) => {
                let code = code::Code { name: "PAGINATION_NUMBER_INVALID", status: StatusCode::BAD_REQUEST };
                return Err(Fault::new(code, "n is how many are wanted: a number from 0 up"));
            }
        };
        Ok(Self { n, last: query.get("last").unwrap_or_default().to_owned() })
    }

    fn respond(&self, mut all: Vec<String>, path: &str, body: impl FnOnce(&[String]) -> Value) -> Response {
        all.sort_unstable();
        all.dedup();
        let page = &all[..all.len().min(self.n)];
        let mut response = Json(body(page)).into_response();
        // *Listing Tags*: who wants none gets none, and no link to go on.
        if let Some(last) = page.last().filter(|_| all.len() > self.n) {
            let link = format!("<{path}?n={}&last={last}>; rel=\"next\"", self.n);
            if let Ok(link) = link.parse() {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}
