//! The scripts of `examples/ci`, taken out of the templates and run as their systems run them: on a fresh runner, a fresh checkout and an empty store, with a
//! registry that wants a login.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::ci_templates::{ARGO, GITHUB, JOB, Linters, example, texts};
use crate::common::{Home, Ran, Repo, SHIPLAP, sh};
use crate::run_without_root::User;
use crate::serving::{PASSWORD, Serving, log_in, write_passwords};

/// A registry with a login, and a repository with an instance of two images. It lives on while runners come and go.
struct Place {
    registry: Serving,
    home: Home,
    origin: Repo,
}

impl Place {
    fn new() -> Self {
        let home = Home::with_base();
        let passwords = write_passwords(&home);
        let registry = Serving::start(&home, &["--htpasswd", &passwords]);
        let at = registry.address().to_owned();
        log_in(&home, &at, "ada", PASSWORD);
        home.run(["push", "base:1", "--as", &format!("{at}/campus/base:1")]).ok();
        let repo = Repo::of(&home.path("origin"));
        let mut toml = "[history]\nkind = \"git\"\npath = \"releases\"\nbranch = \"shiplap\"\n".to_owned();
        for image in ["openedx", "mfe"] {
            let section = format!("[instance.campus.image.{image}]\ncontext = \"{image}\"\n");
            toml += &format!("{section}repository = \"{at}/campus/{image}\"\n");
            repo.write(
                &format!("{image}/Dockerfile"),
                format!("FROM {at}/campus/base:1\nRUN echo {image} >/slow\nCOPY text /text\n"),
            );
            repo.write(&format!("{image}/text"), image);
        }
        repo.write("shiplap.toml", toml);
        repo.commit("a site");
        Self { registry, home, origin: repo }
    }

    fn at(&self) -> &str {
        self.registry.address()
    }

    /// The tags of a repository in the registry.
    fn tags(&self, repository: &str) -> Vec<String> {
        let name = format!("{}/{repository}", self.at());
        let Value::Array(tags) = self.home.json(&["tags", "--remote", &name]) else { panic!("no list of tags") };
        tags.iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect()
    }

    /// The tag that a job gives to images of the newest commit.
    fn commit_tag(&self) -> String {
        format!("ci-{}", &self.origin.git(&["rev-parse", "HEAD"])[..12])
    }
}

/// A machine that has never seen anything of it, with what the image of the jobs has.
struct Runner {
    home: Home,
    user: Option<User>,
}

impl Runner {
    fn new(place: &Place) -> Self {
        let home = Home::new();
        for folder in ["bin", "builds"] {
            fs::create_dir(home.path(folder)).unwrap();
        }
        // The folders of both may be closed to others.
        fs::copy(SHIPLAP, home.path("bin/shiplap")).unwrap();
        fs::copy(example("build.sh"), home.path("bin/shiplap-ci")).unwrap();
        sh(Command::new("git").arg("clone").arg("-q").arg(&place.origin.path).arg(home.path("builds/site")));
        Self { home, user: None }
    }

    /// Everything on it is this user's from now on.
    fn of(mut self, user: User) -> Self {
        sh(Command::new("chown").args(["-R", &format!("{0}:{0}", user.id)]).arg(self.home.path("")));
        self.user = Some(user);
        self
    }

    fn checkout(&self) -> PathBuf {
        self.home.path("builds/site")
    }

    /// Runs a command there with these variables and no others.
    fn run(&self, command: &[&str], variables: &BTreeMap<String, String>, folder: &Path) -> Ran {
        let mut run = match &self.user {
            Some(user) => user.command(command[0]),
            None => Command::new(command[0]),
        };
        let path = format!("{}:{}", self.home.path("bin").display(), std::env::var("PATH").unwrap());
        run.args(&command[1..]).current_dir(folder).env_clear().envs(variables);
        run.env("PATH", path).env("HOME", self.home.path("user")).env("GIT_CONFIG_GLOBAL", "/dev/null");
        // Git wants a name for the commits of the shared history.
        for who in ["AUTHOR", "COMMITTER"] {
            run.env(format!("GIT_{who}_NAME"), "ci").env(format!("GIT_{who}_EMAIL"), "ci@example.org");
        }
        let ran = Ran::of(run.output().unwrap());
        assert!(!format!("{}{}", ran.out, ran.err).contains(PASSWORD), "the password is in the log");
        ran
    }

