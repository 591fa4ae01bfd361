//! What must fail, must fail with words that help, and must leave nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shiplap_registry::auth::Credentials;
use shiplap_registry::{Client, ClientOptions, Error, Event, NoProgress, PackOptions, Platform, Trouble};

use crate::fake::{Fake, answer};
use crate::fixture::{client, home};
use crate::server::{Server, free_port};

const RELEASE: &str = "1.4.0-g3f2c1ab09d4e";

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn trouble(error: &Error) -> &Trouble {
    match error {
        Error::Remote(e) => &e.trouble,
        other => panic!("no trouble with a registry: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_tag_with_another_digest_is_refused_with_both() {
    let server = Server::start();
    let here = home();
    let options = PackOptions::default();
    let first = here.images.pack(&here.image_of("one").0, &options, &NoProgress).unwrap().manifest.digest;
    let second = here.images.pack(&here.image_of("two").0, &options, &NoProgress).unwrap().manifest.digest;
    let tag = server.repository("x").tagged(RELEASE).unwrap();
    client().push(&here.images, &first, &tag).await.unwrap();
    let error = client().push(&here.images, &second, &tag).await.unwrap_err();
    assert!(matches!(&error, Error::TagExists { existing, wanted, .. } if (*existing, *wanted) == (first, second)));
    assert_eq!(client().resolve(&tag).await.unwrap(), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_look_up_fails_nothing_is_pushed() {
    let here = home();
    let (_, packed) = here.packed();
    // A server that answers every look-up with 503.
    let fake = Fake::start(|_| answer(503));
    let tag = format!("127.0.0.1:{}/x:{RELEASE}", fake.port).parse().unwrap();
    let error = client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Status { status: 503, .. }), "{error}");
    assert!(fake.seen().iter().all(|r| r.method == "GET" || r.method == "HEAD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let port = free_port();
    let tag = format!("localhost:{port}/campus/openedx:t").parse().unwrap();
    let retries = Arc::new(AtomicUsize::new(0));
    let note = retries.clone();
    let progress = Arc::new(move |event| {
        if matches!(event, Event::Retry { .. }) {
            note.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = Client::new(ClientOptions { progress, ..ClientOptions::default() });
    let error = client.pull(&home().images, &tag, &platform()).await.unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Unreachable { .. }), "{error}");
    assert_eq!(retries.load(Ordering::SeqCst), 0, "who is not there is not asked again");
    let text = error.to_string();
    assert!(text.contains(&format!("localhost:{port}")) && text.contains("refused"), "{text}");
}

fn with_file(dir: &Path, registry: &str, user: &str, password: &str) -> Client {
    use std::fmt::Write as _;
    let mut auth = String::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |b, c| (b << 8) | u32::from(*c)) << (8 * (3 - three.len()));
        for i in 0..=three.len() {
            let _ = write!(auth, "{}", alphabet[(bits >> (18 - 6 * i) & 63) as usize] as char);
        }
    }
    let path = dir.join("config.json");
    std::fs::write(&path, serde_json::json!({"auths": {registry: {"auth": auth}}}).to_string()).unwrap();
    Client::new(ClientOptions { credentials: Credentials::from_file(&path), ..ClientOptions::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_opens_and_the_wrong_one_is_named_without_being_shown() {
    let server = Server::with_password("campus", "s3cret-right");
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let (_, packed) = here.packed();
    let tag = server.repository("x").tagged("t").unwrap();
    let registry = tag.repository().registry().to_owned();
    let right = with_file(dir.path(), &registry, "campus", "s3cret-right");
    right.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    right.pull(&home().images, &tag, &platform()).await.unwrap();

    let wrong = with_file(dir.path(), &registry, "campus", "s3cret-wrong");
    for error in [
        wrong.pull(&home().images, &tag, &platform()).await.unwrap_err(),
        wrong.push(&here.images, &packed.manifest.digest, &tag).await.unwrap_err(),
    ] {
        assert!(matches!(trouble(&error), Trouble::Refused { .. }), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(&registry) && text.contains("campus") && text.contains("config.json"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let error = client().pull(&home().images, &tag, &platform()).await.unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Refused { .. }) && error.to_string().contains("anonymous"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_refused_and_nothing_of_it_is_kept() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let flip: Damage = |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let cut: Damage = |bytes| bytes[..bytes.len() / 2].to_vec();
    let longer: Damage = |bytes| [&bytes[..], b"more"].concat();
    for (name, damage) in [("flipped", flip), ("cut", cut), ("longer", longer)] {
        let server = Server::start();
        let (here, there) = (home(), home());
        let (_, packed) = here.packed();
        let tag = server.repository("x").tagged("t").unwrap();
        client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
        let layer = packed.layers[0].digest;
        let file = server.blob(&layer);
        std::fs::write(&file, damage(std::fs::read(&file).unwrap())).unwrap();
        let error = client().pull(&there.images, &tag, &platform()).await.unwrap_err();
        assert!(matches!(trouble(&error), Trouble::Corrupt { expected, .. } if *expected == layer), "{name}: {error}");
        assert_eq!(there.store().blobs().size(&layer).unwrap(), None, "{name}");
        assert_eq!(there.images.image_of(&packed.manifest.digest).unwrap(), None, "{name}");
        let left = std::fs::read_dir(there.dir.path().join("blobs/sha256")).unwrap();
        let left: Vec<_> =
            left.map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_or_config_is_refused() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let tag = server.repository("x").tagged("t").unwrap();
    client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    for digest in [packed.config.digest, packed.manifest.digest] {
        let file = server.blob(&digest);
        let good = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, good.replace("linux", "xunil")).unwrap();
        if digest == packed.manifest.digest {
            std::fs::write(&file, good.replace("\"size\":", "\"size\": ")).unwrap();
        }
        let there = home();
        let pinned = tag.repository().with_digest(packed.manifest.digest);
        assert!(client().pull(&there.images, &pinned, &platform()).await.is_err());
        assert_eq!(there.kept().1, 0);
        std::fs::write(&file, good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_a_damaged_store_says_so() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let at = here.store().blobs().path(&packed.layers[1].digest);
    let mut bytes = std::fs::read(&at).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&at, bytes).unwrap();
    let tag = server.repository("x").tagged(RELEASE).unwrap();
    let error = client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap_err();
    assert!(matches!(error, Error::Store(shiplap_cache::Error::WrongDigest { .. })), "{error}");
    assert_eq!(client().resolve(&tag).await.unwrap(), None);
    std::fs::remove_file(at).unwrap();
    let error = client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap_err();
    assert!(matches!(error, Error::NotWhole { what: "layer", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_by_its_media_type() {
    let server = Server::start();
    let here = home();
    let (_, packed) = here.packed();
    let blobs = here.store().blobs();
    let text = String::from_utf8(blobs.read(&packed.manifest.digest).unwrap()).unwrap();
    let odd = text
        .replace("application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let odd = blobs.put(odd.as_bytes()).unwrap();
    let tag = server.repository("x").tagged("chart").unwrap();
    client().push(&here.images, &odd, &tag).await.unwrap();
    let there = home();
    let error = client().pull(&there.images, &tag, &platform()).await.unwrap_err();
    assert!(matches!(error, Error::MediaType { .. }) && error.to_string().contains("helm"), "{error}");
    assert_eq!(there.kept().1, 0);
}
