//! A Tutor project: the immutable tags in `config.yml`, and the digests where Tutor takes them from.
//!
//! Tutor has one string for an image: what is deployed, `--tag` of `tutor images build`, and the name of its cache. A digest in it breaks build and push, so
//! `config.yml` gets the tag, and the digest goes where Tutor merges it over what it rendered:
//!
//! | file below the root | who reads it |
//! |---|---|
//! | `env/local/docker-compose.prod.override.yml` | `tutor local` (`tutor/commands/local.py`), and not `tutor dev`; before Tutor 19 there is only `docker-compose.override.yml`, which both read |
//! | `env/local/docker-compose.jobs.override.yml` | the jobs of `tutor local`, and of `tutor dev` too (`tutor/commands/dev.py`) |
//! | `env/dev/docker-compose.jobs.override.yml` | `tutor dev`, last: it gives the jobs there back the image that they had |
//! | `shiplap-images.json` | the plugin that `shiplap tutor install` writes, for `tutor k8s` |
//!
//! `tutor config save` rewrites `config.yml` and keeps its keys, and leaves the others alone.

mod pins;
mod services;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::compose::{Override, images};
use super::file::{At, FileChange};
use super::{Change, State, Target, TargetError, image, yaml};
use crate::config::{Git, Instance, Pin, TutorTarget};
use crate::names::{ImageName, Repository};
use crate::release::Release;
use pins::Pins;
use services::Services;
pub use services::services_that_run;

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

/// The key of `config.yml` that holds an image of that name, where Tutor or one of its own plugins has it.
pub fn known_key(image: &str) -> Option<&'static str> {
    KEYS.iter().find(|(name, _)| *name == image).map(|(_, key)| *key)
}

/// Whether the text of a `config.yml` enables a plugin.
pub fn enables_plugin(config: &str, plugin: &str) -> bool {
    let plugins = yaml::parse(Path::new("config.yml"), config).ok().and_then(|mut config| config.remove("PLUGINS"));
    plugins.as_ref().and_then(|names| names.as_array()).is_some_and(|names| names.iter().any(|name| name == plugin))
}

/// The first version of Tutor that reads `docker-compose.prod.override.yml`.
const FIRST_WITH_PROD_OVERRIDE: u32 = 19;

/// The name of the plugin that takes digests to the cluster.
const PLUGIN: &str = "shiplap";

/// A Tutor project.
#[derive(Debug)]
pub struct Tutor {
    name: String,
    root: PathBuf,
    images: BTreeMap<ImageName, Repository>,
    keys: BTreeMap<ImageName, String>,
    services: BTreeMap<String, ImageName>,
    pin: Pin,
    overwrite: bool,
    git: Git,
}

/// The override files of a project, each with what it may say.
struct Overrides {
    local: Override,
    jobs: Override,
    dev_jobs: Override,
}

