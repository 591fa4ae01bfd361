//! The templates of `examples/ci`, read by the schemas and parsers of the systems that they are for, and their scripts by shellcheck.
//!
//! `SHIPLAP_TEST_CI_LINTERS` names the folder that `scripts/ci-linters` fills; without it these tests are skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::{Home, sh, write};

/// The version of Kubernetes whose schema the manifests must fit: the newest that the validator has.
const KUBERNETES: &str = "1.37";

/// The programs that read templates.
pub struct Linters {
    folder: PathBuf,
}

impl Linters {
    /// None, with the reason printed, where there are none.
    pub fn there() -> Option<Self> {
        let folder = std::env::var_os("SHIPLAP_TEST_CI_LINTERS").map(PathBuf::from);
        if folder.is_none() {
            eprintln!("skipped: SHIPLAP_TEST_CI_LINTERS is not set");
        }
        folder.map(|folder| Self { folder })
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.folder.join("bin").join(name))
    }

    /// What a file has schema errors in fails the test; `schema` is one of those that check-jsonschema carries.
    #[track_caller]
    fn check(&self, schema: &str, flags: &[&str], file: &Path) {
        let schema = ["--builtin-schema", schema];
        sh(self.program("check-jsonschema").args(schema).args(flags).arg(file));
    }

    #[track_caller]
    fn check_kubernetes(&self, file: &Path) {
        sh(self.program("kubernetes-validate").args(["-k", KUBERNETES, "--strict"]).arg(file));
    }

    /// What `ci_templates/read.py` makes of a template.
    #[track_caller]
    pub fn read(&self, system: &str, template: &Path, more: &[&str]) -> Value {
        let mut read = self.program("python");
        read.arg(example("../../tests/e2e/ci_templates/read.py")).arg(system).arg(template).args(more);
        serde_json::from_str(&sh(&mut read)).unwrap()
    }

    /// The jobs of GitLab's component with these inputs, by name. An image is always given.
    #[track_caller]
    pub fn gitlab_jobs(&self, home: &Home, inputs: &[&str]) -> Value {
        let out = home.path("pipeline.yml");
        let image = ["image=registry.example.org/ci/shiplap:0.1.0"];
        self.read("gitlab", &example(GITLAB), &[&[out.to_str().unwrap()], &image[..], inputs].concat())
    }
}

pub const GITLAB: &str = "gitlab/templates/shiplap/template.yml";
pub const GITHUB: &str = "github/action.yml";
pub const JOB: &str = "kubernetes/rootless/job.yaml";
pub const ARGO: &str = "argo/workflow-template.yaml";

/// A file below `examples/ci`.
pub fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci").join(path)
}

/// shellcheck must have nothing to say of a script.
#[track_caller]
fn shellcheck(shell: &str, script: &str) {
    let mut check = Command::new("shellcheck");
    check.args(["--shell", shell, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = check.spawn().expect("Debian's package shellcheck is installed");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stdout));
}

/// The texts of a list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map_or_else(Vec::new, |all| all.iter().map(|text| text.as_str().unwrap()).collect())
}

#[test]
fn the_files_are_tidy() {
    let Some(linters) = Linters::there() else { return };
    let rules = "{extends: default, rules: {line-length: {max: 180}, document-start: disable, truthy: {check-keys: false}, \
                 comments: {min-spaces-from-content: 1}}}";
    sh(linters.program("yamllint").args(["--strict", "-d", rules]).arg(example("")));
    shellcheck("sh", &std::fs::read_to_string(example("build.sh")).unwrap());
}

