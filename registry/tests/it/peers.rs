//! The tools that people have: Docker 28 and skopeo, where they are (`../shared/lab/peers` beside the project).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shiplap_registry::archive::{ImportOptions, export_docker, export_layout, import};
use shiplap_registry::{NoProgress, PackOptions};

use crate::fixture::home;

/// The script that runs the tools, when their engine is up.
fn peers() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/lab/peers");
    let up = Path::new("/var/tmp/peers/docker.sock").exists() && script.is_file();
    if !up {
        eprintln!("skipped: no peers engine (start it with {} up)", script.display());
    }
    up.then_some(script)
}

fn run(script: &Path, args: &[&str]) -> Output {
    let output = Command::new(script).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The tools see `/var/tmp` under its own name.
fn shared() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

#[test]
fn docker_loads_what_we_export_and_we_import_what_it_saves() {
    let Some(script) = peers() else { return };
    let (here, there, dir) = (home(), home(), shared());
    let (image, packed) = here.packed();
    let name = format!("shiplap-test/{}:1", std::process::id());
    let ours = dir.path().join("ours.tar");
    let file = std::fs::File::create(&ours).unwrap();
    export_docker(here.store(), &packed, &[name.parse().unwrap()], file).unwrap();
    run(&script, &["docker", "load", "-i", ours.to_str().unwrap()]);
    let id = text(run(&script, &["docker", "image", "inspect", "--format", "{{.Id}}", &name]));
    assert_eq!(id, packed.config.digest.to_string());

    let theirs = dir.path().join("theirs.tar");
    run(&script, &["docker", "save", "-o", theirs.to_str().unwrap(), &name]);
    run(&script, &["docker", "rmi", &name]);
    let imported = import(&there.images, &theirs, &ImportOptions::default()).unwrap();
    assert_eq!(imported.names, [name.parse().unwrap()]);
    let loaded = there.images.load(&imported.image).unwrap();
    assert_eq!(loaded.layers, image.layers, "files, owners, modes, attributes");
    let again = there.images.pack(&loaded, &PackOptions::default(), &NoProgress).unwrap();
    assert_eq!(again.config.digest, packed.config.digest);
}

#[test]
fn skopeo_reads_and_copies_our_layout() {
    let Some(script) = peers() else { return };
    let (here, there, dir) = (home(), home(), shared());
    let (image, packed) = here.packed();
    let layout = dir.path().join("layout");
    export_layout(here.store(), &packed, &["campus/openedx:1.0".parse().unwrap()], &layout).unwrap();
    let from = format!("oci:{}:1.0", layout.display());
    let digest = text(run(&script, &["skopeo", "inspect", "--format", "{{.Digest}}", &from]));
    assert_eq!(digest, packed.manifest.digest.to_string());
    // Copying makes skopeo read and check every layer.
    let archive = dir.path().join("copy.tar");
    run(&script, &["skopeo", "copy", &from, &format!("docker-archive:{}:campus/openedx:1.0", archive.display())]);
    let imported = import(&there.images, &archive, &ImportOptions::default()).unwrap();
    assert_eq!(there.images.load(&imported.image).unwrap().layers, image.layers);
}
