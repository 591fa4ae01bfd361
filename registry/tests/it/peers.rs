//! The tools that people have: Docker 28 and skopeo, where they are.
//!
//! `SHIPLAP_TEST_DOCKER` is a command that runs `docker`; with it set, an engine that does not answer is an error, not a skip.
//! `skopeo` is looked for in `PATH`.

use std::process::{Command, Output};

use shiplap_registry::archive::{ImportOptions, export_docker, export_layout, import};
use shiplap_registry::{Client, ClientOptions, Compression, NoProgress, PackOptions};

use crate::fixture::home;

/// A program with the words that come before its arguments.
struct Tool(Vec<String>);

impl Tool {
    fn docker() -> Option<Self> {
        let command = std::env::var("SHIPLAP_TEST_DOCKER").unwrap_or_default();
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            eprintln!("skipped: SHIPLAP_TEST_DOCKER names no command that runs docker");
            return None;
        }
        Some(Self(words))
    }

    fn skopeo() -> Option<Self> {
        if Command::new("skopeo").arg("--version").output().is_err() {
            eprintln!("skipped: no skopeo in PATH (scripts/test installs it)");
            return None;
        }
        Some(Self(vec!["skopeo".to_owned()]))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        let output = Command::new(&self.0[0]).args(&self.0[1..]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn docker_loads_what_we_export_and_we_import_what_it_saves() {
    let Some(docker) = Tool::docker() else { return };
    let (here, there, dir) = (home(), home(), tempfile::tempdir().unwrap());
    let (image, packed) = here.packed();
    let name = format!("shiplap-test/{}:1", std::process::id());
    let ours = dir.path().join("ours.tar");
    let file = std::fs::File::create(&ours).unwrap();
    export_docker(here.store(), &packed, &[name.parse().unwrap()], file).unwrap();
    docker.run(&["load", "-i", ours.to_str().unwrap()]);
    let id = text(docker.run(&["image", "inspect", "--format", "{{.Id}}", &name]));
    assert_eq!(id, packed.config.digest.to_string());

    let theirs = dir.path().join("theirs.tar");
    docker.run(&["save", "-o", theirs.to_str().unwrap(), &name]);
    docker.run(&["rmi", &name]);
    let imported = import(&there.images, &theirs, &ImportOptions::default()).unwrap();
    assert_eq!(imported.names, [name.parse().unwrap()]);
    let loaded = there.images.load(&imported.image).unwrap();
    assert_eq!(loaded.layers, image.layers, "files, owners, modes, attributes");
    let again = there.images.pack(&loaded, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(again.config.digest, packed.config.digest);
}

#[test]
fn skopeo_reads_and_copies_our_layout() {
    let Some(skopeo) = Tool::skopeo() else { return };
    let (here, there, dir) = (home(), home(), tempfile::tempdir().unwrap());
    let image = here.image().0;
    // A docker-archive cannot hold zstd, and skopeo before 1.13 does not convert it.
    let gzip = PackOptions { compression: Compression::Gzip, ..PackOptions::default() };
    let packed = here.images.pack(&image, &gzip, &NoProgress).unwrap();
    let layout = dir.path().join("layout");
    export_layout(here.store(), &packed, &["campus/openedx:1.0".parse().unwrap()], &layout).unwrap();
    let from = format!("oci:{}:1.0", layout.display());
    let digest = text(skopeo.run(&["inspect", "--format", "{{.Digest}}", &from]));
    assert_eq!(digest, packed.manifest.digest.to_string());
    // Copying makes skopeo read and check every layer.
    let archive = dir.path().join("copy.tar");
    skopeo.run(&["copy", &from, &format!("docker-archive:{}:campus/openedx:1.0", archive.display())]);
    let imported = import(&there.images, &archive, &ImportOptions::default()).unwrap();
    assert_eq!(there.images.load(&imported.image).unwrap().layers, image.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_what_we_push_and_we_pull_what_it_pushes_byte_by_byte() {
    let Some(skopeo) = Tool::skopeo() else { return };
    let server = crate::server::Server::with_password("campus", "s3cret");
    let dir = tempfile::tempdir().unwrap();
    let registry = format!("127.0.0.1:{}", server.port);
    let config = dir.path().join("auth.json");
    // campus:s3cret; skopeo and we read the same file.
    let auths = serde_json::json!({"auths": {&registry: {"auth": "Y2FtcHVzOnMzY3JldA=="}}});
    std::fs::write(&config, auths.to_string()).unwrap();
    let credentials = shiplap_registry::auth::Credentials::from_file(&config);
    let client = Client::new(ClientOptions { credentials, ..ClientOptions::default() });
    let auth = ["--authfile", config.to_str().unwrap()];
    let (here, there) = (home(), home());
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let options = PackOptions { compression, ..PackOptions::default() };
        let packed = here.images.pack(&here.image().0, &options, &NoProgress).unwrap();
        let tag = server.repository("ours").tagged(name).unwrap();
        client.push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
        let layout = dir.path().join(name);
        let (from, to) = (format!("docker://{tag}"), format!("oci:{}:x", layout.display()));
        skopeo.run(&["copy", auth[0], auth[1], "--src-tls-verify=false", "--preserve-digests", &from, &to]);
        let blobs = packed.layers.iter().map(|l| l.digest).chain([packed.config.digest, packed.manifest.digest]);
        for blob in blobs {
            let theirs = std::fs::read(layout.join("blobs/sha256").join(blob.hex())).unwrap();
            assert_eq!(theirs, here.store().blobs().read(&blob).unwrap(), "{name} {blob}");
        }

        let back = server.repository("theirs").tagged(name).unwrap();
        let to_registry = format!("docker://{back}");
        skopeo.run(&["copy", auth[0], auth[1], "--dest-tls-verify=false", "--preserve-digests", &to, &to_registry]);
        let pulled = client.pull(&there.images, &back, &"linux/amd64".parse().unwrap()).await.unwrap();
        assert_eq!(pulled.manifest, packed.manifest.digest, "{name}");
        there.images.check_whole(&pulled.manifest, true).unwrap();
        let digest = text(skopeo.run(&[
            "inspect",
            auth[0],
            auth[1],
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &to_registry,
        ]));
        assert_eq!(digest, packed.manifest.digest.to_string());
    }
}
