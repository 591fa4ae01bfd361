//! A Tutor project: the immutable tags in `config.yml`, and the digests in a Compose override file.
//!
//! Tutor has one string for an image: what is deployed, `--tag` of `tutor images build`, and the name of its cache. A digest in it breaks build and push, so
//! `config.yml` gets the tag. The digest goes where Tutor merges it over what it rendered: `env/local/docker-compose.prod.override.yml`
//! (`tutor/commands/local.py`), which `tutor local` reads and `tutor dev` does not; before Tutor 19 there is only `docker-compose.override.yml`,
//! which both read. `tutor config save` rewrites `config.yml` and keeps its keys, and leaves the override file alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::compose::{Override, images};
use super::file::{At, FileChange};
use super::{Change, State, Target, TargetError, image, yaml};
use crate::config::{Git, Instance, Pin, TutorTarget};
use crate::names::ImageName;
use crate::release::Release;

/// The keys of `config.yml` that hold the images of Tutor and its own plugins (`DOCKER_IMAGE` in each plugin's defaults).
const KEYS: [(&str, &str); 7] = [
    ("openedx", "DOCKER_IMAGE_OPENEDX"),
    ("mfe", "MFE_DOCKER_IMAGE"),
    ("notes", "NOTES_DOCKER_IMAGE"),
    ("discovery", "DISCOVERY_DOCKER_IMAGE"),
    ("credentials", "CREDENTIALS_DOCKER_IMAGE"),
    ("ecommerce", "ECOMMERCE_DOCKER_IMAGE"),
    ("xqueue", "XQUEUE_DOCKER_IMAGE"),
];

/// The services of `tutor local` that run those images, where a project has them.
const SERVICES: [(&str, &str); 10] = [
    ("lms", "openedx"),
    ("cms", "openedx"),
    ("lms-worker", "openedx"),
    ("cms-worker", "openedx"),
    ("mfe", "mfe"),
    ("notes", "notes"),
    ("discovery", "discovery"),
    ("credentials", "credentials"),
    ("ecommerce", "ecommerce"),
    ("xqueue", "xqueue"),
];

/// The first version of Tutor that reads `docker-compose.prod.override.yml`.
const FIRST_WITH_PROD_OVERRIDE: u32 = 19;

/// A Tutor project.
#[derive(Debug)]
pub struct Tutor {
    name: String,
    root: PathBuf,
    images: Vec<ImageName>,
    keys: BTreeMap<ImageName, String>,
    services: BTreeMap<String, ImageName>,
    pin: Pin,
    overwrite: bool,
    git: Git,
}

impl Tutor {
    pub(super) fn new(folder: &Path, instance: &Instance, target: &TutorTarget) -> Self {
        let root = target.root.clone().or_else(|| instance.tutor_root.clone()).unwrap_or_default();
        Self {
            name: format!("tutor {}", root.display()),
            root: folder.join(root),
            images: instance.image.keys().cloned().collect(),
            keys: target.images.clone(),
            services: target.services.clone(),
            pin: target.pin,
            overwrite: target.overwrite,
            git: target.git.clone(),
        }
    }

    fn config(&self) -> PathBuf {
        self.root.join("config.yml")
    }

    fn local(&self) -> PathBuf {
        self.root.join("env/local")
    }

    /// Image to key of `config.yml`.
    fn keys(&self) -> Result<BTreeMap<&ImageName, String>, TargetError> {
        let known =
            |name: &ImageName| KEYS.iter().find(|(image, _)| *image == name.as_str()).map(|(_, key)| (*key).to_owned());
        let key = |name| self.keys.get(name).cloned().or_else(|| known(name));
        self.images.iter().map(|name| Ok((name, key(name).ok_or_else(|| TargetError::NoKey(name.clone()))?))).collect()
    }

    /// Service to image, for the services that the project has.
    fn services(&self) -> Result<BTreeMap<String, ImageName>, TargetError> {
        let mut present = BTreeSet::new();
        for file in ["docker-compose.yml", "docker-compose.prod.yml"] {
            let path = self.local().join(file);
            let text = match std::fs::read_to_string(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.at("read", &path)?,
            };
            if let Some(serde_json::Value::Object(services)) = yaml::parse(&path, &text)?.remove("services") {
                present.extend(services.into_iter().map(|(service, _)| service));
            }
        }
        let mut services: BTreeMap<String, ImageName> = SERVICES
            .iter()
            .filter_map(|(service, image)| {
                let image = self.images.iter().find(|name| name.as_str() == *image)?;
                present.contains(*service).then(|| ((*service).to_owned(), image.clone()))
            })
            .collect();
        for (service, image) in &self.services {
            if !present.contains(service) {
                return Err(TargetError::UnknownService { service: service.clone(), root: self.root.clone() });
            }
            services.insert(service.clone(), image.clone());
        }
        Ok(services)
    }

    fn override_file(&self) -> Result<Override, TargetError> {
        let missing = |what| TargetError::NoProject { root: self.root.clone(), what };
        if !self.config().is_file() {
            return Err(missing("config.yml"));
        }
        let version = std::fs::read_to_string(self.root.join("env/version")).map_err(|_| missing("env/version"))?;
        let major = version.trim().split('.').next().and_then(|major| major.parse::<u32>().ok());
        let name = if major.ok_or_else(|| missing("a version in env/version"))? >= FIRST_WITH_PROD_OVERRIDE {
            "docker-compose.prod.override.yml"
        } else {
            "docker-compose.override.yml"
        };
        Ok(Override { path: self.local().join(name), overwrite: self.overwrite })
    }

