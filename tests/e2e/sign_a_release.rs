//! `key`, `sign`, `release --sign-key`, `verify-signature`, and `--verify-key` on `deploy` and `rollback`.
//!
//! What is signed here is checked with OpenSSL, which knows nothing of images, and, where `scripts/peers` has put them, with cosign and
//! skopeo themselves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::{Home, sh};
use crate::registry_server::Registry;
use crate::site::{OVERRIDE, Site};

/// The name of the tag space's entries that a test takes away.
const FORGET: &str = "DELETE FROM names WHERE space = 'referrer' OR (space = 'tag' AND name LIKE '%.sig')";

fn keys(home: &Home, names: &[&str]) {
    for name in names {
        home.run(["key", "generate", name]).ok();
    }
}

fn blob(home: &Home, digest: &Value) -> PathBuf {
    home.store().join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
}

fn document(home: &Home, digest: &Value) -> Value {
    serde_json::from_slice(&std::fs::read(blob(home, digest)).unwrap()).unwrap()
}

/// Whether OpenSSL says that this is the key's signature of these bytes.
fn openssl(home: &Home, key: &str, message: &[u8], signature: &str) -> bool {
    let signature = home.write("signature", STANDARD.decode(signature).unwrap());
    let message = home.write("message", message);
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-verify", key, "-signature"]).arg(signature).arg(message);
    command.current_dir(home.work()).output().unwrap().status.success()
}

#[test]
fn a_key_is_for_its_owner_alone_and_is_never_overwritten() {
    let home = Home::new();
    keys(&home, &["shiplap"]);
    let mode = |name: &str| home.work().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("shiplap.key"), mode("shiplap.pub")), (0o600, 0o644));
    home.run(["key", "generate"]).ends_with(3).says("shiplap.key is there already");
    let sealed = home.command(["key", "generate", "sealed"]).env("COSIGN_PASSWORD", "hunter2").output().unwrap();
    assert!(sealed.status.success() && !String::from_utf8_lossy(&sealed.stdout).contains("hunter2"));
    let text = std::fs::read_to_string(home.work().join("sealed.key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{text}");
}

#[test]
fn what_is_signed_is_what_openssl_finds_signed() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN echo hello >/greeting\n", &[]);
    keys(&home, &["mine", "other"]);
    let report = home.json(&["sign", "app:1", "--key", "mine.key"]);
    assert_eq!(report["signed"]["created"], true);

    let layer = &document(&home, &report["signed"]["tag"])["layers"][0];
    let payload = std::fs::read(blob(&home, &layer["digest"])).unwrap();
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    assert!(openssl(&home, "mine.pub", &payload, signature));
    assert!(!openssl(&home, "other.pub", &payload, signature));
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["critical"]["image"]["docker-manifest-digest"], report["digest"]);

    let manifest = document(&home, &report["signed"]["bundle"]);
    assert_eq!(manifest["subject"]["digest"], report["digest"]);
    let bundle = document(&home, &manifest["layers"][0]["digest"]);
    let envelope = &bundle["dsseEnvelope"];
    let statement = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    let mut encoded = format!("DSSEv1 28 application/vnd.in-toto+json {} ", statement.len()).into_bytes();
    encoded.extend_from_slice(&statement);
    assert!(openssl(&home, "mine.pub", &encoded, envelope["signatures"][0]["sig"].as_str().unwrap()));

    home.run(["verify-signature", "app:1", "--key", "mine.pub"]).ok().says("bundle");
    home.run(["verify-signature", "app:1", "--key", "other.pub"]).ends_with(3).says("another key");
    home.run(["sign", "app:1", "--key", "mine.key"]).ok().says("was signed already");
    home.run(["sign", "app:1", "--key", "mine.pub"]).ends_with(2).says("a private key");
    home.run(["sign", "app:1", "--key", "none.key"]).ends_with(4).says("shiplap key generate");
    home.run(["verify-signature", "app:1", "--key", "mine.key"]).ends_with(2).says("a public key");
}

