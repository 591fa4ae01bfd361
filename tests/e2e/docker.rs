//! The same Dockerfile built by Docker 28 and by shiplap makes the same files and the same image configuration.
//!
//! Each test is a [`Case`]: a Dockerfile, the files of its context, flags. Where `SHIPLAP_TEST_DOCKER` names no engine (a
//! command that runs `docker`, such as `../shared/lab/peers docker`), the tests say so and pass. Times are not compared;
//! what we do otherwise on purpose is in `docs/compatibility.md`.

mod add;
mod arguments;
mod base;
mod campus;
mod campus_noise;
mod check;
mod command_line;
mod config;
mod copy;
mod engine;
mod heredocs;
mod ignore;
mod lines;
mod link;
mod mounts;
mod odd_forms;
mod onbuild;
mod run;
mod stages;
mod tally;
mod tree;
mod workdir;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Output;

use engine::Engine;
use serde_json::Value;
use tree::Files;

use crate::common::{Home, write};

/// A build to be done twice. `FROM base` in its Dockerfile is the image of [`base`]; `FROM onbuild` is the same with triggers.
pub struct Case {
    home: Home,
    flags: Vec<String>,
    dockerfile: String,
    merges: bool,
}

/// What came of a build.
pub enum Result {
    Image { files: Files, config: Value },
    Failure(String),
}

impl Case {
    pub fn new(dockerfile: &str) -> Self {
        // An engine in a container often has no bridge for the steps.
        let flags = vec!["--network=host".to_owned()];
        let case = Self { home: Home::new(), flags, dockerfile: dockerfile.to_owned(), merges: false };
        fs::create_dir(case.context()).unwrap();
        case
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }

