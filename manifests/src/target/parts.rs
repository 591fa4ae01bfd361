//! An image in the parts that charts and modules have for it.

use serde_json::{Value, json};

use super::document::Document;
use super::{TargetError, pinned};
use crate::config::{ImageParts, KeyPath, Pin, Step};
use crate::names::Repository;
use crate::release::ReleaseImage;

/// Where in a document values are.
#[derive(Debug, Clone)]
pub(super) enum Slots {
    /// Below these steps, as a tree.
    Tree(Vec<Step>),
    /// In the list at these steps, each as `name` and `value` (`HelmParameter` of Argo CD).
    List(Vec<Step>),
}

/// The host of images whose repository names none.
const HUB: &str = "docker.io";

/// `repository:tag@digest` of what there is.
pub(super) fn join(repository: &str, tag: Option<&str>, digest: Option<&str>) -> Option<String> {
    let (tag, digest) = (tag.filter(|tag| !tag.is_empty()), digest.filter(|digest| !digest.is_empty()));
    if tag.is_none() && digest.is_none() {
        return None;
    }
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Some(format!("{repository}{tag}{digest}"))
}

impl Slots {
    fn get(&self, document: &Document<'_>, number: usize, path: &KeyPath) -> Option<String> {
        let value = match self {
            Self::Tree(above) => document.get(number, &[above, path.steps()].concat())?.clone(),
            Self::List(list) => {
                let items = document.get(number, list)?.as_array()?;
                let name = path.to_string();
                items.iter().find(|item| item["name"].as_str() == Some(&name))?.get("value")?.clone()
            }
        };
        match value {
            Value::String(text) => Some(text),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    fn set(&self, document: &mut Document<'_>, number: usize, path: &KeyPath, value: &str) -> Result<(), TargetError> {
        let value = Value::from(value);
        match self {
            Self::Tree(above) => document.set(number, &[above, path.steps()].concat(), &value),
            Self::List(list) => {
                let name = path.to_string();
                let items = document.get(number, list).and_then(Value::as_array);
                let found = items.and_then(|items| items.iter().position(|item| item["name"].as_str() == Some(&name)));
                let at = |index: usize, key: Option<&str>| {
                    let key = key.map(|key| Step::Key(key.to_owned()));
                    list.iter().cloned().chain([Step::Index(index)]).chain(key).collect::<Vec<_>>()
                };
                let index = match found {
                    Some(index) => index,
                    None => {
                        let index = items.map_or(0, Vec::len);
                        document.set(number, &at(index, None), &json!({ "name": name }))?;
                        index
                    }
                };
                document.set(number, &at(index, Some("value")), &value)
            }
        }
    }
}

/// What the places say; `own` is the repository where they do not say it.
pub(super) fn read(
    slots: &Slots,
    document: &Document<'_>,
    number: usize,
    parts: &ImageParts,
    own: &Repository,
) -> Option<String> {
    let get = |path: &Option<KeyPath>| path.as_ref().and_then(|path| slots.get(document, number, path));
    if parts.image.is_some() {
        return get(&parts.image).filter(|image| !image.is_empty());
    }
    let repository = match (&parts.repository, get(&parts.repository), get(&parts.registry)) {
        (None, ..) => own.to_string(),
        (_, repository, Some(registry)) if !registry.is_empty() => {
            format!("{registry}/{}", repository.unwrap_or_default())
        }
        (_, repository, _) => repository.unwrap_or_default(),
    };
    join(&repository, get(&parts.tag).as_deref(), get(&parts.digest).as_deref())
}

/// What the places say after [`write`].
pub(super) fn wanted(parts: &ImageParts, image: &ReleaseImage, pin: Pin, own: &Repository) -> Option<String> {
    if parts.image.is_some() {
        return Some(pinned(image, pin));
    }
    let repository = match (&parts.repository, &parts.registry) {
        (None, _) => own.to_string(),
        (Some(_), None) => image.reference.repository.to_string(),
        (Some(_), Some(_)) => {
            let (registry, path) = halves(&image.reference.repository);
            format!("{registry}/{path}")
        }
    };
    let tag = parts.tag.as_ref().map(|_| image.reference.tag.to_string());
    let digest = parts.digest.as_ref().filter(|_| pin == Pin::Digest).map(|_| image.digest.to_string());
    join(&repository, tag.as_deref(), digest.as_deref())
}

/// Writes an image to its places.
pub(super) fn write(
    slots: &Slots,
    document: &mut Document<'_>,
    number: usize,
    parts: &ImageParts,
    image: &ReleaseImage,
    pin: Pin,
) -> Result<(), TargetError> {
    let mut set = |path: &Option<KeyPath>, value: &str| match path {
        Some(path) => slots.set(document, number, path, value),
        None => Ok(()),
    };
    set(&parts.image, &pinned(image, pin))?;
    match &parts.registry {
        Some(_) => {
            let (registry, path) = halves(&image.reference.repository);
            set(&parts.registry, registry)?;
            set(&parts.repository, path)?;
        }
        None => set(&parts.repository, image.reference.repository.as_str())?,
    }
    set(&parts.tag, &image.reference.tag.to_string())?;
    match pin {
        Pin::Digest => set(&parts.digest, &image.digest.to_string()),
        // One that is left would win over the tag. An empty one is what charts have for none.
        Pin::Tag if parts.digest.as_ref().is_some_and(|path| slots.get(document, number, path).is_some()) => {
            parts.digest.as_ref().map_or(Ok(()), |path| slots.set(document, number, path, ""))
        }
        Pin::Tag => Ok(()),
    }
}

/// The host of a repository and the rest.
fn halves(repository: &Repository) -> (&str, &str) {
    let text = repository.as_str();
    match repository.registry() {
        Some(registry) => (registry, text.get(registry.len() + 1..).unwrap_or_default()),
        None => (HUB, text),
    }
}
