//! The engine that we compare with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Case, Result, base, succeeded, tree};

/// What the images of the engine have in their configuration.
const CHANGES: [&[&str]; 2] = [
    &["ENV PATH=/bin"],
    &["ENV PATH=/bin", "ONBUILD COPY given /given", "ONBUILD RUN cat given >made", "ONBUILD ENV FIRED=yes"],
];

/// A command that runs `docker`, and the images that were imported there.
pub struct Engine {
    command: Vec<String>,
    images: [(String, &'static [&'static str]); 2],
    base_tar: PathBuf,
}

impl Engine {
    /// The engine of `SHIPLAP_TEST_DOCKER`. With the variable set, an engine that does not answer is an error, not a skip.
    pub fn get() -> Option<&'static Self> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        ENGINE.get_or_init(Self::find).as_ref()
    }

    fn find() -> Option<Self> {
        let Some(command) = std::env::var("SHIPLAP_TEST_DOCKER").ok().filter(|c| !c.trim().is_empty()) else {
            eprintln!("skipped: SHIPLAP_TEST_DOCKER names no command that runs docker");
            return None;
        };
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let (base_tar, tag) = base::make();
        let images =
            [(format!("shiplap-test/base:{tag}"), CHANGES[0]), (format!("shiplap-test/onbuild:{tag}"), CHANGES[1])];
        let engine = Self { command, images, base_tar };
        for (name, changes) in &engine.images {
            if !engine.docker(&["image", "inspect", name]).status.success() {
                let mut import = vec!["import"];
                changes.iter().for_each(|change| import.extend(["-c", change]));
                import.extend([engine.base_tar.to_str().unwrap(), name]);
                succeeded(engine.docker(&import));
            }
        }
        Some(engine)
    }

    /// The base image and the one with triggers, each with what was changed when it was imported.
    pub fn images(&self) -> &[(String, &'static [&'static str]); 2] {
        &self.images
    }

    pub fn base_tar(&self) -> &Path {
        &self.base_tar
    }

    pub fn docker(&self, args: &[&str]) -> Output {
        Command::new(&self.command[0]).args(&self.command[1..]).args(args).output().unwrap()
    }

    pub fn docker_with(&self, args: &[&str], stdin: Stdio) -> Output {
        Command::new(&self.command[0]).args(&self.command[1..]).args(args).stdin(stdin).output().unwrap()
    }

    /// Whether it keeps images with containerd. Only then `COPY --link` makes a layer that looks at nothing below it; else
    /// BuildKit does as if there were no `--link`.
    pub fn merges(&self) -> bool {
        let info = succeeded(self.docker(&["info", "--format", "{{json .DriverStatus}}"]));
        let merges = String::from_utf8_lossy(&info).contains("io.containerd.snapshotter");
        if !merges {
            eprintln!("skipped: this engine keeps images without containerd");
        }
        merges
    }

    /// Builds a context; a tar of its files and an image of its configuration come from one build. The image stays only when
    /// the build ends well, under `name`.
    pub fn build(
        &self,
        name: &str,
        tar: &Path,
        flags: &[String],
        context: &Path,
    ) -> std::result::Result<Value, String> {
        let (to_tar, to_image) =
            (format!("--output=type=tar,dest={}", tar.display()), format!("--output=type=image,name={name}"));
        let mut args = vec!["buildx", "build", "--progress=plain", &to_tar, &to_image];
        args.extend(flags.iter().map(String::as_str));
        args.push(context.to_str().unwrap());
        let built = self.docker(&args);
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let inspected = succeeded(self.docker(&["image", "inspect", "--format", "{{json .Config}}", name]));
        Ok(chosen(&serde_json::from_slice(&inspected).unwrap()))
    }

    /// Builds a case.
    pub fn build_case(&self, case: &Case) -> Result {
        let tar = case.path("docker.tar");
        let folder = case.path("").file_name().unwrap().to_str().unwrap().to_lowercase();
        let name = format!("shiplap-test/case:{folder}");
        let flags = [case.flags.clone(), vec![format!("--file={}", case.path("Dockerfile").display())]].concat();
        match self.build(&name, &tar, &flags, &case.context()) {
            Err(why) => Result::Failure(why),
            Ok(config) => {
                succeeded(self.docker(&["image", "rm", &name]));
                Result::Image { files: tree::read(std::fs::File::open(tar).unwrap()), config }
            }
        }
    }
}

/// The parts of an image's configuration that a Dockerfile sets; what is empty is absent.
pub fn chosen(config: &Value) -> Value {
    const KEYS: [&str; 12] = [
        "Env",
        "Cmd",
        "Entrypoint",
        "User",
        "WorkingDir",
        "Labels",
        "ExposedPorts",
        "Volumes",
        "StopSignal",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ];
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Number(_) => false,
    };
    KEYS.iter().filter_map(|key| Some((*key, config.get(key).filter(|v| !empty(v))?.clone()))).collect()
}
