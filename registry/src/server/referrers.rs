//! What says something about a manifest: signatures, bills of materials, provenance.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shiplap_cache::{Digest, ServedManifest};

use super::released::{self, Kind};
use super::{Fault, Name, Query, Server};
use crate::media::OCI_INDEX;

/// About how many bytes of annotations are in one answer: an index should fit where manifests do.
const PAGE: usize = 3 << 20;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// end-12a and end-12b, *Listing Referrers*. A manifest of which nothing is known has none, which is no error.
pub(super) async fn list(server: Server, name: Name, subject: Digest, query: Query) -> Result<Response, Fault> {
    let kind = query.get("artifactType").map(str::to_owned);
    let last = query.get("last").unwrap_or_default().to_owned();
    let (here, wanted) = (name.clone(), kind.clone());
    let (found, is_more) = server
        .read(move |inner| {
            let store = inner.images.store();
            let (mut found, is_more) =
                store.served_referrers(here.as_str(), &subject, wanted.as_deref(), &last, PAGE)?;
            if let Some(Kind::Manifest(_)) = inner.released.find(&inner.images, &here, &subject)? {
                let end = found.last().map(|manifest| manifest.digest).filter(|_| is_more);
                found.extend(released::referrers(&inner.images, &subject)?.into_iter().filter(|manifest| {
                    (wanted.is_none() || wanted == manifest.artifact_type)
                        && manifest.digest.to_string() > last
                        && end.is_none_or(|end| manifest.digest < end)
                }));
                found.sort_by_key(|manifest| manifest.digest);
                found.dedup_by_key(|manifest| manifest.digest);
            }
            Ok((found, is_more))
        })
        .await?;
    let manifests: Vec<Value> = found.iter().map(descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut response = ([(header::CONTENT_TYPE, OCI_INDEX)], index.to_string()).into_response();
    let headers = response.headers_mut();
    let filter = kind.as_ref().map(|kind| {
        headers.insert(FILTERS, axum::http::HeaderValue::from_static("artifactType"));
        let kind: String = form_urlencoded::byte_serialize(kind.as_bytes()).collect();
        format!("&artifactType={kind}")
    });
    if let Some(last) = found.last().filter(|_| is_more) {
        let filter = filter.unwrap_or_default();
        let link = format!("</v2/{name}/referrers/{subject}?last={}{filter}>; rel=\"next\"", last.digest);
        if let Ok(link) = link.parse() {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

fn descriptor(manifest: &ServedManifest) -> Value {
    let mut descriptor = json!({ "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size });
    if let Some(kind) = &manifest.artifact_type {
        descriptor["artifactType"] = json!(kind);
    }
    if let Some(Ok(notes)) = manifest.annotations.as_deref().map(serde_json::from_str::<Value>) {
        descriptor["annotations"] = notes;
    }
    descriptor
}
