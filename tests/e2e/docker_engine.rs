//! Images that people run in a container engine.
//!
//! `SHIPLAP_TEST_ENGINES` has addresses of engines, as `DOCKER_HOST` does, with blanks between them: Docker 20.10, Docker 28 with and without
//! containerd, Podman's service. The `docker` in `PATH` asks them what they have. With the variable set, an engine that does not answer is an
//! error, not a skip.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::common::{Home, Ran, SHIPLAP, sh};
use crate::played_engine::PlayedEngine;
use crate::tutor_site::Project;

const THEME: &str = "theme.css";

/// An engine, and a store that uses it.
struct Site {
    home: Home,
    host: String,
    /// The repository of this test in the engine.
    name: String,
}

impl Site {
    /// One for each engine.
    fn all() -> Vec<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let hosts = std::env::var("SHIPLAP_TEST_ENGINES").unwrap_or_default();
        if hosts.trim().is_empty() {
            eprintln!("skipped: SHIPLAP_TEST_ENGINES has no address of an engine");
        }
        let site = |host: &str| {
            let home = Home::with_base();
            home.write(THEME, "red");
            let dockerfile = "FROM base:1\nRUN cat /bin/busybox /bin/busybox >/large\nCOPY theme.css /theme.css\n\
                              CMD [\"cat\", \"/theme.css\"]\n";
            home.write("Dockerfile", dockerfile);
            let name = format!("shiplap-test/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            Self { home, host: host.to_owned(), name }
        };
        hosts.split_whitespace().map(site).collect()
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_at(&self.host, args)
    }

    fn run_at(&self, host: &str, args: &[&str]) -> Ran {
        Ran::of(self.home.command(args).env("DOCKER_HOST", host).output().unwrap())
    }

