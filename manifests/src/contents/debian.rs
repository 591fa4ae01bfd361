//! What dpkg has installed.
//!
//! `/var/lib/dpkg/status` is the database; images without dpkg (distroless) have a file for each package in `status.d`. The fields are
//! those of deb-control(5), licences come from `/usr/share/doc/*/copyright` where that has the form of
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>.

use std::collections::BTreeMap;

use shiplap_cache::TreePath;

use super::files::Files;
use super::package::purl;
use super::{ContentsError, Manager, Package, Source, System, licence};

const STATUS: &str = "var/lib/dpkg/status";
const STATUS_FOLDER: &str = "var/lib/dpkg/status.d";

type Fields<'a> = BTreeMap<&'a str, &'a str>;

pub(super) fn read(files: &Files<'_>, system: Option<&System>) -> Result<Vec<Package>, ContentsError> {
    let mut records = Vec::new();
    let at = |path: &str| TreePath::new(path).unwrap_or_default();
    records.extend(files.text(&at(STATUS))?.map(|text| (at(STATUS), text)));
    let folder = at(STATUS_FOLDER);
    for name in files.names(&folder).into_iter().filter(|name| !name.ends_with(b".md5sums")) {
        let path = folder.join(&name);
        records.extend(files.text(&path)?.map(|text| (path, text)));
    }
    let mut packages = Vec::new();
    for (path, text) in &records {
        let stanzas: Vec<&str> = text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).collect();
        let found = files.each(&stanzas, |stanza| package(files, path, &fields(stanza), system))?;
        packages.extend(found.into_iter().flatten());
    }
    Ok(packages)
}

/// The fields of a stanza that fit into one line.
fn fields(stanza: &str) -> Fields<'_> {
    let lines = stanza.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
    lines.filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim())).collect()
}

fn package(
    files: &Files<'_>,
    path: &TreePath,
    fields: &Fields<'_>,
    system: Option<&System>,
) -> Result<Option<Package>, ContentsError> {
    // Of a package that was removed its configuration may be left. Files of status.d have no status.
    if fields.get("Status").is_some_and(|status| !status.ends_with(" installed")) {
        return Ok(None);
    }
    let (Some(name), Some(version)) = (fields.get("Package"), fields.get("Version")) else {
        files.skip(path, "a stanza has no Package or no Version");
        return Ok(None);
    };
    let distro = system.map(System::distro).unwrap_or_default();
    let arch = fields.get("Architecture").copied().unwrap_or_default();
    let namespace = system.map_or("debian", |system| system.id.as_str());
    let Some(purl) = purl("deb", Some(namespace), name, version, &[("arch", arch), ("distro", &distro)]) else {
        files.skip(path, format!("`{name}` is no name of a package"));
        return Ok(None);
    };
    Ok(Some(Package {
        manager: Manager::Debian,
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        path: path.to_string(),
        licences: licences(files, name)?,
        purl,
        source: fields.get("Source").map(|text| source(text, version)),
    }))
}

/// `Source: name`, or `Source: name (version)` where the versions differ.
fn source(text: &str, version: &str) -> Source {
    let (name, own) = text.split_once(' ').unwrap_or((text, ""));
    let own = own.trim_matches(['(', ')']);
    let version = if own.is_empty() { version } else { own };
    Source::Package { name: name.to_owned(), version: version.to_owned() }
}

fn licences(files: &Files<'_>, name: &str) -> Result<Vec<String>, ContentsError> {
    let Ok(path) = TreePath::new(format!("usr/share/doc/{name}/copyright")) else { return Ok(Vec::new()) };
    let Some(text) = files.text(&path)? else { return Ok(Vec::new()) };
    if !text.lines().take(5).any(|line| line.starts_with("Format:")) {
        return Ok(Vec::new());
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("License:")).filter_map(licence::name);
    Ok(licence::sorted(names.collect()))
}

#[cfg(test)]
mod tests {
    use crate::contents::tests::{contents, purls};
    use crate::contents::{Manager, Source};

    const STATUS: &str = "\
Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.15-1)
Version: 3.0.15-1~deb12u1
Description: library
 Version: 9, which is text

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Source: holding
Version: 1:2.0
";

    #[test]
    fn installed_packages_are_listed_and_removed_ones_are_not() {
        let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                         Files: *\nLicense: Apache-2.0\nFiles: debian/*\nLicense: GPL-2+\nLicense: Apache-2.0\n text\n";
        let found = contents(&[&[
            ("etc/os-release", "ID=debian\nVERSION_ID=12\n"),
            ("var/lib/dpkg/status", STATUS),
            ("usr/share/doc/libssl3/copyright", copyright),
            ("usr/share/doc/held/copyright", "This is free software.\nLicense: none of that form\n"),
        ]]);
        assert_eq!(
            purls(&found),
            [
                "pkg:deb/debian/held@1:2.0?arch=all&distro=debian-12",
                "pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&distro=debian-12"
            ]
        );
        let [held, libssl] = &found.packages[..] else { panic!() };
        assert_eq!(libssl.manager, Manager::Debian);
        assert_eq!(libssl.licences, ["Apache-2.0", "GPL-2+"]);
        assert_eq!(held.licences, Vec::<String>::new());
        let source =
            |name: &str, version: &str| Some(Source::Package { name: name.to_owned(), version: version.to_owned() });
        assert_eq!((&libssl.source, &held.source), (&source("openssl", "3.0.15-1"), &source("holding", "1:2.0")));
        assert_eq!(libssl.path, "/var/lib/dpkg/status");
    }

    #[test]
    fn images_without_dpkg_have_a_file_for_each_package() {
        let found = contents(&[&[
            ("var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"),
            ("var/lib/dpkg/status.d/base.md5sums", "abc  etc/x\n"),
            ("var/lib/dpkg/status.d/broken", "Package: broken\n"),
        ]]);
        assert_eq!(purls(&found), ["pkg:deb/debian/base-files@12.4?arch=amd64"]);
        assert_eq!(found.not_read[0].path, "/var/lib/dpkg/status.d/broken");
    }
}