    fn state(
        &self,
        config: impl Fn(&str) -> Option<String>,
        service: impl Fn(&str) -> Option<String>,
    ) -> Result<State, TargetError> {
        let keys = self.keys()?.into_values().map(|key| (format!("config.yml {key}"), config(&key)));
        let services = self.services()?.into_keys().map(|name| (format!("service {name}"), service(&name)));
        Ok(State(keys.chain(services).collect()))
    }

    /// What `config.yml` is to hold: the tag, by key.
    fn tags(&self, release: &Release) -> Result<BTreeMap<String, String>, TargetError> {
        self.keys()?.into_iter().map(|(name, key)| Ok((key, image(release, name)?.reference.to_string()))).collect()
    }
}

impl Target for Tutor {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let services = self.override_file()?.read()?;
        let path = self.config();
        let config = yaml::parse(&path, &std::fs::read_to_string(&path).at("read", &path)?)?;
        self.state(
            |key| config.get(key).and_then(|value| value.as_str()).map(str::to_owned),
            |service| services.get(service).cloned(),
        )
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let tags = self.tags(release)?;
        let images = images(&self.services()?, release, self.pin)?;
        self.state(|key| tags.get(key).cloned(), |service| images.get(service).cloned())
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let file = self.override_file()?;
        let images = images(&self.services()?, release, self.pin)?;
        let tags = self.tags(release)?;
        let config =
            FileChange::plan(&self.config(), |text| yaml::set(&self.config(), text.unwrap_or_default(), &tags))?;
        Ok(Change::of_files(self.name(), vec![config, file.plan(&images)?], self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let root = self.root.display();
        vec![format!(
            "run `tutor --root {root} config save`, then `tutor --root {root} local start --detach` (or `k8s start`), to start it"
        )]
    }

    fn owned(&self) -> Vec<PathBuf> {
        self.override_file().map(|file| file.owned()).unwrap_or_default()
    }

    fn git(&self) -> Git {
        self.git.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::sample;

    const CONFIG: &str = "# ours\nDOCKER_IMAGE_OPENEDX: old # until 1.4\nMYSQL_ROOT_PASSWORD: hunter2\n";

    fn project(version: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("env/local");
        std::fs::create_dir_all(&local).unwrap();
        std::fs::write(dir.path().join("config.yml"), CONFIG).unwrap();
        std::fs::write(dir.path().join("env/version"), version).unwrap();
        std::fs::write(
            local.join("docker-compose.yml"),
            "services:\n  lms: {image: x}\n  cms: {image: x}\n  mysql: {image: y}\n",
        )
        .unwrap();
        std::fs::write(local.join("docker-compose.prod.yml"), "services:\n  lms-worker: {image: x}\n").unwrap();
        dir
    }

    fn target(root: &Path, images: &[&str]) -> Tutor {
        Tutor {
            name: "tutor .".to_owned(),
            root: root.to_owned(),
            images: images.iter().map(|name| name.parse().unwrap()).collect(),
            keys: BTreeMap::new(),
            services: BTreeMap::new(),
            pin: Pin::Digest,
            overwrite: false,
            git: Git::default(),
        }
    }

    fn deploy(target: &Tutor) {
        let change = target.plan(&sample()).unwrap();
        assert!(!change.diff().contains("hunter2"));
        for file in &change.files {
            file.edit().forward().unwrap();
        }
        assert_eq!(target.read().unwrap(), change.wanted);
    }

    #[test]
    fn the_tag_goes_to_config_yml_and_the_digest_to_the_override() {
        let dir = project("22.0.3\n");
        deploy(&target(dir.path(), &["openedx"]));
        let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("config.yml"), CONFIG.replace("old", "campus/openedx:1.4.0-g3f2c1ab09d4e"));
        let digest = sample().images[0].digest.to_string();
        let text = read("env/local/docker-compose.prod.override.yml");
        // lms, cms and lms-worker; this project has no cms-worker, and Compose would start one.
        assert_eq!(text.matches(&digest).count(), 3, "{text}");
        assert!(!text.contains("cms-worker"));
    }

    #[test]
    fn before_tutor_19_the_override_is_the_one_that_there_is() {
        let dir = project("18.2.2");
        deploy(&target(dir.path(), &["openedx"]));
        assert!(dir.path().join("env/local/docker-compose.override.yml").is_file());
    }

    #[test]
    fn a_folder_that_is_no_project_is_named_with_what_is_missing() {
        let dir = project("22.0.3");
        std::fs::remove_file(dir.path().join("env/version")).unwrap();
        let error = target(dir.path(), &["openedx"]).plan(&sample()).unwrap_err().to_string();
        assert!(error.contains("env/version") && error.contains("tutor config save"), "{error}");
    }

    #[test]
    fn an_image_without_a_key_and_a_service_that_is_not_there_are_errors() {
        let dir = project("22.0.3");
        assert!(
            matches!(target(dir.path(), &["openedx", "other"]).plan(&sample()), Err(TargetError::NoKey(name)) if name.as_str() == "other")
        );
        let mut target = target(dir.path(), &["openedx"]);
        target.services.insert("forum".to_owned(), "openedx".parse().unwrap());
        assert!(matches!(target.plan(&sample()), Err(TargetError::UnknownService { .. })));
    }
}
