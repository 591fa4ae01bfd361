//! `kill -9` at any moment of a deploy and a rollback over the targets of Kubernetes, Terraform and git, and of a deploy whose history is shared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::campus::{CONFIG, Campus};
use crate::common::{Home, Repo, sh};
use crate::crash::{is_tidy, kill_after, start};
use crate::serving::Serving;

/// How often a command is killed, at moments spread over its whole duration and a little beyond.
const KILLS: u32 = 24;

const TARGETS: &str = r#"
[[instance.campus.deploy]]
kind = "kustomize"
file = "gitops/kustomization.yaml"
images = { openedx = "docker.io/overhangio/openedx", mfe = "docker.io/overhangio/openedx-mfe" }
git = { push = true }

[[instance.campus.deploy]]
kind = "helm"
file = "gitops/values.yaml"
images = { openedx = "lms.image", mfe = { image = "mfe.image" } }
git = { push = true }

[[instance.campus.deploy]]
kind = "argocd"
file = "gitops/app.yaml"
kustomize = { openedx = "docker.io/overhangio/openedx" }
git = true

[[instance.campus.deploy]]
kind = "terraform"
file = "site.tfvars.json"
images = { openedx = "openedx_image" }
"#;

/// The files that deploys write, and what is in them before.
const FILES: [(&str, &str); 4] = [
    (
        "gitops/kustomization.yaml",
        "# kept\nresources: [all.yaml]\nimages:\n- name: docker.io/overhangio/openedx # here\n  newTag: 22.0.3\n",
    ),
    ("gitops/values.yaml", "# kept\nlms:\n  image: {repository: x, tag: y} # here\nmfe: {image: z}\n"),
    (
        "gitops/app.yaml",
        "# kept\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: campus}\nspec:\n  source:\n    path: gitops\n",
    ),
    ("site.tfvars.json", "{\n  \"region\": \"eu\",\n  \"openedx_image\": \"x\"\n}\n"),
];

/// A site with all of them that runs 1.1.0 after 1.0.0, and the repository for Argo CD with its remote.
struct Site {
    campus: Campus,
    gitops: Repo,
    remote: PathBuf,
}

impl Site {
    fn new() -> Self {
        let campus = Campus::new();
        campus.home.write("shiplap.toml", format!("{CONFIG}{TARGETS}"));
        campus.home.write(".gitignore", "docker-compose.override.yml\ngitops/\nsite.tfvars.json\n");
        for (path, text) in FILES {
            campus.home.write(path, text);
        }
        campus.repo.commit("targets");
        let gitops = Repo::of(&campus.home.work().join("gitops"));
        for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")] {
            gitops.git(&["config", key, value]);
        }
        let remote = campus.home.path("remote.git");
        gitops.git(&["clone", "-q", "--bare", ".", remote.to_str().unwrap()]);
        gitops.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
        gitops.git(&["fetch", "-q"]);
        gitops.git(&["branch", "-q", "--set-upstream-to", "origin/main"]);
        campus.release_and_deploy(&["1.0.0", "1.1.0"]);
        Self { campus, gitops, remote }
    }

    /// Every file, the commit here and the one there say this version alone, and so does the record.
    #[track_caller]
    fn says(&self, version: &str) {
        let other = if version == "1.0.0" { ":1.1.0-g" } else { ":1.0.0-g" };
        for (path, _) in FILES {
            let text = std::fs::read_to_string(self.campus.home.work().join(path)).unwrap();
            let names = |version: &str| text.contains(version.trim_start_matches(':'));
            assert!(names(&format!("{version}-g")) && !names(other), "{path}: {text}");
            assert!(path.ends_with("json") || text.starts_with("# kept\n"), "{path}: {text}");
        }
        assert_eq!(self.campus.deployed(), [version]);
        assert_eq!(self.gitops.git(&["status", "--porcelain"]), "");
        let there = Repo { path: self.remote.clone() }.git(&["rev-parse", "main"]);
        assert_eq!(self.gitops.git(&["rev-parse", "main"]), there);
        self.gitops.git(&["fsck", "--strict", "--no-dangling"]);
        self.campus.run(&["status", "--exit-code"]).ok().says(version);
        is_tidy(&self.campus.home);
    }
}

/// Kills a command at moments spread over its duration; `next` is told after each kill, and says what it found.
fn kill_often(
    home: &Home,
    whole: Duration,
    command: impl Fn(u32) -> &'static [&'static str],
    mut next: impl FnMut(u32),
) {
    let mut killed = 0;
    for n in 0..KILLS {
        let ended = kill_after(start(home, command(n)), whole * n / (KILLS - 2));
        killed += u32::from(!ended);
        next(n);
    }
    // How many depends on the machine.
    assert!(killed > 0, "none was killed before its end");
}

