//! An `Application` of Argo CD (`argoproj.io/v1alpha1`): `kustomize.images`, `helm.parameters` or `helm.valuesObject` of a source.
//!
//! An item of `kustomize.images` is `[old name=]name[:tag][@digest]`; it is the argument of `kustomize edit set image`, and one that is there is
//! known by what stands before its first `=`, `:` or `@` (argo-cd, `KustomizeImage.Match`). Of Helm's values, `parameters` win over `valuesObject`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::{Document, Format, get};
use super::file::{At, FileChange};
use super::parts::{self, Slots};
use super::values::own;
use super::{Change, State, Target, TargetError, image, pinned};
use crate::config::{ArgoCdTarget, Git, ImageParts, Instance, Pin, Step};
use crate::names::{ImageName, Repository};
use crate::release::Release;

/// An `Application`.
#[derive(Debug)]
pub struct ArgoCd {
    name: String,
    path: PathBuf,
    application: Option<String>,
    source: Option<usize>,
    way: Way,
    own: BTreeMap<ImageName, Repository>,
    pin: Pin,
    git: Git,
}

/// How an Application says images.
#[derive(Debug)]
enum Way {
    Kustomize(BTreeMap<ImageName, String>),
    Helm(Slots, BTreeMap<ImageName, ImageParts>),
}

impl ArgoCd {
    pub(super) fn new(folder: &Path, instance: &Instance, target: &ArgoCdTarget) -> Self {
        let source = source(target.source);
        let below = |rest: &[&str]| [source.clone(), keys(rest)].concat();
        let parts = |places: &BTreeMap<ImageName, crate::config::ImagePlace>| {
            places.iter().map(|(name, place)| (name.clone(), place.below())).collect()
        };
        let way = if !target.kustomize.is_empty() {
            Way::Kustomize(target.kustomize.clone())
        } else if !target.parameters.is_empty() {
            Way::Helm(Slots::List(below(&["helm", "parameters"])), parts(&target.parameters))
        } else {
            Way::Helm(Slots::Tree(below(&["helm", "valuesObject"])), parts(&target.values_object))
        };
        let application = target.application.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        Self {
            name: format!("argocd {}{application}", target.file.display()),
            path: folder.join(&target.file),
            application: target.application.clone(),
            source: target.source,
            way,
            own: own(instance),
            pin: target.pin,
            git: target.git.clone(),
        }
    }

    fn parse(&self, text: &str) -> Result<(Document<'_>, usize), TargetError> {
        let document = Document::parse(&self.path, Format::Yaml, text)?;
        let number = self.number(&document)?;
        let form = |what: String| TargetError::Form { path: self.path.clone(), what };
        let spec = &document.values()[number]["spec"];
        match self.source {
            None if spec["source"].is_object() => {}
            None if spec["sources"].is_array() => {
                return Err(form("the Application has `spec.sources`: say which one with `source = 0`".to_owned()));
            }
            None => return Err(form("the Application has no `spec.source`".to_owned())),
            Some(index) if spec["sources"][index].is_object() => {}
            Some(index) => {
                return Err(form(format!("the Application has no `spec.sources[{index}]`: they are counted from 0")));
            }
        }
        Ok((document, number))
    }

    /// Which document is the Application.
    fn number(&self, document: &Document<'_>) -> Result<usize, TargetError> {
        let applications: Vec<(usize, &str)> = document
            .values()
            .iter()
            .enumerate()
            .filter(|(_, value)| value["kind"] == "Application")
            .filter(|(_, value)| value["apiVersion"].as_str().is_some_and(|api| api.starts_with("argoproj.io/")))
            .map(|(number, value)| (number, value["metadata"]["name"].as_str().unwrap_or_default()))
            .collect();
        let fits = |name: &str| self.application.as_deref().is_none_or(|wanted| wanted == name);
        let mut fitting = applications.iter().filter(|(_, name)| fits(name));
        let there: Vec<&str> = applications.iter().map(|(_, name)| *name).collect();
        let what = match (fitting.next(), fitting.next(), &self.application) {
            (Some((number, _)), None, _) => return Ok(*number),
            (None, _, Some(wanted)) => format!("it has no Application `{wanted}`, but [{}]", there.join(", ")),
            (None, ..) => "it holds no Application of argoproj.io".to_owned(),
            (Some(_), Some(_), None) => {
                format!(
                    "it holds several Applications: say which one, with `application = \"{}\"`",
                    there.join("\" or \"")
                )
            }
            (Some(_), Some(_), Some(wanted)) => {
                format!("it holds the Application `{wanted}` twice: take one of them out")
            }
        };
        Err(TargetError::Form { path: self.path.clone(), what })
    }