    /// Runs a job of GitLab's component as a runner does: one shell for the first two scripts, another one afterwards.
    fn gitlab(&self, place: &Place, job: &Value, more: &[(&str, &str)]) -> Ran {
        let builds = self.home.path("builds").display().to_string();
        let id = format!("{}-{}", std::process::id(), fastrand::u64(..));
        let given = [
            ("CI_BUILDS_DIR", builds.as_str()),
            ("CI_JOB_ID", &id),
            ("CI_REGISTRY", place.at()),
            ("CI_REGISTRY_USER", "ada"),
            ("CI_REGISTRY_PASSWORD", PASSWORD),
        ];
        let mut variables: BTreeMap<_, _> =
            given.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in job["variables"].as_object().unwrap() {
            let mut value = value.as_str().unwrap().to_owned();
            for (name, content) in given.iter().chain(more) {
                value = value.replace(&format!("${name}"), content);
            }
            assert!(!value.contains('$'), "{value}: not known here");
            variables.insert(name.clone(), value);
        }
        let script = [texts(&job["before_script"]), texts(&job["script"])].concat().join("\n");
        let ran = self.run(&["sh", "-ec", &script], &variables, &self.checkout());
        let login = PathBuf::from(&variables["DOCKER_CONFIG"]);
        assert!(login.join("config.json").exists());
        self.run(&["sh", "-ec", &texts(&job["after_script"]).join("\n")], &variables, &self.checkout()).ok();
        assert!(!login.exists(), "the login is still there");
        // The store went with the job.
        assert_eq!(fs::read_dir(&builds).unwrap().count(), 1);
        ran
    }

    /// The report of the last job.
    fn report(&self) -> Value {
        read_report(&self.checkout().join("shiplap-report"))
    }
}

fn read_report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("report.json")).unwrap();
    assert!(!text.contains(PASSWORD));
    serde_json::from_str(&text).unwrap()
}

/// How many steps of all images ran.
fn ran(report: &Value) -> u64 {
    report["build"]["images"].as_array().unwrap().iter().map(|image| image["ran"].as_u64().unwrap()).sum()
}

/// `${{ inputs.NAME }}` with these inputs, and with what the action says where one is left out.
fn github_variables(action: &Value, step: &Value, inputs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let variables = step["env"].as_object().unwrap().iter().map(|(name, value)| {
        let value = value.as_str().unwrap();
        let input = value.strip_prefix("${{ inputs.").and_then(|rest| rest.strip_suffix(" }}"));
        let input = input.unwrap_or_else(|| panic!("{value}: not known here"));
        let given = inputs.iter().find(|(name, _)| *name == input).map(|(_, value)| *value);
        (name.clone(), given.unwrap_or_else(|| action["inputs"][input]["default"].as_str().unwrap()).to_owned())
    });
    variables.collect()
}

/// The variables of a container, with the cluster's names replaced by what is here.
fn container_variables(container: &Value, here: &impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let all = container["env"].as_array().unwrap().iter();
    all.map(|entry| (text(entry, "name"), here(&text(entry, "value")))).collect()
}

/// Runs containers one after the other.
fn run_containers(runner: &Runner, containers: &[&Value], here: &impl Fn(&str) -> String) {
    for container in containers {
        let command: Vec<_> =
            texts(&container["command"]).into_iter().chain(texts(&container["args"])).map(here).collect();
        let folder = container["workingDir"].as_str().map_or_else(|| runner.home.path("builds"), |at| here(at).into());
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        runner.run(&command, &container_variables(container, here), &folder).ok();
    }
}

#[test]
fn gitlab_builds_pushes_and_releases_by_the_kind_of_pipeline() {
    let Some(linters) = Linters::there() else { return };
    let place = Place::new();
    let push = format!("push={}/site", place.at());
    let jobs = linters.gitlab_jobs(&place.home, &["instance=campus", &push]);

    let runner = Runner::new(&place);
    runner.gitlab(&place, &jobs["shiplap-merge-request"], &[]).ok();
    let report = runner.report();
    assert_eq!((ran(&report), &report["pushed"], &report["release"]), (4, &json!([]), &Value::Null));

    runner.gitlab(&place, &jobs["shiplap-build"], &[]).ok();
    assert_eq!(runner.report()["pushed"].as_array().unwrap().len(), 2);
    for image in ["openedx", "mfe"] {
        assert_eq!(place.tags(&format!("site/{image}")), [place.commit_tag()]);
    }

    // Another runner knows of the first release by the shared history.
    for (version, sequence) in [("v1.4.0", 1), ("1.4.1", 2)] {
        let runner = Runner::new(&place);
        runner.gitlab(&place, &jobs["shiplap-release"], &[("CI_COMMIT_TAG", version)]).ok();
        let release = &runner.report()["release"];
        assert_eq!(release["sequence"], sequence);
        assert!(place.tags("campus/openedx").contains(&release["tag"].as_str().unwrap().to_owned()));
        let summary = fs::read_to_string(runner.checkout().join("shiplap-report/summary.md")).unwrap();
        assert!(summary.contains(release["images"][0]["digest"].as_str().unwrap()), "{summary}");
    }
}

