//! A difference for a terminal.

use shiplap_manifests::compare::{Comparison, Direction, FileChange, FolderChange, PackageChange, What};
use shiplap_manifests::release::MigrationSet;

use super::{ImageReport, Report};
use crate::output::{self, printable, size};
use crate::table;

fn line(text: &str) {
    output::line(&printable(text));
}

pub fn show(report: &Report) {
    line(&format!("{} -> {}", report.before, report.after));
    report.images.iter().for_each(image);
}

fn image(report: &ImageReport) {
    line("");
    let Some(changes) = &report.changes else {
        let word = if report.before.is_none() { "came" } else { "went" };
        line(&format!("image {} {word}", report.name));
        return;
    };
    line(&format!("image {}{}", report.name, if report.same { "  the same" } else { "" }));
    if report.same {
        return;
    }
    for (name, both) in &report.facts {
        let say = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
        line(&format!("  {name}  {} -> {}", say(&both.before), say(&both.after)));
    }
    platform(changes);
    packages(&changes.packages);
    for (sign, all) in [('+', &changes.entry_points_added), ('-', &changes.entry_points_removed)] {
        all.iter().for_each(|e| line(&format!("  {sign} {} {} = {}", e.group, e.name, e.object)));
    }
    folders("theme", &changes.themes);
    folders("plugin", &changes.plugins);
    files("settings", &changes.settings);
    migrations('+', &changes.migrations_added);
    migrations('-', &changes.migrations_removed);
    for change in &changes.locales {
        let signed = |sign: char, all: &[String]| all.iter().map(|l| format!(" {sign}{l}")).collect::<String>();
        line(&format!("  locales {}{}{}", change.folder, signed('+', &change.added), signed('-', &change.removed)));
    }
    layers(changes);
}

fn platform(changes: &Comparison) {
    let Some(both) = &changes.platform else { return };
    let say = |side: &Option<shiplap_manifests::inspect::Platform>| match side {
        None => "none".to_owned(),
        Some(p) => [&p.release, &p.repository, &p.commit].into_iter().flatten().cloned().collect::<Vec<_>>().join(" "),
    };
    line(&format!("  platform  {} -> {}", say(&both.before), say(&both.after)));
}

/// A word for what happened.
pub fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Added => "added",
        Direction::Removed => "removed",
        Direction::Up => "up",
        Direction::Down => "down",
        Direction::Changed => "changed",
    }
}

fn packages(changes: &[PackageChange]) {
    if changes.is_empty() {
        return;
    }
    let row = |change: &PackageChange| {
        let list = |all: &[String]| printable(&all.join(", "));
        let (manager, name) = (change.manager.to_string(), printable(&change.name));
        vec![manager, name, word(change.direction).to_owned(), list(&change.before), list(&change.after)]
    };
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    table::print_indented(&["PACKAGES", "NAME", "", "BEFORE", "AFTER"], &rows, 2);
}

fn sign(what: What) -> char {
    match what {
        What::Added => '+',
        What::Removed => '-',
        What::Changed => '~',
    }
}

fn folders(kind: &str, changes: &[FolderChange]) {
    changes.iter().for_each(|change| files(&format!("{kind} {}", change.name), &change.files));
}

fn files(title: &str, changes: &[FileChange]) {
    if !changes.is_empty() {
        line(&format!("  {title}"));
        changes.iter().for_each(|change| line(&format!("    {} {}", sign(change.what), change.path)));
    }
}

fn migrations(sign: char, set: &MigrationSet) {
    for (app, names) in &set.0 {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        line(&format!("  migrations {sign} {app}  {}", names.join(" ")));
    }
}

fn layers(changes: &Comparison) {
    let layers = &changes.layers;
    line(&format!("  layers  {} shared, {} gone, {} new", layers.shared, layers.before.len(), layers.after.len()));
    match layers.pull {
        Some(bytes) => line(&format!("  a node that has the first pulls {}", size(bytes))),
        None => line("  how much a node pulls is not known: an image was never packed"),
    }
}
