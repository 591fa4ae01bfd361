//! Folders with a hash: themes, and plugins that were installed from files.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shiplap_cache::{ContentHash, Kind, TreePath};

use crate::contents::files::Files;
use crate::contents::{ContentsError, Package, Source};

/// Where Tutor puts themes.
const THEMES: &str = "openedx/themes";
/// The variable of an image that names more folders of themes, as Open edX's setting of that name.
const THEME_DIRS: &str = "COMPREHENSIVE_THEME_DIRS";

/// A folder, or some files, with what is in each file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its name: that of the folder, or of the distribution.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// BLAKE3 of all files: of each the path below the folder, what it is, and the hash of its bytes or the target of the link, sorted by
    /// path. Modes, owners and times do not count.
    pub hash: ContentHash,
    /// The files by their paths below the folder.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub files: BTreeMap<TreePath, FileContent>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// The hash of its bytes.
    Bytes(ContentHash),
    /// Where a link points.
    Link(Vec<u8>),
}

fn as_text<S: Serializer>(files: &BTreeMap<TreePath, FileContent>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(files.iter().map(|(path, content)| {
        let content = match content {
            FileContent::Bytes(hash) => hash.to_string(),
            FileContent::Link(target) => format!("-> {}", String::from_utf8_lossy(target)),
        };
        (String::from_utf8_lossy(path.as_bytes()).into_owned(), content)
    }))
}

fn of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<TreePath, FileContent>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let file = |(path, content): (String, String)| {
        let content = match content.strip_prefix("-> ") {
            Some(target) => FileContent::Link(target.as_bytes().to_vec()),
            None => FileContent::Bytes(content.parse().map_err(D::Error::custom)?),
        };
        Ok((TreePath::new(&path).map_err(D::Error::custom)?, content))
    };
    texts.into_iter().map(file).collect()
}

impl Folder {
    fn new(name: String, path: String, files: BTreeMap<TreePath, FileContent>) -> Self {
        let mut bytes = Vec::new();
        let mut put = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        };
        for (path, content) in &files {
            put(path.as_bytes());
            match content {
                FileContent::Bytes(hash) => [b"f", &hash.as_bytes()[..]].map(&mut put),
                FileContent::Link(target) => [b"l", &target[..]].map(&mut put),
            };
        }
        Self { name, path, hash: ContentHash::of(&bytes), files }
    }

    fn of(files: &Files<'_>, name: String, folder: &TreePath, is_part: impl Fn(&TreePath) -> bool) -> Self {
        let all = files.below(folder).into_iter().filter(|(path, _)| is_part(path));
        let all = all.filter_map(|(path, entry)| Some((path, content(entry.kind)?))).collect();
        Self::new(name, folder.to_string(), all)
    }
}

fn content(kind: Kind) -> Option<FileContent> {
    match kind {
        Kind::File { hash, .. } => Some(FileContent::Bytes(hash)),
        Kind::Symlink { target } => Some(FileContent::Link(target)),
        _ => None,
    }
}

/// The folders that have themes: Tutor's, and those that the image's environment names.
pub(crate) fn theme_roots(environment: &[String]) -> Vec<TreePath> {
    let named = environment.iter().filter_map(|line| line.strip_prefix(THEME_DIRS)?.strip_prefix('='));
    let named = named.flat_map(|value| value.split([':', ',', ' '])).filter(|path| path.starts_with('/'));
    let roots: BTreeSet<TreePath> = std::iter::once(THEMES).chain(named).flat_map(TreePath::new).collect();
    roots.into_iter().filter(|root| !root.is_root()).collect()
}

