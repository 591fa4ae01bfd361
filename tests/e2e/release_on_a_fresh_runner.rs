//! `release` on a machine that has nothing but a cache elsewhere: what it says is the same, and no layer comes for it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{BuiltImage, Home, Ran, Repo, sh};
use crate::edx::Edx;
use crate::registry_server::Registry;

/// Something that nobody reads, so that a layer is worth leaving where it is.
const LARGE: &str = "RUN head -c 9000000 /dev/urandom >/large\n";

const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

/// An instance whose base images, images and cache are in this registry, with `large` in the image.
fn instance(registry: &Registry, config: &str) -> Edx {
    let edx = Edx::new();
    // A base image has packages too, and is not copied into a cache.
    let (seed, base) = (Home::with_base(), registry.name("base:1"));
    seed.write("METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.17.0\n");
    let python = "COPY METADATA /usr/lib/python3/dist-packages/six-1.17.0.dist-info/METADATA\n";
    let large = LARGE.replace("9000000", "21000000");
    seed.build(&base, &format!("FROM base:1\n{python}{large}"), &[]);
    seed.run(["push", &base]).ok();
    for file in ["openedx/Dockerfile", "mfe/Dockerfile"] {
        let text = fs::read_to_string(edx.home.work().join(file)).unwrap();
        edx.home.write(file, text.replace("base:1\n", &format!("{base}\n{LARGE}")));
    }
    let text = fs::read_to_string(edx.home.work().join("shiplap.toml")).unwrap();
    let text = text.replace("\"campus/", &format!("\"{}/campus/", registry.address));
    let cache = format!("cache = [{{ type = \"registry\", ref = \"{}\", write = true }}]\n", registry.name("cache"));
    edx.home.write("shiplap.toml", format!("{cache}{text}\n{config}"));
    edx.repo.commit("in a registry");
    edx
}

/// A machine with the repository and nothing else. A clone would not do: a part of the image looks like a repository itself.
fn runner(edx: &Edx) -> Home {
    let home = Home::new();
    sh(Command::new("cp").arg("-a").arg(edx.home.work().join(".")).arg(home.work()));
    home
}

/// What a release says of its images.
fn said(release: &Value) -> [&Value; 4] {
    ["tag", "images", "inputs", "migrations"].map(|what| &release[what])
}

fn layers(home: &Home) -> usize {
    fs::read_dir(home.store().join("layers")).unwrap().count()
}

/// The digests of the bills of materials.
fn materials_of(home: &Home, name: &str) -> Vec<Value> {
    let all = home.json(&["referrers", name]);
    let of_materials = all.as_array().unwrap().iter().filter(|one| one["artifact_type"] == CYCLONEDX);
    let digests: Vec<Value> = of_materials.map(|one| one["digest"].clone()).collect();
    assert_eq!(digests.len(), 1, "{all}");
    digests
}

fn materials(home: &Home, release: &Value) -> Vec<Value> {
    let image = release["images"].as_array().unwrap().iter().find(|image| image["name"] == "openedx").unwrap();
    let name = format!("{}@{}", image["reference"].as_str().unwrap(), image["digest"].as_str().unwrap());
    materials_of(home, &name)
}

#[test]
fn the_release_is_the_same_and_no_layer_comes_for_it() {
    let registry = Registry::start();
    let edx = instance(&registry, "[release]\nsbom = true\n");
    let first = edx.home.json(&["release", "campus", "1.0.0"]);
    assert_eq!(first["inputs"]["openedx"]["facts"]["platform release"], "ulmo");
    let other = runner(&edx);
    let again = other.json(&["release", "campus", "1.0.0"]);
    assert_eq!(said(&again), said(&first));
    assert_eq!(layers(&other), 0);
    assert!(again["pushed_bytes"].as_u64().unwrap() < 5_000, "configurations: {again}");
    assert_eq!(materials(&other, &again), materials(&edx.home, &first));

    // It is deployed from there: its registry has it, whole. What the store lacks is no damage.
    other.run(["deploy", "campus", "1.0.0"]).ok();
    other.run(["verify"]).ok();
    let image = again["images"].as_array().unwrap().iter().find(|image| image["name"] == "openedx").unwrap();
    let (released, copy) = (image["reference"].as_str().unwrap(), registry.name("copy:1"));
    other.run(["push", released, "--as", &copy]).ok();
    Home::new().run(["pull", &copy]).ok();
    other.run(["gc", "--grace", "0s", "--quarantine", "0s"]).ok();
    other.run(["deploy", "campus", "1.0.0"]).ok();

    // A plugin that changed: what is new is made there, and the rest stays where it is.
    let third = runner(&edx);
    let repo = Repo { path: third.work() };
    repo.write("openedx/root/openedx/plugins/badges/badges/migrations/0002_colour.py", "");
    repo.commit("colour");
    let next = third.json(&["release", "campus", "1.1.0"]);
    assert_eq!(next["migrations"]["badges"], json!(["0001_initial", "0002_colour"]));
    assert!(next["pushed_bytes"].as_u64().unwrap() < 1_000_000, "{next}");
    let check = Home::new();
    let image = next["images"].as_array().unwrap().iter().find(|image| image["name"] == "openedx").unwrap();
    let pinned = format!("{}@{}", registry.name("campus/openedx"), image["digest"].as_str().unwrap());
    check.run(["pull", &pinned]).ok();
}

