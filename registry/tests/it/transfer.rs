//! Pull and push against a real registry.

use std::sync::{Arc, Mutex};

use shiplap_registry::{
    Annotations, Client, ClientOptions, Compression, Error, Event, NoProgress, PackOptions, Platform, Trouble,
};

use crate::fixture::{client, home};
use crate::server::Server;

const RELEASE: &str = "1.4.0-g3f2c1ab09d4e";

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_and_pulled_into_another_store_is_the_same() {
    let server = Server::start();
    let (here, there) = (home(), home());
    let (image, packed) = here.packed();
    let tag = server.repository("campus/openedx").tagged(RELEASE).unwrap();
    let client = client();
    let pushed = client.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    assert_eq!((pushed.digest, pushed.present, pushed.unchanged), (packed.manifest.digest, 0, false));
    assert_eq!(pushed.sent + packed.manifest.size, packed.size());
    assert_eq!(client.resolve(&tag).await.unwrap(), Some(packed.manifest.digest));
    assert_eq!(client.tags(tag.repository()).await.unwrap(), [RELEASE]);

    let pulled = client.pull(&there.images, &tag, &platform()).await.unwrap();
    assert_eq!(pulled.manifest, packed.manifest.digest);
    for digest in packed.layers.iter().map(|l| l.digest).chain([packed.config.digest, packed.manifest.digest]) {
        assert_eq!(there.store().blobs().read(&digest).unwrap(), here.store().blobs().read(&digest).unwrap());
    }
    let again = there.images.load(&pulled.image).unwrap();
    assert_eq!(again, image, "layers, config and history");
    there.images.check_whole(&pulled.manifest, true).unwrap();
    // Packed again, in either store, it is the same; and a rebuilt image keeps the layers' blobs.
    let repacked = there.images.pack(&again, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(repacked.manifest, packed.manifest);

    let second = client.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    assert!(second.unchanged && second.sent == 0);
    let current = tag.repository().tagged("current").unwrap();
    let moved = client.push(&here.images, &packed.manifest.digest, &current).await.unwrap();
    assert_eq!((moved.sent, moved.unchanged), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_repository_is_mounted_and_not_sent() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let client = client();
    let first = server.repository("campus/a").tagged("t").unwrap();
    client.push(&here.images, &packed.manifest.digest, &first).await.unwrap();
    let second = server.repository("campus/b").tagged("t").unwrap();
    let pushed = client.push(&here.images, &packed.manifest.digest, &second).await.unwrap();
    assert_eq!(pushed.sent, 0);
    assert_eq!(client.pull(&home().images, &second, &platform()).await.unwrap().manifest, packed.manifest.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_base_keeps_its_blobs_under_a_zstd_build() {
    let server = Server::start();
    let (here, there) = (home(), home());
    let (image, _) = here.image();
    let gzip = PackOptions { compression: Compression::Gzip, ..PackOptions::default() };
    let packed = here.images.pack(&image, &gzip, &NoProgress).unwrap();
    let tag = server.repository("base").tagged("12").unwrap();
    client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    let pulled = client().pull(&there.images, &tag, &platform()).await.unwrap();

    let mut built = there.images.load(&pulled.image).unwrap();
    built.layers.push(there.layer(&shiplap_cache::Tree::default(), |at| std::fs::write(at.join("new"), "1").unwrap()));
    let zstd = there.images.pack(&built, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(zstd.layers[..2], packed.layers[..]);
    assert!(zstd.layers[2].media_type.ends_with("+zstd"));
    let force = PackOptions { force: true, ..PackOptions::default() };
    let forced = there.images.pack(&built, &force, &NoProgress).unwrap();
    assert!(forced.layers.iter().all(|layer| layer.media_type.ends_with("+zstd")));
    assert_eq!(forced.config, zstd.config, "the same files");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_notes_is_pushed_by_its_digest() {
    let server = Server::start();
    let (here, there) = (home(), home());
    let (image, packed) = here.packed();
    let note = |name: &str| [(name.to_owned(), "ada".to_owned())].into_iter().collect();
    let annotations = Annotations { manifest: note("author"), descriptor: note("seen-by") };
    let noted = here.images.annotate(packed.clone(), &annotations).unwrap();
    assert_ne!(noted.manifest.digest, packed.manifest.digest);
    assert_eq!(noted.manifest.annotations, Some(annotations.descriptor.clone()));
    assert_eq!((&noted.config, &noted.layers), (&packed.config, &packed.layers));
    assert_eq!(here.images.annotate(noted.clone(), &annotations).unwrap().manifest, noted.manifest);

    let repository = server.repository("x");
    let pinned = repository.with_digest(noted.manifest.digest);
    client().push(&here.images, &noted.manifest.digest, &pinned).await.unwrap();
    let pulled = client().pull(&there.images, &pinned, &platform()).await.unwrap();
    assert_eq!(there.images.load(&pulled.image).unwrap(), image);
    let manifest: serde_json::Value =
        serde_json::from_slice(&there.store().blobs().read(&noted.manifest.digest).unwrap()).unwrap();
    assert_eq!(manifest["annotations"], serde_json::json!({"author": "ada"}));
    assert_eq!(client().resolve(&repository.tagged("latest").unwrap()).await.unwrap(), None, "no tag was made");
    let other = repository.with_digest(packed.manifest.digest);
    assert!(client().push(&here.images, &noted.manifest.digest, &other).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_byte_by_byte() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
    let note = seen.clone();
    let progress = Arc::new(move |event: Event| note.lock().unwrap().push(event));
    let client = Client::new(ClientOptions { progress, ..ClientOptions::default() });
    let tag = server.repository("x").tagged("t").unwrap();
    client.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    client.pull(&home().images, &tag, &platform()).await.unwrap();
    let seen = seen.lock().unwrap();
    for (up, layer) in [true, false].into_iter().flat_map(|up| packed.layers.iter().map(move |l| (up, l))) {
        let (blob, done, total) = (layer.digest, layer.size, layer.size);
        assert!(seen.contains(&Event::Transfer { blob, done, total, up }), "{up} {blob}");
    }
    assert!(seen.contains(&Event::Unpacked { blob: packed.layers[0].digest }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_pulled_without_a_tag() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let repository = server.repository("x");
    client().push(&here.images, &packed.manifest.digest, &repository.tagged("t").unwrap()).await.unwrap();
    let pinned = repository.with_digest(packed.manifest.digest);
    assert_eq!(client().pull(&home().images, &pinned, &platform()).await.unwrap().manifest, packed.manifest.digest);
    assert_eq!(client().resolve(&repository.tagged("none").unwrap()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_a_registry_is_checked_part_by_part() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let (manifest, client) = (packed.manifest.digest, client());
    let tag = server.repository("x").tagged(RELEASE).unwrap();
    let missing = client.check_whole(&tag, &manifest).await.unwrap_err();
    assert!(matches!(&missing, Error::Remote(e) if matches!(e.trouble, Trouble::NotFound)), "{missing}");
    client.push(&here.images, &manifest, &tag).await.unwrap();
    client.check_whole(&tag, &manifest).await.unwrap();
    let other = client.check_whole(&tag, &packed.config.digest).await.unwrap_err();
    assert!(matches!(other, Error::OtherDigest { existing, .. } if existing == manifest));
    std::fs::remove_file(server.blob(&packed.layers[1].digest)).unwrap();
    let torn = client.check_whole(&tag, &manifest).await.unwrap_err();
    assert!(matches!(torn, Error::NotWhole { digest, .. } if digest == packed.layers[1].digest));
    std::fs::write(server.blob(&packed.layers[1].digest), "short").unwrap();
    let short = client.check_whole(&tag, &manifest).await.unwrap_err();
    assert!(short.to_string().contains("has 5 bytes in the registry"), "{short}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_image_for_the_platform_is_pulled() {
    let server = Server::start();
    let here = home();
    let options = PackOptions::default();
    let amd = here.images.pack(&here.image_of("amd").0, &options, &NoProgress).unwrap();
    let arm = here.images.pack(&here.image_of("arm").0, &options, &NoProgress).unwrap();
    let entry = |packed: &shiplap_registry::Packed, arch: &str| {
        let (media, digest, size) = (&packed.manifest.media_type, packed.manifest.digest, packed.manifest.size);
        serde_json::json!({"mediaType": media, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": arch}})
    };
    let media = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media, "manifests": [entry(&amd, "amd64"), entry(&arm, "arm64")]});
    let index = here.store().blobs().put(index.to_string().as_bytes()).unwrap();
    let tag = server.repository("x").tagged("both").unwrap();
    client().push(&here.images, &index, &tag).await.unwrap();
    client().check_whole(&tag, &index).await.unwrap();
    let pulled = client().pull(&home().images, &tag, &"linux/arm64/v8".parse().unwrap()).await.unwrap();
    assert_eq!((pulled.manifest, pulled.index), (arm.manifest.digest, Some(index)));
    let error = client().pull(&home().images, &tag, &"linux/s390x".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("linux/amd64, linux/arm64"), "{error}");
}
