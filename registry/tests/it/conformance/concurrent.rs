//! Many at once, and a registry that dies.

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;
use shiplap_cache::Digest;
use shiplap_registry::server::ServerOptions;

use super::lab::{Lab, RELEASE, digest};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_push_different_images_at_once() {
    let lab = Lab::start().await;
    let pushed = join_all((0..50).map(|n| {
        let lab = &lab;
        async move { (n, lab.push(&format!("r{}", n % 7), &format!("v{n}"), &format!("image {n}")).await) }
    }));
    for (n, digest) in pushed.await {
        let got = lab.get(&format!("/v2/r{}/manifests/v{n}", n % 7)).await.is(200);
        assert_eq!(Digest::of(&got.body), digest);
        for part in [&got.json()["config"], &got.json()["layers"][0]] {
            let blob = part["digest"].as_str().unwrap();
            let bytes = lab.get(&format!("/v2/r{}/blobs/{blob}", n % 7)).await.is(200).body;
            assert_eq!(Digest::of(&bytes).to_string(), blob);
        }
    }
    assert_eq!(lab.server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_race_for_one_tag_one_wins() {
    let lab = Lab::start().await;
    let images: Vec<Value> = join_all((0..50).map(|n| {
        let lab = &lab;
        async move { lab.image("a", &format!("image {n}")).await }
    }))
    .await;
    let answers = join_all(images.iter().map(|image| lab.put("a", RELEASE, image))).await;
    let winners: Vec<usize> = (0..50).filter(|n| answers[*n].status == 201).collect();
    assert_eq!(winners.len(), 1);
    let winner = digest(&images[winners[0]]);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        let refused = answer.fails(409, "DENIED");
        assert_eq!(refused.json()["errors"][0]["detail"]["existing"], winner.to_string());
    }
    let stands = lab.head(&format!("/v2/a/manifests/{RELEASE}")).await.is(200);
    assert_eq!(stands.header("docker-content-digest"), winner.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_never_moves_is_not_deleted_while_it_is_made() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    for n in 0..20 {
        let tag = format!("1.{n}.0-g3f2c1ab09d4e");
        let path = format!("/v2/a/manifests/{tag}");
        let (made, deleted) = tokio::join!(lab.put("a", &tag, &image), join_all((0..8).map(|_| lab.delete(&path))));
        made.is(201);
        for answer in deleted {
            assert!(matches!(answer.status.as_u16(), 403 | 404), "{answer:?}");
        }
        lab.get(&path).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_over_one_store_let_one_win() {
    let one = Lab::start().await;
    let two = Lab::over(one.dir.clone(), ServerOptions::default()).await;
    let (a, b) = (one.image("a", "one").await, two.image("a", "two").await);
    let (first, second) = tokio::join!(one.put("a", RELEASE, &a), two.put("a", RELEASE, &b));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_write_to_one_upload_one_is_refused() {
    let lab = Lab::start().await;
    let at = lab.begin("a").await;
    // The first one holds the upload while it waits for the rest of its body.
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<&'static [u8], std::io::Error>>();
    let body = reqwest::Body::wrap_stream(receiver);
    let slow = lab.send(Method::PATCH, &at, &[], body);
    let quick = async {
        sender.unbounded_send(Ok(b"hello")).unwrap();
        loop {
            let answer = lab.send(Method::PATCH, &at, &[("content-range", "900-901")], "xx").await;
            if answer.status == 409 {
                answer.fails(409, "BLOB_UPLOAD_INVALID");
                break;
            }
            answer.fails(416, "BLOB_UPLOAD_INVALID");
        }
        sender.unbounded_send(Ok(b" world")).unwrap();
        drop(sender);
    };
    let (slow, ()) = tokio::join!(slow, quick);
    slow.is(202);
    let blob = Digest::of(b"hello world");
    lab.send(Method::PUT, &format!("{at}?digest={blob}"), &[], "").await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_the_registry_died() {
    let lab = Lab::start().await;
    let image = lab.push("a", RELEASE, "one").await;
    lab.push("a", "latest", "two").await;
    let blob = lab.push_blob("a", "a blob alone").await;
    let open = lab.begin("a").await;
    lab.send(Method::PATCH, &open, &[], "half").await.is(202);
    let dir = lab.dir.clone();
    drop(lab);
    let lab = Lab::over(dir, ServerOptions::default()).await;
    assert_eq!(
        lab.head(&format!("/v2/a/manifests/{RELEASE}")).await.is(200).header("docker-content-digest"),
        image.to_string()
    );
    let latest = lab.get("/v2/a/manifests/latest").await.is(200).json();
    lab.get(&format!("/v2/a/blobs/{}", latest["layers"][0]["digest"].as_str().unwrap())).await.is(200);
    lab.get(&format!("/v2/a/blobs/{blob}")).await.is(200);
    lab.put("a", RELEASE, &latest).await.fails(409, "DENIED");
    lab.send(Method::PATCH, &open, &[], "half").await.fails(404, "BLOB_UPLOAD_UNKNOWN");
    lab.images.check_whole(&image, true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_again_repairs_what_was_damaged() {
    let lab = Lab::start().await;
    let image = lab.image("a", "one").await;
    lab.put("a", "v1", &image).await.is(201);
    let parts = [digest(&image), Digest::of(b"layer one")];
    for part in &parts {
        let path = lab.images.store().blobs().path(part);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    lab.get("/v2/a/manifests/v1").await.fails(500, "UNKNOWN");
    lab.push("a", "v1", "one").await;
    lab.get("/v2/a/manifests/v1").await.is(200);
    lab.images.check_whole(&parts[0], true).unwrap();
}