#[test]
fn a_build_that_is_pushed_with_its_documents_needs_no_layer_either() {
    let registry = Registry::start();
    let edx = instance(&registry, "");
    // A cache that has layers of the final image alone has nothing of the base image, which comes whole then.
    for mode in ["max", "min"] {
        let name = registry.name(&format!("other:{mode}"));
        let cache = registry.name(&format!("cache-{mode}"));
        let from = format!("--cache-from=type=registry,ref={cache}");
        let to = format!("--cache-to=type=registry,ref={cache},mode={mode}");
        let build = |home: &Home| {
            let flags = ["--push", "--sbom=true", "--provenance=mode=max", &from, &to, "openedx"];
            let mut build = home.command([&["--json", "build", "-t", &name], &flags[..]].concat());
            // Who unpacks a layer must not wait for who waits for it.
            let ran = Ran::of(build.env("RAYON_NUM_THREADS", "1").output().unwrap()).ok();
            BuiltImage(ran.json()["images"][0].clone())
        };
        let first = build(&edx.home);
        let other = runner(&edx);
        let again = build(&other);
        assert_eq!((again.ran(), again.id()), (vec![], first.id()));
        assert_eq!(layers(&other) == 0, mode == "max", "{}", layers(&other));
        assert_eq!(materials_of(&other, &name), materials_of(&edx.home, &name));
        other.run(["sbom", &name]).ok().says("pkg:pypi/six@1.17.0").says("pkg:pypi/xblock-poll@1.9.0");
    }
}

#[test]
fn what_is_in_the_registry_alone_is_not_deployed_when_that_cannot_be_asked_or_lost_a_part() {
    let mut registry = Registry::start();
    let edx = instance(&registry, "");
    edx.home.json(&["release", "campus", "1.0.0"]);
    let other = runner(&edx);
    other.json(&["release", "campus", "1.0.0"]);
    // A layer that nobody has but the registry.
    let inspected = edx.home.json(&["inspect", "campus@1.0.0", "--image", "openedx"]);
    let layers = inspected["images"][0]["sizes"]["layers"].as_array().unwrap();
    let largest = layers.iter().max_by_key(|layer| layer["compressed"].as_u64()).unwrap()["digest"].as_str().unwrap();
    let (blob, aside) = (registry.blob(largest), registry.blob(largest).with_extension("aside"));
    fs::rename(&blob, &aside).unwrap();
    other.run(["deploy", "campus", "1.0.0"]).ends_with(6).says(&largest["sha256:".len()..][..12]);
    fs::rename(&aside, &blob).unwrap();
    other.run(["deploy", "campus", "1.0.0"]).ok();
    registry.stop();
    other.run(["deploy", "campus", "1.0.0"]).ends_with(5).says("not in this store").says("--accept-unchecked");
    // Its registry had it when it was released: a person may decide to go on.
    other.run(["deploy", "campus", "1.0.0", "--accept-unchecked"]).ok();
}

#[test]
fn what_a_cache_lost_is_made_again_and_the_release_is_the_same() {
    let registry = Registry::start();
    let edx = instance(&registry, "");
    let first = edx.home.json(&["release", "campus", "1.0.0"]);
    // All blobs of the cache and of the images, but for what is small: tables, indices and segments are there.
    for entry in fs::read_dir(registry.blob("sha256:00").parent().unwrap().parent().unwrap().parent().unwrap()).unwrap()
    {
        for blob in fs::read_dir(entry.unwrap().path()).unwrap() {
            let data = blob.unwrap().path().join("data");
            let base = fs::metadata(&data).is_ok_and(|meta| meta.len() > 5_000_000 && meta.len() < 20_000_000);
            if base {
                fs::remove_file(&data).unwrap();
            }
        }
    }
    let other = runner(&edx);
    // The large file is random, so the image is another one, and the tag stands for the first.
    let ran = other.run(["release", "campus", "1.0.0"]);
    ran.ends_with(3).says(first["tag"].as_str().unwrap());
    // No tag was given before all of it was there, so a version that nobody has can be had.
    let third = runner(&edx);
    third.run(["release", "campus", "1.0.1"]).ok().says("all layers are fetched");
    third.run(["deploy", "campus", "1.0.1"]).ok();
    let repository = registry.name("campus/openedx");
    let tags = other.json(&["tags", "--remote", &repository]);
    assert!(tags.as_array().unwrap().iter().any(|tag| tag["tag"].as_str().unwrap().starts_with("1.0.1-g")), "{tags}");
}
