//! `sbom`, `referrers`, and the documents that `build` and `release` attach.

use serde_json::{Value, json};

use crate::common::Home;
use crate::registry_server::Registry;
use crate::site::Site;

const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An image with a package of each manager.
fn with_packages(home: &Home) {
    home.write("status", "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n");
    home.write("os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    home.write("METADATA", "Name: xblock\nVersion: 4.0.0\nLicense-Expression: Apache-2.0\n");
    home.write("package.json", r#"{"name": "@edx/brand", "version": "1.2.3", "license": "MIT"}"#);
    home.write(
        "Dockerfile",
        "FROM base:1 AS made\nARG NPM_TOKEN\nARG COLOUR=red\nCOPY status /var/lib/dpkg/status\nCOPY os-release /etc/os-release\n\
         COPY METADATA /venv/lib/python3.11/site-packages/xblock-4.0.0.dist-info/METADATA\n\
         COPY package.json /app/node_modules/@edx/brand/package.json\n\
         FROM made\nRUN rm /app/node_modules/@edx/brand/package.json && mkdir -p /app/node_modules/react && \
         echo '{\"name\":\"react\",\"version\":\"17.0.2\"}' >/app/node_modules/react/package.json\n",
    );
}

fn blob(home: &Home, digest: &Value) -> Vec<u8> {
    let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
    std::fs::read(home.store().join("blobs/sha256").join(hex)).unwrap()
}

/// What is attached to an image and of a type: the document and its bytes.
fn attached(home: &Home, name: &str, kind: &str) -> Vec<(Value, Vec<u8>)> {
    let all = home.json(&["referrers", name]);
    let wanted = all.as_array().unwrap().iter().filter(|one| one["artifact_type"] == kind);
    wanted
        .map(|one| {
            let manifest: Value = serde_json::from_slice(&blob(home, &one["digest"])).unwrap();
            let bytes = blob(home, &manifest["layers"][0]["digest"]);
            (serde_json::from_slice(&bytes).unwrap(), bytes)
        })
        .collect()
}

#[test]
fn the_packages_of_an_image_are_listed_with_versions_and_licences() {
    let home = Home::with_base();
    with_packages(&home);
    home.run(["build", "-t", "app:1", "."]).ok();
    let printed = home.run(["sbom", "app:1"]).ok();
    assert_eq!(printed.out, home.run(["sbom", "app:1"]).ok().out, "the same image, the same bytes");
    let document = printed.json();
    let purls: Vec<&str> =
        document["components"].as_array().unwrap().iter().filter_map(|c| c["purl"].as_str()).collect();
    assert_eq!(
        purls,
        ["pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12", "pkg:pypi/xblock@4.0.0", "pkg:npm/react@17.0.2"]
    );
    // It was never packed, so only the store has a name for it.
    let id = &home.json(&["images"])[0]["id"];
    assert!(id.is_string());
    assert_eq!(&document["metadata"]["component"]["version"], id);
    assert_eq!(document["components"][2]["licenses"][0]["license"]["id"], "Apache-2.0");
    home.run(["sbom", "none:1"]).ends_with(4).says("none:1");
    home.run(["sbom", "app:1", "--image", "x"]).ends_with(2).says("--image");
}

#[test]
fn a_build_attaches_the_documents_that_are_asked_for_once() {
    let home = Home::with_base();
    with_packages(&home);
    home.run(["build", "-t", "app:1", "."]).ok();
    assert_eq!(home.json(&["referrers", "app:1"]), json!([]));
    let flags = ["--sbom=true", "--attest", "type=provenance,mode=max", "--build-arg", "NPM_TOKEN=hunter2"];
    let secret = home.write("secret", "hunter2");
    let secret = format!("id=netrc,src={}", secret.display());
    for _ in 0..2 {
        home.run([&["build", "-t", "app:1", "--secret", &secret], &flags[..], &["."]].concat()).ok();
    }
    let sboms = attached(&home, "app:1", CYCLONEDX);
    assert_eq!(sboms.len(), 1);
    assert_eq!(String::from_utf8(sboms[0].1.clone()).unwrap().trim(), home.run(["sbom", "app:1"]).ok().out.trim());

    let statements = attached(&home, "app:1", IN_TOTO);
    // The second build ran nothing, and was told and took the same.
    assert_eq!(statements.len(), 1);
    let (statement, bytes) = &statements[0];
    assert!(!String::from_utf8_lossy(bytes).contains("hunter2"));
    let predicate = &statement["predicate"];
    let parameters = &predicate["buildDefinition"]["externalParameters"];
    assert_eq!(parameters["buildArgs"], json!({"NPM_TOKEN": null}));
    assert_eq!(parameters["secrets"], json!(["netrc"]));
    let dependencies = predicate["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    assert!(
        dependencies.iter().any(|d| d["name"] == "base:1" || d["name"] == "docker.io/library/base:1"),
        "{statement}"
    );
    assert!(dependencies.iter().any(|d| d["name"] == "context ." && d["digest"]["blake3"].is_string()), "{statement}");
    let steps = &predicate["runDetails"]["byproducts"][0]["annotations"];
    assert_eq!(
        steps["list"].as_array().unwrap().len() as u64,
        steps["ran"].as_u64().unwrap() + steps["cached"].as_u64().unwrap()
    );
    // Another context makes another image, and other documents.
    home.write("os-release", "ID=debian\nVERSION_ID=\"13\"\n");
    home.run([&["build", "-t", "app:2"], &flags[..], &["."]].concat()).ok();
    assert_eq!(attached(&home, "app:2", IN_TOTO).len(), 1);
}

#[test]
fn documents_without_an_image_to_attach_them_to_are_told() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nRUN echo a >/a\n");
    home.run(["build", "--sbom=true", "."]).ok().says("-t gives it one");
    home.run(["build", "--sbom=true", "-o", "out", "."]).ok().says("-t gives it one");
}

#[test]
fn a_release_has_documents_unless_that_is_turned_off() {
    let site = Site::new();
    let home = &site.home;
    home.run(["release", "campus", "1.0.0"]).ok();
    home.run(["release", "campus", "1.0.0"]).ok();
    let tag = home.json(&["tags", "campus/openedx"])[0]["tag"].as_str().unwrap().to_owned();
    let name = format!("campus/openedx:{tag}");
    assert_eq!(attached(home, &name, CYCLONEDX).len(), 1);
    let statements = attached(home, &name, IN_TOTO);
    assert_eq!(statements.len(), 1);
    let commit = site.repo.git(&["rev-parse", "HEAD"]);
    let source = &statements[0].0["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!((&source["name"], &source["digest"]["gitCommit"]), (&json!("source"), &json!(commit)));
    home.run(["sbom", "campus"]).ends_with(2).says("openedx");
    let of_release = home.run(["sbom", "campus@1.0.0", "--image", "openedx"]).ok();
    assert_eq!(of_release.json()["metadata"]["component"]["name"], "docker.io/campus/openedx");

    // Of an old release the blobs may be all that is left, and the document among them.
    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    assert!(database.execute("DELETE FROM names WHERE space IN ('manifest', 'image', 'image-name')", []).unwrap() > 0);
    for what in [&["sbom", "campus@1.0.0", "--image", "openedx"][..], &["sbom", &name]] {
        assert_eq!(home.run(what).ok().out.trim(), of_release.out.trim());
    }
    home.import_base("base:1");

    let toml = std::fs::read_to_string(home.work().join("shiplap.toml")).unwrap();
    home.write("shiplap.toml", format!("[release]\nsbom = false\nprovenance = false\n{toml}"));
    let tag = format!("1.1.0-g{}", &site.edit("blue")[..12]);
    home.run(["release", "campus", "1.1.0"]).ok();
    assert_eq!(home.json(&["referrers", &format!("campus/openedx:{tag}")]), json!([]));
    home.write("shiplap.toml", format!("[release]\nprovenance = \"most\"\n{toml}"));
    home.run(["release", "campus", "1.2.0", "--allow-dirty"]).ends_with(2).says("\"min\" or \"max\"");
}

#[test]
fn documents_go_to_the_registry_with_the_image() {
    let registry = Registry::start();
    let home = Home::with_base();
    with_packages(&home);
    let name = registry.name("campus/app:1");
    home.run(["build", "-t", &name, "--sbom=true", "--provenance=true", "."]).ok();
    home.run(["push", &name]).ok();
    let kinds = |flags: &[&str]| -> Vec<String> {
        let all = home.json(&[&["referrers", &name], flags].concat());
        let mut kinds: Vec<String> =
            all.as_array().unwrap().iter().map(|one| one["artifact_type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&[]), [CYCLONEDX, IN_TOTO]);
    assert_eq!(kinds(&["--remote"]), [CYCLONEDX, IN_TOTO]);
}

#[test]
fn a_collection_keeps_what_is_attached_as_long_as_the_image() {
    let home = Home::with_base();
    with_packages(&home);
    home.run(["key", "generate", "mine"]).ok();
    home.run(["build", "-t", "app:1", "--sbom=true", "--provenance=true", "."]).ok();
    home.run(["sign", "app:1", "--key", "mine.key"]).ok();
    let before = home.json(&["referrers", "app:1"]);
    assert_eq!(before.as_array().unwrap().len(), 3);
    let gc = ["gc", "--grace", "0s", "--quarantine", "0s"];
    home.run(gc).ok();
    assert_eq!(home.json(&["referrers", "app:1"]), before);
    home.run(["verify-signature", "app:1", "--key", "mine.pub"]).ok();
}
