//! Where the bytes of an image are: by layer, with the step that made it, and by what they are for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiplap_cache::{Digest, Kind, LayerId, LayerIndex, TreePath};
use shiplap_registry::Seen;

use crate::contents::files::Files;

/// What files are for, by where they are. The rules are in [`Category::of`], the first that fits holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The distribution.
    BaseOs,
    /// Virtualenv, interpreters, and the sources of distributions that are installed in place.
    Python,
    /// Open edX's platform.
    Platform,
    /// Themes.
    Themes,
    /// npm's packages and Node.
    NodeModules,
    /// Collected and bundled static files.
    StaticAssets,
    /// Translations.
    Locales,
    /// All else.
    Other,
}

impl Category {
    /// Its name for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::BaseOs => "base OS",
            Self::Python => "python requirements",
            Self::Platform => "platform",
            Self::Themes => "themes",
            Self::NodeModules => "node_modules",
            Self::StaticAssets => "static assets",
            Self::Locales => "locales",
            Self::Other => "other",
        }
    }
}

/// Bytes of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// How many files.
    pub files: u64,
    /// Their bytes, a file with several names counted once.
    pub bytes: u64,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// BLAKE3 of its index.
    pub id: LayerId,
    /// Its blob in the registry; none before the image was packed.
    pub digest: Option<Digest>,
    /// The bytes of that blob.
    pub compressed: Option<u64>,
    /// The bytes of its files.
    pub bytes: u64,
    /// Those of them that later layers hide or replace.
    pub hidden: u64,
    /// Its entries: files, folders, links, removals.
    pub entries: usize,
    /// The step that made it, as the image's history has it; none where the history does not fit the layers.
    pub step: Option<String>,
}

/// The sizes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of all blobs with configuration and manifest; none before the image was packed.
    pub compressed: Option<u64>,
    /// Bytes of configuration and manifest alone.
    pub documents: Option<u64>,
    /// Bytes of the files that can be seen.
    pub visible: Bytes,
    /// The same, by what they are for.
    pub categories: BTreeMap<Category, Bytes>,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// The folders that the rules need.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub platform: Option<TreePath>,
    pub themes: Vec<TreePath>,
    pub plugins: Vec<TreePath>,
}

/// Folders at the top that a distribution fills.
const OF_THE_SYSTEM: [&[u8]; 17] = [
    b"bin", b"boot", b"dev", b"etc", b"lib", b"lib32", b"lib64", b"libx32", b"media", b"proc", b"root", b"run",
    b"sbin", b"sys", b"tmp", b"usr", b"var",
];

impl Category {
    /// What a file is for.
    pub(crate) fn of(path: &[u8], places: &Places) -> Self {
        let below = |folder: &TreePath| {
            let rest = path.strip_prefix(folder.as_bytes());
            rest.is_some_and(|rest| folder.is_root() || rest.first() == Some(&b'/'))
        };
        let has = |wanted: &[&[u8]]| path.split(|&b| b == b'/').any(|part| wanted.contains(&part));
        let begins = |folder: &str| path.starts_with(folder.as_bytes());
        let in_system = OF_THE_SYSTEM.contains(&path.split(|&b| b == b'/').next().unwrap_or_default());
        let in_python = has(&[b"site-packages"]) || begins("openedx/venv/") || begins("openedx/.pyenv/");
        match () {
            () if begins("openedx/staticfiles/") || begins("openedx/dist/") => Self::StaticAssets,
            () if has(&[b"node_modules"]) || begins("openedx/nodeenv/") => Self::NodeModules,
            () if places.themes.iter().any(below) => Self::Themes,
            () if has(&[b"LC_MESSAGES"]) && !in_system && !in_python => Self::Locales,
            () if in_python || places.plugins.iter().any(below) => Self::Python,
            () if places.platform.as_ref().is_some_and(below) => Self::Platform,
            () if in_system => Self::BaseOs,
            () => Self::Other,
        }
    }
}