    pub fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// Where a path of the context is on disk, with the folders above it made.
    fn at(&self, path: &str) -> PathBuf {
        let at = self.context().join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent).unwrap();
        }
        at
    }

    /// A file of the context; `../x/f` is beside it.
    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.file_mode(path, text, 0o644)
    }

    pub fn file_mode(self, path: &str, text: impl AsRef<[u8]>, mode: u32) -> Self {
        let at = write(&self.at(path), text);
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        let at = self.at(path);
        fs::create_dir_all(&at).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        symlink(target, self.at(path)).unwrap();
        self
    }

    pub fn hard_link(self, path: &str, first: &str) -> Self {
        fs::hard_link(self.at(first), self.at(path)).unwrap();
        self
    }

    /// A flag for both builders; `{dir}` in it is the folder that the context is in.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.replace("{dir}", self.path("").to_str().unwrap()));
        self
    }

    /// Only for engines that can merge layers.
    pub fn with_merge(mut self) -> Self {
        self.merges = true;
        self
    }

    /// Both build it, to the same files and the same configuration.
    #[track_caller]
    pub fn same(self) {
        self.judge(|docker, shiplap| match (docker, shiplap) {
            (Result::Failure(docker), Result::Failure(us)) => Err(format!("both failed:\n{docker}\n\n{us}")),
            (docker, shiplap) => compare(docker, shiplap),
        });
    }

    /// Both make the same of it, or neither builds it.
    #[track_caller]
    pub fn alike(self) {
        self.judge(compare);
    }

    /// Neither builds it.
    #[track_caller]
    pub fn refused(self) {
        self.refused_for("", "");
    }

    /// Neither builds it, and each says why.
    #[track_caller]
    pub fn refused_for(self, docker_says: &str, shiplap_says: &str) {
        self.judge(|docker, shiplap| match (docker, shiplap) {
            (Result::Failure(docker), Result::Failure(us)) => {
                let says = |text: &str, wanted: &str| text.to_lowercase().contains(&wanted.to_lowercase());
                match says(&docker, docker_says) && says(&us, shiplap_says) {
                    true => Ok(()),
                    false => Err(format!("both refused it for another reason:\n{docker}\n\n{us}")),
                }
            }
            (Result::Failure(why), _) => Err(format!("only docker refused it:\n{why}")),
            (_, Result::Failure(why)) => Err(format!("only shiplap refused it:\n{why}")),
            _ => Err("both built it".to_owned()),
        });
    }

    /// Builds with both and counts the case as what it comes to.
    #[track_caller]
    fn judge(self, judge: impl FnOnce(Result, Result) -> std::result::Result<(), String>) {
        let at = Location::caller();
        let Some((docker, shiplap)) = self.both() else { return tally::count("skipped", at) };
        let verdict = judge(docker, shiplap);
        tally::count(if verdict.is_ok() { "passed" } else { "failed" }, at);
        if let Err(why) = verdict {
            panic!("{why}");
        }
    }

    /// Both check it with the same words, and end alike.
    #[track_caller]
    pub fn checks_alike(self) {
        let at = Location::caller();
        let Some(engine) = Engine::get() else { return tally::count("skipped", at) };
        fs::write(self.path("Dockerfile"), with_images(&self.dockerfile, engine)).unwrap();
        self.import_images(engine);
        let (dockerfile, context) = (format!("--file={}", self.path("Dockerfile").display()), self.context());
        let mut args = vec!["build", "--check", &dockerfile];
        args.extend(self.flags.iter().map(String::as_str));
        args.push(context.to_str().unwrap());
        let ours = self.home.command(&args).output().unwrap();
        let docker = engine.docker(&[&["buildx"], &args[..]].concat());
        let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        let alike = text(&ours) == text(&docker) && ours.status.success() == docker.status.success();
        tally::count(if alike { "passed" } else { "failed" }, at);
        assert!(alike, "{}\n-- docker:\n{}\n-- shiplap:\n{}", self.dockerfile, text(&docker), text(&ours));
    }

    /// What both make of it; none where there is no engine.
    fn both(&self) -> Option<(Result, Result)> {
        let engine = Engine::get()?;
        if self.merges && !engine.merges() {
            return None;
        }
        fs::write(self.path("Dockerfile"), with_images(&self.dockerfile, engine)).unwrap();
        let docker = engine.build_case(self);
        let shiplap = self.shiplap(engine);
        Some((docker, shiplap))
    }

    fn import_images(&self, engine: &Engine) {
        let tar = engine.base_tar().to_str().unwrap();
        for (name, changes) in engine.images() {
            let changes = changes.iter().map(|change| format!("--change={change}")).collect::<Vec<_>>();
            let changes = changes.iter().map(String::as_str);
            let import = ["import", tar, name].into_iter().chain(changes).collect::<Vec<_>>();
            succeeded(self.home.command(import).output().unwrap());
        }
    }

    fn shiplap(&self, engine: &Engine) -> Result {
        let shiplap = |args: &[&str]| self.home.command(args).output().unwrap();
        self.import_images(engine);
        let dockerfile = self.path("Dockerfile");
        let context = self.context();
        let mut build = vec!["build", "--progress=plain", "-t", "case:1", "-f", dockerfile.to_str().unwrap()];
        build.extend(self.flags.iter().map(String::as_str));
        build.push(context.to_str().unwrap());
        let built = shiplap(&build);
        if !built.status.success() {
            return Result::Failure(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let rootfs = succeeded(shiplap(&["export", "--format=rootfs", "case:1", "-"]));
        let layout = self.path("layout");
        succeeded(shiplap(&["export", "--format=oci-layout", "case:1", layout.to_str().unwrap()]));
        Result::Image { files: tree::read(rootfs.as_slice()), config: engine::chosen(&config_of(&layout)) }
    }
}

/// What is wrong where one builds what the other does not, or something else.
fn compare(docker: Result, shiplap: Result) -> std::result::Result<(), String> {
    match (docker, shiplap) {
        (Result::Image { files, config }, Result::Image { files: ours, config: our_config }) => {
            let files = tree::differences(&files, &ours, |_| false);
            if !files.is_empty() {
                return Err(format!("docker (-) and shiplap (+) differ:\n{}", files.join("\n")));
            }
            if config != our_config {
                return Err(format!("docker's configuration:\n{config:#}\nshiplap's:\n{our_config:#}"));
            }
            Ok(())
        }
        (Result::Failure(why), Result::Image { .. }) => Err(format!("only docker failed:\n{why}")),
        (Result::Image { .. }, Result::Failure(why)) => Err(format!("only shiplap failed:\n{why}")),
        (Result::Failure(_), Result::Failure(_)) => Ok(()),
    }
}

/// The Dockerfile with the names that the images have in the engine.
fn with_images(dockerfile: &str, engine: &Engine) -> String {
    let [(base, _), (onbuild, _)] = engine.images();
    let mut text = String::new();
    for line in dockerfile.split_inclusive('\n') {
        let from = line.trim_start_matches('\u{feff}').trim_start().to_lowercase().starts_with("from");
        for word in line.split_inclusive([' ', '\t', '\r', '\n']) {
            let (name, end) = word.split_at(word.trim_end().len());
            text.push_str(match name {
                "base" if from => base,
                "onbuild" if from => onbuild,
                _ => name,
            });
            text.push_str(end);
        }
    }
    text.replace("from=base", &format!("from={base}")).replace("IMAGE=base", &format!("IMAGE={base}"))
}

/// The output of a command that must have ended well.
#[track_caller]
pub fn succeeded(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The `config` of the one image of an OCI layout.
fn config_of(layout: &Path) -> Value {
    let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| json(layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/")));
    let manifest = blob(&json(layout.join("index.json"))["manifests"][0]["digest"]);
    blob(&manifest["config"]["digest"])["config"].clone()
}
