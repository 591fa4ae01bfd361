//! `images` of a `kustomization.yaml`: for each image the name that the manifests have (`name`), and what Kustomize puts there instead.
//!
//! Kustomize takes `newTag` and `digest` together (`api/filters/imagetag/updater.go`), and before it did, the digest alone won
//! (`api/types/image.go`): so both are written, the tag for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::document::{Document, Format};
use super::file::{At, FileChange};
use super::{Change, State, Target, TargetError, image, parts};
use crate::config::{Git, KustomizeTarget, Pin, Step};
use crate::names::ImageName;
use crate::release::{Release, ReleaseImage};

/// A `kustomization.yaml`.
#[derive(Debug)]
pub struct Kustomize {
    name: String,
    path: PathBuf,
    images: BTreeMap<ImageName, String>,
    pin: Pin,
    git: Git,
}

impl Kustomize {
    pub(super) fn new(folder: &Path, target: &KustomizeTarget) -> Self {
        Self {
            name: format!("kustomize {}", target.file.display()),
            path: folder.join(&target.file),
            images: target.images.clone(),
            pin: target.pin,
            git: target.git.clone(),
        }
    }

    fn parse(&self, text: &str) -> Result<Document<'_>, TargetError> {
        let document = Document::parse(&self.path, Format::Yaml, text)?;
        let form = |what: &str| Err(TargetError::Form { path: self.path.clone(), what: what.to_owned() });
        match document.values() {
            [] => form("it is empty: a kustomization names at least its resources"),
            [_] => Ok(document),
            _ => form("it holds several documents, and Kustomize reads one"),
        }
    }

    /// Where the entry of a name is; where it would be, if there is none.
    fn index(&self, document: &Document<'_>, name: &str) -> Result<Result<usize, usize>, TargetError> {
        let Some(images) = document.get(0, &images()) else { return Ok(Err(0)) };
        let form = |what: String| TargetError::Form { path: self.path.clone(), what };
        let items = images.as_array().ok_or_else(|| form("`images` is no list".to_owned()))?;
        let mut found = items.iter().enumerate().filter(|(_, item)| item["name"].as_str() == Some(name));
        match (found.next(), found.next()) {
            (None, _) => Ok(Err(items.len())),
            (Some((index, _)), None) => Ok(Ok(index)),
            _ => Err(form(format!("`images` has `{name}` twice: take one of them out"))),
        }
    }

    fn write(&self, document: &mut Document<'_>, name: &str, image: &ReleaseImage) -> Result<(), TargetError> {
        let index = match self.index(document, name)? {
            Ok(index) => index,
            Err(index) => {
                document.set(0, &item(index), &json!({ "name": name }))?;
                index
            }
        };
        let repository = image.reference.repository.as_str();
        if name != repository || document.get(0, &key(index, "newName")).is_some() {
            document.set(0, &key(index, "newName"), &Value::from(repository))?;
        }
        document.set(0, &key(index, "newTag"), &Value::from(image.reference.tag.to_string()))?;
        match self.pin {
            Pin::Digest => document.set(0, &key(index, "digest"), &Value::from(image.digest.to_string())),
            Pin::Tag => document.remove(0, &key(index, "digest")),
        }
    }
}

fn images() -> Vec<Step> {
    vec![Step::Key("images".to_owned())]
}

fn item(index: usize) -> Vec<Step> {
    [images(), vec![Step::Index(index)]].concat()
}

fn key(index: usize, key: &str) -> Vec<Step> {
    [item(index), vec![Step::Key(key.to_owned())]].concat()
}

