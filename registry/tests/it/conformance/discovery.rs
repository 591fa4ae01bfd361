//! distribution-spec, *Content Discovery*.

use serde_json::{Value, json};
use shiplap_cache::Digest;

use super::lab::{INDEX, Lab, MANIFEST, descriptor, digest, index};

fn next(link: &str) -> Option<String> {
    let (url, rest) = link.strip_prefix('<')?.split_once('>')?;
    assert_eq!(rest, "; rel=\"next\"");
    Some(url.to_owned())
}

/// end-8a and end-8b, *Listing Tags*
#[tokio::test]
async fn tags_are_listed_in_order_and_in_pages() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    let mut tags = ["v1", "v2", "V3", "_x", "v10", "latest"];
    for tag in tags {
        lab.put("a", tag, &image).await.is(201);
    }
    tags.sort_unstable();
    let all = lab.get("/v2/a/tags/list").await.is(200);
    assert_eq!(all.header("content-type"), "application/json");
    assert_eq!(all.json(), json!({ "name": "a", "tags": tags }));
    assert_eq!(all.header("link"), "");
    for n in [1, 2, 3, 5, 6, 7] {
        let (mut found, mut path) = (Vec::new(), Some(format!("/v2/a/tags/list?n={n}")));
        while let Some(at) = path {
            let page = lab.get(&at).await.is(200);
            let part = page.json()["tags"].as_array().unwrap().clone();
            assert!(part.len() <= n);
            found.extend(part);
            path = next(page.header("link"));
        }
        assert_eq!(found, tags, "{n}");
    }
    let none = lab.get("/v2/a/tags/list?n=0").await.is(200);
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), ""));
    assert_eq!(lab.get("/v2/a/tags/list?last=v10").await.json()["tags"], json!(["v2"]));
    assert_eq!(lab.get("/v2/a/tags/list?last=v1x&n=1").await.json()["tags"], json!(["v2"]));
    lab.get("/v2/a/tags/list?n=-1").await.is(400);
    lab.get("/v2/b/tags/list").await.fails(404, "NAME_UNKNOWN");
    lab.put("b", digest(&image), &lab.image("b", "one").await).await.is(201);
    assert_eq!(lab.get("/v2/b/tags/list").await.is(200).json()["tags"], json!([]));
}

#[tokio::test]
async fn the_catalog_lists_repositories_in_pages() {
    let lab = Lab::start().await;
    for repository in ["b", "a/x", "a", "c"] {
        lab.push(repository, "t", "one").await;
    }
    lab.push_blob("only-a-blob", "x").await;
    assert_eq!(lab.get("/v2/_catalog").await.is(200).json(), json!({ "repositories": ["a", "a/x", "b", "c"] }));
    let page = lab.get("/v2/_catalog?n=2").await.is(200);
    assert_eq!(page.json()["repositories"], json!(["a", "a/x"]));
    let rest = lab.get(&next(page.header("link")).unwrap()).await.is(200);
    assert_eq!((rest.json()["repositories"].clone(), rest.header("link")), (json!(["b", "c"]), ""));
}

