//! Where `docker buildx build` takes an image: `--output` and its kin.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::Home;
use crate::registry_server::Registry;

const DOCKERFILE: &str = "FROM base:1\nRUN echo hello >/greeting && chmod 640 /greeting && ln -s greeting /link\n";

fn site() -> Home {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    home
}

/// The files of a tar by path.
fn tar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path.trim_start_matches("./").to_owned(), content);
    }
    files
}

/// The manifest of an OCI layout, and its descriptor in the index.
fn manifest(files: &BTreeMap<String, Vec<u8>>) -> (Value, Value) {
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let descriptor = index["manifests"][0].clone();
    let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
    (serde_json::from_slice(&files[&format!("blobs/sha256/{digest}")]).unwrap(), descriptor)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn files_go_into_a_folder_and_tars_to_standard_output() {
    let home = site();
    home.write("out/mine", "stays");
    home.run(["build", "-o", "out", "--output", "type=local,dest=deep/er", "."]).ok();
    for folder in ["out", "deep/er"] {
        let at = |path: &str| home.work().join(folder).join(path);
        assert_eq!(std::fs::read_to_string(at("link")).unwrap(), "hello\n");
        assert!(at("bin/busybox").exists());
    }
    assert_eq!(std::fs::read_to_string(home.work().join("out/mine")).unwrap(), "stays");

    for (flags, file) in
        [(["-o", "-"], "greeting"), (["-o", "type=tar"], "greeting"), (["-o", "type=oci"], "oci-layout")]
    {
        let ran = home.command([&["build"], &flags[..], &["."]].concat()).output().unwrap();
        assert!(ran.status.success());
        assert!(tar(&ran.stdout).contains_key(file), "{flags:?}");
        assert!(String::from_utf8(ran.stderr).unwrap().contains("steps reused"), "words go elsewhere");
    }
    let silent = home.command(["build", "-o", "-", "--progress=none", "."]).output().unwrap();
    assert_eq!((silent.stderr.len(), silent.stdout.is_empty()), (0, false));
    let quiet = home.command(["build", "-q", "-o", "type=docker,dest=-", "-t", "app:1", "."]).output().unwrap();
    assert!(tar(&quiet.stdout).contains_key("manifest.json"));
    home.run(["build", "-o", "type=oci,tar=false,dest=layout", "-t", "app:1", "."]).ok();
    home.run(["import", "layout", "again:1"]).ok();
    assert_eq!(home.files("again:1"), home.files("app:1"));
}

#[test]
fn what_cannot_be_written_is_said_before_the_build() {
    let home = site();
    home.write("Dockerfile", "FROM base:1\nRUN touch /too-late && exit 1\n");
    home.write("file", "");
    for (flags, code, says) in [
        (&["-o", "file"][..], 2, "file is a file"),
        (&["-o", "type=tar,dest=none/a.tar"], 4, "there is no folder none"),
        (&["--metadata-file", "none/meta.json"], 4, "there is no folder none"),
        (&["--iidfile", "none/id"], 4, "there is no folder none"),
        (&["-o", "-", "-o", "type=oci"], 2, "only one can go to standard output"),
        (&["-o", "-", "--json"], 2, "not for both"),
        (&["-o", "type=registry"], 2, "needs a name"),
        (&["-o", "type=image,name=app:1,push-by-digest=true,push=true"], 2, "makes no tag"),
        (&["-o", "type=image,annotation-index.a=b"], 2, "no index"),
        (&["--annotation", "a"], 2, "NAME=TEXT"),
        (&["--push"], 2, "--push needs a name"),
    ] {
        home.run([&["build", "."], flags].concat()).ends_with(code).says(says);
    }
}

#[test]
fn images_keep_and_get_their_names() {
    let home = site();
    home.run(["build", "-o", "type=image,name=a:1", "."]).ok();
    assert!(home.files("a:1").contains_key("greeting"));
    home.run(["build", "-o", "type=cacheonly", "-t", "c:1", "."]).ok();
    home.run(["export", "c:1", "-"]).ends_with(4).says("there is no image c:1");
    home.run(["build", "-o", "type=image,name=a:1,compression=gzip", "."]).ok().says("compressed when");
}

#[test]
fn outputs_push_by_tag_and_by_digest() {
    let registry = Registry::start();
    let (here, there) = (site(), Home::new());
    let names = [registry.name("a/app:1"), registry.name("b/app:2")];
    let several = format!("type=registry,\"name={}\",compression=gzip,force-compression=true", names.join(","));
    here.run(["build", "-o", &several, "--metadata-file", "meta.json", "."]).ok();
    let metadata = read_json(&here.work().join("meta.json"));
    assert_eq!(metadata["image.name"], names.join(","));
    for name in &names {
        assert_eq!(there.json(&["pull", name])["digest"], metadata["containerimage.digest"]);
    }

    let name = registry.name("c/app");
    let output = format!("type=image,name={name},push-by-digest=true,name-canonical=true,push=true");
    here.run(["build", "-o", &output, "--metadata-file", "meta.json", "."]).ok();
    let digest = read_json(&here.work().join("meta.json"))["containerimage.digest"].as_str().unwrap().to_owned();
    there.run(["pull", &format!("{name}@{digest}")]).ok();
    there.run(["pull", &format!("{name}:latest")]).ends_with(5);
}

#[test]
fn annotations_stand_in_the_manifest_and_beside_it() {
    let home = site();
    let flags = [
        "--annotation",
        "org.opencontainers.image.authors=Ada, Bob",
        "--annotation=manifest-descriptor:seen=by=ada",
        "-o",
        "type=oci,dest=noted.tar,annotation.more=1",
        "-o",
        "type=docker,dest=docker.tar",
        "-o",
        "type=oci,dest=again.tar",
        "--metadata-file=meta.json",
    ];
    home.run([&["build", "-t", "app:1", "."], &flags[..]].concat()).ok();
    let of = |file: &str| manifest(&tar(&std::fs::read(home.work().join(file)).unwrap()));
    let (noted, beside) = of("noted.tar");
    let authors = "org.opencontainers.image.authors";
    assert_eq!(noted["annotations"], json!({ authors: "Ada, Bob", "more": "1" }));
    assert_eq!(beside["annotations"]["seen"], "by=ada");
    assert_eq!(beside["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(of("docker.tar").0["annotations"], json!({ authors: "Ada, Bob" }));
    let metadata = read_json(&home.work().join("meta.json"));
    assert_eq!(metadata["containerimage.digest"], of("again.tar").1["digest"], "of the last output");

    let note = "annotations stand in a manifest";
    home.run(["build", "-t", "app:1", "--annotation", "a=b", "."]).ok().says(note);
}

#[test]
fn the_metadata_has_the_keys_of_buildx() {
    let home = site();
    let written = |flags: &[&str]| {
        home.run([&["build", "--metadata-file", "meta.json", "."], flags].concat()).ok();
        read_json(&home.work().join("meta.json"))
    };
    let metadata = written(&["-t", "app:1", "-t", "example.org/app:2"]);
    home.run(["export", "app:1", "app.tar", "--format", "oci-archive"]).ok();
    let (image, descriptor) = manifest(&tar(&std::fs::read(home.work().join("app.tar")).unwrap()));
    let expected = json!({
        "containerimage.config.digest": image["config"]["digest"],
        "containerimage.descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": descriptor["digest"],
            "size": descriptor["size"],
        },
        "containerimage.digest": descriptor["digest"],
        "image.name": "docker.io/library/app:1,example.org/app:2",
    });
    assert_eq!(metadata, expected);
    assert!(written(&[]).get("image.name").is_none());
    assert_eq!(written(&["-o", "out"]), json!({}), "files have no digest");
}

/// `ID=$(docker build -q .)` is how scripts go on.
#[test]
fn an_image_without_a_name_is_found_by_its_id() {
    let home = site();
    let id = home.run(["build", "-q", "--iidfile", "id", "."]).ok().out.trim().to_owned();
    assert_eq!(std::fs::read_to_string(home.work().join("id")).unwrap(), id);
    home.run(["build", "-q", "-t", "app:1", "."]).ok();
    for given in [&id, &id[..12]] {
        assert_eq!(home.files(given), home.files("app:1"));
        home.run(["export", given, "image.tar", "--format", "docker-archive"]).ok();
        let listed = tar(&std::fs::read(home.work().join("image.tar")).unwrap());
        let manifest: Value = serde_json::from_slice(&listed["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!([]), "an id is no name");
    }
    home.run(["export", &id[..11], "x.tar"]).ends_with(4).says("there is no image");
    home.run(["export", &"0".repeat(64), "x.tar"]).ends_with(4).says("there is no image");
    home.run(["push", &id]).ends_with(2).says("--as");
    let registry = Registry::start();
    let name = registry.name("by/id:1");
    home.run(["push", &id, "--as", &name]).ok();
    assert_eq!(Home::new().run(["pull", &name]).ok().code, Some(0));
}
