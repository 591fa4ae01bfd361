//! The clients that people have, against `shiplap serve`: push, pull, copy, list, delete, and a release's tag that none of them moves.
//!
//! `SHIPLAP_TEST_CLIENTS` is a command that runs the client that its first argument names: docker, buildah, skopeo, crane, oras. All must be there then.
//! Without it those are taken that are in the folder `SHIPLAP_TEST_PEERS` (`scripts/peers` makes it) or in `PATH`, and the others are skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{Home, Ran};
use crate::serving::{Serving, log_in, write_passwords};

const RELEASE: &str = "1.0.0-g0123456789ab";

/// A server that wants to know who one is, with a released image, and Ada, who is logged in.
struct Lab {
    home: Home,
    serving: Serving,
}

impl Lab {
    fn new() -> Self {
        let home = Home::with_base();
        let passwords = write_passwords(&home);
        let access =
            home.write("access.toml", "[users]\nada = [\"repository:**:pull,push,delete\", \"registry:catalog:*\"]\n");
        let serving = Serving::start(&home, &["--htpasswd", &passwords, "--access", access.to_str().unwrap()]);
        log_in(&home, serving.address(), "ada", crate::serving::PASSWORD);
        let lab = Self { home, serving };
        lab.home.build("app:1", "FROM base:1\nRUN echo one >/one\n", &[]);
        lab.home.build("other:1", "FROM base:1\nRUN echo two >/two\n", &[]);
        lab.home
            .run(["push", "app:1", "--as", &lab.name(&format!("campus/openedx:{RELEASE}")), "--compression", "gzip"])
            .ok();
        lab
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.serving.address())
    }

    fn release(&self) -> String {
        self.name(&format!("campus/openedx:{RELEASE}"))
    }

    /// What a tag stands for, as our own client finds it.
    fn digest(&self, name: &str) -> String {
        self.home.json(&["pull", &self.name(name)])["digest"].as_str().unwrap().to_owned()
    }

    fn tags(&self, repository: &str) -> Vec<String> {
        let tags = self.home.json(&["tags", "--remote", &self.name(repository)]);
        tags.as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect()
    }

    /// A client, if it is here.
    fn client(&self, name: &'static str) -> Option<Client<'_>> {
        let words = match std::env::var("SHIPLAP_TEST_CLIENTS").ok().filter(|command| !command.trim().is_empty()) {
            Some(command) => command.split_whitespace().map(str::to_owned).chain([name.to_owned()]).collect(),
            None => {
                let folder = std::env::var_os("SHIPLAP_TEST_PEERS").map(PathBuf::from);
                let program = folder.map(|folder| folder.join(name)).filter(|program| program.exists());
                let program = program.unwrap_or_else(|| name.into());
                if Command::new(&program).arg("--help").output().is_err() {
                    eprintln!(
                        "skipped: there is no {name}; scripts/peers gets some clients, SHIPLAP_TEST_CLIENTS names all"
                    );
                    return None;
                }
                vec![program.to_str().unwrap().to_owned()]
            }
        };
        Some(Client { lab: self, words })
    }
}

struct Client<'a> {
    lab: &'a Lab,
    words: Vec<String>,
}