impl Tutor {
    pub(super) fn new(folder: &Path, instance: &Instance, target: &TutorTarget) -> Self {
        let root = target.root.clone().or_else(|| instance.tutor_root.clone()).unwrap_or_default();
        let repository = |image: &crate::config::Image| image.repository.clone();
        Self {
            name: format!("tutor {}", root.display()),
            root: folder.join(root),
            images: instance.image.iter().map(|(name, image)| (name.clone(), repository(image))).collect(),
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

    fn pins(&self) -> Pins {
        Pins::of(&self.root, self.overwrite)
    }

    /// Image to key of `config.yml`.
    fn keys(&self) -> Result<BTreeMap<&ImageName, String>, TargetError> {
        let key =
            |name: &ImageName| self.keys.get(name).cloned().or_else(|| known_key(name.as_str()).map(str::to_owned));
        let pair = |name| Ok((name, key(name).ok_or_else(|| TargetError::NoKey(ImageName::clone(name)))?));
        self.images.keys().map(pair).collect()
    }

    fn services(&self) -> Result<Services, TargetError> {
        Services::read(&self.root.join("env"), &self.images, &self.services)
    }

    fn overrides(&self) -> Result<Overrides, TargetError> {
        let missing = |what| TargetError::NoProject { root: self.root.clone(), what };
        if !self.config().is_file() {
            return Err(missing("config.yml"));
        }
        let version = std::fs::read_to_string(self.root.join("env/version")).map_err(|_| missing("env/version"))?;
        let major = version.trim().split('.').next().and_then(|major| major.parse::<u32>().ok());
        let local = if major.ok_or_else(|| missing("a version in env/version"))? >= FIRST_WITH_PROD_OVERRIDE {
            "local/docker-compose.prod.override.yml"
        } else {
            "local/docker-compose.override.yml"
        };
        let file = |name| Override { path: self.root.join("env").join(name), overwrite: self.overwrite };
        Ok(Overrides {
            local: file(local),
            jobs: file("local/docker-compose.jobs.override.yml"),
            dev_jobs: file("dev/docker-compose.jobs.override.yml"),
        })
    }

    /// What `config.yml` is to hold: the tag, by key.
    fn tags(&self, release: &Release) -> Result<BTreeMap<String, String>, TargetError> {
        self.keys()?.into_iter().map(|(name, key)| Ok((key, image(release, name)?.reference.to_string()))).collect()
    }

    /// What the cluster is to be told, by repository.
    fn pinned(&self, release: &Release) -> Result<BTreeMap<String, pins::Pin>, TargetError> {
        let pin = |name| {
            let image = image(release, name)?;
            let (tag, digest) = (image.reference.tag.to_string(), image.digest.to_string());
            Ok((image.reference.repository.to_string(), pins::Pin { tag, digest }))
        };
        match self.pin {
            Pin::Digest => self.images.keys().map(pin).collect(),
            // The tag is in config.yml, and Tutor renders it everywhere.
            Pin::Tag => Ok(BTreeMap::new()),
        }
    }

    /// What all places together say.
    fn state(
        keys: impl IntoIterator<Item = (String, Option<String>)>,
        services: impl IntoIterator<Item = (String, Option<String>)>,
        pins: BTreeMap<String, pins::Pin>,
    ) -> State {
        let keys = keys.into_iter().map(|(key, value)| (format!("config.yml {key}"), value));
        let services = services.into_iter().map(|(name, image)| (format!("service {name}"), image));
        let pins = pins.into_iter().map(|(name, pin)| (format!("kustomize {name}"), Some(pin.of(&name))));
        State(keys.chain(services).chain(pins).collect())
    }

    /// Whether `config.yml` enables the plugin that reads the digests for the cluster.
    fn has_plugin(&self) -> bool {
        std::fs::read_to_string(self.config()).is_ok_and(|text| enables_plugin(&text, PLUGIN))
    }
}

impl Target for Tutor {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let (files, services) = (self.overrides()?, self.services()?);
        let path = self.config();
        let config = yaml::parse(&path, &std::fs::read_to_string(&path).at("read", &path)?)?;
        let value = |key: &str| config.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let keys = self.keys()?.into_values().map(|key| (key.clone(), value(&key)));
        let (local, jobs) = (files.local.read()?, files.jobs.read()?);
        let found = services.local.into_keys().map(|name| (name.clone(), local.get(&name).cloned()));
        let jobs = services.jobs.into_keys().map(|name| (name.clone(), jobs.get(&name).cloned()));
        Ok(Self::state(keys, found.chain(jobs), self.pins().read()?))
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let services = self.services()?;
        let some = |(name, value)| (name, Some(value));
        let keys = self.tags(release)?.into_iter().map(some);
        let local = images(&services.local, release, self.pin)?.into_iter().map(some);
        let jobs = images(&services.jobs, release, self.pin)?.into_iter().map(some);
        Ok(Self::state(keys, local.chain(jobs), self.pinned(release)?))
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let (files, services) = (self.overrides()?, self.services()?);
        let tags = self.tags(release)?;
        let mut changes = vec![
            FileChange::plan(&self.config(), |text| yaml::set(&self.config(), text.unwrap_or_default(), &tags))?,
            files.local.plan(&images(&services.local, release, self.pin)?)?,
        ];
        // A file that says nothing is written only where one says something else.
        let jobs = images(&services.jobs, release, self.pin)?;
        for (file, images) in [(files.jobs, jobs), (files.dev_jobs, services.dev_jobs)] {
            if !images.is_empty() || file.path.exists() {
                changes.push(file.plan(&images)?);
            }
        }
        let pins = self.pinned(release)?;
        if !pins.is_empty() || self.pins().path.exists() {
            changes.push(self.pins().plan(pins)?);
        }
        Ok(Change::of_files(self.name(), changes, self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let root = self.root.display();
        let mut advice = vec![format!(
            "run `tutor --root {root} config save`, then `tutor --root {root} local start --detach` (or `k8s start`), to start it"
        )];
        if self.pin == Pin::Digest && !self.has_plugin() {
            advice.push(format!(
                "for `tutor k8s` run `shiplap tutor install --root {root} --enable` once: without that plugin a cluster gets the tags, not the digests"
            ));
        }
        advice
    }

    fn owned(&self) -> Vec<PathBuf> {
        let files = self.overrides().map(|files| [files.local, files.jobs, files.dev_jobs]);
        let files = files.into_iter().flatten().flat_map(|file| file.owned());
        files.chain(self.pins().owned()).collect()
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
        std::fs::write(local.join("docker-compose.jobs.yml"), "services:\n  lms-job: {image: x}\n").unwrap();
        let dev = dir.path().join("env/dev");
        std::fs::create_dir_all(&dev).unwrap();
        std::fs::write(dev.join("docker-compose.jobs.yml"), "services:\n  lms-job: {image: openedx-dev:22}\n").unwrap();
        dir
    }

    fn target(root: &Path, images: &[&str]) -> Tutor {
        Tutor {
            name: "tutor .".to_owned(),
            root: root.to_owned(),
            images: images
                .iter()
                .map(|name| (name.parse().unwrap(), format!("campus/{name}").parse().unwrap()))
                .collect(),
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
        assert_eq!(read("env/local/docker-compose.jobs.override.yml").matches(&digest).count(), 1);
        assert!(read("env/dev/docker-compose.jobs.override.yml").contains("\"openedx-dev:22\""));
        assert!(read("shiplap-images.json").contains(&digest));
    }

    #[test]
    fn a_target_that_pins_to_tags_writes_digests_nowhere() {
        let dir = project("22.0.3");
        let mut target = target(dir.path(), &["openedx"]);
        deploy(&target);
        target.pin = Pin::Tag;
        deploy(&target);
        let digest = sample().images[0].digest.to_string();
        for file in target.owned() {
            assert!(!std::fs::read_to_string(&file).unwrap().contains(&digest), "{}", file.display());
        }
        assert_eq!(target.advice(&sample()).len(), 1);
    }

    #[test]
    fn who_has_the_plugin_is_not_told_of_it() {
        let dir = project("22.0.3");
        let target = target(dir.path(), &["openedx"]);
        assert!(target.advice(&sample())[1].contains("shiplap tutor install"));
        std::fs::write(dir.path().join("config.yml"), "PLUGINS:\n- mfe\n- shiplap\n").unwrap();
        assert_eq!(target.advice(&sample()).len(), 1);
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
