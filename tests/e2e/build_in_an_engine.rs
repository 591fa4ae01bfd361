//! `build --engine`: a build in a container of an engine. As in `docker_engine`, `SHIPLAP_TEST_ENGINES` has the addresses; Podman's service is left out,
//! for it starts no container where it may not raise limits.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::common::{Home, Ran, sh};
use crate::played_engine::PlayedEngine;

/// No time is later: two runs of a step differ in nothing else.
const EPOCH: &str = "1700000000";

/// A context that needs no image, with this program's own busybox in it.
struct Site {
    home: Home,
    host: String,
}

impl Site {
    fn all() -> Vec<Self> {
        let hosts = std::env::var("SHIPLAP_TEST_ENGINES").unwrap_or_default();
        if hosts.trim().is_empty() {
            eprintln!("skipped: SHIPLAP_TEST_ENGINES has no address of an engine");
        }
        let sites = hosts.split_whitespace().map(|host| Self::of(Home::with_base(), host));
        let is_docker = |site: &Self| {
            !sh(Command::new("docker").env("DOCKER_HOST", &site.host).args(["version", "--format", "{{json .Server}}"]))
                .contains("Podman")
        };
        sites.filter(is_docker).collect()
    }

    fn of(home: Home, host: &str) -> Self {
        let rootfs = home.path("root.tar");
        home.run(["export", "base:1", rootfs.to_str().unwrap(), "--format", "rootfs"]).ok();
        let root = home.work().join("root");
        std::fs::create_dir(&root).unwrap();
        sh(Command::new("tar").arg("-xf").arg(rootfs).arg("-C").arg(&root));
        home.write(".dockerignore", "left-out\n.dockerignore\n");
        home.write("left-out/large", vec![7; 300_000]);
        home.write("theme.css", "red");
        Self { home, host: host.to_owned() }
    }

