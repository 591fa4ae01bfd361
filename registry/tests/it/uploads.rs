//! Blobs go up in each of the ways that registries want, and go on after each way to break.

use std::sync::{Arc, Mutex};

use shiplap_cache::Digest;
use shiplap_registry::{Client, ClientOptions, Error, Event, Reference, Trouble};

use crate::fake::{Fake, answer};
use crate::fixture::{Home, client, home};
use crate::shelf::{Habits, Shelf};

/// A manifest of blobs with these sizes, beside a small config.
fn artifact(here: &Home, sizes: &[usize]) -> Digest {
    let blobs = here.store().blobs();
    let put = |bytes: &[u8]| {
        let digest = blobs.put(bytes).unwrap();
        serde_json::json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    };
    let layers: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(seed, size)| put(&(0..*size).map(|i| (i.wrapping_mul(31 + seed) >> 3) as u8).collect::<Vec<u8>>()))
        .collect();
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media, "config": put(b"{}"), "layers": layers});
    blobs.put(manifest.to_string().as_bytes()).unwrap()
}

async fn push(shelf: &Shelf, here: &Home, manifest: &Digest) -> Result<u64, Error> {
    let tag: Reference = shelf.name("x:t").parse().unwrap();
    Ok(client().push(&here.images, manifest, &tag).await?.sent)
}

