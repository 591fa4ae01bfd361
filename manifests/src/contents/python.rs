//! Python's distributions.
//!
//! An installed one has a `NAME-VERSION.dist-info` folder with `METADATA`
//! (<https://packaging.python.org/specifications/recording-installed-packages/>), and `direct_url.json` where it did not come from an index
//! (PEP 610). Old ones have an `.egg-info` folder with `PKG-INFO`, or a file of that name.

use serde::Deserialize;
use shiplap_cache::TreePath;

use super::files::Files;
use super::package::{purl, without_credentials};
use super::{ContentsError, Manager, Package, Source, licence};

pub(crate) fn read(files: &Files<'_>) -> Result<Vec<Package>, ContentsError> {
    let paths = files.matching(is_record);
    let found = files.each(&paths, |path| package(files, path))?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether a file tells of a distribution, by its path.
pub(crate) fn is_record(path: &[u8]) -> bool {
    path.ends_with(b".dist-info/METADATA") || path.ends_with(b".egg-info/PKG-INFO") || path.ends_with(b".egg-info")
}

fn package(files: &Files<'_>, path: &TreePath) -> Result<Option<Package>, ContentsError> {
    // `.egg-info` as a folder is met again as its PKG-INFO.
    let Some(text) = files.text(path)? else { return Ok(None) };
    let headers = Headers::of(&text);
    let (Some(name), Some(version)) = (headers.get("Name"), headers.get("Version")) else {
        files.skip(path, "it has no Name or no Version");
        return Ok(None);
    };
    let source = match path.parent() {
        Some(folder) if path.name() == b"METADATA" => direct_url(files, &folder.join(b"direct_url.json"))?,
        _ => None,
    };
    let vcs = match &source {
        Some(Source::Git { url, commit }) => format!("git+{url}@{commit}"),
        _ => String::new(),
    };
    let Some(purl) = purl("pypi", None, name, version, &[("vcs_url", &vcs)]) else {
        files.skip(path, format!("`{name}` is no name of a distribution"));
        return Ok(None);
    };
    Ok(Some(Package {
        manager: Manager::Python,
        name: name.to_owned(),
        version: version.to_owned(),
        path: path.to_string(),
        licences: headers.licences(),
        purl,
        source,
    }))
}

/// The headers before the description (core metadata, in the form of e-mail headers).
struct Headers<'a>(Vec<(&'a str, String)>);

impl<'a> Headers<'a> {
    fn of(text: &'a str) -> Self {
        let mut headers: Vec<(&str, String)> = Vec::new();
        for line in text.lines().take_while(|line| !line.trim_end().is_empty()) {
            match (line.starts_with([' ', '\t']), headers.last_mut(), line.split_once(':')) {
                (true, Some((_, value)), _) => {
                    value.push('\n');
                    value.push_str(line.trim());
                }
                (false, _, Some((key, value))) => headers.push((key, value.trim().to_owned())),
                _ => {}
            }
        }
        Self(headers)
    }

    fn all(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.all(wanted).next().filter(|value| !value.is_empty() && !value.contains('\n'))
    }

    /// The expression of PEP 639; in older metadata the classifiers, which are words of a list, go before free text.
    fn licences(&self) -> Vec<String> {
        if let Some(expression) = self.get("License-Expression") {
            return vec![expression.to_owned()];
        }
        let classifiers = self.all("Classifier").filter_map(|text| text.strip_prefix("License :: "));
        let named: Vec<String> = classifiers
            .filter_map(|text| text.rsplit(" :: ").next())
            .filter(|name| *name != "OSI Approved")
            .filter_map(licence::name)
            .collect();
        match named.is_empty() {
            true => self.get("License").and_then(licence::name).into_iter().collect(),
            false => licence::sorted(named),
        }
    }
}

#[derive(Deserialize)]
struct DirectUrl {
    url: String,
    vcs_info: Option<VcsInfo>,
    dir_info: Option<DirInfo>,
}

#[derive(Deserialize)]
struct DirInfo {
    #[serde(default)]
    editable: bool,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
}

fn direct_url(files: &Files<'_>, path: &TreePath) -> Result<Option<Source>, ContentsError> {
    let Some(bytes) = files.read(path)? else { return Ok(None) };
    let direct: DirectUrl = match serde_json::from_slice(&bytes) {
        Ok(direct) => direct,
        Err(error) => {
            files.skip(path, error.to_string());
            return Ok(None);
        }
    };
    let url = without_credentials(&direct.url);
    Ok(Some(match direct {
        DirectUrl { vcs_info: Some(VcsInfo { vcs, commit_id }), .. } if vcs == "git" => {
            Source::Git { url, commit: commit_id }
        }
        DirectUrl { dir_info: Some(DirInfo { editable }), .. } => Source::Local { path: local(&url), editable },
        _ if url.starts_with("file:") => Source::Local { path: local(&url), editable: false },
        _ => Source::Url { url },
    }))
}

