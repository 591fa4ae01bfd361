//! Every kind of target in one instance, with git.

use std::path::Path;
use std::process::Command;

use shiplap_cache::Digest;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::Reference;
use shiplap_manifests::observer::Progress;
use shiplap_manifests::target::TargetError;
use shiplap_manifests::{Deployer, Error};

use crate::site::{Site, back, request};

/// What is added to the settings of the site.
const TOML: &str = r#"
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

[[instance.campus.deploy]]
kind = "exec"
command = ["./deploy.sh"]
read = ["cat", "deployed.json"]
timeout = "60s"
"#;

/// Writes down what it is told, and in a log that it was.
const SCRIPT: &str = r#"#!/bin/sh
set -e
test "$SHIPLAP_INSTANCE" = campus
grep -q "\"version\":\"$SHIPLAP_VERSION\"" "$SHIPLAP_RELEASE"
echo "$SHIPLAP_ACTION $SHIPLAP_VERSION $SHIPLAP_DEPLOYMENT" >>deploy.log
test ! -e broken
printf '{"openedx": "%s", "mfe": "%s"}' "$SHIPLAP_IMAGE_OPENEDX" "$SHIPLAP_IMAGE_MFE" >deployed.new
mv deployed.new deployed.json
"#;

const FILES: [(&str, &str); 5] = [
    (
        "gitops/kustomization.yaml",
        "# kept\nresources: [all.yaml]\nimages:\n- name: docker.io/overhangio/openedx # here\n  newTag: 22.0.3\n",
    ),
    ("gitops/values.yaml", "# kept\nlms:\n  image: {repository: x, tag: y} # here\nmfe: {image: z}\n"),
    (
        "gitops/app.yaml",
        "# kept\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: campus}\nspec:\n  source:\n    path: gitops\n",
    ),
    ("gitops/other.txt", "1\n"),
    ("site.tfvars.json", "{\n  \"region\": \"eu\",\n  \"openedx_image\": \"x\"\n}\n"),
];

/// A site with every kind of target, three releases, and nothing deployed. The repository and its remote are in its folder.
pub fn site() -> Site {
    let mut site = Site::new();
    let path = site.folder.join("shiplap.toml");
    let toml = std::fs::read_to_string(&path).unwrap() + TOML;
    std::fs::write(&path, toml).unwrap();
    std::fs::create_dir(site.folder.join("gitops")).unwrap();
    for (file, text) in FILES {
        std::fs::write(site.folder.join(file), text).unwrap();
    }
    let script = site.folder.join("deploy.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let gitops = site.folder.join("gitops");
    git(&site.folder, &["init", "-q", "--bare", "remote.git"]);
    git(&gitops, &["init", "-q", "-b", "main"]);
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgSign", "false")] {
        git(&gitops, &["config", key, value]);
    }
    git(&gitops, &["add", "-A"]);
    git(&gitops, &["commit", "-q", "-m", "first"]);
    git(&gitops, &["remote", "add", "origin", "../remote.git"]);
    git(&gitops, &["push", "-q", "-u", "origin", "main"]);
    site.reload();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        site.release(version).unwrap();
    }
    site
}

