//! What is different between two images: packages, themes, plugins, settings, migrations, layers. Everything is sorted, so that the same two images
//! have the same difference.

mod direction;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;
use shiplap_cache::Digest;

use crate::contents::{Manager, Package, Source};
use crate::inspect::{EntryPoint, Folder, Inspection, Layer, Platform};
use crate::release::MigrationSet;
pub use direction::{Direction, direction};

/// The difference between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The platform, if it is another one.
    pub platform: Option<Both<Platform>>,
    /// Packages, by manager and name.
    pub packages: Vec<PackageChange>,
    /// XBlocks and Django applications that came.
    pub entry_points_added: Vec<EntryPoint>,
    /// XBlocks and Django applications that went.
    pub entry_points_removed: Vec<EntryPoint>,
    /// Themes by name.
    pub themes: Vec<FolderChange>,
    /// Plugins that were installed from files, by name.
    pub plugins: Vec<FolderChange>,
    /// Files of settings, secrets left out.
    pub settings: Vec<FileChange>,
    /// Migrations that came.
    pub migrations_added: MigrationSet,
    /// Migrations that went.
    pub migrations_removed: MigrationSet,
    /// Languages that came or went, by folder.
    pub locales: Vec<LocaleChange>,
    /// Layers.
    pub layers: LayerChange,
}

/// Before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Both<T> {
    /// What was there.
    pub before: Option<T>,
    /// What is there.
    pub after: Option<T>,
}

/// A package that is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Who installs it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// What happened.
    pub direction: Direction,
    /// The versions that only the first image has; more than one where a package is there several times, as npm's are.
    pub before: Vec<String>,
    /// The versions that only the second image has.
    pub after: Vec<String>,
}

/// A folder that is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderChange {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: Vec<FileChange>,
}

/// A file that is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What happened.
    pub what: What,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It has other bytes.
    Changed,
}

/// The languages of a folder of translations that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocaleChange {
    /// The folder.
    pub folder: String,
    /// Languages that came.
    pub added: Vec<String>,
    /// Languages that went.
    pub removed: Vec<String>,
}

/// Which layers two images share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LayerChange {
    /// How many layers of the second image are the first's too.
    pub shared: usize,
    /// The layers that only the first has, bottom first.
    pub before: Vec<Layer>,
    /// The layers that only the second has, bottom first.
    pub after: Vec<Layer>,
    /// The bytes that a node that has the first image pulls for the second: blobs that are not the first's, with manifest and configuration. None where one
    /// of them was never packed.
    pub pull: Option<u64>,
}

impl Comparison {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        *self
            == Self {
                layers: LayerChange { shared: self.layers.shared, pull: self.layers.pull, ..LayerChange::default() },
                ..Self::default()
            }
    }
}

/// An image and the digest of its manifest.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it holds.
    pub holds: &'a Inspection,
    /// Its digest, if it was packed.
    pub digest: Option<Digest>,
}

/// What is different in `b`.
pub fn compare(a: Side<'_>, b: Side<'_>) -> Comparison {
    let (before, after) = (a.holds, b.holds);
    let platform = (before.platform != after.platform)
        .then(|| Both { before: before.platform.clone(), after: after.platform.clone() });
    // A new version of a distribution announces the same things.
    let same = |a: &EntryPoint, b: &EntryPoint| (&a.group, &a.name, &a.object) == (&b.group, &b.name, &b.object);
    let only = |these: &[EntryPoint], others: &[EntryPoint]| {
        these.iter().filter(|one| !others.iter().any(|other| same(one, other))).cloned().collect()
    };
    Comparison {
        platform,
        packages: packages(&before.contents.packages, &after.contents.packages),
        entry_points_added: only(&after.entry_points, &before.entry_points),
        entry_points_removed: only(&before.entry_points, &after.entry_points),
        themes: folders(&before.themes, &after.themes),
        plugins: folders(&before.plugins, &after.plugins),
        settings: settings(before, after),
        migrations_added: after.migrations.beyond(&before.migrations).into_iter().collect(),
        migrations_removed: before.migrations.beyond(&after.migrations).into_iter().collect(),
        locales: locales(before, after),
        layers: layers(a, b),
    }
}

type Versions = BTreeMap<(Manager, String), (String, BTreeSet<(String, String)>)>;