    /// What the engine was given by a build.
    #[track_caller]
    fn load(&self, flags: &[&str]) -> Value {
        let ran = self.run(&[&["--json", "build", "--load"], flags, &["."]].concat()).ok();
        ran.json()["images"][0]["engine"].clone()
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> String {
        sh(Command::new("docker").env("DOCKER_HOST", &self.host).args(args))
    }

    fn id(&self, name: &str) -> String {
        self.docker(&["image", "inspect", "--format", "{{.Id}}", name])
    }

    /// What the command of an image prints. Podman starts nothing where it may not raise limits, so there the file is read out.
    fn prints(&self, name: &str) -> String {
        let container = self.docker(&["create", "--network=none", name]);
        let said = if self.is_podman() {
            let path = self.home.path("copied");
            self.docker(&["cp", &format!("{container}:/{THEME}"), path.to_str().unwrap()]);
            std::fs::read_to_string(path).unwrap()
        } else {
            self.docker(&["start", "--attach", &container])
        };
        self.docker(&["rm", &container]);
        said
    }

    fn is_podman(&self) -> bool {
        self.docker(&["version", "--format", "{{json .Server}}"]).contains("Podman")
    }

    /// The digests that the store has for a name: of its config and of its manifest.
    fn config_digest(&self, name: &str) -> String {
        let path = self.home.path("meta.json");
        self.home.run(["build", "-t", name, "--metadata-file", path.to_str().unwrap(), "."]).ok();
        let meta: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        meta["containerimage.config.digest"].as_str().unwrap().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let names = self.docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", &self.name]);
        for name in names.split_whitespace().filter(|name| !name.contains("<none>")) {
            self.docker(&["image", "rm", "-f", name]);
        }
    }
}

#[test]
fn after_an_edit_a_load_moves_kilobytes() {
    for site in Site::all() {
        let (one, two) = (site.tag("1"), site.tag("2"));
        let first = site.load(&["-t", &one]);
        assert_eq!(first["layers"], 3, "{first}");
        assert_eq!(site.prints(&one), "red");
        site.home.write(THEME, "blue");
        let second = site.load(&["-t", &one, "-t", &two]);
        assert_eq!((site.prints(&one), site.prints(&two)), ("blue".to_owned(), "blue".to_owned()));
        assert_eq!(second["id"], site.id(&two));
        assert!(second["bytes"].as_u64().unwrap() > 4_000_000);
        if !site.is_podman() {
            assert_eq!((&second["way"], &second["layers_sent"]), (&"pulled".into(), &1.into()), "{second}");
            assert!(second["bytes_sent"].as_u64().unwrap() < 10_000, "{second}");
            // Nothing is left of the name that it was pulled by.
            let named = site.docker(&["image", "inspect", "--format", "{{.RepoTags}} {{.RepoDigests}}", &two]);
            assert!(!named.contains("127.0.0.1"), "{named}");
        }
        // Where an image's id is that of its config, it is the one that a push would give it.
        if !site.docker(&["info", "--format", "{{json .}}"]).contains("io.containerd.snapshotter") {
            assert_eq!(site.id(&two), site.config_digest(&two));
        }
        let again = site.run(&["load", &two]).ok();
        again.says(if site.is_podman() { "3 of 3 layers" } else { "0 of 3 layers, 0 B of" });
    }
}

#[test]
fn an_image_without_a_name_is_loaded_too_and_moves_as_little() {
    for site in Site::all() {
        let sent = site.load(&[]);
        assert_eq!(sent["way"], "sent");
        let id = sent["id"].as_str().unwrap();
        assert_eq!(site.prints(id), "red");
        site.docker(&["image", "rm", id]);
    }
}

#[test]
fn a_set_of_images_is_loaded_together() {
    for site in Site::all() {
        let image =
            |name: &str| format!("[instance.campus.image.{name}]\ncontext = \".\"\nrepository = \"campus/{name}\"\n");
        site.home.write("shiplap.toml", image("openedx") + &image("mfe"));
        site.run(&["build", "campus", "--load"]).ok().says("loaded into");
        for image in ["openedx", "mfe"] {
            let name = format!("shiplap.local/campus/{image}:latest");
            assert_eq!(site.prints(&name), "red");
            site.docker(&["image", "rm", &name]);
        }
    }
}

/// As from a virtual machine or a rootless engine: its socket is here, and its network is another.
#[test]
fn an_engine_that_does_not_reach_our_loopback_is_sent_what_it_lacks() {
    for site in Site::all() {
        let name = site.tag("apart");
        let apart = || {
            let script = "busybox ifconfig lo 127.0.0.1 up && exec \"$@\"";
            let words = ["-n", "sh", "-c", script, "sh", SHIPLAP, "--json", "build", "--load", "-t", &name, "."];
            let mut command = Command::new("unshare");
            command.args(words).current_dir(site.home.work()).env_clear().envs(site.home.environment());
            Ran::of(command.env("DOCKER_HOST", &site.host).output().unwrap()).ok()
        };
        apart();
        assert_eq!(site.prints(&name), "red");
        site.home.write(THEME, "blue");
        let ran = apart();
        assert_eq!(site.prints(&name), "blue");
        let handed = ran.json()["images"][0]["engine"].clone();
        match site.is_podman() {
            true => assert_eq!(handed["way"], "sent"),
            false => drop(ran.says("does not reach this process").says("so it was sent an archive")),
        }
        // Which layers an engine with containerd has cannot be asked.
        let all =
            site.is_podman() || site.docker(&["info", "--format", "{{json .}}"]).contains("io.containerd.snapshotter");
        assert_eq!(handed["layers_sent"], if all { 3 } else { 1 }, "{handed}");
    }
}

#[test]
fn a_release_tag_is_not_given_to_another_image() {
    for site in Site::all() {
        let tag = site.tag("1.4.0-g3f2c1ab09d4e");
        site.load(&["-t", &site.tag("any")]);
        site.run(&["load", &site.tag("any"), "-t", &tag]).ok();
        site.run(&["load", &site.tag("any"), "-t", &tag]).ok();
        site.home.write(THEME, "blue");
        site.load(&["-t", &site.tag("other")]);
        site.run(&["load", &site.tag("other"), "-t", &tag]).ends_with(3).says("a release tag never moves");
        assert_eq!(site.prints(&tag), "red");
    }
}

#[test]
fn without_an_engine_it_is_said_before_the_build() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nRUN echo too late && exit 1\n");
    let run = |host: &str, args: &[&str]| Ran::of(home.command(args).env("DOCKER_HOST", host).output().unwrap());
    let nowhere = format!("unix://{}", home.path("docker.sock").display());
    for args in [&["build", "--load", "."][..], &["build", "-o", "type=docker", "."], &["load", "base:1"]] {
        run(&nowhere, args).ends_with(5).says("no container engine answers").says("there is no such socket");
    }
    run("/run/docker.sock", &["load", "base:1"]).ends_with(2).says("is no address of a container engine");
    let context = home.command(["load", "base:1"]).env("DOCKER_CONTEXT", "far").output().unwrap();
    Ran::of(context).ends_with(4).says("there is no Docker context `far`");
}