/// The path of a `file:` URL on this machine.
fn local(url: &str) -> Option<String> {
    let path = url.strip_prefix("file://")?;
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => (bytes.push(escaped), rest = &after[2..]),
            None => (bytes.push(byte), rest = after),
        };
    }
    String::from_utf8(bytes).ok().filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use crate::contents::Source;
    use crate::contents::tests::{contents, purls};

    const SITE: &str = "venv/lib/python3.11/site-packages";

    fn one(folder: &str, metadata: &str, direct: Option<&str>) -> crate::contents::Contents {
        let metadata_path = format!("{SITE}/{folder}/METADATA");
        let direct_path = format!("{SITE}/{folder}/direct_url.json");
        let mut files = vec![(metadata_path.as_str(), metadata)];
        files.extend(direct.map(|text| (direct_path.as_str(), text)));
        contents(&[&files])
    }

    #[test]
    fn a_distribution_has_name_version_and_licence() {
        let metadata = "Metadata-Version: 2.4\nName: Django_Ratelimit\nVersion: 4.1.0\nLicense: a\n  long\n  text\n\
                        Classifier: License :: OSI Approved\n\
                        Classifier: License :: OSI Approved :: Apache Software License\n\nName: not-this\n";
        let found = one("django_ratelimit-4.1.0.dist-info", metadata, None);
        assert_eq!(purls(&found), ["pkg:pypi/django-ratelimit@4.1.0"]);
        assert_eq!(found.packages[0].name, "Django_Ratelimit");
        assert_eq!(found.packages[0].licences, ["Apache Software License"]);
        assert_eq!(found.packages[0].source, None);
        let expression = "Name: a\nVersion: 1\nLicense-Expression: MIT OR Apache-2.0\nLicense: MIT\n";
        assert_eq!(one("a-1.dist-info", expression, None).packages[0].licences, ["MIT OR Apache-2.0"]);
        assert_eq!(one("a-1.dist-info", "Name: a\nVersion: 1\nLicense: BSD\n", None).packages[0].licences, ["BSD"]);
    }

    #[test]
    fn one_from_git_has_its_commit_and_no_credentials() {
        let direct = r#"{"url": "https://user:hunter2@github.com/openedx/xblock-poll.git",
            "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef0123456789abcdef01234567"}}"#;
        let found = one("xblock_poll-1.dist-info", "Name: xblock-poll\nVersion: 1\n", Some(direct));
        assert_eq!(
            found.packages[0].source,
            Some(Source::Git {
                url: "https://github.com/openedx/xblock-poll.git".into(),
                commit: "0123456789abcdef0123456789abcdef01234567".into()
            })
        );
        assert_eq!(
            purls(&found),
            [
                "pkg:pypi/xblock-poll@1?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Fopenedx%2Fxblock-poll.git%400123456789abcdef0123456789abcdef01234567"
            ]
        );
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn one_from_a_folder_is_local() {
        let direct = r#"{"url": "file:///openedx/plugin", "dir_info": {"editable": true}}"#;
        let found = one("plugin-1.dist-info", "Name: plugin\nVersion: 1\n", Some(direct));
        let local = |path: &str, editable| Some(Source::Local { path: Some(path.to_owned()), editable });
        assert_eq!(found.packages[0].source, local("/openedx/plugin", true));
        let direct = r#"{"url": "file:///tmp/my%20plugin-1.whl", "archive_info": {}}"#;
        let found = one("plugin-1.dist-info", "Name: plugin\nVersion: 1\n", Some(direct));
        assert_eq!(found.packages[0].source, local("/tmp/my plugin-1.whl", false));
    }

    #[test]
    fn old_forms_are_known_and_broken_records_are_named() {
        let found = contents(&[&[
            ("openedx/edx-platform/Open_edX.egg-info/PKG-INFO", "Name: Open-edX\nVersion: 0.15\n"),
            ("usr/lib/python3/dist-packages/old-1.egg-info", "Name: old\nVersion: 1\n"),
            ("x/broken.dist-info/METADATA", "Name: broken\n"),
            ("x/odd-1.dist-info/METADATA", "Name: odd\nVersion: 1\n"),
            ("x/odd-1.dist-info/direct_url.json", "{"),
            ("x/METADATA", "Name: no\nVersion: 1\n"),
        ]]);
        assert_eq!(purls(&found), ["pkg:pypi/open-edx@0.15", "pkg:pypi/odd@1", "pkg:pypi/old@1"]);
        let named: Vec<&str> = found.not_read.iter().map(|record| record.path.as_str()).collect();
        assert_eq!(named, ["/x/broken.dist-info/METADATA", "/x/odd-1.dist-info/direct_url.json"]);
    }
}
