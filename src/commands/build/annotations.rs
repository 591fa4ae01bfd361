//! `--annotation` and the `annotation.NAME` of `--output`.

use std::collections::BTreeMap;

use shiplap_builder::plan::Platform;
use shiplap_registry::Annotations;

use super::flags::wrong;
use crate::failure::{Failure, Kind, Result};

/// Where a note stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Manifest,
    Descriptor,
}

/// A note as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    place: Place,
    platform: Option<Platform>,
    name: String,
    text: String,
}

impl Annotation {
    /// The notes of an `--annotation`, `[TYPE[PLATFORM],...:]NAME=TEXT`.
    pub fn of_flag(given: &str) -> Result<Vec<Self>> {
        let wrong = || wrong("--annotation", given, "[manifest:|manifest-descriptor:]NAME=TEXT");
        let (key, text) = given.split_once('=').ok_or_else(wrong)?;
        let (types, name) = key.split_once(':').unwrap_or(("", key));
        if name.is_empty() {
            return Err(wrong());
        }
        types.split(',').map(|kind| Self::new("--annotation", given, kind, name, text)).collect()
    }

    /// The note of an attribute of `--output`, `annotation[-TYPE][[PLATFORM]].NAME`; none if it is another attribute.
    pub fn of_attribute(output: &str, key: &str, text: &str) -> Result<Option<Self>> {
        let Some((kind, name)) = key.strip_prefix("annotation").and_then(|rest| rest.split_once('.')) else {
            return Ok(None);
        };
        let kind = kind.strip_prefix('-').unwrap_or(kind);
        Self::new("--output", output, kind, name, text).map(Some)
    }

    fn new(flag: &str, given: &str, kind: &str, name: &str, text: &str) -> Result<Self> {
        let (kind, platform) = match kind.split_once('[').map(|(kind, rest)| (kind, rest.strip_suffix(']'))) {
            None => (kind, None),
            Some((kind, Some(platform))) => (kind, Some(platform)),
            Some((_, None)) => return Err(wrong(flag, given, "a platform in brackets, as in manifest[linux/amd64]")),
        };
        let place = match kind {
            "" | "manifest" => Place::Manifest,
            "manifest-descriptor" => Place::Descriptor,
            "index" | "index-descriptor" => {
                let why = format!("{flag} {given}: an image for one platform has no index to annotate");
                return Err(Failure::new(Kind::Usage, why).hint("`manifest:` annotates its manifest"));
            }
            _ => return Err(wrong(flag, given, "a type of annotation: manifest or manifest-descriptor")),
        };
        let platform = platform.map(|text| super::flags::platform(Some(text))).transpose()?;
        Ok(Self { place, platform, name: name.to_owned(), text: text.to_owned() })
    }
}

/// The notes for an image of a platform, by where they stand.
pub fn collect<'a>(given: impl IntoIterator<Item = &'a Annotation>, platform: &Platform) -> Annotations {
    let (mut manifest, mut descriptor) = (BTreeMap::new(), BTreeMap::new());
    // What is for another platform is not for this image, as in BuildKit.
    for note in given.into_iter().filter(|note| note.platform.as_ref().is_none_or(|of| of == platform)) {
        let place = match note.place {
            Place::Manifest => &mut manifest,
            Place::Descriptor => &mut descriptor,
        };
        place.insert(note.name.clone(), note.text.clone());
    }
    Annotations { manifest, descriptor }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(flags: &[&str]) -> Annotations {
        let all: Vec<Annotation> = flags.iter().flat_map(|text| Annotation::of_flag(text).unwrap()).collect();
        collect(&all, &Platform::linux("amd64"))
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn annotations_say_where_they_stand() {
        let found = given(&["a=1", "manifest:b=2=3", "manifest-descriptor:c=", "manifest,manifest-descriptor:d=4"]);
        assert_eq!(found.manifest, map(&[("a", "1"), ("b", "2=3"), ("d", "4")]));
        assert_eq!(found.descriptor, map(&[("c", ""), ("d", "4")]));
        let found = given(&["manifest[linux/amd64]:a=1", "manifest[linux/arm64]:a=2", "a:b:c=3"][..2]);
        assert_eq!(found.manifest, map(&[("a", "1")]));
        for text in ["a", "=b", "manifest:=b", "index:a=b", "index-descriptor:a=b", "layer:a=b", "manifest[x:a=b"] {
            assert!(Annotation::of_flag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn attributes_of_outputs_are_annotations_too() {
        let of = |key| Annotation::of_attribute("", key, "x").map(|found| found.map(|note| (note.place, note.name)));
        assert_eq!(of("annotation.org.x").unwrap(), Some((Place::Manifest, "org.x".to_owned())));
        assert_eq!(of("annotation[linux/amd64].a").unwrap(), Some((Place::Manifest, "a".to_owned())));
        assert_eq!(of("annotation-manifest-descriptor.a").unwrap(), Some((Place::Descriptor, "a".to_owned())));
        assert_eq!(of("name").unwrap(), None);
        assert_eq!(of("annotation").unwrap(), None);
        assert!(of("annotation-index.a").is_err() && of("annotation-layer.a").is_err());
    }
}