impl Client<'_> {
    fn output(&self, args: &[&str]) -> Output {
        let config = self.lab.home.path("user/.docker");
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("DOCKER_CONFIG", &config).env("REGISTRY_AUTH_FILE", config.join("config.json"));
        command.output().unwrap()
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        Ran::of(self.output(args)).ok().out.trim().to_owned()
    }

    /// It must fail, and say why.
    #[track_caller]
    fn refused(&self, args: &[&str], why: &str) {
        let ran = Ran::of(self.output(args));
        assert_ne!(ran.code, Some(0), "{args:?} must be refused");
        ran.says(why);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn docker_pulls_pushes_and_does_not_move_a_release() {
    let lab = Lab::new();
    let Some(docker) = lab.client("docker").filter(|docker| docker.output(&["version"]).status.success()) else {
        return;
    };
    let (release, copy) = (lab.release(), lab.name("team/docker:1"));
    docker.run(&["pull", &release]);
    let ids = docker.run(&["image", "inspect", "--format", "{{json .RepoDigests}}", &release]);
    assert!(ids.contains(&lab.digest(&format!("campus/openedx:{RELEASE}"))), "{ids}");
    docker.run(&["tag", &release, &copy]);
    docker.run(&["push", &copy]);
    docker.run(&["rmi", &copy, &release]);
    docker.run(&["pull", &copy]);
    lab.digest("team/docker:1");
    let archive = lab.home.path("other.tar");
    lab.home.run(["export", "other:1", text(&archive), "--format", "docker-archive"]).ok();
    docker.run(&["load", "-i", text(&archive)]);
    docker.run(&["tag", "other:1", &release]);
    docker.refused(&["push", &release], "never moves");
    docker.run(&["rmi", "other:1", &copy, &release]);
}

#[test]
fn skopeo_copies_byte_for_byte_lists_and_deletes() {
    let lab = Lab::new();
    let Some(skopeo) = lab.client("skopeo") else { return };
    let (from, to) = (format!("docker://{}", lab.release()), format!("docker://{}", lab.name("team/skopeo:1")));
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let folder = format!("oci:{}:x", text(&lab.home.path("layout")));
    skopeo.run(&["copy", plain[0], &from, &folder]);
    skopeo.run(&["copy", plain[1], &folder, &to]);
    assert_eq!(lab.digest("team/skopeo:1"), lab.digest(&format!("campus/openedx:{RELEASE}")));
    skopeo.run(&["copy", plain[0], plain[1], &to, &format!("docker://{}", lab.name("team/skopeo:2"))]);
    let tags = skopeo.run(&["list-tags", "--tls-verify=false", &format!("docker://{}", lab.name("team/skopeo"))]);
    let tags: Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1", "2"]));
    // By digest: both tags go.
    skopeo.run(&["delete", "--tls-verify=false", &to]);
    assert_eq!(lab.tags("team/skopeo"), [""; 0]);
    skopeo.refused(&["delete", "--tls-verify=false", &from], "never moves");
    let other = lab.home.path("other");
    lab.home.run(["export", "other:1", text(&other), "--format", "oci-layout"]).ok();
    skopeo.refused(&["copy", plain[1], &format!("oci:{}", text(&other)), &from], "never moves");
}

#[test]
fn crane_validates_lists_copies_and_deletes() {
    let lab = Lab::new();
    let Some(crane) = lab.client("crane") else { return };
    let (release, copy) = (lab.release(), lab.name("team/crane:1"));
    crane.run(&["validate", "--remote", &release]);
    assert_eq!(crane.run(&["digest", &release]), lab.digest(&format!("campus/openedx:{RELEASE}")));
    crane.run(&["copy", &release, &copy]);
    let tar = lab.home.path("crane.tar");
    crane.run(&["pull", &copy, text(&tar)]);
    crane.run(&["push", text(&tar), &lab.name("team/crane:2")]);
    crane.run(&["validate", "--remote", &lab.name("team/crane:2")]);
    assert_eq!(crane.run(&["ls", &lab.name("team/crane")]), "1\n2");
    assert!(crane.run(&["catalog", lab.serving.address()]).contains("team/crane"));
    crane.run(&["delete", &copy]);
    assert_eq!(lab.tags("team/crane"), ["2"]);
    crane.refused(&["copy", &lab.name("team/crane:2"), &release], "never moves");
}

#[test]
fn oras_pushes_files_attaches_discovers_copies_and_deletes() {
    let lab = Lab::new();
    let Some(oras) = lab.client("oras") else { return };
    let (release, artifact) = (lab.release(), lab.name("team/oras:1"));
    let file = lab.home.write("notes.txt", "what changed\n");
    let flags = ["--plain-http", "--disable-path-validation"];
    oras.run(&["push", flags[0], flags[1], &artifact, &format!("{}:text/plain", text(&file))]);
    let out = lab.home.path("out");
    oras.run(&["pull", flags[0], "-o", text(&out), "--allow-path-traversal", &artifact]);
    oras.run(&[
        "attach",
        flags[0],
        flags[1],
        "--artifact-type",
        "application/vnd.shiplap.test",
        &release,
        &format!("{}:text/plain", text(&file)),
    ]);
    let found = oras.run(&["discover", flags[0], "--format", "json", &release]);
    assert!(found.contains("application/vnd.shiplap.test"), "{found}");
    // It is listed by the API, and no tag was made for it.
    assert_eq!(lab.tags("campus/openedx"), [RELEASE]);
    oras.run(&["cp", "--from-plain-http", "--to-plain-http", "-r", &release, &lab.name("team/copied:1")]);
    let copied = oras.run(&["discover", flags[0], "--format", "json", &lab.name("team/copied:1")]);
    assert!(copied.contains("application/vnd.shiplap.test"), "{copied}");
    assert!(oras.run(&["repo", "ls", flags[0], lab.serving.address()]).contains("team/oras"));
    assert_eq!(oras.run(&["repo", "tags", flags[0], &lab.name("team/oras")]), "1");
    oras.run(&["manifest", "delete", flags[0], "--force", &artifact]);
    assert_eq!(lab.tags("team/oras"), [""; 0]);
    let digest =
        lab.home.json(&["push", "other:1", "--as", &lab.name("team/other:1")])["digest"].as_str().unwrap().to_owned();
    oras.run(&[
        "cp",
        "--from-plain-http",
        "--to-plain-http",
        &format!("{}@{digest}", lab.name("team/other")),
        &lab.name("campus/openedx:other"),
    ]);
    oras.refused(&["tag", flags[0], &lab.name("campus/openedx:other"), RELEASE], "never moves");
}

#[test]
fn buildah_pulls_pushes_and_does_not_move_a_release() {
    let lab = Lab::new();
    let Some(buildah) = lab.client("buildah") else { return };
    let store = lab.home.path("buildah");
    let (root, run) = (store.join("root"), store.join("run"));
    let global = ["--root", text(&root), "--runroot", text(&run), "--storage-driver", "vfs"];
    let with = |args: &[&str]| -> Vec<String> { global.iter().chain(args).map(|word| (*word).to_owned()).collect() };
    let go = |args: &[&str]| buildah.run(&with(args).iter().map(String::as_str).collect::<Vec<_>>());
    let (release, copy) = (lab.release(), lab.name("team/buildah:1"));
    go(&["pull", "--tls-verify=false", &release]);
    go(&["push", "--tls-verify=false", &release, &format!("docker://{copy}")]);
    lab.digest("team/buildah:1");
    let container = go(&["from", "--tls-verify=false", &copy]);
    go(&["config", "--label", "changed=yes", &container]);
    go(&["commit", &container, "changed"]);
    let push = with(&["push", "--tls-verify=false", "changed", &format!("docker://{release}")]);
    buildah.refused(&push.iter().map(String::as_str).collect::<Vec<_>>(), "never moves");
}