impl Target for Kustomize {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let text = std::fs::read_to_string(&self.path).at("read", &self.path)?;
        let document = self.parse(&text)?;
        let mut state = State::default();
        for name in self.images.values() {
            let says = match self.index(&document, name)? {
                Err(_) => None,
                Ok(index) => {
                    let get = |k: &str| document.get(0, &key(index, k)).and_then(Value::as_str);
                    parts::join(get("newName").unwrap_or(name), get("newTag"), get("digest"))
                }
            };
            state.0.insert(name.clone(), says);
        }
        Ok(state)
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let wanted = |(name, place): (&ImageName, &String)| {
            Ok((place.clone(), Some(super::pinned(image(release, name)?, self.pin))))
        };
        Ok(State(self.images.iter().map(wanted).collect::<Result<_, TargetError>>()?))
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let file = FileChange::plan(&self.path, |text| {
            let text = text.ok_or_else(|| TargetError::Form {
                path: self.path.clone(),
                what: "it is not there: write a kustomization first, or correct `file` in shiplap.toml".to_owned(),
            })?;
            let mut document = self.parse(text)?;
            for (name, place) in &self.images {
                self.write(&mut document, place, image(release, name)?)?;
            }
            Ok(document.into_text())
        })?;
        Ok(Change::of_files(self.name(), vec![file], self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let folder = self.path.parent().unwrap_or(Path::new(".")).display().to_string();
        vec![format!("run `kubectl apply -k {folder}` to start it, or let Argo CD or Flux do so from git")]
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
    use crate::release::tests::sample;

    const BEFORE: &str = "\
# the campus site
resources:
- ../base   # Tutor's

images:
# the LMS
- newTag: 22.0.3   # as it came
  name: docker.io/overhangio/openedx
- {name: docker.io/overhangio/openedx-mfe, newTag: \"22.0.3\"}

patches: []
";

    fn target(folder: &Path, pin: Pin, names: &[(&str, &str)]) -> Kustomize {
        std::fs::write(folder.join("kustomization.yaml"), BEFORE).unwrap();
        Kustomize {
            name: "kustomize".to_owned(),
            path: folder.join("kustomization.yaml"),
            images: names.iter().map(|(name, place)| (name.parse().unwrap(), (*place).to_owned())).collect(),
            pin,
            git: Git::default(),
        }
    }

    fn deploy(target: &Kustomize) -> String {
        let change = target.plan(&sample()).unwrap();
        change.files.iter().for_each(|file| file.edit().forward().unwrap());
        assert_eq!(target.read().unwrap(), change.wanted);
        std::fs::read_to_string(&target.path).unwrap()
    }

    #[test]
    fn the_entry_gets_name_tag_and_digest_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let text = deploy(&target(dir.path(), Pin::Digest, &[("openedx", "docker.io/overhangio/openedx")]));
        let digest = sample().images[0].digest;
        let expected = BEFORE.replace("newTag: 22.0.3   #", "newTag: 1.4.0-g3f2c1ab09d4e   #").replace(
            "  name: docker.io/overhangio/openedx\n",
            &format!("  name: docker.io/overhangio/openedx\n  newName: campus/openedx\n  digest: {digest}\n"),
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn an_entry_in_braces_and_one_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let text = deploy(&target(dir.path(), Pin::Digest, &[("openedx", "docker.io/overhangio/openedx-mfe")]));
        let digest = sample().images[0].digest;
        assert!(
            text.contains(&format!(
                "- {{name: docker.io/overhangio/openedx-mfe, newTag: \"1.4.0-g3f2c1ab09d4e\", newName: campus/openedx, digest: {digest}}}\n\npatches"
            )),
            "{text}"
        );
        let text = deploy(&target(dir.path(), Pin::Digest, &[("openedx", "campus/openedx")]));
        let added = format!("- name: campus/openedx\n  newTag: 1.4.0-g3f2c1ab09d4e\n  digest: {digest}\n\npatches");
        assert!(text.contains(&added), "{text}");
    }

    #[test]
    fn a_pin_by_tag_takes_the_digest_out() {
        let dir = tempfile::tempdir().unwrap();
        let by_digest = target(dir.path(), Pin::Digest, &[("openedx", "docker.io/overhangio/openedx")]);
        deploy(&by_digest);
        let text = deploy(&Kustomize { pin: Pin::Tag, ..by_digest });
        assert!(!text.contains("sha256") && text.contains("newName: campus/openedx\n- {"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_kustomization_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path(), Pin::Digest, &[("openedx", "x")]);
        for bad in ["", "resources: []\n---\nresources: []\n", "images:\n- name: x\n- name: x\n", "images: {}\n"] {
            std::fs::write(&target.path, bad).unwrap();
            assert!(matches!(target.plan(&sample()), Err(TargetError::Form { .. })), "{bad}");
        }
        std::fs::remove_file(&target.path).unwrap();
        let error = target.plan(&sample()).unwrap_err().to_string();
        assert!(error.contains("not there") && error.contains("shiplap.toml"), "{error}");
    }
}
