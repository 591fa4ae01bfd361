//! What is in an image: the packages that its own package managers have written down.
//!
//! Layer indices say where their records are, and only these are read. Nothing is unpacked, mounted or run, and no path leads out of the
//! layers: links are followed inside the tree, and what is read is compared with the index.

mod alpine;
mod debian;
pub(crate) mod files;
mod licence;
mod npm;
mod package;
pub(crate) mod python;
mod system;

use std::path::PathBuf;

use shiplap_cache::{LayerId, Store, TreePath};

use files::Files;
pub use package::{Manager, Package, Source, without_credentials};
pub use system::System;

/// What is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Contents {
    /// The distribution, where it says which it is.
    pub system: Option<System>,
    /// The packages by manager, name, version and place.
    pub packages: Vec<Package>,
    /// Records that are there and could not be understood, each with the reason: what they tell of is missing above.
    pub not_read: Vec<NotRead>,
}

/// A record that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NotRead {
    /// Where it is.
    pub path: String,
    /// Why.
    pub why: String,
}

/// Why the contents of an image cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A layer or its index is not here, or the disk fails.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
    /// A file of a layer cannot be read.
    #[error("cannot read {path} of layer {}: {source}; pull or build the image again", layer.short())]
    Read {
        /// The file.
        path: PathBuf,
        /// The layer.
        layer: LayerId,
        /// Why.
        source: std::io::Error,
    },
    /// A file of a layer is not what its index says.
    #[error("{path} of layer {} is not what it was when the layer was made; pull or build the image again", layer.short())]
    Changed {
        /// The file, in the image.
        path: TreePath,
        /// The layer.
        layer: LayerId,
    },
}

/// Reads what is in the image of these layers, bottom first.
///
/// Debian's and Alpine's packages, Python's distributions and npm's packages are known. RPM databases are not read. Files of layers that are elsewhere are asked of
/// `contents`.
///
/// # Errors
/// A layer is not here or damaged. A record that makes no sense is no error: it is in [`Contents::not_read`].
pub fn read(
    store: &Store,
    layers: &[LayerId],
    contents: Option<&dyn shiplap_cache::Contents>,
) -> Result<Contents, ContentsError> {
    read_files(&Files::new(store, layers)?.given_by(contents))
}

/// As [`read`], of files that others look into too.
pub(crate) fn read_files(files: &Files<'_>) -> Result<Contents, ContentsError> {
    let system = system::read(files)?;
    let mut packages = debian::read(files, system.as_ref())?;
    packages.extend(alpine::read(files, system.as_ref())?);
    packages.extend(python::read(files)?);
    packages.extend(npm::read(files)?);
    packages.sort();
    packages.dedup();
    Ok(Contents { system, packages, not_read: files.not_read() })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use shiplap_cache::Tree;

    use super::*;

    /// A layer of these files; text that begins with `->` makes a link.
    pub(crate) fn layer(store: &Store, files: &[(&str, &str)]) -> LayerId {
        let pending = store.begin_layer(&Tree::default()).unwrap();
        for (path, text) in files {
            let path = pending.upper().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("->") {
                Some(target) => symlink(target, &path).unwrap(),
                None => fs::write(&path, text).unwrap(),
            }
        }
        store.commit_layer(pending, &Tree::default()).unwrap().unwrap()
    }

    pub(crate) fn contents(layers: &[&[(&str, &str)]]) -> Contents {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let layers: Vec<LayerId> = layers.iter().map(|files| layer(&store, files)).collect();
        read(&store, &layers, None).unwrap()
    }

    pub(crate) fn purls(contents: &Contents) -> Vec<&str> {
        contents.packages.iter().map(|package| package.purl.as_str()).collect()
    }

    #[test]
    fn what_a_later_layer_replaces_or_hides_is_not_in_the_image() {
        let metadata = |version: &str| format!("Metadata-Version: 2.1\nName: xblock\nVersion: {version}\n");
        let (old, new) = (metadata("1.0"), metadata("2.0"));
        let path = "venv/lib/python3.11/site-packages/xblock.dist-info/METADATA";
        let found = contents(&[&[(path, &old)], &[(path, &new)]]);
        assert_eq!(purls(&found), ["pkg:pypi/xblock@2.0"]);
        // A file where a folder was hides all of it.
        let found = contents(&[&[(path, &old)], &[("venv/lib", "a file")]]);
        assert_eq!(purls(&found), Vec::<&str>::new());
    }

    #[test]
    fn links_lead_round_in_the_image_and_never_out_of_it() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "ID=elsewhere\n").unwrap();
        let out = format!("->{}", outside.path().display());
        assert_eq!(contents(&[&[("etc/os-release", &out)]]).system, None);
        let up = format!("->../../../../../../../..{}", outside.path().display());
        assert_eq!(contents(&[&[("etc/os-release", &up)]]).system, None);
        let round = contents(&[&[
            ("etc/os-release", "->../usr/lib/os-release"),
            ("usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n"),
        ]]);
        assert_eq!(round.system.unwrap().id, "debian");
    }

    #[test]
    fn a_file_that_was_changed_behind_our_back_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let id = layer(&store, &[("etc/os-release", "ID=debian\n")]);
        fs::write(store.layer_dir(&id).join("etc/os-release"), "ID=evilos\n").unwrap();
        let error = read(&store, &[id], None).unwrap_err();
        assert!(
            matches!(&error, ContentsError::Changed { path, .. } if path.as_bytes() == b"etc/os-release"),
            "{error}"
        );
        fs::remove_file(store.layer_dir(&id).join("etc/os-release")).unwrap();
        assert!(read(&store, &[id], None).unwrap_err().to_string().contains("os-release"));
    }

    #[test]
    fn an_image_without_records_has_no_packages() {
        assert_eq!(contents(&[&[("bin/sh", "x")]]), Contents::default());
        assert_eq!(contents(&[]), Contents::default());
    }
}
