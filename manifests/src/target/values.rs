//! A file of values: those of a Helm chart in YAML, or variables of Terraform in JSON.
//!
//! What a chart calls the parts of an image is its own affair; most have `image.repository`, `image.tag` and, where they have it, `image.digest`. The digest
//! stands apart from the tag: in the tag it breaks charts that compare versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Document, Format};
use super::file::{At, FileChange};
use super::parts::{self, Slots};
use super::{Change, State, Target, TargetError, image};
use crate::config::{Git, HelmTarget, ImageParts, Instance, Pin, TerraformTarget};
use crate::names::{ImageName, Repository};
use crate::release::Release;

/// A file of values.
#[derive(Debug)]
pub struct Values {
    name: String,
    path: PathBuf,
    format: Format,
    images: BTreeMap<ImageName, ImageParts>,
    own: BTreeMap<ImageName, Repository>,
    pin: Pin,
    git: Git,
}

impl Values {
    pub(super) fn of_helm(folder: &Path, instance: &Instance, target: &HelmTarget) -> Self {
        Self {
            name: format!("helm {}", target.file.display()),
            path: folder.join(&target.file),
            format: Format::Yaml,
            images: target.images.iter().map(|(name, place)| (name.clone(), place.below())).collect(),
            own: own(instance),
            pin: target.pin,
            git: target.git.clone(),
        }
    }

    pub(super) fn of_terraform(folder: &Path, instance: &Instance, target: &TerraformTarget) -> Self {
        Self {
            name: format!("terraform {}", target.file.display()),
            path: folder.join(&target.file),
            format: Format::Json,
            images: target.images.iter().map(|(name, place)| (name.clone(), place.whole())).collect(),
            own: own(instance),
            pin: target.pin,
            git: target.git.clone(),
        }
    }

    fn parse(&self, text: Option<&str>) -> Result<Document<'_>, TargetError> {
        let empty = if self.format == Format::Json { "{}\n" } else { "" };
        let document = Document::parse(&self.path, self.format, text.unwrap_or(empty))?;
        match document.values() {
            [] => Ok(document),
            [values] if values.is_object() => Ok(document),
            _ => Err(TargetError::Form {
                path: self.path.clone(),
                what: "values are expected, as one mapping of keys".to_owned(),
            }),
        }
    }
}

/// The repository of each image.
pub(super) fn own(instance: &Instance) -> BTreeMap<ImageName, Repository> {
    instance.image.iter().map(|(name, image)| (name.clone(), image.repository.clone())).collect()
}

/// The values of a file begin at its top.
fn slots() -> Slots {
    Slots::Tree(Vec::new())
}

