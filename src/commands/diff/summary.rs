//! A difference in a few lines: what a deploy or rollback would change in the images.

use std::collections::BTreeMap;

use serde::Serialize;
use shiplap_manifests::compare::{Both, Comparison, Direction};
use shiplap_manifests::release::{MigrationSet, StoredRelease};
use shiplap_registry::Images;

use super::{ImageReport, pairs, report_of};
use crate::failure::Result;
use crate::output::{self, printable};
use crate::subject::Subject;

/// What is different between the images of two releases.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The images, by name.
    pub images: BTreeMap<String, Difference>,
}

/// What is different in an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Only the second release has it.
    Came,
    /// Only the first release has it.
    Went,
    /// Nothing that is looked for.
    Same,
    /// So much.
    Changed(Box<Changes>),
    /// Its layers and its blobs are gone, or damaged: why it cannot be told.
    Unreadable(String),
}

/// How much is different, and where.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What both releases say of it, where they say something else: Tutor's version and plugins.
    pub facts: BTreeMap<String, Both<String>>,
    /// Of the platform, whether it is another commit, release or repository.
    pub platform: bool,
    /// Packages by what happened to them: how many.
    pub packages: BTreeMap<Direction, usize>,
    /// Themes that are different.
    pub themes: Vec<String>,
    /// Plugins from files that are different.
    pub plugins: Vec<String>,
    /// Files of settings that are different.
    pub settings: Vec<String>,
    /// Migrations that came.
    pub migrations_added: MigrationSet,
    /// Migrations that went.
    pub migrations_removed: MigrationSet,
    /// Layers that a node that has the first image lacks.
    pub layers: usize,
    /// The bytes that it pulls, if that is known.
    pub pull: Option<u64>,
}

/// Compares two releases as `diff` does. An image that cannot be read is told as such: nobody deploys by this.
pub fn of(images: &Images, before: StoredRelease, after: StoredRelease) -> Result<Summary> {
    let (before, after) = (Subject::of_release(images, before)?, Subject::of_release(images, after)?);
    let one = |(name, a, b): (String, _, _)| {
        let difference = match report_of(images, (&before, &after), (&name, a, b)) {
            Ok(report) => difference(report),
            Err(why) => Difference::Unreadable(why.to_string()),
        };
        (name, difference)
    };
    Ok(Summary { images: pairs(&before, &after).into_iter().map(one).collect() })
}

fn difference(report: ImageReport) -> Difference {
    match (report.changes, report.same) {
        (None, _) if report.before.is_none() => Difference::Came,
        (None, _) => Difference::Went,
        (Some(_), true) => Difference::Same,
        (Some(changes), false) => Difference::Changed(Box::new(Changes::of(report.facts, changes))),
    }
}

impl Changes {
    fn of(facts: BTreeMap<String, Both<String>>, all: Comparison) -> Self {
        let mut packages = BTreeMap::new();
        all.packages.iter().for_each(|change| *packages.entry(change.direction).or_insert(0) += 1);
        Self {
            facts,
            platform: all.platform.is_some(),
            packages,
            themes: all.themes.into_iter().map(|folder| folder.name).collect(),
            plugins: all.plugins.into_iter().map(|folder| folder.name).collect(),
            settings: all.settings.into_iter().map(|file| file.path).collect(),
            migrations_added: all.migrations_added,
            migrations_removed: all.migrations_removed,
            layers: all.layers.after.len(),
            pull: all.layers.pull,
        }
    }

    /// In words; nothing for what is the same.
    fn words(&self) -> String {
        let say = |side: &Option<String>| side.clone().unwrap_or_else(|| "not known".to_owned());
        let facts = self.facts.iter();
        let mut parts: Vec<String> =
            facts.map(|(name, both)| format!("{name} {} -> {}", say(&both.before), say(&both.after))).collect();
        if self.platform {
            parts.push("platform".to_owned());
        }
        let counts =
            self.packages.iter().map(|(direction, count)| format!("{count} {}", super::text::word(*direction)));
        named(&mut parts, "packages", &counts.collect::<Vec<_>>());
        named(&mut parts, "themes", &self.themes);
        named(&mut parts, "plugins", &self.plugins);
        named(&mut parts, "settings", &self.settings);
        for (word, set) in [("migrations came", &self.migrations_added), ("migrations went", &self.migrations_removed)]
        {
            let apps: Vec<String> = set.0.iter().map(|(app, names)| format!("{app} {}", names.len())).collect();
            named(&mut parts, word, &apps);
        }
        let pull = self.pull.map(|bytes| format!(" ({} to pull)", output::size(bytes))).unwrap_or_default();
        parts.push(match self.layers {
            0 => "no new layers".to_owned(),
            1 => format!("1 new layer{pull}"),
            layers => format!("{layers} new layers{pull}"),
        });
        parts.join("; ")
    }
}

fn named(parts: &mut Vec<String>, what: &str, all: &[String]) {
    const MOST: usize = 5;
    if !all.is_empty() {
        let more = if all.len() > MOST { format!(", and {} more", all.len() - MOST) } else { String::new() };
        parts.push(format!("{what} {}{more}", all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ")));
    }
}

/// Prints it, a line for each image.
pub fn show(summary: &Summary) {
    output::line("in the images:");
    for (name, difference) in &summary.images {
        let words = match difference {
            Difference::Came => "comes".to_owned(),
            Difference::Went => "goes".to_owned(),
            Difference::Same => "the same".to_owned(),
            Difference::Changed(changes) => changes.words(),
            Difference::Unreadable(why) => format!("not known: {why}"),
        };
        output::line(&printable(&format!("  {name}: {words}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_and_what_did_not_is_not() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let migrations =
            MigrationSet([("student".to_owned(), ["0001_a".to_owned(), "0002_b".to_owned()].into())].into());
        let tutor = Both { before: Some("20.0.1".to_owned()), after: None };
        let changes = Changes {
            facts: [("tutor".to_owned(), tutor)].into(),
            platform: true,
            packages: [(Direction::Up, 3), (Direction::Removed, 1)].into(),
            themes: names(&["indigo"]),
            settings: names(&["/1", "/2", "/3", "/4", "/5", "/6", "/7"]),
            migrations_removed: migrations,
            layers: 2,
            pull: Some(1_000),
            ..Changes::default()
        };
        assert_eq!(
            changes.words(),
            "tutor 20.0.1 -> not known; platform; packages 1 removed, 3 up; themes indigo; settings /1, /2, /3, /4, /5, and 2 more; \
             migrations went student 2; 2 new layers (1.00 kB to pull)"
        );
        assert_eq!(Changes::default().words(), "no new layers");
    }
}
