//! Handing images to an engine that is played by the test: it pulls with our own client and loads with our own import, which check every digest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shiplap_registry::archive::{ImportOptions, import};
use shiplap_registry::engine::{Address, Engine, EngineError, HandedOver, Way};
use shiplap_registry::{Compression, Image, NoProgress, PackOptions, Reference};

use crate::fixture::{Home, client, home};

/// What the engine does with a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulls {
    Well,
    /// It does not reach us.
    No,
    /// It asks for the manifest and stops there.
    Badly,
}

struct Played {
    there: Home,
    pulls: Pulls,
    is_podman: bool,
    state: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The layers of its images, and their ids, by name.
    images: BTreeMap<String, (String, Vec<String>)>,
    /// What was asked, in short.
    asked: Vec<String>,
    archives: Vec<Vec<u8>>,
    refused_loads: usize,
}

fn stream_error(message: &str) -> Response {
    json!({"error": message, "errorDetail": {"message": message}}).to_string().into_response()
}

async fn answer(State(played): State<Arc<Played>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches("/v1.41").to_owned();
    let query: BTreeMap<String, String> = url_pairs(head.uri.query().unwrap_or_default()).into_iter().collect();
    let log = |text: String| played.state.lock().unwrap().asked.push(text);
    match (head.method, path.as_str()) {
        (Method::GET, "/version" | "/v1.53/version") => {
            let name = if played.is_podman { "Podman Engine" } else { "Engine" };
            let components = [json!({"Name": name, "Version": "1"})];
            json_answer(
                json!({"Version": "1", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64", "Components": components}),
            )
        }
        (Method::GET, "/info") => json_answer(json!({"DriverStatus": [["Backing Filesystem", "extfs"]]})),
        (Method::GET, "/images/json") => {
            let ids = played.state.lock().unwrap().images.values().map(|(id, _)| id.clone()).collect::<Vec<_>>();
            let image = |id| {
                json!({"Id": id, "ParentId": "", "RepoTags": [], "RepoDigests": [], "Created": 0, "Size": 0, "SharedSize": 0,
                    "Labels": {}, "Containers": 0})
            };
            json_answer(ids.into_iter().map(image).collect())
        }
        (Method::POST, "/images/create") => pull(&played, &query["fromImage"]).await,
        (Method::POST, "/images/load") => {
            let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            load(&played, bytes)
        }
        (Method::GET, path) if path.ends_with("/json") => {
            let name = path.trim_start_matches("/images/").trim_end_matches("/json");
            let state = played.state.lock().unwrap();
            let found = state.images.iter().find(|(known, (id, _))| *known == name || id == name);
            match found {
                Some((_, (id, layers))) => {
                    json_answer(json!({"Id": id, "RootFS": {"Type": "layers", "Layers": layers}}))
                }
                None => (StatusCode::NOT_FOUND, json!({"message": "no such image"}).to_string()).into_response(),
            }
        }
        (Method::POST, path) if path.ends_with("/tag") => {
            let from = path.trim_start_matches("/images/").trim_end_matches("/tag");
            let name = format!("{}:{}", query["repo"], query["tag"]);
            log(format!("tag {name}"));
            let mut state = played.state.lock().unwrap();
            let image = state.images[from].clone();
            state.images.insert(name, image);
            StatusCode::CREATED.into_response()
        }
        (Method::DELETE, path) => {
            let name = path.trim_start_matches("/images/").to_owned();
            played.state.lock().unwrap().images.remove(&name);
            log("remove".to_owned());
            json_answer(json!([]))
        }
        (method, path) => panic!("{method} {path}"),
    }
}

fn json_answer(value: Value) -> Response {
    ([("content-type", "application/json")], Body::from(value.to_string())).into_response()
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.replace("%3A", ":").replace("%2F", "/").replace("%40", "@")))
        .collect()
}

async fn pull(played: &Played, from: &str) -> Response {
    let name: Reference = from.parse().unwrap();
    let registry = name.repository().registry().to_owned();
    played.state.lock().unwrap().asked.push("pull".to_owned());
    match played.pulls {
        Pulls::No => return stream_error("dial tcp 127.0.0.1: connect: connection refused"),
        Pulls::Badly => {
            let digest = name.digest().unwrap();
            let path = format!("/v2/{}/manifests/{digest}", name.repository().path());
            assert_eq!(status(&registry, &path).await, 200);
            return stream_error("no space left on device");
        }
        Pulls::Well => {}
    }
    // Who does not know the name sees nothing, and there is nothing but the one image.
    for path in ["/v2/_catalog", "/v2/shiplap/manifests/latest", &format!("/v2/{}/tags/list", name.repository().path())]
    {
        assert_eq!(status(&registry, path).await, 404, "{path}");
    }
    let pulled = client().pull(&played.there.images, &name, &"linux/amd64".parse().unwrap()).await.unwrap();
    keep(played, &played.there, from, &played.there.images.load(&pulled.image).unwrap());
    json!({"status": "Download complete"}).to_string().into_response()
}