/// The themes of an image: the folders in the folders of themes that have `lms` or `cms` in them.
pub(crate) fn themes(files: &Files<'_>, roots: &[TreePath]) -> Vec<Folder> {
    let mut all = Vec::new();
    for root in roots {
        // The folder may be a link to another one.
        let root = files.tree().resolve(root, true).path;
        for name in files.tree().list(&root).into_keys() {
            let theme = root.join(&name);
            let is_theme = [&b"lms"[..], b"cms"].iter().any(|site| files.tree().is_dir(&theme.join(site)));
            if is_theme {
                let name = String::from_utf8_lossy(&name).into_owned();
                all.push(Folder::of(files, name, &theme, |_| true));
            }
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.dedup();
    all
}

/// Distributions that came from files rather than from an index or a commit, so that their version does not say what is in them. `platform` is no
/// plugin.
pub(crate) fn plugins(
    files: &Files<'_>,
    python: &[&Package],
    platform: Option<&TreePath>,
) -> Result<Vec<Folder>, ContentsError> {
    let mut all = Vec::new();
    for package in python {
        let Some(Source::Local { path, editable }) = &package.source else { continue };
        let name = package.name.clone();
        let Ok(metadata) = TreePath::new(&package.path) else { continue };
        let source = path.as_deref().and_then(|path| TreePath::new(path).ok()).filter(|path| !path.is_root());
        match (editable, source) {
            (true, Some(source)) => {
                let source = files.tree().resolve(&source, true).path;
                if Some(&source) != platform {
                    all.push(Folder::of(files, name, &source, is_source));
                }
            }
            _ => all.extend(installed(files, name, &metadata)?),
        }
    }
    all.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    all.dedup();
    Ok(all)
}

/// Not what building and running leave behind.
fn is_source(path: &TreePath) -> bool {
    path.components().all(|part| {
        part != b"__pycache__" && part != b".git" && part != b"node_modules" && !part.ends_with(b".egg-info")
    })
}

/// The files that an installer wrote down
/// (<https://packaging.python.org/specifications/recording-installed-packages/#the-record-file>), without its own records.
fn installed(files: &Files<'_>, name: String, metadata: &TreePath) -> Result<Option<Folder>, ContentsError> {
    let Some(info) = metadata.parent() else { return Ok(None) };
    let site = info.parent().unwrap_or_default();
    let Some(record) = files.text(&info.join(b"RECORD"))? else { return Ok(None) };
    let mut all = BTreeMap::new();
    for line in record.lines() {
        // A path with a comma is in quotes; the two fields behind it have neither.
        let path = line.rsplitn(3, ',').last().unwrap_or_default().trim_matches('"').replace("\"\"", "\"");
        // What is not below the folder, such as scripts in `bin`, has the interpreter's place in it.
        let Ok(path) = TreePath::new(&path) else { continue };
        if path.components().any(|part| part == b"__pycache__" || part == b".." || part.ends_with(b".dist-info")) {
            continue;
        }
        if let Some(content) = files.tree().get(&site.join_path(&path)).and_then(|entry| content(entry.kind)) {
            all.insert(path, content);
        }
    }
    Ok(Some(Folder::new(name, site.to_string(), all)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents;
    use crate::inspect::tests::with_files;

    #[test]
    fn a_theme_has_a_hash_of_what_is_in_it_and_nothing_else() {
        let hash = |style: &str, extra: &str| {
            let roots = theme_roots(&["COMPREHENSIVE_THEME_DIRS=/srv/themes:/openedx/themes".to_owned()]);
            let found = with_files(
                &[&[
                    ("openedx/themes/campus/lms/static/_a.scss", style),
                    ("openedx/themes/README.md", extra),
                    ("openedx/themes/notes/x", extra),
                    ("srv/themes/other/cms/x", ""),
                ]],
                |files| themes(files, &roots),
            );
            assert_eq!(
                found.iter().map(|theme| theme.path.as_str()).collect::<Vec<_>>(),
                ["/openedx/themes/campus", "/srv/themes/other"]
            );
            found[0].hash
        };
        assert_eq!(hash("red", "a"), hash("red", "b"));
        assert_ne!(hash("red", "a"), hash("blue", "a"));
    }

    #[test]
    fn a_themes_folder_that_is_a_link_out_of_the_image_has_no_themes() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outside.path().join("evil/lms")).unwrap();
        let link = format!("->{}", outside.path().display());
        let found = with_files(&[&[("openedx/themes", &link)]], |files| themes(files, &theme_roots(&[])));
        assert_eq!(found, []);
    }

    #[test]
    fn plugins_are_what_came_from_files() {
        let site = "venv/site-packages";
        let metadata = |name: &str| format!("{site}/{name}-1.dist-info/METADATA");
        let direct = |name: &str| format!("{site}/{name}-1.dist-info/direct_url.json");
        let (editable, copied, index, platform) =
            (metadata("editable"), metadata("copied"), metadata("index"), metadata("platform"));
        let record = "copied/__init__.py,sha256=x,1\n\"copied/a,b.py\",sha256=y,2\ncopied/__pycache__/x.pyc,,\n\
                      copied-1.dist-info/METADATA,,\n../../bin/copied,,\ncopied/gone.py,,\n";
        let found = with_files(
            &[&[
                (&editable, "Name: editable\nVersion: 1\n"),
                (&direct("editable"), r#"{"url": "file:///mnt/editable", "dir_info": {"editable": true}}"#),
                ("mnt/editable/editable/a.py", "1"),
                ("mnt/editable/editable/__pycache__/a.pyc", "1"),
                ("mnt/editable/editable.egg-info/PKG-INFO", "Name: editable\nVersion: 1\n"),
                (&copied, "Name: copied\nVersion: 1\n"),
                (&direct("copied"), r#"{"url": "file:///tmp/copied", "dir_info": {}}"#),
                (&format!("{site}/copied-1.dist-info/RECORD"), record),
                (&format!("{site}/copied/__init__.py"), ""),
                (&format!("{site}/copied/a,b.py"), ""),
                (&index, "Name: index\nVersion: 1\n"),
                (&platform, "Name: platform\nVersion: 1\n"),
                (&direct("platform"), r#"{"url": "file:///openedx/edx-platform", "dir_info": {"editable": true}}"#),
                ("openedx/edx-platform/lms/envs/common.py", ""),
            ]],
            |files| {
                let python = contents::python::read(files).unwrap();
                let platform = TreePath::new("openedx/edx-platform").unwrap();
                plugins(files, &python.iter().collect::<Vec<_>>(), Some(&platform)).unwrap()
            },
        );
        let all: Vec<(&str, &str, Vec<String>)> = found
            .iter()
            .map(|f| (f.name.as_str(), f.path.as_str(), f.files.keys().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(
            all,
            [
                ("copied", "/venv/site-packages", vec!["/copied/__init__.py".to_owned(), "/copied/a,b.py".to_owned()]),
                ("editable", "/mnt/editable", vec!["/editable/a.py".to_owned()])
            ]
        );
    }
}
