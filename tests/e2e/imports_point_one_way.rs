//! `cache <- registry <- builder`; `manifests` on cache and registry; the command on all four.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::MetadataCommand;

#[test]
fn each_crate_uses_only_those_below_it() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    // Tests count too: what a test of a crate needs from above belongs above.
    let found: BTreeMap<&str, BTreeSet<&str>> = metadata
        .packages
        .iter()
        .map(|package| {
            let used = package.dependencies.iter().map(|dependency| dependency.name.as_str());
            (package.name.as_str(), used.filter(|name| name.starts_with("shiplap")).collect())
        })
        .collect();
    let wanted = BTreeMap::from([
        ("shiplap", BTreeSet::from(["shiplap-builder", "shiplap-cache", "shiplap-manifests", "shiplap-registry"])),
        ("shiplap-builder", BTreeSet::from(["shiplap-cache", "shiplap-registry"])),
        ("shiplap-cache", BTreeSet::new()),
        ("shiplap-manifests", BTreeSet::from(["shiplap-cache", "shiplap-registry"])),
        ("shiplap-registry", BTreeSet::from(["shiplap-cache"])),
    ]);
    assert_eq!(found, wanted);
}

/// No crate knows the command line. The sandbox's child is a program of its own, and prints why it cannot begin.
#[test]
fn only_the_command_prints_and_reads_the_environment() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["builder", "cache", "registry", "manifests"] {
        let mut folders = vec![root.join(name).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("sandbox/child.rs") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                // Unit tests, at the end of a file, may.
                let code = text.split("#[cfg(test)]").next().unwrap();
                for word in ["println!(", "eprintln!(", "print!(", "dbg!(", "env::var", "home_dir("] {
                    let uses = code.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                    assert!(uses.is_none(), "{}: {}", path.display(), uses.unwrap_or_default().trim());
                }
            }
        }
    }
}