    fn dockerfile(&self, steps: &str) {
        self.home.write("Dockerfile", format!("FROM scratch\nCOPY root /\nENV PATH=/bin\n{steps}"));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("DOCKER_HOST", &self.host).env("SOURCE_DATE_EPOCH", EPOCH);
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    fn docker(&self, args: &[&str]) -> String {
        sh(Command::new("docker").env("DOCKER_HOST", &self.host).args(args))
    }

    /// The container of a build that was started.
    fn container(&self, child: &Child) -> String {
        let name = format!("name=shiplap-build-{}-", child.id());
        self.docker(&["ps", "--quiet", "--filter", &name])
    }

    /// What is in an image of the volume's store, or what is wrong.
    fn build(&self, flags: &[&str]) -> Ran {
        self.run(&[&["build", "--engine", "docker", "."], flags].concat())
    }
}

#[test]
fn it_makes_the_same_image_as_here_and_is_sent_what_changed() {
    for site in Site::all() {
        site.dockerfile("RUN ls /root >/seen && chmod 600 /seen\nCOPY --chown=bob theme.css dir /themes/\n");
        site.home.write("dir/deep/er", "file");
        std::os::unix::fs::symlink("theme.css", site.home.work().join("dir/link")).unwrap();
        let first = site.build(&["-q"]).ok();
        // The volume's store remembers the builds of earlier runs.
        let blue = format!("blue {:?}", std::time::SystemTime::now());
        site.home.write("theme.css", &blue);
        let second =
            site.build(&[]).ok().says(&format!("sent 1 files, {} B of", blue.len())).says("2 steps reused, 1 run");
        assert!(!second.err.contains("left-out"), "{}", second.err);
        // Nothing changed, and a file that moved is there already.
        site.build(&[]).ok().says("sent 0 files").says("3 steps reused, 0 run");
        std::fs::rename(site.home.work().join("dir/deep"), site.home.work().join("dir/deeper")).unwrap();
        site.build(&[]).ok().says("sent 0 files").says("1 run");
        let there = site.build(&["-q"]).ok().out;
        let here = site.run(&["build", "-q", "."]).ok().out;
        assert_eq!(there, here);
        assert_ne!(there, first.out);
    }
}

#[test]
fn the_image_goes_into_the_engine_and_to_standard_output() {
    for site in Site::all() {
        site.dockerfile("COPY theme.css /theme.css\nCMD [\"cat\", \"/theme.css\"]\n");
        let name = format!("shiplap-test/worker:{}", std::process::id());
        site.build(&["--load", "-t", &name]).ok().says("loaded into Docker");
        assert_eq!(site.docker(&["run", "--rm", "--network=none", &name]), "red");
        site.docker(&["image", "rm", &name]);
        let tar = site.command(&["build", "--engine=docker", "-o", "-", "."]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let mut archive = tar::Archive::new(tar.stdout.as_slice());
        assert!(archive.entries().unwrap().any(|entry| entry.unwrap().path().unwrap().ends_with("theme.css")));
    }
}

#[test]
fn a_secret_is_in_memory_alone_and_the_build_sees_files_from_beside_its_folder() {
    for site in Site::all() {
        std::fs::create_dir(site.home.path("beside")).unwrap();
        std::fs::write(site.home.path("beside/token"), "s3cret-of-the-test").unwrap();
        std::fs::write(site.home.path("beside/more"), "from beside").unwrap();
        let steps = "RUN --mount=type=secret,id=token --mount=type=secret,id=word \\\n\
             test \"$(cat /run/secrets/token)\" = s3cret-of-the-test && test \"$(cat /run/secrets/word)\" = w0rd\n\
             COPY --from=beside more /more\nRUN cat /more && sleep 2\n";
        std::fs::write(
            site.home.path("beside/Dockerfile"),
            format!("FROM scratch\nCOPY root /\nENV PATH=/bin\n{steps}"),
        )
        .unwrap();
        let words = ["build", "--engine", "docker", "--no-cache", "--progress=plain", "-f", "../beside/Dockerfile"];
        let more = ["--secret", "id=token,src=../beside/token", "--secret", "id=word,env=WORD", "."];
        let contexts = ["--build-context", "beside=../beside"];
        let mut command = site.command(&[&words[..], &contexts, &more].concat());
        let mut child = command.env("WORD", "w0rd").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let mut seen = String::new();
        for line in lines {
            if line.ends_with("from beside") && seen.is_empty() {
                seen = site.docker(&["inspect", &site.container(&child)]);
            }
            said.push(line);
        }
        assert!(child.wait().unwrap().success(), "{said:#?}");
        assert!(seen.contains("__worker") && !seen.contains("s3cret-of-the-test") && !seen.contains("w0rd"), "{seen}");
    }
}

#[test]
fn an_instance_is_built_with_its_configuration() {
    for site in Site::all() {
        site.dockerfile("ARG COLOUR\nRUN echo $COLOUR >/colour\n");
        let config = "[instance.campus.image.openedx]\ncontext = \".\"\nrepository = \"campus/openedx\"\n\
                      build-args = { COLOUR = \"green\", SOURCE_DATE_EPOCH = \"1700000000\" }\n";
        site.home.write("site/shiplap.toml", config.replace("context = \".\"", "context = \"..\""));
        let run = |words: &[&str]| {
            let mut command = site.command(words);
            Ran::of(command.current_dir(site.home.work().join("site")).output().unwrap())
        };
        let there = run(&["build", "campus", "--engine", "docker", "-q"]).ok().out;
        assert_eq!(there, run(&["build", "campus", "-q"]).ok().out);
    }
}

#[test]
fn exit_codes_and_errors_are_those_of_the_build() {
    for site in Site::all() {
        site.dockerfile("RUN echo broken >&2 && exit 7\n");
        site.build(&[]).ends_with(1).says("broken").says("this step failed");
        // On a terminal it is this program that shows the events of the build.
        let terminal =
            site.build(&["--progress=tty", "--no-cache"]).ends_with(1).says("broken").says("this step failed");
        assert!(!terminal.err.contains("\"event\""), "{}", terminal.err);
        let events = site.build(&["--progress=json", "--no-cache"]).ends_with(1);
        assert!(events.err.lines().any(|line| line.contains("\"event\":\"failed\"")), "{}", events.err);
        site.dockerfile("COPY missing /\n");
        site.build(&[]).ends_with(2).says("missing");
        site.build(&["--target", "none"]).ends_with(2);
    }
}

#[test]
fn ctrl_c_ends_the_build_and_its_container() {
    for site in Site::all() {
        site.dockerfile("RUN echo begun && sleep 600\n");
        let words = ["build", "--engine", "docker", "--progress=plain", "."];
        let mut child = site.command(&words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("begun")));
        assert_ne!(site.container(&child), "");
        sh(Command::new("kill").args(["-INT", &child.id().to_string()]));
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        assert_eq!(site.container(&child), "");
    }
}

#[test]
fn the_build_ends_when_nobody_waits_for_it_any_more() {
    for site in Site::all() {
        let mark = format!("marked-{}", std::process::id());
        site.dockerfile(&format!("RUN echo begun {mark} && sleep 600\n"));
        let words = ["build", "--engine", "docker", "--progress=plain", "."];
        let mut child = site.command(&words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(&mark)));
        let container = site.container(&child);
        assert_ne!(container, "");
        child.kill().unwrap();
        child.wait().unwrap();
        // It ends by itself; `docker wait` waits for that, and knows nothing of one that is gone.
        let _ = Command::new("docker").env("DOCKER_HOST", &site.host).args(["wait", &container]).output().unwrap();
        assert_eq!(site.container(&child), "");
    }
}

#[test]
fn what_a_container_cannot_have_is_refused_before_it_is_made() {
    let (home, engine) = (Home::new(), PlayedEngine::start());
    home.write("Dockerfile", "FROM scratch\n");
    let run = |args: &[&str]| {
        let mut command = home.command([&["build", "--engine", "docker"], args].concat());
        Ran::of(command.env("DOCKER_HOST", engine.address()).output().unwrap())
    };
    for (args, says) in [
        (&["-o", "out", "."][..], "--output out does not go with --engine"),
        (&["--iidfile", "id", "."], "--iidfile does not go with --engine"),
        (&["-"], "is standard input"),
        (&["--ssh", "default=/run/agent", "."], "--ssh does not go with --engine"),
        (&["/"], "cannot be sent to an engine"),
    ] {
        run(args).ends_with(2).says(says);
    }
    let wrong = home.command(["build", "--engine", "podman", "."]).output().unwrap();
    Ran::of(wrong).ends_with(2).says("expected docker, or docker=ADDRESS");
    let nobody = home.command(["build", "--engine", "docker=tcp://127.0.0.1:1", "."]).output().unwrap();
    Ran::of(nobody).ends_with(5).says("no container engine answers at tcp://127.0.0.1:1");
}
