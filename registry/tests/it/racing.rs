//! One release tag, many clients, and a registry that enforces nothing.

use std::sync::Arc;
use std::time::Duration;

use shiplap_cache::Digest;
use shiplap_registry::{Client, ClientOptions, Error, NoProgress, PackOptions};

use crate::fixture::{client, home};
use crate::server::Server;

const CLIENTS: usize = 20;

/// A barrier that all clients reach right before they push, so that many look the tag up before anybody has written it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_push_different_images_under_one_release_tag_one_succeeds_at_most() {
    let server = Server::start();
    let repository = server.repository("campus/openedx");
    let here = home();
    let pack = |text: &str| here.images.pack(&here.image_of(text).0, &PackOptions::default(), &NoProgress).unwrap();
    let images: Vec<Digest> = (0..CLIENTS).map(|i| pack(&format!("build {i}")).manifest.digest).collect();
    for image in &images {
        // Blobs first: what follows is the race for the tag alone.
        client().push(&here.images, image, &repository.with_digest(*image)).await.unwrap();
    }
    let tag = repository.tagged("1.4.0-g3f2c1ab09d4e").unwrap();
    let barrier = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    let tasks: Vec<_> = images
        .iter()
        .map(|image| {
            let (barrier, images, tag, image) = (barrier.clone(), here.images.clone(), tag.clone(), *image);
            // This machine may be busy: longer than usual between the look and the write, and so until the second look.
            let settle = Duration::from_secs(2);
            let client = Client::new(ClientOptions { settle, ..ClientOptions::default() });
            tokio::spawn(async move {
                barrier.wait().await;
                client.push(&images, &image, &tag).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (task, image) in tasks.into_iter().zip(&images) {
        match task.await.unwrap() {
            Ok(pushed) => winners.push(pushed.digest),
            Err(Error::TagExists { existing, wanted, .. }) => {
                assert_eq!(wanted, *image);
                assert_ne!(existing, wanted, "the loser is told who won");
            }
            Err(other) => panic!("{other}"),
        }
    }
    let stands = client().resolve(&tag).await.unwrap();
    assert_eq!(winners.len(), 1);
    assert_eq!(stands, Some(winners[0]));
    assert!(matches!(
        client().push(&here.images, images.iter().find(|i| **i != winners[0]).unwrap(), &tag).await,
        Err(Error::TagExists { existing, .. }) if existing == winners[0]
    ));
}