/// end-12a and end-12b, *Listing Referrers*
#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let lab = Lab::start().await;
    let subject = lab.image("a", "one").await;
    let about = descriptor(MANIFEST, subject.to_string().as_bytes());
    let path = format!("/v2/a/referrers/{}", digest(&subject));
    let none = lab.get(&path).await.is(200);
    assert_eq!(none.header("content-type"), INDEX);
    assert_eq!(none.json(), json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));

    lab.push_blob("a", "{}").await;
    let config = |kind: &str| descriptor(kind, b"{}");
    let empty = "application/vnd.oci.empty.v1+json";
    let signature = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "signature/x", "config": config(empty), "layers": [config(empty)],
        "subject": about, "annotations": { "by": "me" } });
    let sbom = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config("sbom/x"), "layers": [], "subject": about });
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about });
    for manifest in [&signature, &sbom, &list] {
        // Before the subject: that it is not here yet is no error.
        lab.put("a", digest(manifest), manifest).await.is(201);
    }
    lab.put("a", "v1", &subject).await.is(201);
    lab.put("a", "both", &index(&[&subject])).await.is(201);

    let all = lab.get(&path).await.is(200);
    assert_eq!(all.header("oci-filters-applied"), "");
    let mut found: Vec<Value> = all.json()["manifests"].as_array().unwrap().clone();
    let of = |kind: &str, manifest: &Value| descriptor(kind, manifest.to_string().as_bytes());
    let mut expected = vec![of(MANIFEST, &signature), of(MANIFEST, &sbom), of(INDEX, &list)];
    expected[0]["artifactType"] = json!("signature/x");
    expected[0]["annotations"] = json!({ "by": "me" });
    expected[1]["artifactType"] = json!("sbom/x");
    for list in [&mut found, &mut expected] {
        list.sort_by_key(|d| d["digest"].to_string());
    }
    assert_eq!(found, expected);

    for (kind, digest) in [("signature%2Fx", digest(&signature)), ("sbom/x", digest(&sbom))] {
        let some = lab.get(&format!("{path}?artifactType={kind}")).await.is(200);
        assert_eq!(some.header("oci-filters-applied"), "artifactType");
        assert_eq!(some.json()["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(some.json()["manifests"][0]["digest"], digest.to_string());
    }
    assert_eq!(lab.get(&format!("{path}?artifactType=other")).await.is(200).json()["manifests"], json!([]));
    // Of another repository, of one that is not there, and of nothing.
    assert_eq!(lab.get(&path.replace("/a/", "/b/")).await.is(200).json()["manifests"], json!([]));
    assert_eq!(lab.get(&format!("/v2/a/referrers/{}", Digest::of(b"x"))).await.is(200).json()["manifests"], json!([]));
    lab.get("/v2/a/referrers/sha256:x").await.fails(400, "DIGEST_INVALID");
    lab.delete(&format!("/v2/a/manifests/{}", digest(&sbom))).await.is(202);
    assert_eq!(lab.get(&path).await.json()["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn many_referrers_with_long_annotations_come_in_pages() {
    let lab = Lab::start().await;
    lab.push_blob("a", "{}").await;
    let (empty, long) = (descriptor("application/vnd.oci.empty.v1+json", b"{}"), "x".repeat(1 << 20));
    let subject = descriptor(MANIFEST, b"subject");
    for n in 0..6 {
        let manifest = json!({ "schemaVersion": 2, "artifactType": "a b", "config": empty, "layers": [], "subject": subject, "annotations": { "long": long, "n": n.to_string() } });
        lab.put("a", digest(&manifest), &manifest).await.is(201);
    }
    let mut path = Some(format!("/v2/a/referrers/{}?artifactType=a%20b", Digest::of(b"subject")));
    let (mut found, mut pages) = (std::collections::BTreeSet::new(), 0);
    while let Some(at) = path {
        let page = lab.get(&at).await.is(200);
        assert!(page.body.len() < 6 << 20);
        assert_eq!(page.header("oci-filters-applied"), "artifactType");
        found.extend(page.json()["manifests"].as_array().unwrap().iter().map(|d| d["annotations"]["n"].to_string()));
        pages += 1;
        path = next(page.header("link"));
    }
    assert_eq!((found.len(), pages > 1), (6, true));
}

/// *Referrers Tag Schema*: to a registry the tag is one like others
#[tokio::test]
async fn the_tag_of_clients_without_the_api_is_an_ordinary_tag() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    lab.put("a", "v1", &image).await.is(201);
    let tag = digest(&image).to_string().replace(':', "-");
    for list in [index(&[]), index(&[&image])] {
        lab.put("a", &tag, &list).await.is(201);
        assert_eq!(lab.get(&format!("/v2/a/manifests/{tag}")).await.is(200).json(), list);
    }
}
