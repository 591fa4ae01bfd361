//! A Tutor project with plugins, a theme and mounts, for the tests of what operators do with Tutor.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{Home, Ran, Repo, SHIPLAP, sh, write};

const PLUGIN: &str = include_str!("../fixtures/tutor/campus.py");

/// The `docker` that Tutor finds: an engine answers where `DOCKER_HOST` names one. It keeps what it is told.
const DOCKER: &str = "#!/bin/sh
case \"$1\" in
version) [ -n \"$DOCKER_HOST\" ] || exit 1 ;;
esac
echo \"$@\" >> \"$ASKED/words\"
";

/// One release of Tutor with a project in the working folder.
pub struct Project {
    pub home: Home,
    program: PathBuf,
}

impl Project {
    /// None, and a word about it, where that release of Tutor is not installed.
    pub fn new(release: u32) -> Option<Self> {
        let Some(folder) = std::env::var_os("SHIPLAP_TEST_TUTOR_RELEASES") else {
            eprintln!("skipped: SHIPLAP_TEST_TUTOR_RELEASES is not set (scripts/tutor-releases makes what it names)");
            return None;
        };
        let program = Path::new(&folder).join(format!("{release}/bin/tutor"));
        if !program.exists() {
            eprintln!("skipped: there is no {}", program.display());
            return None;
        }
        let project = Self { home: Home::with_base(), program };
        let at = |path: &str| project.home.path(path);
        write(&at("plugins/campus.py"), PLUGIN);
        let dockerfile = "FROM base:1 AS final\nARG COLOUR\nRUN echo $COLOUR >/colour\nFROM base:1\n";
        write(&at("plugins/campus-templates/campus/build/hello/Dockerfile"), dockerfile);
        write(&at("asked/words"), "");
        let docker = write(&at("bin/docker"), DOCKER);
        std::fs::set_permissions(docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        project.home.write("edx-platform/setup.py", "");
        project.home.write("my-lib/setup.py", "");
        project.tutor(&["config", "save"]);
        project.tutor(&["plugins", "enable", "indigo", "mfe", "notes", "campus"]);
        project.tutor(&["mounts", "add", "edx-platform", "my-lib"]);
        project.home.write("tutor/env/build/openedx/themes/campus/lms/static/sass/_a.scss", "// ours\n");
        Some(project)
    }

    fn environment(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.home.work()).stdin(Stdio::null()).env_clear().envs(self.home.environment());
        command.env("TUTOR_ROOT", self.home.work().join("tutor"));
        command.env("TUTOR_PLUGINS_ROOT", self.home.path("plugins"));
        command.env("SHIPLAP_PROGRAM", SHIPLAP).env("ASKED", self.home.path("asked"));
        command.env("PATH", format!("{}:{path}", self.home.path("bin").display()));
    }

    /// A program that runs Tutor and has no Python to ask, as its one-file binary has none.
    pub fn binary(&self) -> PathBuf {
        let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", self.program.display());
        let binary = write(&self.home.path("binary/tutor"), text);
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        binary
    }

    /// Runs Tutor, which must end well.
    #[track_caller]
    pub fn tutor(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        self.environment(command.args(args));
        sh(&mut command)
    }

    /// From now on Tutor finds the `docker` of this machine.
    pub fn with_real_docker(self) -> Self {
        std::fs::remove_file(self.home.path("bin/docker")).unwrap();
        self
    }

    /// Runs Tutor, with an engine at this address or without.
    pub fn try_tutor(&self, args: &[&str], engine: Option<&str>) -> Ran {
        let mut command = Command::new(&self.program);
        self.environment(command.args(args));
        if let Some(engine) = engine {
            command.env("DOCKER_HOST", engine);
        }
        Ran::of(command.output().unwrap())
    }

    /// Runs Shiplap, which finds this Tutor.
    pub fn shiplap(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(SHIPLAP);
        self.environment(command.args(args));
        let path = std::env::var("PATH").unwrap();
        let tutor = self.program.parent().unwrap().display();
        command.env("PATH", format!("{tutor}:{}:{path}", self.home.path("bin").display()));
        Ran::of(command.output().unwrap())
    }

    /// What Tutor asked of docker since the last time.
    pub fn asked(&self) -> Vec<String> {
        let path = self.home.path("asked/words");
        let words = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, "").unwrap();
        words.lines().map(str::to_owned).collect()
    }

    /// Gives each image of `shiplap.toml` a small context: Tutor's own ones need a network and an hour.
    pub fn with_small_images(&self) -> Repo {
        let path = self.home.work().join("shiplap.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("context = ") {
                Some(context) => {
                    let name = context.trim_matches('"').rsplit('/').next().unwrap();
                    self.home.write(&format!("small/{name}/theme.css"), name);
                    self.home.write(
                        &format!("small/{name}/Dockerfile"),
                        "FROM base:1 AS final\nARG COLOUR\nCOPY theme.css /theme.css\n",
                    );
                    lines.push(format!("context = \"small/{name}\""));
                }
                None => lines.push(line.to_owned()),
            }
        }
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
        self.home.write(".gitignore", "tutor/\n");
        Repo::of(&self.home.work())
    }

    /// The documents of a YAML file or text, by Tutor's own parser.
    pub fn yaml(&self, text: &str) -> Vec<Value> {
        let path = write(&self.home.path("document.yml"), text);
        let script =
            "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))";
        let python = self.program.with_file_name("python");
        serde_json::from_str(&sh(Command::new(python).args(["-c", script]).arg(path))).unwrap()
    }

    fn rendered(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.home.work().join("tutor/env").join(path)).ok()
    }

    /// The image of each service, by the rule of the Compose specification (*Merge*): of a value that is no list and no map the last file's
    /// counts.
    pub fn services(&self, files: &[&str]) -> BTreeMap<String, String> {
        let mut images = BTreeMap::new();
        for text in files.iter().filter_map(|file| self.rendered(file)) {
            for document in self.yaml(&text) {
                for (service, settings) in document["services"].as_object().unwrap() {
                    if let Some(image) = settings["image"].as_str() {
                        images.insert(service.clone(), image.to_owned());
                    }
                }
            }
        }
        images
    }

    /// The image of each container of the resources, as Tutor rendered them.
    pub fn containers(&self) -> Vec<String> {
        let mut images = Vec::new();
        for file in ["k8s/deployments.yml", "k8s/jobs.yml"] {
            self.yaml(&self.rendered(file).unwrap()).iter().for_each(|document| containers(document, &mut images));
        }
        images.sort();
        images
    }

    /// The same after `images:` of `kustomization.yml`, by kustomize's rule (its reference, *images*): where the name without tag and digest is
    /// that of an entry, tag and digest are the entry's.
    pub fn containers_by_rule(&self) -> Vec<String> {
        let kustomization = self.yaml(&self.rendered("kustomization.yml").unwrap()).remove(0);
        let pins = kustomization["images"].as_array().cloned().unwrap_or_default();
        let mut images = self.containers();
        for image in &mut images {
            let name = image.split('@').next().unwrap();
            let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
            if let Some(pin) = pins.iter().find(|pin| pin["name"] == name) {
                *image = format!("{name}:{}@{}", pin["newTag"].as_str().unwrap(), pin["digest"].as_str().unwrap());
            }
        }
        images.sort();
        images
    }

    /// The same by kustomize itself, where there is a `kubectl`.
    pub fn containers_by_kubectl(&self) -> Option<Vec<String>> {
        let mut command = Command::new("kubectl");
        let output = command.arg("kustomize").arg(self.home.work().join("tutor/env")).output().ok()?;
        let resources = Ran::of(output).ok().out;
        let mut images = Vec::new();
        self.yaml(&resources).iter().for_each(|document| containers(document, &mut images));
        images.sort();
        Some(images)
    }
}

/// The images of all containers in a resource.
fn containers(value: &Value, images: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let ("containers" | "initContainers", Some(list)) = (key.as_str(), value.as_array()) {
                    images.extend(list.iter().filter_map(|container| container["image"].as_str().map(str::to_owned)));
                }
                containers(value, images);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| containers(value, images)),
        _ => {}
    }
}