#[test]
fn the_engine_of_podman_is_found_by_its_own_variable() {
    let (home, engine) = (Home::with_base(), PlayedEngine::start());
    let ran = home.command(["load", "base:1", "-t", "campus/x:1"]).env("CONTAINER_HOST", engine.address()).output();
    Ran::of(ran.unwrap()).ok().says("loaded into Podman 1: 1 of 1 layers");
    let manifest: Value = serde_json::from_slice(&engine.loaded_file("manifest.json").unwrap()).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["docker.io/campus/x:1"]));
    let layer = manifest[0]["Layers"][0].as_str().unwrap();
    assert!(engine.loaded_file(layer).is_some());
}

#[test]
fn a_base_image_comes_from_the_engine_where_that_is_asked_for() {
    for site in Site::all() {
        // Nobody listens there.
        let base = format!("localhost:1/{}", site.tag("base"));
        let import = |text: &str| {
            site.home.build("bottom:1", &format!("FROM base:1\nRUN echo {text} >/text\n"), &[]);
            let tar = site.home.path("bottom.tar");
            site.home.run(["export", "bottom:1", tar.to_str().unwrap(), "--format", "rootfs"]).ok();
            site.docker(&["import", "-c", "ENV PATH=/bin", "-c", "ENV FROM=engine", tar.to_str().unwrap(), &base]);
        };
        import("first");
        site.home.write("Dockerfile", format!("FROM {base}\nRUN echo $FROM $(cat /text) >/result\n"));
        let words = ["build", "-t", "top:1", "."];
        site.run(&words).ends_with(5).says("cannot get the image").says("--base-from engine");
        let with_engine = [&words[..], &["--base-from", "engine"]].concat();
        site.run(&with_engine).ok().says(&format!("taking {base} from")).says("note: ").says("0 steps reused, 1 run");
        assert_eq!(site.home.file("top:1", "result"), "engine first\n");

        let again = site.run(&with_engine).ok().says("1 steps reused, 0 run");
        assert!(!again.err.contains("taking"), "{}", again.err);
        site.run(&["plan", ".", "--base-from=engine"])
            .ok()
            .says(&format!("note: {base} is the image"))
            .says("1 reused");
        // The store learns no name that it would take for the registry's.
        site.run(&words).ends_with(5);

        import("second");
        site.home.write("Dockerfile", format!("FROM {base}\nRUN echo $FROM $(cat /text) >/result\n"));
        site.run(&with_engine).ok().says("1 run");
        assert_eq!(site.home.file("top:1", "result"), "engine second\n");
        // What it does not have comes from where it came before.
        site.home.write("Dockerfile", "FROM base:1\nRUN true\n");
        let ran = site.run(&with_engine).ok();
        assert!(!ran.err.contains("is the image"), "{}", ran.err);
        site.docker(&["image", "rm", &base]);
    }
}

#[test]
fn tutor_builds_the_image_that_it_runs() {
    for site in Site::all() {
        let Some(project) = Project::new(22).map(Project::with_real_docker) else { return };
        project.shiplap(&["tutor", "install", "--enable"]).ok();
        project.try_tutor(&["images", "build", "hello"], Some(&site.host)).ok().says("loaded into");
        let tag = project.tutor(&["images", "printtag", "hello"]);
        // The name stands in what `tutor local` starts services from.
        let services = project.services(&["local/docker-compose.yml"]);
        assert!(services.values().any(|image| *image == tag), "{tag}: {services:?}");
        let container = site.docker(&["create", "--network=none", &tag]);
        let path = site.home.path("colour");
        site.docker(&["cp", &format!("{container}:/colour"), path.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "blue\n");
        site.docker(&["rm", &container]);
        site.docker(&["image", "rm", &tag]);
    }
}