#[test]
fn fresh_runners_reuse_what_the_default_branch_made_and_merge_requests_add_nothing() {
    let Some(linters) = Linters::there() else { return };
    let place = Place::new();
    let cache = format!("cache=type=registry,ref={}/campus/cache", place.at());
    let jobs = linters.gitlab_jobs(&place.home, &["instance=campus", &format!("push={}/site", place.at()), &cache]);
    let fresh = |job: &str, more: &[(&str, &str)]| {
        let runner = Runner::new(&place);
        runner.gitlab(&place, &jobs[job], more).ok();
        runner.report()
    };
    assert_eq!(ran(&fresh("shiplap-merge-request", &[])), 4);
    assert_eq!(ran(&fresh("shiplap-build", &[])), 4, "a merge request wrote into the cache");
    let kept = place.tags("campus/cache");
    assert!(!kept.is_empty());
    assert_eq!(ran(&fresh("shiplap-merge-request", &[])), 0);

    // No layer is fetched, and none is sent: they are mounted from the cache.
    let again = fresh("shiplap-build", &[]);
    assert_eq!((ran(&again), &again["build"]["images"][0]["cache"]["layers"]), (0, &json!(0)));
    for pushed in again["pushed"].as_array().unwrap() {
        assert!(pushed["sent"].as_u64().unwrap() < 10_000, "{pushed}");
    }
    let release = fresh("shiplap-release", &[("CI_COMMIT_TAG", "1.0.0")])["release"].clone();
    assert_eq!((&release["steps"]["run"], &release["steps"]["reused"]), (&json!(0), &json!(4)));

    place.origin.write("openedx/text", "a change that nobody has looked at");
    place.origin.commit("a change");
    for _ in 0..2 {
        assert_eq!(ran(&fresh("shiplap-merge-request", &[])), 1);
    }
    assert_eq!(place.tags("campus/cache"), kept);
}

#[test]
fn a_runner_without_root_does_the_same() {
    let Some(linters) = Linters::there() else { return };
    let Some(user) = User::new() else { return };
    let place = Place::new();
    let push = format!("push={}/site", place.at());
    let jobs = linters.gitlab_jobs(&place.home, &["instance=campus", &push]);
    let runner = Runner::new(&place).of(user);
    runner.gitlab(&place, &jobs["shiplap-build"], &[]).ok();
    assert_eq!(place.tags("site/openedx"), [place.commit_tag()]);
}

#[test]
fn a_build_that_fails_leaves_a_report_and_ends_with_its_code() {
    let Some(linters) = Linters::there() else { return };
    let place = Place::new();
    let jobs = linters.gitlab_jobs(&place.home, &["instance=nobody"]);
    let runner = Runner::new(&place);
    runner.gitlab(&place, &jobs["shiplap-build"], &[]).ends_with(4).says("no instance `nobody`");
    assert_eq!(runner.report(), json!({"exit_code": 4, "build": null, "pushed": [], "release": null}));
    let summary = fs::read_to_string(runner.checkout().join("shiplap-report/summary.md")).unwrap();
    assert!(summary.contains("**Failed** with exit code 4"), "{summary}");
}