async fn status(registry: &str, path: &str) -> u16 {
    shiplap_registry::install_tls();
    reqwest::get(format!("http://{registry}{path}")).await.unwrap().status().as_u16()
}

fn load(played: &Played, bytes: Vec<u8>) -> Response {
    let file = played.there.dir.path().join("loaded.tar");
    std::fs::write(&file, &bytes).unwrap();
    let whole = import(&played.there.images, &file, &ImportOptions::default());
    let mut state = played.state.lock().unwrap();
    state.asked.push("load".to_owned());
    state.archives.push(bytes);
    if state.refused_loads > 0 {
        state.refused_loads -= 1;
        return (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "no such file"}).to_string()).into_response();
    }
    drop(state);
    if let Ok(imported) = whole {
        let image = played.there.images.load(&imported.image).unwrap();
        imported.names.iter().for_each(|name| keep(played, &played.there, &name.to_string(), &image));
    }
    json!({"stream": "Loaded"}).to_string().into_response()
}

/// The image as the engine knows it.
fn keep(played: &Played, of: &Home, name: &str, image: &Image) {
    let packed = of.images.pack(image, &PackOptions::default(), &NoProgress).unwrap();
    let layers = packed.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let image = (packed.config.digest.to_string(), layers);
    played.state.lock().unwrap().images.insert(name.to_owned(), image);
}

