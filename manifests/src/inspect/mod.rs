//! What an image of an Open edX site holds, read from layer indices and small files: nothing is run, pulled or unpacked.
//!
//! [`crate::contents`] reads what package managers wrote down; this adds what is Open edX's own. `docs/inspect.md` says for each part what it
//! rests on.

mod entry_points;
mod environment;
mod folders;
mod kept;
mod locales;
mod migrations;
mod platform;
mod settings;
mod sizes;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shiplap_cache::{ContentHash, Digest, ImageId, LayerId, Store, TreePath};
use shiplap_registry::{Image, Images, Of};

use crate::contents::files::Files;
use crate::contents::{self, Contents, ContentsError, Manager, Package};
use crate::release::MigrationSet;
pub use entry_points::EntryPoint;
pub use environment::Environment;
pub use folders::{FileContent, Folder};
pub use locales::Locales;
pub use platform::Platform;
pub use settings::Settings;
pub use sizes::{Bytes, Category, Layer, Sizes};

/// What an image holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Open edX's platform, where there is one.
    pub platform: Option<Platform>,
    /// The packages of all managers, and what could not be read.
    #[serde(flatten)]
    pub contents: Contents,
    /// XBlocks and Django applications that distributions announce.
    pub entry_points: Vec<EntryPoint>,
    /// Themes.
    pub themes: Vec<Folder>,
    /// Distributions that came from files, so that their versions do not say what is in them.
    pub plugins: Vec<Folder>,
    /// Settings, without secrets.
    pub settings: Option<Settings>,
    /// Translations by folder.
    pub locales: Vec<Locales>,
    /// Django's migrations by application.
    pub migrations: MigrationSet,
    /// Sizes.
    pub sizes: Sizes,
}

/// Why an image cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Neither its layers nor its blobs are here, or they are damaged.
    #[error(transparent)]
    Image(#[from] shiplap_registry::Error),
    /// A file of it cannot be read.
    #[error(transparent)]
    Contents(#[from] ContentsError),
}

/// Reads what an image holds: the one of this id, or of this manifest. What was read before is kept with the image.
///
/// # Errors
/// Neither its layers nor its blobs are here, or a file is damaged. A record that makes no sense is no error: it is in `not_read`.
pub fn read(images: &Images, id: Option<&ImageId>, manifest: Option<&Digest>) -> Result<Inspection, InspectError> {
    // Sizes are of blobs, and an image that was packed in two ways has two.
    match manifest.map(|digest| Of::Manifest(*digest)).or(id.map(|id| Of::Image(*id))) {
        Some(of) => kept::or_read(images, of, "inspection", || read_anew(images, id, manifest)),
        None => read_anew(images, id, manifest),
    }
}

fn read_anew(images: &Images, id: Option<&ImageId>, manifest: Option<&Digest>) -> Result<Inspection, InspectError> {
    let seen = images.look_into(id, manifest, &is_read)?;
    let files = Files::with_kept(images.store(), &seen.image.layers, &seen.kept)?;
    let contents = contents::read_files(&files)?;
    let platform_folder = platform::folder(&files);
    let platform = platform_folder.as_ref().map(|folder| platform::read(&files, folder)).transpose()?;
    let roots = folders::theme_roots(&environment_of(&seen.image));
    let python: Vec<&Package> = contents.packages.iter().filter(|package| package.manager == Manager::Python).collect();
    let plugins = folders::plugins(&files, &python, platform_folder.as_ref())?;
    let in_place = python.iter().filter_map(|package| package.in_place());
    let places = sizes::Places {
        plugins: in_place.filter(|path| Some(path) != platform_folder.as_ref()).collect(),
        platform: platform_folder,
        themes: roots,
    };
    let mut inspection = Inspection {
        platform,
        entry_points: entry_points::read(&files)?,
        themes: folders::themes(&files, &places.themes),
        plugins,
        settings: settings::read(&files, places.platform.as_ref())?,
        locales: locales::read(&files),
        migrations: migrations::read(&files),
        sizes: sizes::read(&files, &seen, &places),
        contents,
    };
    inspection.contents.not_read = files.not_read();
    Ok(inspection)
}

/// What a release says of an image: as much as can be told fast.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Names and values for [`crate::release::ImageInputs::facts`].
    pub facts: Vec<(String, String)>,
    /// Django's migrations.
    pub migrations: MigrationSet,
}

/// Reads what a release says of an image: platform, themes, plugins from files, settings, a digest of the Python
/// distributions, and migrations. They depend on nothing but the image, and are read once. Files of layers that are elsewhere are asked of `contents`: the indices of
/// all layers are here then.
///
/// # Errors
/// As [`read`].
pub fn facts(
    images: &Images,
    id: &ImageId,
    manifest: &Digest,
    contents: Option<&dyn shiplap_cache::Contents>,
) -> Result<Facts, InspectError> {
    kept::or_read(images, Of::Image(*id), "facts", || match contents {
        Some(_) => {
            let image = images.load(id)?;
            facts_of(&image, &Files::new(images.store(), &image.layers)?.given_by(contents))
        }
        None => {
            let seen = images.look_into(Some(id), Some(manifest), &is_read)?;
            facts_of(&seen.image, &Files::with_kept(images.store(), &seen.image.layers, &seen.kept)?)
        }
    })
}

