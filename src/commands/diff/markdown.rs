//! A difference for a merge request of GitHub or GitLab.
//!
//! Everything from an image is escaped: a name in it must not become a link, a mention, an image or a tag of HTML.

use shiplap_manifests::compare::{Comparison, Direction, FileChange, What};
use shiplap_manifests::release::MigrationSet;

use super::text::word;
use super::{ImageReport, Report};
use crate::output::size;

/// A comment has a limit (65,536 characters at GitHub): a table has at most this many rows, and the rest is counted.
const MOST_ROWS: usize = 200;

pub fn write(report: &Report) -> String {
    let mut out = format!("### {} to {}\n", escape(&report.before), escape(&report.after));
    report.images.iter().for_each(|one| image(&mut out, one));
    out
}

fn image(out: &mut String, report: &ImageReport) {
    let name = escape(&report.name);
    let Some(changes) = &report.changes else {
        let word = if report.before.is_none() { "came" } else { "went" };
        out.push_str(&format!("\n#### Image {name} {word}\n"));
        return;
    };
    out.push_str(&format!("\n#### Image {name}\n\n"));
    if report.same {
        out.push_str("Nothing is different.\n");
        return;
    }
    out.push_str(&format!("{}\n", summary(changes)));
    if !changes.migrations_added.0.is_empty() {
        let apps = changes.migrations_added.0.keys().map(|app| escape(app)).collect::<Vec<_>>().join(", ");
        out.push_str(&format!("\n**Migrations came for {apps}: a rollback does not take them back.**\n"));
    }
    let said = |value: &Option<String>| escape(value.as_deref().unwrap_or("not known"));
    let facts: Vec<Vec<String>> =
        report.facts.iter().map(|(name, both)| vec![escape(name), said(&both.before), said(&both.after)]).collect();
    table(out, "Tutor", &["", "Before", "After"], &facts);
    platform(out, changes);
    packages(out, changes);
    let points: Vec<Vec<String>> = [("added", &changes.entry_points_added), ("removed", &changes.entry_points_removed)]
        .into_iter()
        .flat_map(|(word, all)| {
            all.iter().map(move |e| vec![word.to_owned(), escape(&e.group), escape(&e.name), escape(&e.object)])
        })
        .collect();
    table(out, "XBlocks and Django applications", &["", "Group", "Name", "Object"], &points);
    for (kind, folders) in [("Theme", &changes.themes), ("Plugin", &changes.plugins)] {
        folders.iter().for_each(|change| files(out, &format!("{kind} {}", escape(&change.name)), &change.files));
    }
    files(out, "Settings", &changes.settings);
    migrations(out, changes);
    locales(out, changes);
    layers(out, changes);
}

fn summary(changes: &Comparison) -> String {
    let count = |direction| changes.packages.iter().filter(|change| change.direction == direction).count();
    let migrations = |set: &MigrationSet| set.iter().count();
    let pull = changes.layers.pull.map_or_else(|| "an unknown amount".to_owned(), size);
    format!(
        "Packages: {} added, {} removed, {} up, {} down, {} changed. Migrations: {} added, {} removed. Layers: {} shared, {} new; a node that has the \
         first pulls {pull}.",
        count(Direction::Added),
        count(Direction::Removed),
        count(Direction::Up),
        count(Direction::Down),
        count(Direction::Changed),
        migrations(&changes.migrations_added),
        migrations(&changes.migrations_removed),
        changes.layers.shared,
        changes.layers.after.len()
    )
}

fn platform(out: &mut String, changes: &Comparison) {
    let Some(both) = &changes.platform else { return };
    let field = |name: &str, of: &dyn Fn(&shiplap_manifests::inspect::Platform) -> Option<String>| {
        let say = |side: &Option<shiplap_manifests::inspect::Platform>| {
            escape(side.as_ref().and_then(of).as_deref().unwrap_or("none"))
        };
        vec![name.to_owned(), say(&both.before), say(&both.after)]
    };
    let rows = [
        field("release", &|p| p.release.clone()),
        field("repository", &|p| p.repository.clone()),
        field("commit", &|p| p.commit.clone()),
    ];
    table(out, "Platform", &["", "Before", "After"], &rows);
}

fn packages(out: &mut String, changes: &Comparison) {
    let row = |change: &shiplap_manifests::compare::PackageChange| {
        let (manager, name, word) =
            (change.manager.to_string(), escape(&change.name), word(change.direction).to_owned());
        vec![manager, name, word, escape(&change.before.join(", ")), escape(&change.after.join(", "))]
    };
    let rows: Vec<Vec<String>> = changes.packages.iter().map(row).collect();
    table(out, "Packages", &["By", "Name", "", "Before", "After"], &rows);
}