#[track_caller]
pub fn git(folder: &Path, args: &[&str]) -> String {
    let out =
        Command::new("git").arg("-C").arg(folder).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// What the branch here and there has, and whether anything is neither.
pub fn branches(site: &Site) -> (String, String, String) {
    let gitops = site.folder.join("gitops");
    (
        git(&gitops, &["rev-parse", "main"]),
        git(&site.folder.join("remote.git"), &["rev-parse", "main"]),
        git(&gitops, &["status", "--porcelain"]),
    )
}

#[test]
fn a_deploy_and_a_rollback_write_them_all_and_keep_what_is_not_theirs() {
    let mut site = site();
    let gitops = site.folder.join("gitops");
    // Somebody's work, staged and not, stays as it is.
    std::fs::write(gitops.join("other.txt"), "2\n").unwrap();
    git(&gitops, &["add", "other.txt"]);
    std::fs::write(gitops.join("other.txt"), "3\n").unwrap();
    let report = site.deploy("1.0.0").unwrap();
    assert_eq!(site.says(), ["1.0.0"]);
    assert!(site.status().is_settled(), "{:?}", site.status());
    let files: Vec<_> = FILES.iter().map(|(file, _)| site.file(file)).collect();
    assert!(files.iter().take(3).all(|text| text.starts_with("# kept\n")));
    assert!(files[0].contains("openedx # here\n") && files[1].contains("} # here\n"), "{files:?}");
    assert!(files[4].starts_with("{\n  \"region\": \"eu\",\n  \"openedx_image\": \"campus/openedx:1.0.0-g"));
    assert_eq!(git(&gitops, &["status", "--porcelain"]), "MM other.txt");
    assert_eq!(git(&gitops, &["show", "--format=", "--name-only"]), "app.yaml\nkustomization.yaml\nvalues.yaml");
    let message = git(&gitops, &["log", "-1", "--format=%an%n%B"]);
    let expected = "Ada\ncampus: deploy 1.0.0\n\na test\n\nBy ada.\n\nShiplap-Instance: campus\nShiplap-Release: 1.0.0-g3f2c1ab09d4e\nShiplap-Deployment: 1";
    assert_eq!(message.trim_end(), expected);
    assert_eq!(git(&gitops, &["log", "-1", "--format=%(trailers:key=Shiplap-Deployment,valueonly)"]).trim(), "1");
    let diff: String = report.changes.iter().map(|change| change.diff.clone()).collect();
    assert!(diff.contains("run ./deploy.sh\n  SHIPLAP_IMAGE_MFE=campus/mfe:1.0.0-g"), "{diff}");

    site.deploy("1.1.0").unwrap();
    site.rollback(back()).unwrap();
    assert_eq!(site.says(), ["1.0.0"]);
    assert_eq!(FILES.iter().map(|(file, _)| site.file(file)).collect::<Vec<_>>(), files);
    let (here, there, _) = branches(&site);
    assert_eq!(here, there);
    let subjects = git(&gitops, &["log", "--format=%s"]);
    assert_eq!(
        subjects,
        "campus: roll back to 1.0.0, after 1.1.0\ncampus: deploy 1.1.0, after 1.0.0\ncampus: deploy 1.0.0\nfirst"
    );
    assert_eq!(site.file("deploy.log"), "deploy 1.0.0 1\ndeploy 1.1.0 2\nrollback 1.0.0 3\n");
    // The same again is no commit.
    site.deploy("1.0.0").unwrap();
    assert_eq!(branches(&site).0, here);
}

#[test]
fn a_push_that_comes_second_takes_everything_back() {
    let mut site = site();
    site.deploy("1.0.0").unwrap();
    let before = branches(&site);
    let files: Vec<_> = FILES.iter().map(|(file, _)| site.file(file)).collect();
    let other = site.folder.join("other");
    git(&site.folder, &["clone", "-q", "-b", "main", "remote.git", "other"]);
    let identity = ["-c", "user.name=Eve", "-c", "user.email=eve@example.org"];
    git(&other, &[&identity[..], &["commit", "-q", "--allow-empty", "-m", "faster"]].concat());
    git(&other, &["push", "-q", "origin", "main"]);
    let error = site.deploy("1.1.0").unwrap_err().to_string();
    assert!(error.contains("git pull") && error.contains("main of origin"), "{error}");
    assert_eq!(site.says(), ["1.0.0"]);
    assert_eq!(FILES.iter().map(|(file, _)| site.file(file)).collect::<Vec<_>>(), files);
    assert_eq!((branches(&site).0, branches(&site).2), (before.0, String::new()));
    assert_eq!(site.file("deploy.log"), "deploy 1.0.0 1\ndeploy 1.1.0 2\nundo 1.0.0 2\n");
    assert!(site.status().is_settled());
    git(&site.folder.join("gitops"), &["pull", "-q"]);
    site.deploy("1.1.0").unwrap();
    assert_eq!(site.says(), ["1.1.0"]);
    let (here, there, _) = branches(&site);
    assert_eq!(here, there);
}

#[test]
fn a_program_that_fails_takes_everything_back() {
    let mut site = site();
    site.deploy("1.0.0").unwrap();
    let before = branches(&site);
    // It fails for the new release; by the time it is told the old one it works again.
    let broken = site.folder.join("broken");
    let observer = |step: Progress<'_>| match step {
        Progress::Acting(act) if act.to_string() == "run ./deploy.sh" => std::fs::write(&broken, "").unwrap(),
        _ => {}
    };
    let error = site.deploy_as(request("1.1.0"), &observer).unwrap_err();
    // It is broken for the way back too: that is said, and waits in the journal.
    assert!(
        matches!(&error, Error::NotUndone { why, .. } if why.contains("`./deploy.sh` failed with exit code 1")),
        "{error}"
    );
    std::fs::remove_file(&broken).unwrap();
    let recovered = site.history.recover(&site.name()).unwrap().unwrap();
    let note = recovered.deployment.note.unwrap();
    assert!(note.contains("it is not known whether `./deploy.sh` had run"), "{note}");
    assert_eq!(site.says(), ["1.1.0"]);
    let (here, there, _) = branches(&site);
    assert_eq!(here, there);
    assert_ne!(here, before.0);
}

