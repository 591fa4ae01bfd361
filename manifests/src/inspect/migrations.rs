//! Django's migrations, as files: nothing is imported, so which of them a site applies is not known, and which it could apply is.
//!
//! Django finds a migration as a module of the package `migrations` of an application, and calls it by the name of its file
//! (`django/db/migrations/loader.py`, `load_disk`). `makemigrations` begins each name with four digits; only such names are taken, so that
//! helpers beside them are not. The label of an application is the last part of its name unless its `AppConfig` says otherwise, which is
//! code; so it is taken from the folder.

use std::collections::{BTreeMap, BTreeSet};

use shiplap_cache::TreePath;

use crate::contents::files::Files;
use crate::release::MigrationSet;

/// The migrations of an image by application.
pub(crate) fn read(files: &Files<'_>) -> MigrationSet {
    let mut apps: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Without `__init__.py` Django takes an application for one without migrations.
    let mut packages: BTreeMap<TreePath, bool> = BTreeMap::new();
    for found in files.visible() {
        let Some((folder, app, name)) = parts(files.path(*found)) else { continue };
        let Ok(folder) = TreePath::new(folder) else { continue };
        let is_package =
            *packages.entry(folder).or_insert_with_key(|at| files.tree().find(&at.join(b"__init__.py")).is_some());
        if is_package {
            apps.entry(app.to_owned()).or_default().insert(name.to_owned());
        }
    }
    MigrationSet(apps)
}

/// The folder, the application and the name of a migration, when this path is of one.
fn parts(path: &[u8]) -> Option<(&[u8], &str, &str)> {
    let slash = path.iter().rposition(|&b| b == b'/')?;
    let (folder, file) = (&path[..slash], &path[slash + 1..]);
    let app = folder.strip_suffix(b"/migrations")?;
    let name = std::str::from_utf8(file.strip_suffix(b".py")?).ok()?;
    let numbered = name.len() > 5 && name.as_bytes()[..4].iter().all(u8::is_ascii_digit) && name.as_bytes()[4] == b'_';
    if !numbered || app.split(|&b| b == b'/').any(|part| part == b"node_modules") {
        return None;
    }
    let app = std::str::from_utf8(app.rsplit(|&b| b == b'/').next()?).ok()?;
    // Only what can be imported is an application.
    let importable =
        app.chars().all(|c| c.is_alphanumeric() || c == '_') && !app.starts_with(|c: char| c.is_ascii_digit());
    (importable && !app.is_empty()).then_some((folder, app, name))
}

#[cfg(test)]
mod tests {
    use crate::inspect::tests::with_files;

    #[test]
    fn migrations_are_found_by_application_and_named_by_their_files() {
        let site = "openedx/venv/lib/python3.11/site-packages";
        let badges = format!("{site}/badges/migrations");
        let found = with_files(
            &[&[
                (&format!("{badges}/__init__.py"), ""),
                (&format!("{badges}/0001_initial.py"), ""),
                (&format!("{badges}/0002_add_colour.py"), ""),
                (&format!("{badges}/0002_add_colour.pyc"), ""),
                (&format!("{badges}/helpers.py"), ""),
                (&format!("{badges}/0003.py"), ""),
                ("openedx/edx-platform/common/djangoapps/student/migrations/__init__.py", ""),
                ("openedx/edx-platform/common/djangoapps/student/migrations/0001_squashed.py", ""),
                // No package, no name that can be imported, and files of a front end.
                (&format!("{site}/plain/migrations/0001_initial.py"), ""),
                ("srv/not-python/migrations/__init__.py", ""),
                ("srv/not-python/migrations/0001_initial.py", ""),
                ("app/node_modules/x/migrations/__init__.py", ""),
                ("app/node_modules/x/migrations/0001_initial.py", ""),
                ("migrations/0001_initial.py", ""),
            ]],
            super::read,
        );
        let all: Vec<String> = found.iter().map(|migration| migration.to_string()).collect();
        assert_eq!(all, ["badges.0001_initial", "badges.0002_add_colour", "student.0001_squashed"]);
    }

    #[test]
    fn a_migration_that_a_later_layer_takes_away_is_not_there() {
        let at = |name: &str| format!("a/badges/migrations/{name}.py");
        let (init, first) = (at("__init__"), at("0001_initial"));
        let found = with_files(&[&[(&init, ""), (&first, "")], &[("a/badges", "a file")]], super::read);
        assert_eq!(found.iter().count(), 0);
    }
}
