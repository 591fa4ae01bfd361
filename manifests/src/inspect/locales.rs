//! Translations: the folders `LOCALE/LC_MESSAGES`, as gettext has them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::contents::files::Files;

/// A folder of translations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locales {
    /// Where it is: `/openedx/edx-platform/conf/locale`.
    pub folder: String,
    /// The languages that have a catalogue (`.mo` or `.po`) in it, sorted.
    pub languages: BTreeSet<String>,
}

/// The translations of an image, by folder.
pub(crate) fn read(files: &Files<'_>) -> Vec<Locales> {
    let mut folders: BTreeMap<&[u8], BTreeSet<String>> = BTreeMap::new();
    for path in files.visible().iter().map(|found| files.path(*found)) {
        if !(path.ends_with(b".mo") || path.ends_with(b".po")) {
            continue;
        }
        let mut parts = path.rsplitn(4, |&b| b == b'/');
        if let (Some(_), Some(b"LC_MESSAGES"), Some(language)) = (parts.next(), parts.next(), parts.next()) {
            let folder = parts.next().unwrap_or_default();
            folders.entry(folder).or_default().insert(String::from_utf8_lossy(language).into_owned());
        }
    }
    let named = folders.into_iter();
    named
        .map(|(folder, languages)| Locales { folder: format!("/{}", String::from_utf8_lossy(folder)), languages })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::inspect::tests::with_files;

    #[test]
    fn languages_are_listed_by_folder() {
        let found = with_files(
            &[&[
                ("openedx/edx-platform/conf/locale/fr/LC_MESSAGES/django.mo", ""),
                ("openedx/edx-platform/conf/locale/fr/LC_MESSAGES/django.po", ""),
                ("openedx/edx-platform/conf/locale/es_419/LC_MESSAGES/djangojs.po", ""),
                ("openedx/edx-platform/conf/locale/de/LC_MESSAGES/notes.txt", ""),
                ("usr/share/locale/fr/LC_MESSAGES/bash.mo", ""),
                ("fr/LC_MESSAGES/x.mo", ""),
                ("x/fr.mo", ""),
            ]],
            super::read,
        );
        let all: Vec<(&str, Vec<&str>)> =
            found.iter().map(|l| (l.folder.as_str(), l.languages.iter().map(String::as_str).collect())).collect();
        assert_eq!(
            all,
            [
                ("/", vec!["fr"]),
                ("/openedx/edx-platform/conf/locale", vec!["es_419", "fr"]),
                ("/usr/share/locale", vec!["fr"])
            ]
        );
    }
}