#[test]
fn gitlab_takes_the_component_and_only_reviewed_jobs_write() {
    let Some(linters) = Linters::there() else { return };
    let home = Home::new();
    let text = std::fs::read_to_string(example(GITLAB)).unwrap();
    let header = write(&home.path("header.yml"), text.split_once("\n---\n").unwrap().0);
    linters.check("vendor.gitlab-ci", &[], &header);
    for inputs in [&[][..], &["instance=campus", "job-prefix=site", "push=registry.example.org/campus"]] {
        let jobs = linters.gitlab_jobs(&home, inputs);
        linters.check("vendor.gitlab-ci", &["--data-transform", "gitlab-ci"], &home.path("pipeline.yml"));
        assert_eq!(jobs.as_object().unwrap().len(), 3);
        for (name, job) in jobs.as_object().unwrap() {
            let variables = &job["variables"];
            let reviewed = !name.ends_with("-merge-request");
            assert_eq!(variables["SHIPLAP_CACHE_WRITE"], json!(reviewed.to_string()), "{name}");
            assert_eq!(reviewed, variables.get("SHIPLAP_PUSH").is_some() || variables.get("SHIPLAP_VERSION").is_some());
            for part in ["before_script", "script", "after_script"] {
                shellcheck("sh", &texts(&job[part]).join("\n"));
            }
        }
    }
}

#[test]
fn github_takes_the_action_and_an_auditor_finds_nothing() {
    let Some(linters) = Linters::there() else { return };
    let (action, workflow) = (example(GITHUB), example("github/workflow.yml"));
    linters.check("vendor.github-actions", &[], &action);
    linters.check("vendor.github-workflows", &[], &workflow);
    sh(linters.program("zizmor").args(["--offline", "--no-progress", "--pedantic"]).args([&action, &workflow]));
    for step in linters.read("yaml", &action, &[])["runs"]["steps"].as_array().unwrap() {
        shellcheck("bash", step["run"].as_str().unwrap());
    }
}

#[test]
fn kubernetes_and_argo_know_every_field() {
    let Some(linters) = Linters::there() else { return };
    let home = Home::new();
    linters.check_kubernetes(&example(JOB));
    let job = linters.read("yaml", &example(JOB), &[]);
    let pod = linters.read("pod", &example(ARGO), &[]);
    linters.check_kubernetes(&write(&home.path("pod.json"), pod.to_string()));
    // What was tried in a user namespace holds for both.
    let (ours, argos) = (&job["spec"]["template"]["spec"], &pod["spec"]);
    for field in ["hostUsers", "volumes"] {
        assert_eq!(ours[field], argos[field]);
    }
    for field in ["securityContext", "volumeMounts", "resources"] {
        assert_eq!(ours["containers"][0][field], argos["containers"][0][field]);
    }
    for container in [&ours["initContainers"][0], &argos["containers"][0]] {
        // The shell is told on its command line.
        assert_eq!(container["command"], json!(["sh", "-euc"]));
        shellcheck("sh", &format!("set -eu\n{}", container["args"][0].as_str().unwrap()));
    }
}

#[test]
fn kustomize_makes_the_job_and_its_privileged_variant() {
    let (Some(linters), Some(kubectl)) = (Linters::there(), std::env::var_os("SHIPLAP_TEST_KUBECTL")) else { return };
    let home = Home::new();
    for (variant, privileged) in [("rootless", false), ("privileged", true)] {
        let made = sh(Command::new(&kubectl).arg("kustomize").arg(example("kubernetes").join(variant)));
        let file = write(&home.path(variant), made);
        linters.check_kubernetes(&file);
        let spec = &linters.read("yaml", &file, &[])["spec"]["template"]["spec"];
        let context = &spec["containers"][0]["securityContext"];
        assert_eq!(context.get("privileged").is_some(), privileged);
        assert_eq!(context.get("capabilities").is_some(), !privileged);
        assert_eq!(spec.get("hostUsers").is_some(), !privileged);
    }
}

#[test]
fn the_image_of_the_jobs_has_a_dockerfile_without_faults() {
    let home = Home::with_base();
    let (dockerfile, root) = (example("image/Dockerfile"), example("../.."));
    let bases = ["--build-arg", "RUST=base:1", "--build-arg", "BASE=base:1"];
    let flags = ["build", "--check", "-f", dockerfile.to_str().unwrap()];
    home.run([&flags[..], &bases, &[root.to_str().unwrap()]].concat()).ok().says("no warnings found");
}
