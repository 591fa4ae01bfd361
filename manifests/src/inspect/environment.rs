//! The Tutor environment that an image is built in: version and plugins.
//!
//! Tutor writes its version into `env/version` of its root each time it renders the environment, and keeps the enabled plugins in `PLUGINS` of
//! `config.yml` (`tutor/env.py`, `tutor/plugins/__init__.py`). Nothing else of `config.yml` is looked at: it holds the site's secrets.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A Tutor environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The version of Tutor that rendered it.
    pub version: String,
    /// The enabled plugins, sorted.
    pub plugins: Vec<String>,
}

#[derive(Deserialize)]
struct UserConfig {
    #[serde(rename = "PLUGINS", default)]
    plugins: Vec<String>,
}

impl Environment {
    /// The environment of a root, where there is one.
    pub fn of_root(root: &Path) -> Option<Self> {
        let version = std::fs::read_to_string(root.join("env/version")).ok()?.trim().to_owned();
        // A configuration that Tutor could not read either is one without plugins here: who released it has been told by Tutor.
        let config = std::fs::read_to_string(root.join("config.yml")).ok();
        let plugins = config.and_then(|text| serde_saphyr::from_str::<UserConfig>(&text).ok());
        let mut plugins = plugins.map(|config| config.plugins).unwrap_or_default();
        plugins.sort();
        let is_version = !version.is_empty() && version.len() < 100 && !version.contains('\n');
        is_version.then_some(Self { version, plugins })
    }

    /// The environment that a folder below its root belongs to, such as the build context `env/build/openedx`.
    pub fn around(folder: &Path) -> Option<Self> {
        let root = folder.ancestors().find(|above| above.ends_with("env")).and_then(Path::parent).map(PathBuf::from)?;
        Self::of_root(&root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_says_its_version_and_plugins_and_no_secret() {
        let root = tempfile::tempdir().unwrap();
        let context = root.path().join("env/build/openedx");
        std::fs::create_dir_all(&context).unwrap();
        assert_eq!(Environment::of_root(root.path()), None);
        std::fs::write(root.path().join("env/version"), "20.0.1\n").unwrap();
        std::fs::write(root.path().join("config.yml"), "MYSQL_ROOT_PASSWORD: hunter2\nPLUGINS:\n- mfe\n- indigo\n")
            .unwrap();
        let found = Environment::around(&context).unwrap();
        assert_eq!(found, Environment { version: "20.0.1".into(), plugins: vec!["indigo".into(), "mfe".into()] });
        assert_eq!(Environment::of_root(root.path()), Some(found.clone()));
        assert!(!format!("{found:?}").contains("hunter2"));
        std::fs::write(root.path().join("config.yml"), "{").unwrap();
        assert_eq!(Environment::around(&context).unwrap().plugins, Vec::<String>::new());
        assert_eq!(Environment::around(root.path()), None);
    }
}
