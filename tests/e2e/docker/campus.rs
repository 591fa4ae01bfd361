//! The images of `examples/campus`: the same from both builders, and ours run in the engine.
//!
//! Minutes of work, so only where `SHIPLAP_TEST_CAMPUS` names the tar that `scripts/base-image` makes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::campus_noise::{differs, without_times};
use super::engine::{Engine, chosen};
use super::{config_of, succeeded, tree};
use crate::common::{Home, sh};

const BASE: &str = "campus/base:bookworm";

struct Campus {
    engine: &'static Engine,
    home: Home,
    root: PathBuf,
}

impl Campus {
    fn get() -> Option<Self> {
        let Some(base) = std::env::var_os("SHIPLAP_TEST_CAMPUS").filter(|tar| !tar.is_empty()) else {
            eprintln!("skipped: SHIPLAP_TEST_CAMPUS names no tar of scripts/base-image");
            return None;
        };
        let engine = Engine::get()?;
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let campus = Self { engine, home: Home::new(), root: project.join("examples/campus") };
        let changes = sh(Command::new(project.join("scripts/base-image")).arg("--changes"));
        let base = Path::new(&base).to_str().unwrap();
        let mut args = vec!["import"];
        changes.lines().for_each(|change| args.extend(["-c", change]));
        args.extend([base, BASE]);
        succeeded(engine.docker(&args));
        let mut args = vec!["import", base, BASE];
        changes.lines().for_each(|change| args.extend(["--change", change]));
        succeeded(campus.shiplap(&args));
        Some(campus)
    }

    fn shiplap(&self, args: &[&str]) -> Output {
        // The network settings of the machine, for what the steps fetch.
        self.home.command(args).envs(std::env::vars().filter(|(name, _)| name.ends_with("_proxy"))).output().unwrap()
    }

    /// Builds a folder of the example with both, and compares.
    fn same(&self, folder: &str, flags: &[&str]) {
        let context = self.root.join(folder);
        let name = format!("shiplap-test/campus-{folder}:1");
        let flags: Vec<String> = [&["--network=host"], flags].concat().iter().map(|flag| (*flag).to_owned()).collect();
        let tar = self.home.path("docker.tar");
        let config = self.engine.build(&name, &tar, &flags, &context).unwrap_or_else(|why| panic!("docker: {why}"));
        succeeded(self.engine.docker(&["image", "rm", &name]));
        let theirs = tree::read_with(File::open(&tar).unwrap(), without_times);
        std::fs::remove_file(tar).unwrap();

        let mut build = vec!["build", "--progress=plain", "-t", &name];
        build.extend(flags.iter().map(String::as_str));
        build.push(context.to_str().unwrap());
        succeeded(self.shiplap(&build));
        let rootfs = self.home.path("rootfs.tar");
        succeeded(self.shiplap(&["export", "--format=rootfs", &name, rootfs.to_str().unwrap()]));
        let ours = tree::read_with(File::open(&rootfs).unwrap(), without_times);
        std::fs::remove_file(rootfs).unwrap();
        let layout = self.home.path("layout");
        succeeded(self.shiplap(&["export", "--format=oci-layout", &name, layout.to_str().unwrap()]));
        assert_eq!(chosen(&config_of(&layout)), config, "shiplap's configuration on the left, docker's on the right");
        std::fs::remove_dir_all(layout).unwrap();

        // `COPY --link` onto a directory brings the directory along, where the engine can do it.
        let linked = |path: &str| path == "mnt" && !self.engine.merges();
        let differences = tree::differences(&theirs, &ours, |path| differs(path) || linked(path));
        assert!(differences.is_empty(), "docker (-) and shiplap (+) differ:\n{}", differences.join("\n"));
        assert!(ours.len() > 5000, "only {} paths", ours.len());
    }

    /// Loads our image into the engine and runs it until `path` answers.
    fn answers(&self, folder: &str, port: u16, path: &str, flags: &[&str], command: &[&str]) {
        let (name, archive) = (format!("shiplap-test/campus-{folder}:1"), self.home.path("image.tar"));
        succeeded(self.shiplap(&["export", "--format=docker-archive", &name, archive.to_str().unwrap()]));
        succeeded(self.engine.docker(&["load", "-i", archive.to_str().unwrap()]));
        let run = [&["run", "--detach", "--network=host"], flags, &[name.as_str()], command].concat();
        let container = String::from_utf8(succeeded(self.engine.docker(&run))).unwrap();
        let began = Instant::now();
        let url = format!("http://127.0.0.1:{port}{path}");
        let mut curl = Command::new("curl");
        curl.args(["--fail", "--silent", "--noproxy", "*", &url]).stdout(Stdio::null());
        let well = loop {
            if curl.status().unwrap().success() {
                break true;
            }
            if began.elapsed() > Duration::from_secs(120) {
                break false;
            }
            std::thread::sleep(Duration::from_millis(500));
        };
        let logs = self.engine.docker(&["logs", container.trim()]);
        succeeded(self.engine.docker(&["rm", "--force", container.trim()]));
        succeeded(self.engine.docker(&["image", "rm", &name]));
        assert!(well, "{url} does not answer: {}", String::from_utf8_lossy(&logs.stderr));
    }
}

#[test]
fn both_images_are_docker_s_and_run() {
    let Some(campus) = Campus::get() else { return };
    let platform = format!("--build-context=edx-platform={}", campus.root.join("edx-platform").display());
    campus.same("openedx", &["--target=final", &platform]);
    campus.same("mfe", &[]);
    let serve = ["sh", "-c", "campus-init && exec campus-server"];
    campus.answers("openedx", 8000, "/heartbeat", &["--env", "SERVICE_VARIANT=lms"], &serve);
    campus.answers("mfe", 8002, "/learning/", &[], &[]);
}