#[test]
fn only_what_is_signed_is_deployed_where_that_is_asked_for() {
    let site = Site::new();
    let home = &site.home;
    home.write(".gitignore", format!("{OVERRIDE}\n*.key\n*.pub\n"));
    site.repo.commit("keys stay here");
    keys(home, &["mine", "other"]);
    home.run(["release", "campus", "1.0.0"]).ok();
    let refused = home.run(["deploy", "campus", "1.0.0", "--verify-key", "mine.pub"]).ends_with(3);
    refused.says("the image `mfe`").says("it has no signature").says("nothing was changed");
    assert!(!home.work().join(OVERRIDE).exists());
    assert_eq!(home.json(&["status"])[0]["current"], Value::Null);

    // The same release again, signed this time: all its images are.
    home.run(["release", "campus", "1.0.0", "--sign-key", "mine.key"]).ok().says("was released already");
    home.run(["deploy", "campus", "1.0.0", "--verify-key", "other.pub"]).ends_with(3).says("another key");
    assert!(!home.work().join(OVERRIDE).exists());
    home.run(["deploy", "campus", "1.0.0", "--verify-key", "mine.pub"]).ok();
    let first = site.deployed();

    site.edit("blue");
    home.run(["release", "campus", "1.1.0", "--sign-key", "other.key"]).ok();
    home.run(["deploy", "campus", "1.1.0"]).ok();
    let second = site.deployed();
    home.run(["rollback", "campus", "--verify-key", "other.pub"]).ends_with(3).says("openedx");
    assert_eq!(site.deployed(), second);
    home.run(["rollback", "campus", "--verify-key", "mine.pub"]).ok();
    assert_eq!(site.deployed(), first);
}

#[test]
fn the_keys_of_shiplap_toml_are_asked_without_a_flag() {
    let site = Site::new();
    let home = &site.home;
    let toml = std::fs::read_to_string(home.work().join("shiplap.toml")).unwrap();
    let with_key = toml.replace(
        "[instance.campus]\n",
        "[release]\nsign-key = \"mine.key\"\n\n[instance.campus]\nverify-key = \"mine.pub\"\n",
    );
    home.write("shiplap.toml", with_key);
    home.write(".gitignore", format!("{OVERRIDE}\n*.key\n*.pub\n"));
    site.repo.commit("keys");
    home.run(["release", "campus", "1.0.0"]).ends_with(4).says("mine.key");
    keys(home, &["mine"]);
    home.run(["release", "campus", "1.0.0"]).ok();
    home.run(["deploy", "campus", "1.0.0"]).ok();
    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    assert!(database.execute(FORGET, []).unwrap() > 0);
    home.run(["deploy", "campus", "1.0.0"]).ends_with(3).says("it has no signature");
}