fn versions(packages: &[Package]) -> Versions {
    let mut all = Versions::new();
    for package in packages {
        let name = match package.manager {
            Manager::Python => normalized(&package.name),
            _ => package.name.clone(),
        };
        // The same version from another commit is another package.
        let source = match &package.source {
            Some(Source::Git { commit, .. }) => format!(" ({})", commit.get(..12).unwrap_or(commit)),
            Some(Source::Url { url }) => format!(" ({url})"),
            _ => String::new(),
        };
        let named = all.entry((package.manager, name)).or_insert_with(|| (package.name.clone(), BTreeSet::new()));
        named.1.insert((package.version.clone(), source));
    }
    all
}

/// Names of Python that are spelled differently and mean the same
/// (<https://packaging.python.org/specifications/name-normalization/>).
fn normalized(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

fn packages(before: &[Package], after: &[Package]) -> Vec<PackageChange> {
    let (before, after) = (versions(before), versions(after));
    let keys: BTreeSet<&(Manager, String)> = before.keys().chain(after.keys()).collect();
    let none = BTreeSet::new();
    let change = |key: &(Manager, String)| {
        let of = |side: &'_ Versions| side.get(key).map(|(_, versions)| versions.clone()).unwrap_or_default();
        let (old, new) = (of(&before), of(&after));
        if old == new {
            return None;
        }
        let gone: Vec<&(String, String)> = old.difference(&new).collect();
        let came: Vec<&(String, String)> = new.difference(&old).collect();
        let direction = match (old == none, new == none, &gone[..], &came[..]) {
            (true, ..) => Direction::Added,
            (_, true, ..) => Direction::Removed,
            (.., [gone], [came]) => direction(key.0, &gone.0, &came.0),
            _ => Direction::Changed,
        };
        let words = |all: Vec<&(String, String)>| {
            all.into_iter().map(|(version, source)| format!("{version}{source}")).collect()
        };
        let name = after.get(key).or_else(|| before.get(key)).map(|(name, _)| name.clone()).unwrap_or_default();
        Some(PackageChange { manager: key.0, name, direction, before: words(gone), after: words(came) })
    };
    keys.into_iter().filter_map(change).collect()
}

/// The files of two maps that are not the same.
fn files<K: Ord + ToString, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> Vec<FileChange> {
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let change = |key: &K| {
        let what = match (before.get(key), after.get(key)) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            (Some(old), Some(new)) if old != new => What::Changed,
            _ => return None,
        };
        Some(FileChange { path: key.to_string(), what })
    };
    keys.into_iter().filter_map(change).collect()
}

fn folders(before: &[Folder], after: &[Folder]) -> Vec<FolderChange> {
    let names: BTreeSet<&str> = before.iter().chain(after).map(|folder| folder.name.as_str()).collect();
    let of = |all: &[Folder], name: &str| {
        let named = all.iter().filter(|folder| folder.name == name);
        let files = named.flat_map(|folder| folder.files.clone());
        files
            .map(|(path, content)| (path.to_string().trim_start_matches('/').to_owned(), content))
            .collect::<BTreeMap<_, _>>()
    };
    let changes = names
        .into_iter()
        .map(|name| FolderChange { name: name.to_owned(), files: files(&of(before, name), &of(after, name)) });
    changes.filter(|change| !change.files.is_empty()).collect()
}

fn settings(before: &Inspection, after: &Inspection) -> Vec<FileChange> {
    let of = |side: &Inspection| side.settings.as_ref().map(|settings| settings.files.clone()).unwrap_or_default();
    files(&of(before), &of(after))
}

fn locales(before: &Inspection, after: &Inspection) -> Vec<LocaleChange> {
    let of = |side: &Inspection| -> BTreeMap<String, BTreeSet<String>> {
        side.locales.iter().map(|locales| (locales.folder.clone(), locales.languages.clone())).collect()
    };
    let (before, after) = (of(before), of(after));
    let folders: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |folder: &String| {
        let languages = |side: &BTreeMap<String, BTreeSet<String>>| side.get(folder).cloned().unwrap_or_default();
        let (old, new) = (languages(&before), languages(&after));
        let only = |these: &BTreeSet<String>, others| these.difference(others).cloned().collect::<Vec<_>>();
        let (added, removed) = (only(&new, &old), only(&old, &new));
        (old != new).then(|| LocaleChange { folder: folder.clone(), added, removed })
    };
    folders.into_iter().filter_map(change).collect()
}