fn files(out: &mut String, title: &str, changes: &[FileChange]) {
    let word = |what| match what {
        What::Added => "added",
        What::Removed => "removed",
        What::Changed => "changed",
    };
    let rows: Vec<Vec<String>> = changes.iter().map(|c| vec![word(c.what).to_owned(), escape(&c.path)]).collect();
    table(out, title, &["", "File"], &rows);
}

fn migrations(out: &mut String, changes: &Comparison) {
    let rows: Vec<Vec<String>> = [("added", &changes.migrations_added), ("removed", &changes.migrations_removed)]
        .into_iter()
        .flat_map(|(word, set)| set.iter().map(move |one| vec![word.to_owned(), escape(&one.app), escape(&one.name)]))
        .collect();
    table(out, "Migrations", &["", "Application", "Name"], &rows);
}

fn locales(out: &mut String, changes: &Comparison) {
    let row = |change: &shiplap_manifests::compare::LocaleChange| {
        vec![escape(&change.folder), escape(&change.added.join(" ")), escape(&change.removed.join(" "))]
    };
    let rows: Vec<Vec<String>> = changes.locales.iter().map(row).collect();
    table(out, "Locales", &["Folder", "Added", "Removed"], &rows);
}

fn layers(out: &mut String, changes: &Comparison) {
    let row = |layer: &shiplap_manifests::inspect::Layer| {
        let step = layer.step.as_deref().unwrap_or("not known");
        vec![layer.id.short(), layer.compressed.map(size).unwrap_or_default(), escape(step)]
    };
    let rows: Vec<Vec<String>> = changes.layers.after.iter().map(row).collect();
    table(out, "New layers", &["Layer", "Blob", "Step"], &rows);
}

/// A table that is shown when somebody clicks on its title; nothing where there are no rows.
fn table(out: &mut String, title: &str, header: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    out.push_str(&format!("\n<details><summary>{title} ({})</summary>\n\n", rows.len()));
    out.push_str(&format!("| {} |\n|{}\n", header.join(" | "), " --- |".repeat(header.len())));
    for row in rows.iter().take(MOST_ROWS) {
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    if rows.len() > MOST_ROWS {
        out.push_str(&format!("\nand {} more\n", rows.len() - MOST_ROWS));
    }
    out.push_str("\n</details>\n");
}

/// Text as text. What is no plain word stands in `<code>`, where neither site looks for mentions, references and links, and characters of Markdown and HTML
/// are references in it (CommonMark 0.31, section 2.5), which are text wherever they stand.
fn escape(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || " .,-+=()".contains(c);
    if text.chars().all(is_plain) && !text.to_lowercase().contains("www.") {
        return text.to_owned();
    }
    let mut out = String::from("<code>");
    for c in text.chars() {
        match c {
            c if c.is_control() => out.push(' '),
            c if is_plain(c) && c != '.' => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out + "</code>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape(""), "");
        assert_eq!(escape("react 17.0.2-rc.1+x"), "react 17.0.2-rc.1+x");
        for bad in [
            "<img src=x>",
            "[a](http://x)",
            "a|b",
            "`a`",
            "**a**",
            "@team",
            "#1",
            "!5",
            "https://x",
            "a\nb",
            "&lt;",
            "~a~",
            "$a$",
            ":tada:",
            "\\a",
            "_a_",
            "www.example.org",
        ] {
            let escaped = escape(bad);
            let escaped = escaped.strip_prefix("<code>").and_then(|rest| rest.strip_suffix("</code>")).unwrap();
            let rest =
                escaped.split("&#").map(|part| part.split_once(';').map_or(part, |(_, rest)| rest)).collect::<String>();
            assert!(
                !rest.contains([
                    '<', '>', '[', ']', '|', '`', '*', '@', '!', '/', '\n', '~', '$', ':', '\\', '_', '#', '&'
                ]),
                "{bad}: {escaped}"
            );
        }
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let mut out = String::new();
        table(&mut out, "Packages", &["a"], &vec![vec!["x".to_owned()]; MOST_ROWS + 7]);
        assert_eq!(out.matches("| x |").count(), MOST_ROWS);
        assert!(out.contains("and 7 more") && out.contains("(207)"), "{out}");
        let mut none = String::new();
        table(&mut none, "Packages", &["a"], &[]);
        assert_eq!(none, "");
    }
}