pub(crate) fn read(files: &Files<'_>, seen: &Seen, places: &Places) -> Sizes {
    let layers = files.tree().layers();
    let mut categories: BTreeMap<Category, Bytes> = BTreeMap::new();
    let mut visible = Bytes::default();
    let mut shown = vec![0; layers.len()];
    for found in files.visible() {
        let index = &layers[found.layer];
        let Some(size) = size(index, found.entry) else { continue };
        visible.files += 1;
        visible.bytes += size;
        shown[found.layer] += size;
        let category = categories.entry(Category::of(index.path(found.entry), places)).or_default();
        category.files += 1;
        category.bytes += size;
    }
    let steps = steps(seen);
    let layers: Vec<Layer> = layers
        .iter()
        .enumerate()
        .map(|(i, index)| {
            let blob = seen.blobs.get(i).and_then(Option::as_ref);
            let bytes = index.content_size();
            Layer {
                id: index.id(),
                digest: blob.map(|blob| blob.digest),
                compressed: blob.map(|blob| blob.size),
                bytes,
                hidden: bytes.saturating_sub(shown[i]),
                entries: index.len(),
                step: steps.get(i).cloned().flatten(),
            }
        })
        .collect();
    let blobs: Option<u64> = layers.iter().map(|layer| layer.compressed).sum();
    Sizes {
        compressed: blobs.zip(seen.documents).map(|(a, b)| a + b),
        documents: seen.documents,
        visible,
        categories,
        layers,
    }
}

/// The size of a file, none for further names of one and for what is no file.
fn size(index: &LayerIndex, entry: usize) -> Option<u64> {
    match index.entry(entry).kind {
        Kind::File { size, link: None, .. } => Some(size),
        _ => None,
    }
}

/// The step of each layer.
fn steps(seen: &Seen) -> Vec<Option<String>> {
    let with_layer: Vec<_> = seen.image.history.iter().filter(|line| !line.empty_layer).collect();
    match with_layer.len() == seen.image.layers.len() {
        true => with_layer.into_iter().map(|line| line.created_by.clone()).collect(),
        false => vec![None; seen.image.layers.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is_for_is_read_from_its_path() {
        let place = |path: &str| TreePath::new(path).unwrap();
        let places = Places {
            platform: Some(place("openedx/edx-platform")),
            themes: vec![place("openedx/themes")],
            plugins: vec![place("mnt/badges")],
        };
        for (path, wanted) in [
            ("usr/lib/python3/dist-packages/apt.py", Category::BaseOs),
            ("usr/local/lib/python3.11/site-packages/pip/x.py", Category::Python),
            ("usr/share/locale/fr/LC_MESSAGES/bash.mo", Category::BaseOs),
            ("openedx/venv/bin/python", Category::Python),
            ("openedx/venv/lib/python3.11/site-packages/django/conf/locale/fr/LC_MESSAGES/django.mo", Category::Python),
            ("mnt/badges/badges/a.py", Category::Python),
            ("mnt/badges2/a.py", Category::Other),
            ("openedx/edx-platform/lms/urls.py", Category::Platform),
            ("openedx/edx-platform/conf/locale/fr/LC_MESSAGES/django.mo", Category::Locales),
            ("openedx/edx-platform/node_modules/react/index.js", Category::NodeModules),
            ("openedx/edx-platform-2/x", Category::Other),
            ("openedx/nodeenv/bin/node", Category::NodeModules),
            ("openedx/themes/campus/lms/static/_a.scss", Category::Themes),
            ("openedx/staticfiles/bundles/a.js", Category::StaticAssets),
            ("openedx/dist/learning/index.html", Category::StaticAssets),
            ("openedx/bin/x", Category::Other),
            ("mfe", Category::Other),
        ] {
            assert_eq!(Category::of(path.as_bytes(), &places), wanted, "{path}");
        }
    }
}