fn layers(a: Side<'_>, b: Side<'_>) -> LayerChange {
    let (before, after) = (&a.holds.sizes, &b.holds.sizes);
    // A layer that was packed in two ways is the same files and two blobs; which blobs a node has is asked below.
    let ids = |layers: &[Layer]| layers.iter().map(|layer| layer.id).collect::<HashSet<_>>();
    let (old, new) = (ids(&before.layers), ids(&after.layers));
    let only = |these: &[Layer], others: &HashSet<_>| {
        these.iter().filter(|layer| !others.contains(&layer.id)).cloned().collect::<Vec<_>>()
    };
    let only_after = only(&after.layers, &old);
    LayerChange {
        shared: after.layers.len() - only_after.len(),
        before: only(&before.layers, &new),
        after: only_after,
        pull: pull(a, b),
    }
}

fn pull(a: Side<'_>, b: Side<'_>) -> Option<u64> {
    if a.digest.is_some() && a.digest == b.digest {
        return Some(0);
    }
    let blobs = |side: Side<'_>| -> Option<BTreeMap<Digest, u64>> {
        side.holds.sizes.layers.iter().map(|layer| layer.digest.zip(layer.compressed)).collect()
    };
    let (old, new) = (blobs(a)?, blobs(b)?);
    let missing: u64 = new.iter().filter(|(digest, _)| !old.contains_key(digest)).map(|(_, size)| size).sum();
    Some(missing + b.holds.sizes.documents?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(manager: Manager, name: &str, version: &str, commit: Option<&str>) -> Package {
        let source = commit.map(|commit| Source::Git { url: "https://x/y".into(), commit: commit.into() });
        let (name, version) = (name.to_owned(), version.to_owned());
        Package { manager, name, version, path: String::new(), licences: vec![], purl: String::new(), source }
    }

    #[test]
    fn packages_come_go_and_move() {
        use Manager::{Npm, Python};
        let before = [
            package(Python, "Django_Redis", "6.0", None),
            package(Python, "gone", "1", None),
            package(Python, "same", "1", None),
            package(Python, "moved", "1", Some("aaaaaaaaaaaaaaaa")),
            package(Npm, "react", "17.0.2", None),
            package(Npm, "react", "16.0.0", None),
            package(Npm, "lodash", "4.0.0", None),
        ];
        let after = [
            package(Python, "django-redis", "5.9", None),
            package(Python, "came", "1", None),
            package(Python, "Same", "1", None),
            package(Python, "moved", "1", Some("bbbbbbbbbbbbbbbb")),
            package(Npm, "react", "17.0.2", None),
            package(Npm, "react", "18.0.0", None),
            package(Npm, "lodash", "4.0.0", None),
            package(Npm, "lodash", "3.0.0", None),
        ];
        let all: Vec<String> = packages(&before, &after)
            .into_iter()
            .map(|c| format!("{} {} {:?} {:?} {:?}", c.manager, c.name, c.direction, c.before, c.after))
            .collect();
        assert_eq!(
            all,
            [
                r#"python came Added [] ["1"]"#,
                r#"python django-redis Down ["6.0"] ["5.9"]"#,
                r#"python gone Removed ["1"] []"#,
                r#"python moved Changed ["1 (aaaaaaaaaaaa)"] ["1 (bbbbbbbbbbbb)"]"#,
                r#"npm lodash Changed [] ["3.0.0"]"#,
                r#"npm react Up ["16.0.0"] ["18.0.0"]"#,
            ]
        );
        assert_eq!(packages(&before, &before), []);
    }

    #[test]
    fn files_come_go_and_change() {
        let map =
            |all: &[(&str, u8)]| all.iter().map(|(path, hash)| ((*path).to_owned(), *hash)).collect::<BTreeMap<_, _>>();
        let found = files(&map(&[("a", 1), ("b", 1), ("c", 1)]), &map(&[("b", 1), ("c", 2), ("d", 1)]));
        let all: Vec<(&str, What)> = found.iter().map(|change| (change.path.as_str(), change.what)).collect();
        assert_eq!(all, [("a", What::Removed), ("c", What::Changed), ("d", What::Added)]);
    }
}