/// All blobs are there, and right: the shelf checks digests.
fn is_whole(shelf: &Shelf, blobs: usize) {
    let state = shelf.state.lock().unwrap();
    assert_eq!(state.blobs.len(), blobs);
    assert!(state.manifests.contains_key("t"));
}

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_goes_on_where_it_stopped() {
    let shelf = Shelf::new(Habits { breaks: vec![MIB], ..Habits::default() });
    let here = home();
    let sent = push(&shelf, &here, &artifact(&here, &[3 * MIB])).await.unwrap();
    is_whole(&shelf, 2);
    assert_eq!(sent, 3 * MIB as u64 + 2);
    let rest = shelf.sent("PATCH");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].header("content-range"), format!("{}-{}", MIB, 3 * MIB - 1));
    assert_eq!(rest[0].body.len(), 2 * MIB, "what had arrived is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_again_and_again_goes_on_as_long_as_something_arrives() {
    let breaks = vec![MIB / 2; 5];
    let shelf = Shelf::new(Habits { breaks, ..Habits::default() });
    let here = home();
    // Three attempts in all, were they not counted anew.
    push(&shelf, &here, &artifact(&here, &[3 * MIB])).await.unwrap();
    is_whole(&shelf, 2);
    let sent: usize = shelf.sent("PATCH").iter().chain(&shelf.sent("PUT")).map(|r| r.body.len()).sum();
    assert_eq!(sent, 3 * MIB + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_registry_forgot_is_begun_again() {
    let shelf = Shelf::new(Habits { breaks: vec![MIB], forgets: true, ..Habits::default() });
    let here = home();
    push(&shelf, &here, &artifact(&here, &[3 * MIB])).await.unwrap();
    is_whole(&shelf, 2);
    assert_eq!(shelf.sent("PUT").last().unwrap().body.len(), 3 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_pieces_gets_a_broken_blob_again_in_one() {
    for status in [400, 404, 405, 416, 501] {
        let shelf = Shelf::new(Habits { breaks: vec![MIB], refuses_pieces: Some(status), ..Habits::default() });
        let here = home();
        push(&shelf, &here, &artifact(&here, &[3 * MIB])).await.unwrap_or_else(|e| panic!("{status}: {e}"));
        is_whole(&shelf, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_one_piece_gets_several_and_is_not_asked_twice() {
    for status in [400, 405, 411, 413, 415, 501] {
        let shelf = Shelf::new(Habits { refuses_whole: Some(status), ..Habits::default() });
        let (here, one) = (home(), ClientOptions { parallel: 1, ..ClientOptions::default() });
        let tag: Reference = shelf.name("x:t").parse().unwrap();
        let manifest = artifact(&here, &[70_000, 80_000, 90_000]);
        let client = Client::new(one);
        client.push(&here.images, &manifest, &tag).await.unwrap_or_else(|e| panic!("{status}: {e}"));
        is_whole(&shelf, 4);
        assert_eq!((shelf.sent("PUT").len(), shelf.sent("PATCH").len()), (1, 4), "{status}");
    }
    let shelf = Shelf::new(Habits { refuses_whole: Some(405), ..Habits::default() });
    let here = home();
    push(&shelf, &here, &artifact(&here, &[17 * MIB])).await.unwrap();
    is_whole(&shelf, 2);
    let sizes: Vec<usize> = shelf.sent("PATCH").iter().map(|r| r.body.len()).filter(|n| *n > 2).collect();
    assert_eq!(sizes, [16 * MIB, MIB]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_both_ways_says_so() {
    let shelf = Shelf::new(Habits { refuses_whole: Some(405), refuses_pieces: Some(405), ..Habits::default() });
    let here = home();
    let error = push(&shelf, &here, &artifact(&here, &[MIB])).await.unwrap_err();
    let Error::Remote(error) = error else { panic!("{error}") };
    assert!(matches!(&error.trouble, Trouble::Status { status: 405, message } if message == "not this way"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_made_smaller_until_they_pass_and_never_smaller_than_the_registry_wants() {
    let here = home();
    let manifest = artifact(&here, &[5 * MIB]);
    let shelf = Shelf::new(Habits { limit: Some(MIB), ..Habits::default() });
    push(&shelf, &here, &manifest).await.unwrap();
    is_whole(&shelf, 2);
    assert_eq!(shelf.sent("PATCH").iter().filter(|r| r.body.len() == MIB).count(), 5);

    let strict = Shelf::new(Habits { limit: Some(MIB), least: Some(2 * MIB), ..Habits::default() });
    let error = push(&strict, &here, &manifest).await.unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
    assert!(strict.sent("PATCH").iter().all(|r| r.body.len() >= 2 * MIB || r.body == b"{}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_is_as_long_as_the_registry_wants() {
    let shelf = Shelf::new(Habits { refuses_whole: Some(405), least: Some(18 * MIB), ..Habits::default() });
    let here = home();
    push(&shelf, &here, &artifact(&here, &[20 * MIB])).await.unwrap();
    let sizes: Vec<usize> = shelf.sent("PATCH").iter().map(|r| r.body.len()).filter(|n| *n > 2).collect();
    assert_eq!(sizes, [18 * MIB, 2 * MIB]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_blob_goes_with_the_request_that_opens_the_upload() {
    let here = home();
    let manifest = artifact(&here, &[100, 200, 70_000]);
    let takes = Shelf::new(Habits { takes_single: true, ..Habits::default() });
    push(&takes, &here, &manifest).await.unwrap();
    is_whole(&takes, 4);
    assert_eq!(takes.sent("POST").len(), 3);
    assert_eq!(takes.sent("PUT").len(), 1, "the one that is not small");

    let leaves = Shelf::new(Habits::default());
    push(&leaves, &here, &manifest).await.unwrap();
    is_whole(&leaves, 4);
    assert_eq!(leaves.fake.count("POST", "/uploads/"), 4, "the upload that was opened instead is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_opened_instead_of_a_mount_is_used() {
    let here = home();
    let manifest = artifact(&here, &[100_000]);
    let shelf = Shelf::new(Habits { mounts_nothing: true, ..Habits::default() });
    let client = client();
    client.push(&here.images, &manifest, &shelf.name("a:t").parse().unwrap()).await.unwrap();
    shelf.state.lock().unwrap().blobs.clear();
    let before = shelf.fake.count("POST", "/uploads/");
    let pushed = client.push(&here.images, &manifest, &shelf.name("b:t").parse().unwrap()).await.unwrap();
    assert_eq!(pushed.sent, 100_002);
    assert_eq!(shelf.fake.count("POST", "mount="), 2);
    assert_eq!(shelf.fake.count("POST", "/uploads/") - before, 2);
    assert_eq!(shelf.state.lock().unwrap().uploads.len(), 0, "no upload is left open");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_registry_finds_to_be_others_are_not_sent_another_way() {
    let here = home();
    let manifest = artifact(&here, &[100_000]);
    let fake = Fake::start(|r| match r.method.as_str() {
        "POST" => answer(202).with("location", "/v2/x/blobs/uploads/1"),
        "PUT" => {
            answer(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}"#)
        }
        "GET" => answer(200),
        _ => answer(404),
    });
    let tag: Reference = format!("127.0.0.1:{}/x:t", fake.port).parse().unwrap();
    let error = client().push(&here.images, &manifest, &tag).await.unwrap_err();
    assert!(error.to_string().contains("did not match"), "{error}");
    assert_eq!(fake.count("PATCH", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_does_not_move_is_given_up_and_a_registry_that_keeps_something_else_is_caught() {
    let here = home();
    let manifest = artifact(&here, &[200_000]);
    let other = Digest::of(b"other");
    for (stalls, word) in [(true, "nothing moved"), (false, "it kept sha256:")] {
        let fake = Fake::start(move |r| match r.method.as_str() {
            "POST" => answer(202).with("location", "/v2/x/blobs/uploads/1"),
            "PUT" if stalls => loop {
                std::thread::park();
            },
            "PUT" => answer(201).with("docker-content-digest", other),
            "GET" if r.path == "/v2/" => answer(200),
            _ => answer(404),
        });
        let patience = std::time::Duration::from_millis(50);
        let backoff = std::time::Duration::from_millis(5);
        let client = Client::new(ClientOptions { patience, backoff, attempts: 2, ..ClientOptions::default() });
        let tag: Reference = format!("127.0.0.1:{}/x:t", fake.port).parse().unwrap();
        let error = client.push(&here.images, &manifest, &tag).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_is_told() {
    let shelf = Shelf::new(Habits { breaks: vec![MIB], ..Habits::default() });
    let here = home();
    let manifest = artifact(&here, &[3 * MIB]);
    let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
    let note = seen.clone();
    let progress = Arc::new(move |event: Event| note.lock().unwrap().push(event));
    let backoff = std::time::Duration::from_millis(5);
    let client = Client::new(ClientOptions { progress, backoff, ..ClientOptions::default() });
    client.push(&here.images, &manifest, &shelf.name("x:t").parse().unwrap()).await.unwrap();
    let retries = seen.lock().unwrap().iter().filter(|e| matches!(e, Event::Retry { .. })).count();
    assert_eq!(retries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_registry_does_not_see_for_an_instant_is_no_reason_to_fail() {
    let shelf = Shelf::new(Habits { sees_late: 1, ..Habits::default() });
    let here = home();
    let manifest = artifact(&here, &[100]);
    push(&shelf, &here, &manifest).await.unwrap();
    is_whole(&shelf, 2);
    let release: Reference = shelf.name("x:1.4.0-g3f2c1ab09d4e").parse().unwrap();
    shelf.state.lock().unwrap().see_late_again();
    client().push(&here.images, &manifest, &release).await.unwrap();
    assert_eq!(shelf.fake.count("PUT", "/manifests/"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_the_registry_never_sees_is_told() {
    let shelf = Shelf::new(Habits { sees_late: usize::MAX, ..Habits::default() });
    let here = home();
    let error = push(&shelf, &here, &artifact(&here, &[100])).await.unwrap_err().to_string();
    assert!(error.contains("blob unknown to registry"), "{error}");
}