#[test]
fn changes_of_somebody_in_a_file_are_not_committed() {
    let mut site = site();
    let values = site.folder.join("gitops/values.yaml");
    std::fs::write(&values, site.file("gitops/values.yaml") + "mine: 1\n").unwrap();
    let error = site.deploy("1.0.0").unwrap_err();
    assert!(matches!(&error, Error::Target(TargetError::Uncommitted(path)) if *path == values), "{error}");
    assert!(site.history.deployments(&site.name(), None).unwrap().is_empty());
    git(&site.folder.join("gitops"), &["checkout", "-q", "values.yaml"]);
    git(&site.folder.join("gitops"), &["checkout", "-q", "--detach"]);
    let error = site.deploy("1.0.0").unwrap_err().to_string();
    assert!(error.contains("branch = \"main\""), "{error}");
    assert!(!site.folder.join("compose.override.yml").exists());
}

#[test]
fn a_hook_that_refuses_the_push_and_one_of_a_commit() {
    let mut site = site();
    let hook = |path: &str, text: &str| {
        let path = site.folder.join(path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    std::fs::create_dir_all(site.folder.join("gitops/.git/hooks")).unwrap();
    hook("gitops/.git/hooks/pre-commit", "#!/bin/sh\nexit 1\n");
    hook("remote.git/hooks/pre-receive", "#!/bin/sh\necho no deploys on Fridays >&2\nexit 1\n");
    let error = site.deploy("1.0.0").unwrap_err().to_string();
    assert!(error.contains("no deploys on Fridays"), "{error}");
    assert_eq!(git(&site.folder.join("gitops"), &["log", "--format=%s"]), "first");
    // Nothing ran there before, so there is nothing to tell the program: that is said.
    assert!(error.contains("no release was there before"), "{error}");
    std::fs::remove_file(site.folder.join("remote.git/hooks/pre-receive")).unwrap();
    site.deploy("1.0.0").unwrap();
    assert_eq!(site.says(), ["1.0.0"]);
}

#[test]
fn an_image_that_is_missing_stops_it_before_any_target() {
    let mut site = site();
    site.deploy("1.0.0").unwrap();
    site.deploy("1.1.0").unwrap();
    let before = (branches(&site), FILES.map(|(file, _)| site.file(file)), site.file("deploy.log"));
    let (instance, targets) = (site.name(), site.targets());
    for problem in [ImageProblem::Missing, ImageProblem::Incomplete("a layer".to_owned())] {
        let check = |reference: &Reference, _: &Digest| match reference.repository.as_str() {
            "campus/mfe" => Err(problem.clone()),
            _ => Ok(()),
        };
        let history = &mut site.history;
        let mut deployer = Deployer { history, instance: &instance, targets: &targets, check: &check, observer: &() };
        assert!(matches!(deployer.deploy(request("1.2.0")), Err(Error::Image { .. })));
        assert!(matches!(deployer.rollback(back()), Err(Error::Image { .. })));
        assert!(matches!(deployer.preview_rollback(None, false), Err(Error::Image { .. })));
    }
    assert_eq!((branches(&site), FILES.map(|(file, _)| site.file(file)), site.file("deploy.log")), before);
    assert_eq!(site.history.deployments(&site.name(), None).unwrap().len(), 2);
}

#[test]
fn a_program_that_outlives_a_killed_deploy_keeps_the_next_one_waiting() {
    let mut site = site();
    // The program waits for somebody to open the pipe, at both of its ends.
    for pipe in ["began", "go"] {
        assert!(Command::new("mkfifo").arg(site.folder.join(pipe)).status().unwrap().success());
    }
    let script =
        SCRIPT.replace("set -e\n", "set -e\nif mkdir once 2>/dev/null; then echo >began; cat go >/dev/null; fi\n");
    std::fs::write(site.folder.join("deploy.sh"), script).unwrap();
    let mut child = crate::crash::start(&site, "deploy", 0);
    std::fs::read(site.folder.join("began")).unwrap();
    // SIGKILL; the program goes on.
    child.kill().unwrap();
    child.wait().unwrap();
    let error = site.deploy("1.1.0").unwrap_err().to_string();
    assert!(error.contains("ada"), "{error}");
    assert!(site.status().pending.is_some_and(|pending| pending.under_way));
    std::fs::write(site.folder.join("go"), "").unwrap();
    // It ends on its own time.
    let report = loop {
        match site.deploy("1.1.0") {
            Err(Error::Busy { .. }) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(report.recovered.unwrap().deployment.version.to_string(), "1.2.0");
    assert_eq!(site.says(), ["1.1.0"]);
    assert_eq!(site.file("deploy.log"), "deploy 1.2.0 1\ndeploy 1.2.0 1\ndeploy 1.1.0 2\n");
}
