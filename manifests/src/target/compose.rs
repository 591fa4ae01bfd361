//! A Compose override file: `services: {lms: {image: ...}}`, merged over the site's own file (Compose specification, *Merge*).
//!
//! Shiplap owns the file whole and writes it always in the same form. So a file in any other form was written or edited by someone else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{At, FileChange};
use super::{Change, State, Target, TargetError, image, pinned};
use crate::config::{ComposeTarget, Git, Pin};
use crate::names::ImageName;
use crate::release::Release;

/// The first line of every file that Shiplap owns.
const HEADER: &str = "# Written by shiplap: `shiplap deploy` and `shiplap rollback` replace this file whole.";

/// A Compose override file.
#[derive(Debug)]
pub struct Compose {
    name: String,
    file: Override,
    services: BTreeMap<String, ImageName>,
    pin: Pin,
    git: Git,
}

impl Compose {
    pub(super) fn new(folder: &Path, target: &ComposeTarget) -> Self {
        Self {
            name: format!("compose {}", target.file.display()),
            file: Override { path: folder.join(&target.file), overwrite: target.overwrite },
            services: target.services.clone(),
            pin: target.pin,
            git: target.git.clone(),
        }
    }
}

impl Target for Compose {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let found = self.file.read()?;
        Ok(State(self.services.keys().map(|service| (service.clone(), found.get(service).cloned())).collect()))
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let images = images(&self.services, release, self.pin)?;
        Ok(State(images.into_iter().map(|(service, image)| (service, Some(image))).collect()))
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let file = self.file.plan(&images(&self.services, release, self.pin)?)?;
        Ok(Change::of_files(self.name(), vec![file], self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let file = self.file.path.display();
        vec![format!("run `docker compose -f <your compose file> -f {file} up -d` to start it")]
    }

    fn owned(&self) -> Vec<PathBuf> {
        self.file.owned()
    }

    fn git(&self) -> Git {
        self.git.clone()
    }
}

/// What each service runs in a release.
pub(super) fn images(
    services: &BTreeMap<String, ImageName>,
    release: &Release,
    pin: Pin,
) -> Result<BTreeMap<String, String>, TargetError> {
    services.iter().map(|(service, name)| Ok((service.clone(), pinned(image(release, name)?, pin)))).collect()
}

/// An override file that Shiplap owns.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) path: PathBuf,
    pub(super) overwrite: bool,
}

impl Override {
    /// The images in the file, by service; none for a file that is missing.
    pub(super) fn read(&self) -> Result<BTreeMap<String, String>, TargetError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => service_images(&self.path, &text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(e).at("read", &self.path),
        }
    }

    /// Plans to write these images, if the file is ours to write.
    pub(super) fn plan(&self, images: &BTreeMap<String, String>) -> Result<FileChange, TargetError> {
        FileChange::plan(&self.path, |before| {
            if let Some(text) = before.filter(|_| !self.overwrite) {
                if !text.starts_with(HEADER) {
                    return Err(TargetError::Foreign(self.path.clone()));
                }
                // Another image is drift, which a deploy puts right; anything else in there is someone's work.
                if service_images(&self.path, text).map(|found| render(&found)).ok().as_deref() != Some(text) {
                    return Err(TargetError::EditedByHand(self.path.clone()));
                }
            }
            Ok(render(images))
        })
    }

    /// The file, if it is there and ours.
    pub(super) fn owned(&self) -> Vec<PathBuf> {
        let ours = std::fs::read_to_string(&self.path).is_ok_and(|text| text.starts_with(HEADER));
        if ours { vec![self.path.clone()] } else { Vec::new() }
    }
}

fn service_images(path: &Path, text: &str) -> Result<BTreeMap<String, String>, TargetError> {
    let mut file = super::yaml::parse(path, text)?;
    let mut images = BTreeMap::new();
    if let Some(serde_json::Value::Object(services)) = file.remove("services") {
        for (service, settings) in services {
            if let Some(image) = settings.get("image").and_then(serde_json::Value::as_str) {
                images.insert(service, image.to_owned());
            }
        }
    }
    Ok(images)
}

fn render(images: &BTreeMap<String, String>) -> String {
    let mut out = format!("{HEADER}\n");
    if images.is_empty() {
        out.push_str("services: {}\n");
        return out;
    }
    out.push_str("services:\n");
    for (service, image) in images {
        // JSON's strings are YAML's double-quoted ones (YAML 1.2, section 1.2).
        let quote = |s: &str| serde_json::Value::from(s).to_string();
        out.push_str(&format!("  {}:\n    image: {}\n", quote(service), quote(image)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::tests::sample;

    fn target(folder: &Path, overwrite: bool) -> Compose {
        let services = BTreeMap::from([
            ("lms".to_owned(), "openedx".parse().unwrap()),
            ("cms".to_owned(), "openedx".parse().unwrap()),
        ]);
        Compose::new(
            folder,
            &ComposeTarget {
                file: "compose.override.yml".into(),
                services,
                pin: Pin::Digest,
                overwrite,
                git: Git::default(),
            },
        )
    }

    fn deploy(target: &Compose) -> String {
        let change = target.plan(&sample()).unwrap();
        for file in &change.files {
            file.edit().forward().unwrap();
        }
        assert_eq!(target.read().unwrap(), change.wanted);
        std::fs::read_to_string(&target.file.path).unwrap()
    }

    #[test]
    fn the_file_names_each_service_and_its_image_by_digest() {
        let dir = tempfile::tempdir().unwrap();
        let text = deploy(&target(dir.path(), false));
        let digest = sample().images[0].digest;
        let expected = format!("  \"lms\":\n    image: \"campus/openedx:1.4.0-g3f2c1ab09d4e@{digest}\"\n");
        assert!(text.starts_with(HEADER) && text.contains(&expected), "{text}");
    }

    #[test]
    fn a_file_of_someone_else_is_replaced_only_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("compose.override.yml");
        std::fs::write(&path, "services: {lms: {environment: {A: b}}}\n").unwrap();
        assert!(matches!(target(dir.path(), false).plan(&sample()), Err(TargetError::Foreign(_))));
        assert!(target(dir.path(), false).owned().is_empty());
        deploy(&target(dir.path(), true));
        assert_eq!(target(dir.path(), false).owned(), [path]);
    }

    #[test]
    fn work_of_someone_else_in_our_file_is_kept_and_drift_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path(), false);
        let text = deploy(&target);
        std::fs::write(&target.file.path, text.replace("openedx:1.4.0", "openedx:1.3.0")).unwrap();
        assert_eq!(target.read().unwrap().differences(&target.wanted(&sample()).unwrap()).len(), 2);
        assert_eq!(deploy(&target), text);
        std::fs::write(&target.file.path, text + "volumes: {}\n").unwrap();
        assert!(matches!(target.plan(&sample()), Err(TargetError::EditedByHand(_))));
    }

    #[test]
    fn an_image_that_the_release_lacks_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = target(dir.path(), false);
        target.services.insert("mfe".to_owned(), "mfe".parse().unwrap());
        assert!(matches!(target.plan(&sample()), Err(TargetError::NotInRelease { .. })));
    }
}