#[test]
fn a_deploy_and_a_rollback_over_kubernetes_terraform_and_git_killed_at_any_moment() {
    let site = Site::new();
    site.says("1.1.0");
    let began = Instant::now();
    site.campus.run(&["deploy", "campus", "1.1.0"]).ok();
    let whole = began.elapsed();
    let command = |n: u32| -> &'static [&'static str] {
        if n.is_multiple_of(2) { &["deploy", "campus", "1.0.0"] } else { &["rollback", "campus", "1.0.0"] }
    };
    kill_often(&site.campus.home, whole, command, |_| {
        // What can be asked in between can be asked. The next deploy finishes or undoes, and goes on.
        site.campus.run(&["status"]).ok();
        site.campus.run(&["deploy", "campus", "1.0.0"]).ok();
        site.says("1.0.0");
        site.campus.run(&["deploy", "campus", "1.1.0"]).ok();
        site.says("1.1.0");
    });
    site.campus.run(&["verify", "--releases"]).ok();
}

fn hashes(home: &Home) -> Vec<String> {
    let log = home.run(["--json", "log", "-n", "10000"]).ok().out;
    let hash = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["hash"].to_string();
    log.lines().map(hash).collect()
}

/// A site that runs 1.1.0 after 1.0.0 with a history that is shared as these settings say, and another machine that looks at it.
fn shared(settings: &str) -> (Campus, Home, PathBuf) {
    let campus = Campus::new();
    campus.home.write("shiplap.toml", format!("{CONFIG}\n[history]\n{settings}\n"));
    campus.home.write(".gitignore", "docker-compose.override.yml\n");
    campus.repo.commit("shared");
    let remote = campus.home.path("remote.git");
    campus.repo.git(&["clone", "-q", "--bare", ".", remote.to_str().unwrap()]);
    campus.repo.git(&["remote", "add", "origin", remote.to_str().unwrap()]);
    campus.release_and_deploy(&["1.0.0", "1.1.0"]);
    let other = Home::new();
    sh(std::process::Command::new("git").args(["clone", "-q", "-b", "main"]).arg(&remote).arg(other.work()));
    (campus, other, remote)
}

/// After each kill everybody sees one entry or none, and after the next command of that store it is settled.
fn killed_while_others_look(campus: &Campus, other: &Home) {
    let began = Instant::now();
    campus.run(&["deploy", "campus", "1.1.0"]).ok();
    let whole = began.elapsed();
    let mut known = hashes(other);
    kill_often(
        &campus.home,
        whole,
        |_| &["deploy", "campus", "1.0.0"],
        |n| {
            let (before, seen) = (known.clone(), hashes(other));
            assert!(seen.len() == before.len() || seen.len() == before.len() + 1, "kill {n}: {before:?}, {seen:?}");
            assert!(seen.ends_with(&before), "kill {n}: {before:?}, {seen:?}");
            let deployed = campus.deployed();
            assert!(deployed == ["1.0.0"] || deployed == ["1.1.0"], "kill {n}: {deployed:?}");
            campus.run(&["deploy", "campus", "1.1.0"]).ok();
            assert_eq!(campus.deployed(), ["1.1.0"]);
            let after = hashes(other);
            assert_eq!(after, hashes(&campus.home), "kill {n}");
            assert!(after.ends_with(&seen) && after.len() <= before.len() + 2, "kill {n}: {before:?}, {after:?}");
            campus.run(&["status", "--exit-code"]).ok();
            is_tidy(&campus.home);
            known = after;
        },
    );
    for home in [&campus.home, other] {
        home.run(["verify", "--releases"]).ok();
    }
}

#[test]
fn a_deploy_with_a_history_that_is_shared_in_git_killed_at_any_moment() {
    let (campus, other, remote) = shared("kind = \"git\"");
    killed_while_others_look(&campus, &other);
    let files = Repo { path: remote }.git(&["ls-tree", "-r", "--name-only", "shiplap"]);
    assert!(files.contains("releases/campus/log/") && !files.contains("claim.json"), "{files}");
}

#[test]
fn a_deploy_with_a_history_that_is_shared_in_a_registry_killed_at_any_moment() {
    let server = Home::new();
    let serving = Serving::start(&server, &[]);
    let place = format!("kind = \"registry\"\nrepository = \"{}/campus/history\"", serving.address());
    let (campus, other, _) = shared(&place);
    killed_while_others_look(&campus, &other);
}