#[test]
fn signatures_that_the_store_lacks_are_fetched_from_the_registry() {
    let registry = Registry::start();
    let site = Site::with_registry(&registry.name(""));
    let home = &site.home;
    home.write(".gitignore", format!("{OVERRIDE}\n*.key\n*.pub\n"));
    site.repo.commit("keys stay here");
    keys(home, &["mine", "other"]);
    let release = home.json(&["release", "campus", "1.0.0", "--sign-key", "mine.key"]);
    let reference = release["images"][0]["reference"]["tag"].as_str().unwrap_or_default();
    assert!(reference.is_empty() || reference.starts_with("1.0.0-g"), "{release}");
    let image = home.json(&["tags", &registry.name("campus/openedx")]);
    let tag = image.as_array().unwrap().iter().find(|t| t["tag"].as_str().unwrap().starts_with("1.0.0-g")).unwrap();
    let name = registry.name(&format!("campus/openedx:{}", tag["tag"].as_str().unwrap()));
    let kinds = |list: Value| -> Vec<String> {
        let mut kinds: Vec<String> =
            list.as_array().unwrap().iter().map(|one| one["artifact_type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let all = [
        "application/vnd.cyclonedx+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.in-toto+json",
    ];
    assert_eq!(kinds(home.json(&["referrers", &name])), all);
    assert_eq!(kinds(home.json(&["referrers", "--remote", &name])), all);

    let database = rusqlite::Connection::open(home.store().join("cache.db")).unwrap();
    assert!(database.execute(FORGET, []).unwrap() > 0);
    home.run(["verify-signature", &name, "--key", "mine.pub"]).ends_with(3).says("--remote");
    home.run(["deploy", "campus", "1.0.0", "--verify-key", "other.pub"]).ends_with(3).says("another key");
    assert!(database.execute(FORGET, []).unwrap() > 0);
    home.run(["deploy", "campus", "1.0.0", "--verify-key", "mine.pub"]).ok();
    // Another machine, which has only the public key.
    let there = Home::new();
    std::fs::copy(home.work().join("mine.pub"), there.work().join("mine.pub")).unwrap();
    there.run(["verify-signature", &name, "--key", "mine.pub", "--remote"]).ok().says("tag").says("bundle");
    // Now the store has them: without its registry a rollback of the same would work too.
    drop(registry);
    home.run(["verify-signature", &name, "--key", "mine.pub"]).ok();
    assert!(database.execute(FORGET, []).unwrap() > 0);
    home.run(["deploy", "campus", "1.0.0", "--verify-key", "mine.pub"]).ends_with(3).says("could not be asked");
}

#[test]
fn signatures_go_along_under_another_name_and_are_made_once_for_all_machines() {
    let registry = Registry::start();
    let (home, there) = (Home::with_base(), Home::new());
    home.build("app:1", "FROM base:1\nRUN echo hello >/greeting\n", &[]);
    keys(&home, &["mine"]);
    home.run(["verify-signature", "app:1", "--key", "mine.pub"]).ends_with(3).says("never packed");
    home.run(["sign", "app:1", "--key", "mine.key"]).ok();
    let name = registry.name("campus/openedx:1");
    home.run(["push", "app:1", "--as", &name]).ok();
    for file in ["mine.key", "mine.pub"] {
        std::fs::copy(home.work().join(file), there.work().join(file)).unwrap();
    }
    let verify = || there.json(&["verify-signature", "--remote", &name, "--key", "mine.pub"])["verdict"].clone();
    let before = verify();
    assert_eq!(before["good"].as_array().unwrap().len(), 2, "{before}");
    // A machine that never saw the signatures finds them before it signs.
    let fresh = Home::new();
    std::fs::copy(home.work().join("mine.key"), fresh.work().join("mine.key")).unwrap();
    fresh.run(["pull", &name]).ok();
    fresh.run(["sign", &name, "--key", "mine.key", "--push"]).ok().says("was signed already");
    assert_eq!(verify(), before);
}

/// The folder that `scripts/peers` made; a test that needs it ends without it, and says so.
fn peers() -> Option<PathBuf> {
    let folder = std::env::var_os("SHIPLAP_TEST_PEERS").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: SHIPLAP_TEST_PEERS names no folder with cosign and skopeo (scripts/peers makes it)");
    }
    folder
}

fn cosign(folder: &Path, home: &Home, args: &[&str]) -> Output {
    let mut command = Command::new(folder.join("cosign"));
    command.args(args).current_dir(home.work()).env("HOME", home.path("user")).env("COSIGN_PASSWORD", "hunter2");
    command.output().unwrap()
}

#[test]
fn cosign_accepts_our_signatures_and_we_accept_those_of_cosign() {
    let Some(folder) = peers() else { return };
    let registry = Registry::start();
    let home = Home::with_base();
    let name = registry.name("campus/openedx:1");
    home.write("Dockerfile", "FROM base:1\nRUN echo hello >/greeting\n");
    home.run(["build", "-t", &name, "--push", "--sbom=true", "--provenance=mode=max", "."]).ok();
    keys(&home, &["mine", "other"]);
    let sealed = home.command(["key", "generate", "sealed"]).env("COSIGN_PASSWORD", "hunter2").output().unwrap();
    assert!(sealed.status.success());
    home.run(["sign", &name, "--key", "mine.key", "--push"]).ok();
    let verify = |key: &str, form: &str| {
        let form = format!("--new-bundle-format={form}");
        cosign(&folder, &home, &["verify", "--key", key, "--insecure-ignore-tlog=true", &form, &name])
    };
    for form in ["true", "false"] {
        let ours = verify("mine.pub", form);
        assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
        let claims: Value = serde_json::from_slice(&ours.stdout).unwrap();
        let digest = home.json(&["verify-signature", &name, "--key", "mine.pub"])["digest"].clone();
        assert_eq!(claims[0]["critical"]["image"]["docker-manifest-digest"], digest);
        assert!(!verify("other.pub", form).status.success(), "{form}");
    }

    // cosign signs beside us, in both forms, with a pair of its own and with an encrypted key that we made.
    sh(Command::new(folder.join("cosign"))
        .args(["generate-key-pair", "--output-key-prefix", "theirs"])
        .current_dir(home.work())
        .env("COSIGN_PASSWORD", "hunter2"));
    for (key, form) in [("theirs", "true"), ("sealed", "false")] {
        home.run(["verify-signature", "--remote", &name, "--key", &format!("{key}.pub")]).ends_with(3);
        let form = format!("--new-bundle-format={form}");
        let private = format!("{key}.key");
        let flags = ["--tlog-upload=false", "--use-signing-config=false", "-y"];
        let signed = cosign(&folder, &home, &[&["sign", "--key", &private, &form], &flags[..], &[&name]].concat());
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        home.run(["verify-signature", "--remote", &name, "--key", &format!("{key}.pub")]).ok();
    }
    // Their encrypted key signs here, and all who signed before are still found.
    let ours = home
        .command(["sign", &name, "--key", "theirs.key", "--push"])
        .env("COSIGN_PASSWORD", "hunter2")
        .output()
        .unwrap();
    assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
    for (key, form) in
        [("theirs", "true"), ("theirs", "false"), ("mine", "true"), ("mine", "false"), ("sealed", "false")]
    {
        let verified = verify(&format!("{key}.pub"), form);
        assert!(verified.status.success(), "{key} {form}: {}", String::from_utf8_lossy(&verified.stderr));
    }
}

#[test]
fn skopeo_copies_what_is_signed_and_nothing_else() {
    let Some(folder) = peers() else { return };
    let registry = Registry::start();
    let home = Home::with_base();
    keys(&home, &["mine", "other"]);
    let name = |tag: &str| registry.name(&format!("campus/openedx:{tag}"));
    for (tag, text) in [("signed", "a"), ("plain", "b")] {
        home.write("Dockerfile", format!("FROM base:1\nRUN echo {text} >/greeting\n"));
        home.run(["build", "-t", &name(tag), "--push", "."]).ok();
    }
    home.run(["sign", &name("signed"), "--key", "mine.key", "--push"]).ok();
    home.write(
        "registries.d/x.yaml",
        format!("docker:\n  {}:\n    use-sigstore-attachments: true\n", registry.address),
    );
    let copies = |key: &str, tag: &str| {
        let rule = json!([{"type": "sigstoreSigned", "keyPath": home.work().join(key), "signedIdentity": {"type": "matchRepository"}}]);
        let policy =
            json!({"default": [{"type": "reject"}], "transports": {"docker": {registry.address.clone(): rule}}});
        let policy = home.write("policy.json", policy.to_string());
        let mut skopeo = Command::new(folder.join("skopeo"));
        skopeo.arg("--policy").arg(policy).args([
            "--registries.d",
            "registries.d",
            "copy",
            "-q",
            "--src-tls-verify=false",
        ]);
        let target = format!("dir:{}", home.path(&format!("tmp/{key}-{tag}")).display());
        let copied =
            skopeo.args([format!("docker://{}", name(tag)), target]).current_dir(home.work()).output().unwrap();
        (copied.status.success(), String::from_utf8_lossy(&copied.stderr).into_owned())
    };
    let (copied, said) = copies("mine.pub", "signed");
    assert!(copied, "{said}");
    let (copied, said) = copies("other.pub", "signed");
    assert!(!copied && said.contains("signature"), "{said}");
    let (copied, said) = copies("mine.pub", "plain");
    assert!(!copied && said.contains("signature"), "{said}");
}