/// The files that [`facts`] is likely to read of an image whose indices are here, each with its layer; with `packages`, those of a bill of materials too.
///
/// # Errors
/// The index of a layer is not here.
pub fn reads(store: &Store, layers: &[LayerId], packages: bool) -> Result<Vec<(LayerId, TreePath)>, ContentsError> {
    let files = Files::new(store, layers)?;
    let wanted = |path: &[u8]| is_of_facts(path) || (packages && is_read(path));
    let all = files.visible().iter().map(|found| (layers[found.layer], files.path(*found)));
    Ok(all
        .filter(|(_, path)| wanted(path))
        .filter_map(|(layer, path)| Some((layer, TreePath::new(path).ok()?)))
        .collect())
}

fn facts_of(image: &Image, files: &Files<'_>) -> Result<Facts, InspectError> {
    let python = contents::python::read(files)?;
    let folder = platform::folder(files);
    let mut facts = Vec::new();
    let mut fact = |name: String, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    if let Some(folder) = &folder {
        let platform = platform::read(files, folder)?;
        fact("platform commit".into(), platform.commit);
        fact("platform repository".into(), platform.repository);
        fact("platform release".into(), platform.release);
    }
    fact("python requirements".into(), requirements(&python).map(|hash| hash.to_string()));
    for theme in folders::themes(files, &folders::theme_roots(&environment_of(image))) {
        fact(format!("theme {}", theme.name), Some(theme.hash.to_string()));
    }
    for plugin in folders::plugins(files, &python.iter().collect::<Vec<_>>(), folder.as_ref())? {
        fact(format!("plugin {}", plugin.name), Some(plugin.hash.to_string()));
    }
    fact("settings".into(), settings::read(files, folder.as_ref())?.map(|settings| settings.hash.to_string()));
    Ok(Facts { facts, migrations: migrations::read(files) })
}

/// BLAKE3 of the Python distributions: a line `name==version` for each, with the commit or URL that it came from, sorted.
fn requirements(python: &[Package]) -> Option<ContentHash> {
    let mut lines: Vec<&str> = python.iter().map(|package| package.purl.as_str()).collect();
    lines.sort_unstable();
    lines.dedup();
    (!lines.is_empty()).then(|| ContentHash::of(lines.join("\n").as_bytes()))
}

/// The environment of an image.
fn environment_of(image: &Image) -> Vec<String> {
    let lines = image.config.get("config").and_then(|config| config.get("Env")).and_then(Value::as_array);
    lines.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a file is likely to be read for [`facts`], by its path.
fn is_of_facts(path: &[u8]) -> bool {
    let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    contents::python::is_record(path)
        || path.ends_with(b".dist-info/direct_url.json")
        || path.ends_with(b"/release.py")
        || has(b".git/HEAD")
        || has(b".git/config")
        || has(b".git/packed-refs")
        || has(b".git/refs/heads/")
        || (settings::has_settings(path) && (has(b"/envs/") || has(b"openedx/config/")))
}

/// Whether a file is read here, by its path. Others of a layer that is only here as a blob are not kept in memory.
pub fn is_read(path: &[u8]) -> bool {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let parent = path.strip_suffix(name).and_then(|folder| folder.strip_suffix(b"/")).unwrap_or_default();
    let of_distribution =
        parent.ends_with(b".dist-info") || parent.ends_with(b".egg-info") || name.ends_with(b".egg-info");
    of_distribution
        || is_of_facts(path)
        || matches!(
            name,
            b"os-release" | b"status" | b"installed" | b"copyright" | b"package.json" | b".package-lock.json"
        )
        || path.windows(9).any(|part| part == b"status.d/")
}

impl Package {
    /// The folder that it is used from without being copied, if so.
    fn in_place(&self) -> Option<TreePath> {
        match &self.source {
            Some(contents::Source::Local { path: Some(path), editable: true }) => TreePath::new(path).ok(),
            _ => None,
        }
    }

    /// Whether npm would list it without `--all`: it is in no other package's `node_modules`.
    pub fn is_top_level(&self) -> bool {
        self.manager != Manager::Npm || self.path.split('/').filter(|part| *part == "node_modules").count() == 1
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shiplap_cache::{LayerId, Store};

    use super::*;
    use crate::contents::tests::layer;

    /// Does something with the files of layers, bottom first.
    pub(crate) fn with_files<T>(layers: &[&[(&str, &str)]], take: impl FnOnce(&Files<'_>) -> T) -> T {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let layers: Vec<LayerId> = layers.iter().map(|files| layer(&store, files)).collect();
        take(&Files::new(&store, &layers).unwrap())
    }
}
