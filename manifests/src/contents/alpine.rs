//! What apk has installed: `/lib/apk/db/installed`, one letter a field
//! (<https://wiki.alpinelinux.org/wiki/Apk_spec>, *Installed Database V2*).

use shiplap_cache::TreePath;

use super::files::Files;
use super::package::purl;
use super::{ContentsError, Manager, Package, Source, System, licence};

const DATABASES: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

pub(super) fn read(files: &Files<'_>, system: Option<&System>) -> Result<Vec<Package>, ContentsError> {
    for path in DATABASES.iter().filter_map(|path| TreePath::new(path).ok()) {
        if let Some(text) = files.text(&path)? {
            let stanzas = text.split("\n\n").filter(|stanza| !stanza.trim().is_empty());
            return Ok(stanzas.filter_map(|stanza| package(files, &path, stanza, system)).collect());
        }
    }
    Ok(Vec::new())
}

fn package(files: &Files<'_>, path: &TreePath, stanza: &str, system: Option<&System>) -> Option<Package> {
    let field = |wanted: &str| {
        let value = stanza.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == wanted)?.1;
        (!value.is_empty()).then_some(value)
    };
    let (Some(name), Some(version)) = (field("P"), field("V")) else {
        files.skip(path, "a stanza has no P or no V");
        return None;
    };
    let distro = system.map(System::distro).unwrap_or_default();
    let namespace = system.map_or("alpine", |system| system.id.as_str());
    let purl =
        purl("apk", Some(namespace), name, version, &[("arch", field("A").unwrap_or_default()), ("distro", &distro)])?;
    Some(Package {
        manager: Manager::Alpine,
        name: name.to_owned(),
        version: version.to_owned(),
        path: path.to_string(),
        licences: field("L").and_then(licence::name).into_iter().collect(),
        purl,
        source: field("o").map(|origin| Source::Package { name: origin.to_owned(), version: version.to_owned() }),
    })
}

#[cfg(test)]
mod tests {
    use crate::contents::tests::{contents, purls};

    #[test]
    fn the_database_of_apk_is_read() {
        let found = contents(&[&[
            ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n"),
            (
                "lib/apk/db/installed",
                "C:Q1abc\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:libc.so\n\nP:broken\n\n",
            ),
        ]]);
        assert_eq!(purls(&found), ["pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.3"]);
        assert_eq!(found.packages[0].licences, ["MIT"]);
        assert_eq!(found.not_read.len(), 1);
    }
}
