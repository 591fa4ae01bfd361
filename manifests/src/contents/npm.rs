//! npm's packages: each `node_modules/NAME/package.json`, however deep.
//!
//! Where they came from stands in the hidden lockfile `node_modules/.package-lock.json` of npm 7 and later
//! (<https://docs.npmjs.com/cli/configuring-npm/package-lock-json>).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use shiplap_cache::TreePath;

use super::files::Files;
use super::package::{purl, without_credentials};
use super::{ContentsError, Manager, Package, Source, licence};

const LOCKFILE: &[u8] = b"node_modules/.package-lock.json";

pub(super) fn read(files: &Files<'_>) -> Result<Vec<Package>, ContentsError> {
    let mut sources = HashMap::new();
    for lockfile in files.matching(|path| path == LOCKFILE || path.ends_with(b"/node_modules/.package-lock.json")) {
        read_lockfile(files, &lockfile, &mut sources)?;
    }
    let paths = files.matching(is_root);
    let found = files.each(&paths, |path| package(files, path, &sources))?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether this is the package.json of a package, and not one of a folder in it.
fn is_root(path: &[u8]) -> bool {
    let Some(folder) = path.strip_suffix(b"/package.json") else { return false };
    let mut parts = folder.rsplit(|&b| b == b'/');
    let name = parts.next().unwrap_or_default();
    let above = match parts.next() {
        Some(scope) if scope.starts_with(b"@") => parts.next(),
        above => above,
    };
    above == Some(b"node_modules") && !name.starts_with(b".") && !name.starts_with(b"@")
}

#[derive(Deserialize)]
struct Lockfile {
    #[serde(default)]
    packages: HashMap<String, Locked>,
}

#[derive(Deserialize)]
struct Locked {
    resolved: Option<String>,
}

/// Puts the sources of packages under the paths of their folders.
fn read_lockfile(
    files: &Files<'_>,
    path: &TreePath,
    sources: &mut HashMap<TreePath, Source>,
) -> Result<(), ContentsError> {
    let Some(bytes) = files.read(path)? else { return Ok(()) };
    let lockfile: Lockfile = match serde_json::from_slice(&bytes) {
        Ok(lockfile) => lockfile,
        Err(error) => {
            files.skip(path, error.to_string());
            return Ok(());
        }
    };
    let root = path.parent().and_then(|folder| folder.parent()).unwrap_or_default();
    for (key, locked) in lockfile.packages {
        let (Ok(key), Some(source)) = (TreePath::new(&key), locked.resolved.as_deref().and_then(source)) else {
            continue;
        };
        sources.insert(root.join_path(&key), source);
    }
    Ok(())
}

/// What `resolved` says, when it is not a registry's tarball: these are known by name and version.
fn source(resolved: &str) -> Option<Source> {
    match resolved.split_once(':')?.0 {
        "git+ssh" | "git+https" | "git" => {
            let (url, commit) = resolved.split_once('#')?;
            let url = without_credentials(url.strip_prefix("git+").unwrap_or(url));
            Some(Source::Git { url, commit: commit.to_owned() })
        }
        "file" => Some(Source::Local { path: Some(resolved[5..].to_owned()), editable: false }),
        "https" | "http" if !resolved.contains("/-/") => Some(Source::Url { url: without_credentials(resolved) }),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
    license: Option<Value>,
    licenses: Option<Value>,
}

fn package(
    files: &Files<'_>,
    path: &TreePath,
    sources: &HashMap<TreePath, Source>,
) -> Result<Option<Package>, ContentsError> {
    let Some(bytes) = files.read(path)? else { return Ok(None) };
    // A byte order mark is no JSON, and npm takes it.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let manifest: Manifest = match serde_json::from_slice(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            files.skip(path, error.to_string());
            return Ok(None);
        }
    };
    // Without these it only marks a folder.
    let (Some(name), Some(version)) = (manifest.name, manifest.version) else { return Ok(None) };
    let source = path.parent().and_then(|folder| sources.get(&folder)).cloned();
    let vcs = match &source {
        Some(Source::Git { url, commit }) => format!("git+{url}@{commit}"),
        _ => String::new(),
    };
    let (scope, bare) = match name.split_once('/') {
        Some((scope, bare)) => (Some(scope), bare),
        None => (None, name.as_str()),
    };
    let Some(purl) = purl("npm", scope, bare, &version, &[("vcs_url", &vcs)]) else {
        files.skip(path, format!("`{name}` is no name of a package"));
        return Ok(None);
    };
    let licences = licences(manifest.license.as_ref().or(manifest.licenses.as_ref()));
    Ok(Some(Package { manager: Manager::Npm, name, version, path: path.to_string(), licences, purl, source }))
}