#[test]
fn github_pushes_and_not_for_a_pull_request() {
    let Some(linters) = Linters::there() else { return };
    let place = Place::new();
    let action = linters.read("yaml", &example(GITHUB), &[]);
    let steps = action["runs"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["id"] == "build").unwrap();
    let push = format!("{}/site", place.at());
    let inputs = [("instance", "campus"), ("cache-write", "true"), ("push", push.as_str())];
    for (event, pushed) in [("pull_request", 0), ("pull_request_target", 0), ("push", 2)] {
        let runner = Runner::new(&place);
        log_in(&runner.home, place.at(), "ada", PASSWORD);
        let mut variables = github_variables(&action, step, &inputs);
        let action_path = example(GITHUB).parent().unwrap().display().to_string();
        let files = ["builds", "summary", "output"].map(|name| runner.home.path(name).display().to_string());
        let names = ["RUNNER_TEMP", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"];
        variables.extend(names.map(str::to_owned).into_iter().zip(files.clone()));
        variables.insert("GITHUB_ACTION_PATH".to_owned(), action_path);
        variables.insert("GITHUB_EVENT_NAME".to_owned(), event.to_owned());
        let script = step["run"].as_str().unwrap();
        let shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script];
        runner.run(&shell, &variables, &runner.checkout()).ok();

        assert!(fs::read_to_string(&files[1]).unwrap().starts_with("| image | steps reused | steps run |"));
        let output = fs::read_to_string(&files[2]).unwrap();
        let value = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let report = read_report(Path::new(value("report=")));
        assert_eq!((ran(&report), report["pushed"].as_array().unwrap().len()), (4, pushed), "{event}");
        let images: Vec<Value> = serde_json::from_str(value("images=")).unwrap();
        assert_eq!(images.len(), pushed);
    }
    assert_eq!(place.tags("site/openedx"), [place.commit_tag()]);
}

#[test]
fn github_runs_no_program_with_another_checksum() {
    let Some(linters) = Linters::there() else { return };
    let runner = Home::new();
    let action = linters.read("yaml", &example(GITHUB), &[]);
    let step = &action["runs"]["steps"][0];
    let program = runner.write("program", "#!/bin/sh\necho hello\n");
    let right = sh(Command::new("sha256sum").arg(&program)).split_whitespace().next().unwrap().to_owned();
    let url = format!("file://{}", program.display());
    for (sum, there) in [(right.as_str(), true), ("", false), (&"0".repeat(64), false)] {
        let temp = runner.path(&format!("temp-{}", sum.get(..4).unwrap_or_default()));
        fs::create_dir(&temp).unwrap();
        let mut get = Command::new("bash");
        get.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        get.env("RUNNER_TEMP", &temp);
        get.envs(github_variables(&action, step, &[("program-url", &url), ("program-sha256", sum)]));
        assert_eq!(get.output().unwrap().status.success(), there, "{sum}");
        let executable = Command::new(temp.join("shiplap-bin/shiplap")).output();
        assert_eq!(executable.is_ok_and(|ran| ran.stdout == b"hello\n"), there);
    }
}

#[test]
fn the_job_of_kubernetes_and_the_workflow_of_argo_push() {
    let Some(linters) = Linters::there() else { return };
    let place = Place::new();
    let job = linters.read("yaml", &example(JOB), &[]);
    let pod = &job["spec"]["template"]["spec"];
    let argo = &linters.read("argo", &example(ARGO), &[])["spec"];
    for (what, containers) in [
        ("job", vec![&pod["initContainers"][0], &pod["containers"][0]]),
        ("workflow", vec![&argo["templates"][0]["container"]]),
    ] {
        let runner = Runner::new(&place);
        log_in(&runner.home, place.at(), "ada", PASSWORD);
        // Parameters of a workflow: those that it must be told, and those that the template has.
        let parameter = |name: &str| {
            let all = argo["arguments"]["parameters"].as_array().unwrap();
            let default = all.iter().find(|parameter| parameter["name"] == name).unwrap()["value"].as_str();
            match name {
                "repository" => place.origin.path.display().to_string(),
                "push" => format!("{}/{what}", place.at()),
                _ => default.unwrap().to_owned(),
            }
        };
        let here = |text: &str| {
            let mut text = text
                .replace("https://git.example.org/campus/site.git", &place.origin.path.display().to_string())
                .replace("registry.example.org/campus/cache", &format!("{}/campus/cache", place.at()))
                .replace("registry.example.org/campus", &format!("{}/{what}", place.at()))
                .replace("/scratch", &runner.home.path("builds").display().to_string())
                .replace("/run/registry", &runner.home.path("user/.docker").display().to_string());
            while let Some((before, rest)) = text.split_once("{{workflow.parameters.") {
                let (name, after) = rest.split_once("}}").unwrap();
                text = format!("{before}{}{after}", parameter(name));
            }
            text
        };
        run_containers(&runner, &containers, &here);
        assert_eq!(place.tags(&format!("{what}/openedx")), [place.commit_tag()], "{what}");
        assert_eq!(ran(&read_report(&runner.home.path("builds/report"))), 4);
    }
}