    fn images(&self) -> Vec<Step> {
        [source(self.source), keys(&["kustomize", "images"])].concat()
    }

    /// The entry of a name: where it is, and what it says.
    fn entry<'v>(&self, application: &'v Value, name: &str) -> Option<(usize, &'v str)> {
        let items = get(application, &self.images())?.as_array()?;
        let mut texts = items.iter().enumerate().filter_map(|(i, item)| Some((i, item.as_str()?)));
        texts.find(|(_, text)| key_of(text) == name)
    }
}

/// What an item of `kustomize.images` is about: what stands before `=`; else the name before tag and digest.
fn key_of(item: &str) -> &str {
    if let Some((name, _)) = item.split_once('=') {
        return name;
    }
    let name = item.split('@').next().unwrap_or_default();
    // A port is no tag.
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

fn source(number: Option<usize>) -> Vec<Step> {
    match number {
        None => keys(&["spec", "source"]),
        Some(index) => [keys(&["spec", "sources"]), vec![Step::Index(index)]].concat(),
    }
}

fn keys(keys: &[&str]) -> Vec<Step> {
    keys.iter().map(|key| Step::Key((*key).to_owned())).collect()
}

impl Target for ArgoCd {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<State, TargetError> {
        let text = std::fs::read_to_string(&self.path).at("read", &self.path)?;
        let (document, number) = self.parse(&text)?;
        let application = &document.values()[number];
        Ok(State(match &self.way {
            Way::Kustomize(images) => {
                let says = |name: &String| {
                    let (_, item) = self.entry(application, name)?;
                    Some(item.split_once('=').map_or(item, |(_, image)| image).to_owned())
                };
                images.values().map(|name| (name.clone(), says(name))).collect()
            }
            Way::Helm(slots, images) => {
                let says = |name: &ImageName, parts| parts::read(slots, &document, number, parts, self.own.get(name)?);
                images.iter().map(|(name, parts)| (name.to_string(), says(name, parts))).collect()
            }
        }))
    }

    fn wanted(&self, release: &Release) -> Result<State, TargetError> {
        let wanted: Result<BTreeMap<_, _>, _> = match &self.way {
            Way::Kustomize(images) => images
                .iter()
                .map(|(name, place)| Ok((place.clone(), Some(pinned(image(release, name)?, self.pin)))))
                .collect(),
            Way::Helm(_, images) => images
                .iter()
                .map(|(name, parts)| {
                    let image = image(release, name)?;
                    let own = self.own.get(name).unwrap_or(&image.reference.repository);
                    Ok((name.to_string(), parts::wanted(parts, image, self.pin, own)))
                })
                .collect(),
        };
        wanted.map(State)
    }

    fn plan(&self, release: &Release) -> Result<Change, TargetError> {
        let file = FileChange::plan(&self.path, |text| {
            let text = text.ok_or_else(|| TargetError::Form {
                path: self.path.clone(),
                what: "it is not there: write the Application first, or correct `file` in shiplap.toml".to_owned(),
            })?;
            let (mut document, number) = self.parse(text)?;
            match &self.way {
                Way::Kustomize(images) => {
                    for (name, place) in images {
                        let application = &document.values()[number];
                        let items = get(application, &self.images()).and_then(Value::as_array);
                        let index = self.entry(application, place).map(|(index, _)| index);
                        let index = index.unwrap_or_else(|| items.map_or(0, Vec::len));
                        let item = format!("{place}={}", pinned(image(release, name)?, self.pin));
                        let at = [self.images(), vec![Step::Index(index)]].concat();
                        document.set(number, &at, &Value::from(item))?;
                    }
                }
                Way::Helm(slots, images) => {
                    for (name, parts) in images {
                        parts::write(slots, &mut document, number, parts, image(release, name)?, self.pin)?;
                    }
                }
            }
            Ok(document.into_text())
        })?;
        Ok(Change::of_files(self.name(), vec![file], self.wanted(release)?))
    }

    fn advice(&self, _release: &Release) -> Vec<String> {
        let file = self.path.display();
        vec![format!(
            "run `kubectl apply -n argocd -f {file}` to hand it to Argo CD, unless an app of apps takes it from git"
        )]
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

    const APP: &str = "\
# campus
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: campus
spec:
  project: default
  source:
    repoURL: https://git.example.org/campus.git # ours
    path: deploy
SOURCE  destination: {server: https://kubernetes.default.svc}
";

    fn target(path: &Path, settings: &str) -> ArgoCd {
        let settings: ArgoCdTarget = toml::from_str(&format!("file = \"app.yaml\"\n{settings}")).unwrap();
        let toml = "[image.openedx]\ncontext = \"x\"\nrepository = \"campus/openedx\"\n";
        ArgoCd::new(path, &toml::from_str(toml).unwrap(), &settings)
    }

    fn deploy(settings: &str, before: &str) -> Result<String, TargetError> {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path(), settings);
        std::fs::write(&target.path, before).unwrap();
        let change = target.plan(&sample())?;
        change.files.iter().for_each(|file| file.edit().forward().unwrap());
        assert_eq!(target.read().unwrap(), change.wanted);
        let text = std::fs::read_to_string(&target.path).unwrap();
        Ok(text.replace(&sample().images[0].digest.to_string(), "DIGEST").replace("1.4.0-g3f2c1ab09d4e", "TAG"))
    }

    #[test]
    fn images_of_kustomize() {
        let settings = "kustomize = { openedx = \"docker.io/overhangio/openedx\" }";
        let item = "docker.io/overhangio/openedx=campus/openedx:TAG@DIGEST";
        for (before, after) in [
            ("", format!("    kustomize:\n      images:\n        - {item}\n")),
            (
                "    kustomize:\n      namePrefix: a-\n      images:\n      - docker.io/overhangio/openedx:22.0.3 # x\n      - b=c\n",
                format!("    kustomize:\n      namePrefix: a-\n      images:\n      - {item} # x\n      - b=c\n"),
            ),
            (
                "    kustomize:\n      images: [\"b=c\", \"docker.io/overhangio/openedx=x@sha256:0\"]\n",
                format!("    kustomize:\n      images: [\"b=c\", \"{item}\"]\n"),
            ),
        ] {
            assert_eq!(deploy(settings, &APP.replace("SOURCE", before)).unwrap(), APP.replace("SOURCE", &after));
        }
    }

    #[test]
    fn parameters_of_helm() {
        let settings = "parameters = { openedx = \"lms.image\" }";
        let before = "    helm:\n      parameters:\n      - name: lms.image.tag\n        value: \"22\"\n      - {name: x, value: y}\n";
        let after = "    helm:\n      parameters:\n      - name: lms.image.tag\n        value: \"TAG\"\n      - {name: x, value: y}\n      - name: lms.image.repository\n        value: campus/openedx\n      - name: lms.image.digest\n        value: DIGEST\n";
        assert_eq!(deploy(settings, &APP.replace("SOURCE", before)).unwrap(), APP.replace("SOURCE", after));
    }

    #[test]
    fn values_of_one_of_several_sources() {
        let before = "kind: AppProject\n---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: other}\nspec: {source: {}}\n---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: campus}\nspec:\n  sources:\n  - ref: values\n  - chart: openedx\n    helm:\n      valuesObject:\n        lms: {image: {tag: old}} # here\n";
        let settings = "application = \"campus\"\nsource = 1\nvalues-object = { openedx = { tag = \"lms.image.tag\", digest = \"lms.image.digest\" } }";
        assert_eq!(deploy(settings, before).unwrap(), before.replace("{tag: old}", "{tag: TAG, digest: DIGEST}"));
        for (settings, says) in [
            ("values-object = { openedx = \"a\" }", "other\" or \"campus"),
            ("application = \"no\"\nvalues-object = { openedx = \"a\" }", "[other, campus]"),
            ("application = \"campus\"\nvalues-object = { openedx = \"a\" }", "source = 0"),
            ("application = \"campus\"\nsource = 2\nvalues-object = { openedx = \"a\" }", "spec.sources[2]"),
        ] {
            let error = deploy(settings, before).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(deploy(settings, "kind: Application\n").unwrap_err().to_string().contains("no Application"));
    }

    #[test]
    fn an_item_is_known_by_its_name() {
        for (item, key) in [
            ("a/b", "a/b"),
            ("a/b:1", "a/b"),
            ("a/b@sha256:0", "a/b"),
            ("a/b:1@sha256:0", "a/b"),
            ("host:5000/b", "host:5000/b"),
            ("host:5000/b:1", "host:5000/b"),
            ("a=host:5000/b:1", "a"),
        ] {
            assert_eq!(key_of(item), key);
        }
    }
}
