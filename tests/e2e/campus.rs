//! An instance whose every image says which version it is, for tests that break things on the way from one to the other.

use std::fs;
use std::path::PathBuf;

use crate::common::{Home, Ran, Repo};

/// The file that deploys write.
pub const TARGET: &str = "docker-compose.override.yml";

pub const CONFIG: &str = "\
[instance.campus.image.openedx]
context = \"openedx\"
repository = \"campus/openedx\"

[instance.campus.image.mfe]
context = \"mfe\"
repository = \"campus/mfe\"

[[instance.campus.deploy]]
kind = \"compose\"
file = \"docker-compose.override.yml\"
services = { lms = \"openedx\", mfe = \"mfe\" }
";

pub struct Campus {
    pub home: Home,
    pub repo: Repo,
}

impl Campus {
    /// Nothing is released yet.
    pub fn new() -> Self {
        Self::of(Home::with_base())
    }

    /// The same in a home that has, or will have, the base image.
    pub fn of(home: Home) -> Self {
        home.write("shiplap.toml", CONFIG);
        home.write("openedx/Dockerfile", "FROM base:1\nCOPY text /text\nRUN cat /text >/copy\n");
        home.write("mfe/Dockerfile", "FROM base:1\nCOPY text /text\n");
        for image in ["openedx", "mfe"] {
            home.write(&format!("{image}/text"), "0");
        }
        let repo = Repo::of(&home.work());
        Self { home, repo }
    }

    /// Releases and deployments of 1.0.0 and 1.1.0, in this order.
    pub fn with_two_releases() -> Self {
        let campus = Self::new();
        campus.release_and_deploy(&["1.0.0", "1.1.0"]);
        campus
    }

    /// Releases and deploys versions, each from a commit of its own.
    pub fn release_and_deploy(&self, versions: &[&str]) {
        for version in versions {
            self.edit(version);
            self.run(&["release", "campus", version]).ok();
            self.run(&["deploy", "campus", version]).ok();
        }
    }

    /// Changes both images, in a new commit.
    pub fn edit(&self, text: &str) {
        for image in ["openedx", "mfe"] {
            self.home.write(&format!("{image}/text"), text);
        }
        self.repo.git(&["add", "openedx", "mfe"]);
        self.repo.git(&["commit", "-q", "-m", text]);
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    /// What the deploy target says.
    pub fn target(&self) -> String {
        fs::read_to_string(self.home.work().join(TARGET)).unwrap_or_default()
    }

    /// The versions that the deploy target names: one, unless it is mixed.
    pub fn deployed(&self) -> Vec<String> {
        let target = self.target();
        let images = target.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        let mut versions: Vec<String> = images
            .map(|image| {
                let name = image.split_once('@').unwrap().0;
                name.rsplit_once(':').unwrap().1.split_once("-g").unwrap().0.to_owned()
            })
            .collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// The visible releases, newest first: version and tag.
    pub fn releases(&self) -> Vec<(String, String)> {
        let rows = self.home.json(&["releases", "campus", "--limit", "1000"]);
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(|row| (text(row, "version"), text(row, "tag"))).collect()
    }

    /// The digest of an image's manifest in a release, without its algorithm.
    pub fn digest(&self, image: &str, version: &str) -> String {
        let tag = self.releases().into_iter().find(|(v, _)| v == version).unwrap().1;
        let tags = self.home.json(&["tags", &format!("campus/{image}")]);
        let row = tags.as_array().unwrap().iter().find(|row| row["tag"] == tag.as_str()).unwrap().clone();
        row["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
    }

    /// The file of a blob in the store.
    pub fn blob(&self, hex: &str) -> PathBuf {
        self.home.store().join("blobs/sha256").join(hex)
    }

    /// The file of the topmost layer of an image.
    pub fn layer_blob(&self, image: &str, version: &str) -> PathBuf {
        let manifest = fs::read(self.blob(&self.digest(image, version))).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
        self.blob(layer.strip_prefix("sha256:").unwrap())
    }
}