async fn play(pulls: Pulls, is_podman: bool) -> (Arc<Played>, Engine) {
    let played = Arc::new(Played { there: home(), pulls, is_podman, state: Mutex::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&format!("tcp://{}", listener.local_addr().unwrap()), None).unwrap();
    let router = Router::new().fallback(answer).with_state(played.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let engine = Engine::connect(&address).await.unwrap();
    (played, engine)
}

async fn hand_over(engine: &Engine, here: &Home, image: &Image, names: &[&str]) -> Result<HandedOver, EngineError> {
    let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
    engine.hand_over(here.store(), image, &names, None, Arc::new(NoProgress)).await
}

fn asked(played: &Played) -> Vec<String> {
    std::mem::take(&mut played.state.lock().unwrap().asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_pulls_the_image_and_gives_it_its_names() {
    let (here, (played, engine)) = (home(), play(Pulls::Well, false).await);
    let (image, packed) = here.packed();
    let handed = hand_over(&engine, &here, &image, &["campus/x:1", "campus/x:2"]).await.unwrap();
    assert_eq!((handed.way, handed.layers, handed.layers_sent), (Way::Pulled, 2, 2));
    assert_eq!(handed.id, packed.config.digest.to_string(), "the id that a push would give it");
    assert_eq!(handed.bytes, handed.bytes_sent);
    assert_eq!(asked(&played), ["pull", "tag docker.io/campus/x:1", "tag docker.io/campus/x:2", "remove"]);
    assert_eq!(played.state.lock().unwrap().images.len(), 2, "the endpoint's name is gone");
    let blobs = std::fs::read_dir(here.dir.path().join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 6, "two layers with their tables, config and manifest of the packed image: no tar is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_came_from_a_registry_is_handed_over_as_it_came() {
    let (here, there) = (home(), home());
    let (played, engine) = play(Pulls::Well, true).await;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let options = PackOptions { compression, ..PackOptions::default() };
        let packed = here.images.pack(&here.image().0, &options, &NoProgress).unwrap();
        let layout = here.dir.path().join(format!("{compression:?}"));
        shiplap_registry::archive::export_layout(here.store(), &packed, &[], &layout).unwrap();
        let imported = import(&there.images, &layout, &ImportOptions::default()).unwrap();
        let image = there.images.load(&imported.image).unwrap();
        let handed = hand_over(&engine, &there, &image, &["campus/x:1"]).await.unwrap();
        assert_eq!(handed.bytes, packed.layers.iter().map(|layer| layer.size).sum::<u64>(), "{compression:?}");
        assert_eq!((handed.way, handed.id), (Way::Sent, packed.config.digest.to_string()));
    }
    assert_eq!(asked(&played), ["load", "load"], "Podman speaks no plain HTTP with us");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_engine_gets_no_zstd() {
    let (here, there) = (home(), home());
    let (_played, engine) = play(Pulls::Well, false).await;
    let (image, packed) = here.packed();
    let layout = here.dir.path().join("layout");
    shiplap_registry::archive::export_layout(here.store(), &packed, &[], &layout).unwrap();
    let imported = import(&there.images, &layout, &ImportOptions::default()).unwrap();
    let handed = hand_over(&engine, &there, &there.images.load(&imported.image).unwrap(), &["x"]).await.unwrap();
    assert_eq!(handed.id, packed.config.digest.to_string());
    // As large as the tars of the same files.
    assert_eq!(handed.bytes, hand_over(&engine, &here, &image, &["x"]).await.unwrap().bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_reach_us_is_sent_the_layers_that_it_lacks() {
    let (here, (played, engine)) = (home(), play(Pulls::No, false).await);
    let (image, packed) = here.packed();
    let handed = hand_over(&engine, &here, &image, &["campus/x:1"]).await.unwrap();
    assert!(matches!(&handed.way, Way::SentInstead(why) if why.contains("connection refused")), "{:?}", handed.way);
    assert_eq!((handed.layers_sent, handed.id), (2, packed.config.digest.to_string()));
    // Its images have the lower layer now.
    let base = Image { layers: vec![image.layers[0]], ..image.clone() };
    played.state.lock().unwrap().images.clear();
    keep(&played, &here, "base", &base);
    let handed = hand_over(&engine, &here, &image, &["campus/x:1"]).await.unwrap();
    assert_eq!(handed.layers_sent, 1);
    let archive = played.state.lock().unwrap().archives.pop().unwrap();
    let has = |layer: usize| {
        let name = format!("blobs/sha256/{}", packed.layers[layer].diff_id.hex());
        archive.windows(name.len()).filter(|window| *window == name.as_bytes()).count()
    };
    // Both are named in `manifest.json`; one has a file too.
    assert_eq!((has(0), has(1)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_layer_went_meanwhile_all_are_sent() {
    let (here, (played, engine)) = (home(), play(Pulls::No, false).await);
    let image = here.image().0;
    keep(&played, &here, "base", &Image { layers: vec![image.layers[0]], ..image.clone() });
    played.state.lock().unwrap().refused_loads = 1;
    let handed = hand_over(&engine, &here, &image, &[]).await.unwrap();
    assert_eq!((handed.way, handed.layers_sent), (Way::Sent, 2), "without a name nothing is pulled");
    assert_eq!(asked(&played), ["load", "load"]);
    played.state.lock().unwrap().refused_loads = 2;
    let error = hand_over(&engine, &here, &image, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "Docker 1 cannot load the image: no such file");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_in_the_engine_is_told_in_its_words() {
    let (here, (_played, engine)) = (home(), play(Pulls::Badly, false).await);
    let error = hand_over(&engine, &here, &here.image().0, &["campus/x:1"]).await.unwrap_err();
    assert_eq!(error.to_string(), "Docker 1 cannot pull the image from this process: no space left on device");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_tag_never_moves_in_an_engine_either() {
    let (here, (played, engine)) = (home(), play(Pulls::Well, false).await);
    let tag = "campus/x:1.4.0-g3f2c1ab09d4e";
    let (image, other) = (here.image().0, here.image_of("other").0);
    hand_over(&engine, &here, &image, &[tag]).await.unwrap();
    hand_over(&engine, &here, &image, &[tag]).await.unwrap();
    asked(&played);
    let error = hand_over(&engine, &here, &other, &["campus/x:1", tag]).await.unwrap_err();
    assert!(matches!(error, EngineError::TagExists { .. }), "{error}");
    assert_eq!(asked(&played), Vec::<String>::new(), "nothing was begun");
    let config = Image { history: Vec::new(), ..image };
    assert!(hand_over(&engine, &here, &config, &[tag]).await.is_err(), "the same files with another config");
}

#[tokio::test]
async fn nobody_at_an_address_is_said_with_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let address = Address::Unix(dir.path().join("docker.sock"));
    let error = Engine::connect(&address).await.unwrap_err().to_string();
    assert!(error.contains("docker.sock") && error.contains("there is no such socket"), "{error}");
    let error = Engine::connect(&Address::parse("tcp://127.0.0.1:1", None).unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("tcp://127.0.0.1:1") && error.contains("onnection refused"), "{error}");
}
