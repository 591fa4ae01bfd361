//! Clients that people have, and ours.

use std::process::Command;

use shiplap_registry::{Compression, PackOptions, Platform};

use super::lab::{Lab, RELEASE};
use crate::fixture::{client, home};

#[tokio::test(flavor = "multi_thread")]
async fn our_client_pushes_and_another_store_pulls_the_same() {
    let lab = Lab::start().await;
    let (here, there) = (home(), home());
    let (image, packed) = here.packed();
    let tag = lab.repository("campus/openedx").tagged(RELEASE).unwrap();
    let pushed = client().push(&here.images, &packed.manifest.digest, &tag).await.unwrap();
    assert_eq!(pushed.sent + packed.manifest.size, packed.size());
    lab.images.check_whole(&packed.manifest.digest, true).unwrap();
    let platform: Platform = "linux/amd64".parse().unwrap();
    let pulled = client().pull(&there.images, &tag, &platform).await.unwrap();
    assert_eq!(pulled.manifest, packed.manifest.digest);
    assert_eq!(there.images.load(&pulled.image).unwrap(), image);
    assert_eq!(client().tags(tag.repository()).await.unwrap(), [RELEASE]);

    let other = here.image_of("other").0;
    let other = here.images.pack(&other, &PackOptions::default(), &shiplap_registry::NoProgress).unwrap();
    assert!(client().push(&here.images, &other.manifest.digest, &tag).await.is_err());
    let second = lab.repository("campus/second").tagged("t").unwrap();
    assert_eq!(client().push(&here.images, &packed.manifest.digest, &second).await.unwrap().sent, 0, "mounted");
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pushes_copies_lists_and_deletes() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: no skopeo in PATH (scripts/test installs it)");
        return;
    }
    let lab = Lab::start().await;
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let gzip = PackOptions { compression: Compression::Gzip, ..PackOptions::default() };
    let packed = here.images.pack(&here.image().0, &gzip, &shiplap_registry::NoProgress).unwrap();
    let layout = dir.path().join("layout");
    let names = ["campus/openedx:1.0".parse().unwrap()];
    shiplap_registry::archive::export_layout(here.store(), &packed, &names, &layout).unwrap();
    let (from, back) =
        (format!("oci:{}:1.0", layout.display()), format!("oci:{}:1.0", dir.path().join("back").display()));
    let at = |path: &str| format!("docker://{}/{path}", lab.address);
    let run = |args: Vec<String>| {
        let output = Command::new("skopeo").args(&args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let flags = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    tokio::task::block_in_place(|| {
        run(flags(&["copy", "--dest-tls-verify=false", &from, &at("campus/openedx:1.0")]));
        // From one repository to the other, by mounts.
        run(flags(&[
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &at("campus/openedx:1.0"),
            &at("campus/copy:2.0"),
        ]));
        run(flags(&["copy", "--src-tls-verify=false", &at("campus/copy:2.0"), &back]));
        let digest = run(flags(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &at("campus/copy:2.0")]));
        assert_eq!(digest.trim(), packed.manifest.digest.to_string());
        let tags = run(flags(&["list-tags", "--tls-verify=false", &at("campus/copy")]));
        assert!(tags.contains("\"2.0\""), "{tags}");
        run(flags(&["delete", "--tls-verify=false", &at("campus/copy:2.0")]));
    });
    lab.images.check_whole(&packed.manifest.digest, true).unwrap();
    lab.get("/v2/campus/copy/manifests/2.0").await.fails(404, "MANIFEST_UNKNOWN");
}