impl Target for Values {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).at("read", &self.path),
        };
        let document = self.parse(text.as_deref())?;
        let says = |(name, parts): (&ImageName, &ImageParts)| {
            let own = self.own.get(name)?;
            parts::read(&slots(), &document, 0, parts, own)
        };
        Ok(State(self.images.iter().map(|entry| (entry.0.to_string(), says(entry))).collect()))
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let wanted = |(name, parts): (&ImageName, &ImageParts)| {
            let image = image(release, name)?;
            let own = self.own.get(name).unwrap_or(&image.reference.repository);
            Ok((name.to_string(), parts::wanted(parts, image, self.pin, own)))
        };
        Ok(State(self.images.iter().map(wanted).collect::<Result<_, TargetError>>()?))
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let file = FileChange::plan(&self.path, |text| {
            let mut document = self.parse(text)?;
            for (name, parts) in &self.images {
                parts::write(&slots(), &mut document, 0, parts, image(release, name)?, self.pin)?;
            }
            Ok(document.into_text())
        })?;
        Ok(Change::of_files(self.name(), vec![file], self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let file = self.path.display();
        vec![match self.format {
            Format::Yaml => format!(
                "run `helm upgrade <release> <chart> -f {file}` to start it, or let Argo CD or Flux do so from git"
            ),
            Format::Json => format!("run `terraform apply -var-file={file}` to start it"),
        }]
    }

    fn owned(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn git(&self) -> Git {
        self.git.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ImagePlace;
    use crate::release::tests::sample;

    fn target(path: PathBuf, format: Format, place: &str, pin: Pin) -> Values {
        let place: ImagePlace = serde_json::from_str(place).unwrap();
        let parts = if format == Format::Yaml { place.below() } else { place.whole() };
        let openedx: ImageName = "openedx".parse().unwrap();
        Values {
            name: "values".to_owned(),
            path,
            format,
            images: BTreeMap::from([(openedx.clone(), parts)]),
            own: BTreeMap::from([(openedx, "campus/openedx".parse().unwrap())]),
            pin,
            git: Git::default(),
        }
    }

    fn deploy(format: Format, place: &str, pin: Pin, before: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path().join("values"), format, place, pin);
        if let Some(before) = before {
            std::fs::write(&target.path, before).unwrap();
        }
        let change = target.plan(&sample()).unwrap();
        change.files.iter().for_each(|file| file.edit().forward().unwrap());
        assert_eq!(target.read().unwrap(), change.wanted);
        assert!(change.wanted.0["openedx"].is_some());
        let text = std::fs::read_to_string(&target.path).unwrap();
        text.replace(&sample().images[0].digest.to_string(), "DIGEST").replace("1.4.0-g3f2c1ab09d4e", "TAG")
    }

    #[test]
    fn the_usual_layout_of_a_chart() {
        let before = "# campus\nreplicas: 2\nlms:\n  image:\n    repository: overhangio/openedx # was\n    tag: \"22.0.3\"\n    digest: \"\"\n    pullPolicy: IfNotPresent\n";
        let after = "# campus\nreplicas: 2\nlms:\n  image:\n    repository: campus/openedx # was\n    tag: \"TAG\"\n    digest: \"DIGEST\"\n    pullPolicy: IfNotPresent\n";
        assert_eq!(deploy(Format::Yaml, "\"lms.image\"", Pin::Digest, Some(before)), after);
        assert_eq!(deploy(Format::Yaml, "\"lms.image\"", Pin::Tag, Some(before)), after.replace("DIGEST", ""));
    }

    #[test]
    fn other_layouts() {
        let registry = r#"{"registry": "image.registry", "repository": "image.repository", "tag": "image.tag"}"#;
        assert_eq!(
            deploy(Format::Yaml, registry, Pin::Digest, Some("image: {registry: x, repository: y}\n")),
            "image: {registry: docker.io, repository: campus/openedx, tag: TAG}\n"
        );
        assert_eq!(
            deploy(
                Format::Yaml,
                r#"{"image": "containers[1].image"}"#,
                Pin::Digest,
                Some("containers:\n- a\n- image: x\n")
            ),
            "containers:\n- a\n- image: campus/openedx:TAG@DIGEST\n"
        );
        assert_eq!(
            deploy(Format::Yaml, r#"{"tag": "tag", "digest": "digest"}"#, Pin::Digest, None),
            "tag: TAG\ndigest: DIGEST\n"
        );
    }

    #[test]
    fn variables_of_terraform() {
        let before = "{\n    \"region\": \"eu\",\n    \"openedx_image\": \"x\",\n    \"size\": 3\n}\n";
        assert_eq!(
            deploy(Format::Json, "\"openedx_image\"", Pin::Digest, Some(before)),
            before.replace("\"x\"", "\"campus/openedx:TAG@DIGEST\"")
        );
        assert_eq!(
            deploy(Format::Json, r#"{"tag": "images.openedx.tag"}"#, Pin::Digest, None),
            "{\"images\": {\"openedx\": {\"tag\": \"TAG\"}}}\n"
        );
    }

    #[test]
    fn what_is_no_file_of_values_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for (format, bad) in [(Format::Yaml, "- a\n"), (Format::Json, "[]"), (Format::Yaml, "a: 1\n---\nb: 1\n")] {
            let target = target(dir.path().join("values"), format, "\"image\"", Pin::Digest);
            std::fs::write(&target.path, bad).unwrap();
            assert!(matches!(target.plan(&sample()), Err(TargetError::Form { .. })), "{bad}");
        }
    }
}