/// A string; of old an object with `type`, or a list of these.
fn licences(value: Option<&Value>) -> Vec<String> {
    let one = |value: &Value| licence::name(value.as_str().or_else(|| value.get("type")?.as_str())?);
    match value {
        Some(Value::Array(all)) => licence::sorted(all.iter().filter_map(one).collect()),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_root;
    use crate::contents::Source;
    use crate::contents::tests::{contents, purls};

    #[test]
    fn only_the_root_of_a_package_is_one() {
        for (path, wanted) in [
            ("app/node_modules/react/package.json", true),
            ("node_modules/react/package.json", true),
            ("app/node_modules/@edx/brand/package.json", true),
            ("app/node_modules/a/node_modules/b/package.json", true),
            ("app/node_modules/.pnpm/a@1/node_modules/a/package.json", true),
            ("app/node_modules/react/cjs/package.json", false),
            ("app/node_modules/@edx/package.json", false),
            ("app/node_modules/package.json", false),
            ("app/node_modules/.bin/package.json", false),
            ("app/package.json", false),
        ] {
            assert_eq!(is_root(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn packages_have_their_licence_and_those_from_git_their_commit() {
        let lockfile = r#"{"packages": {
            "node_modules/@edx/brand": {"resolved": "git+ssh://git@github.com/edx/brand.git#0123abc"},
            "node_modules/react": {"resolved": "https://registry.example.org/react/-/react-17.0.2.tgz"},
            "node_modules/local": {"resolved": "file:../local"},
            "../outside": {"resolved": "file:../.."}}}"#;
        let found = contents(&[&[
            ("app/node_modules/.package-lock.json", lockfile),
            ("app/node_modules/@edx/brand/package.json", r#"{"name": "@edx/brand", "version": "2.0.0"}"#),
            ("app/node_modules/react/package.json", r#"{"name":"react","version":"17.0.2","license":"MIT"}"#),
            ("app/node_modules/local/package.json", r#"{"name":"local","version":"1","license":{"type":"ISC"}}"#),
            (
                "app/node_modules/old/package.json",
                r#"{"name":"old","version":"1","licenses":[{"type":"MIT"},{"type":"BSD"}]}"#,
            ),
            ("app/node_modules/mark/package.json", r#"{"type": "module"}"#),
            ("app/node_modules/broken/package.json", "{"),
        ]]);
        assert_eq!(
            purls(&found),
            [
                "pkg:npm/%40edx/brand@2.0.0?vcs_url=git%2Bssh:%2F%2Fgithub.com%2Fedx%2Fbrand.git%400123abc",
                "pkg:npm/local@1",
                "pkg:npm/old@1",
                "pkg:npm/react@17.0.2"
            ]
        );
        let sources: Vec<_> = found.packages.iter().map(|package| &package.source).collect();
        assert_eq!(
            sources[1..],
            [&Some(Source::Local { path: Some("../local".to_owned()), editable: false }), &None, &None]
        );
        assert_eq!(found.packages[2].licences, ["BSD", "MIT"]);
        assert_eq!(found.packages[1].licences, ["ISC"]);
        assert_eq!(found.not_read.len(), 1);
    }
}
