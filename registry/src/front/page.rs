//! `/`: a page for people. What it lists it asks the registry for, as any client would.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tower::ServiceExt;

use super::Front;

/// How many repositories stand on one page.
const REPOSITORIES: usize = 50;
/// How many tags of each.
const TAGS: usize = 100;
/// The longest answer of the registry that is read.
const ANSWER: usize = 4 << 20;

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// The page. `?last=NAME` goes on behind a repository.
pub(super) async fn answer(State((front, registry)): State<(Front, Router)>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let last =
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "last").map(|(_, value)| value.into_owned());
    let url = front.0.trust.url(request.uri(), request.headers(), request.extensions());
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    let behind = last.map(|last| format!("&last={}", encode(&last))).unwrap_or_default();
    let target = format!("/v2/_catalog?n={REPOSITORIES}{behind}");
    let Some((catalog, more)) = get::<Catalog>(&registry, &target).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the list of repositories cannot be read: the log says why\n")
            .into_response();
    };
    let mut rows = String::new();
    for name in &catalog.repositories {
        let tags = get::<Tags>(&registry, &format!("/v2/{name}/tags/list?n={TAGS}")).await;
        let (tags, cut) = tags.map(|(tags, more)| (tags.tags.unwrap_or_default(), more)).unwrap_or_default();
        let tags: Vec<String> = tags.iter().map(|tag| format!("<code>{}</code>", escape(tag))).collect();
        let rest = if cut { " …" } else { "" };
        rows.push_str(&format!(
            "<dt><code>{}/{}</code></dt><dd>{}{rest}</dd>\n",
            escape(host),
            escape(name),
            tags.join(" ")
        ));
    }
    if catalog.repositories.is_empty() {
        rows.push_str("<p>Nothing here yet.</p>\n");
    }
    if more && let Some(last) = catalog.repositories.last() {
        rows.push_str(&format!("<p><a href=\"/?last={}\">more</a></p>\n", escape(&encode(last))));
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Images on {host}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}dd{{margin:0 0 1rem 1.5rem}}</style>\n\
         <h1>Images on {host}</h1>\n<dl>\n{rows}</dl>\n<p>Shiplap {version}</p>\n</html>\n",
        host = escape(host),
        version = env!("CARGO_PKG_VERSION"),
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

/// What the registry says, and whether there is more.
async fn get<T: for<'a> Deserialize<'a>>(registry: &Router, target: &str) -> Option<(T, bool)> {
    let request = Request::get(target).body(Body::empty()).ok()?;
    let response = registry.clone().oneshot(request).await.ok()?;
    let more = response.headers().contains_key(header::LINK);
    let bytes = to_bytes(response.into_body(), ANSWER).await.ok()?;
    Some((serde_json::from_slice(&bytes).ok()?, more))
}

/// For a query.
fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_the_page() {
        assert_eq!(escape("<b a='\"&'>"), "&lt;b a=&#39;&quot;&amp;&#39;&gt;");
    }
}
