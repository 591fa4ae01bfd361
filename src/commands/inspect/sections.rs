//! The sections of `inspect`, for people.

use std::collections::BTreeMap;

use clap::ValueEnum;
use shiplap_manifests::contents::{Manager, Package, Source};
use shiplap_manifests::inspect::{Folder, Inspection};

use crate::output::{self, printable, size};
use crate::table;

/// `--section`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Repository, commit and Open edX release of the platform
    Platform,
    /// Version of Tutor and its plugins, as the release has them
    Tutor,
    /// Python distributions
    Python,
    /// npm packages
    Npm,
    /// Packages of the distribution
    System,
    /// XBlocks and Django applications
    EntryPoints,
    /// Themes
    Themes,
    /// Distributions that were installed from files
    Plugins,
    /// Settings
    Settings,
    /// Translations
    Locales,
    /// Django migrations
    Migrations,
    /// Sizes by what files are for, and by layer
    Sizes,
    /// Records that could not be read
    NotRead,
}

/// Facts of a release about an image.
type Facts = BTreeMap<String, String>;

/// Without a choice, all sections: long lists are counted there, and shown when they are asked for.
pub fn show(holds: &Inspection, facts: Option<&Facts>, wanted: &[Section]) {
    let all = Section::value_variants().iter().filter(|section| wanted.is_empty() || wanted.contains(section));
    for section in all {
        section.show(holds, facts, !wanted.is_empty());
    }
}

impl Section {
    fn show(self, holds: &Inspection, facts: Option<&Facts>, full: bool) {
        match self {
            Self::Platform => platform(holds),
            Self::Tutor => tutor(facts, full),
            Self::Python => packages("python", &of(holds, &[Manager::Python]), true),
            Self::Npm => npm(holds, full),
            Self::System => packages(&system(holds), &of(holds, &[Manager::Debian, Manager::Alpine]), full),
            Self::EntryPoints => entry_points(holds),
            Self::Themes => folders("themes", &holds.themes, full),
            Self::Plugins => folders("plugins from files", &holds.plugins, full),
            Self::Settings => settings(holds, full),
            Self::Locales => locales(holds, full),
            Self::Migrations => migrations(holds, full),
            Self::Sizes => sizes(holds),
            Self::NotRead => not_read(holds),
        }
    }
}

fn line(text: &str) {
    output::line(&printable(text));
}

fn title(text: &str) {
    line("");
    line(text);
}

fn rows(header: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    table::print_indented(header, &rows, 2);
}

fn platform(holds: &Inspection) {
    let Some(platform) = &holds.platform else { return };
    title(&format!("platform  {}", platform.folder));
    let unknown = "not known: the image has no .git";
    line(&format!("  release     {}", platform.release.as_deref().unwrap_or("not known")));
    line(&format!("  repository  {}", platform.repository.as_deref().unwrap_or(unknown)));
    line(&format!("  commit      {}", platform.commit.as_deref().unwrap_or(unknown)));
}

fn tutor(facts: Option<&Facts>, full: bool) {
    let fact = |name: &str| facts.and_then(|facts| facts.get(name));
    match fact("tutor") {
        Some(version) => {
            title(&format!("tutor  {version}"));
            line(&format!("  plugins  {}", fact("tutor plugins").map_or("", String::as_str)));
        }
        None if full => title("tutor  not known: the release does not say it, or this is no release"),
        None => {}
    }
}

fn of<'a>(holds: &'a Inspection, managers: &[Manager]) -> Vec<&'a Package> {
    holds.contents.packages.iter().filter(|package| managers.contains(&package.manager)).collect()
}

fn system(holds: &Inspection) -> String {
    let name = holds.contents.system.as_ref().map(|system| system.name.as_deref().unwrap_or(&system.id));
    format!("system  {}", name.unwrap_or("not known"))
}

fn npm(holds: &Inspection, full: bool) {
    let (top, deeper): (Vec<&Package>, Vec<&Package>) =
        of(holds, &[Manager::Npm]).into_iter().partition(|package| package.is_top_level());
    packages("npm", &top, full);
    if !deeper.is_empty() {
        line(&format!("  and {} inside of other packages (--json lists them)", deeper.len()));
    }
}

fn packages(name: &str, packages: &[&Package], full: bool) {
    if packages.is_empty() {
        return;
    }
    title(&format!("{name}  ({})", packages.len()));
    if !full {
        line("  --section lists them");
        return;
    }
    let row = |package: &&Package| vec![package.name.clone(), package.version.clone(), source(package)];
    rows(&["NAME", "VERSION", "SOURCE"], &packages.iter().map(row).collect::<Vec<_>>());
}

fn source(package: &Package) -> String {
    match (&package.source, package.manager) {
        (Some(Source::Git { url, commit }), _) => format!("{url} @ {commit}"),
        (Some(Source::Url { url }), _) => url.clone(),
        (Some(Source::Local { path, editable }), _) => {
            let path = path.as_deref().unwrap_or("a folder");
            if *editable { format!("{path} (editable)") } else { path.to_owned() }
        }
        (Some(Source::Package { name, version }), _) => format!("{name} {version}"),
        (None, Manager::Python) => "index".to_owned(),
        (None, Manager::Npm) => "registry".to_owned(),
        (None, _) => String::new(),
    }
}

fn entry_points(holds: &Inspection) {
    if holds.entry_points.is_empty() {
        return;
    }
    title(&format!("XBlocks and Django applications  ({})", holds.entry_points.len()));
    let row = |e: &shiplap_manifests::inspect::EntryPoint| {
        vec![e.group.clone(), e.name.clone(), e.object.clone(), e.distribution.clone()]
    };
    rows(&["GROUP", "NAME", "OBJECT", "DISTRIBUTION"], &holds.entry_points.iter().map(row).collect::<Vec<_>>());
}

fn folders(name: &str, folders: &[Folder], full: bool) {
    if folders.is_empty() {
        return;
    }
    title(&format!("{name}  ({})", folders.len()));
    for folder in folders {
        line(&format!("  {}  {}  {} files  {}", folder.name, folder.path, folder.files.len(), folder.hash));
        if full {
            folder.files.keys().for_each(|path| line(&format!("    {}", path.to_string().trim_start_matches('/'))));
        }
    }
}

fn settings(holds: &Inspection, full: bool) {
    let Some(settings) = &holds.settings else { return };
    title(&format!("settings  {} files without secrets  {}", settings.files.len(), settings.hash));
    if full {
        settings.files.iter().for_each(|(path, hash)| line(&format!("  {}  {path}", hash.short())));
    }
}

fn locales(holds: &Inspection, full: bool) {
    if holds.locales.is_empty() {
        return;
    }
    title("locales");
    for locales in &holds.locales {
        match full {
            true => {
                let languages: Vec<&str> = locales.languages.iter().map(String::as_str).collect();
                line(&format!("  {}  {}", locales.folder, languages.join(" ")));
            }
            false => line(&format!("  {}  {} languages", locales.folder, locales.languages.len())),
        }
    }
}

fn migrations(holds: &Inspection, full: bool) {
    let all = &holds.migrations.0;
    if all.is_empty() {
        return;
    }
    let count: usize = all.values().map(std::collections::BTreeSet::len).sum();
    title(&format!("migrations  {count} of {} applications", all.len()));
    for (app, names) in all {
        match (full, names.last()) {
            (true, _) => line(&format!("  {app}  {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(" "))),
            (false, Some(last)) => line(&format!("  {app}  {} up to {last}", names.len())),
            (false, None) => {}
        }
    }
}

fn sizes(holds: &Inspection) {
    let sizes = &holds.sizes;
    let compressed =
        sizes.compressed.map_or_else(|| "never packed".to_owned(), |bytes| format!("{} compressed", size(bytes)));
    title(&format!("sizes  {} in {} files, {compressed}", size(sizes.visible.bytes), sizes.visible.files));
    let by_category: Vec<Vec<String>> = sizes
        .categories
        .iter()
        .map(|(category, bytes)| vec![category.words().to_owned(), size(bytes.bytes), bytes.files.to_string()])
        .collect();
    rows(&["FOR", "BYTES", "FILES"], &by_category);
    line("");
    let by_layer: Vec<Vec<String>> = sizes
        .layers
        .iter()
        .map(|layer| {
            vec![
                layer.id.short(),
                layer.compressed.map(size).unwrap_or_default(),
                size(layer.bytes),
                size(layer.hidden),
                layer.entries.to_string(),
                layer.step.as_deref().map_or_else(|| "not known".to_owned(), shorten),
            ]
        })
        .collect();
    rows(&["LAYER", "BLOB", "BYTES", "HIDDEN", "ENTRIES", "STEP"], &by_layer);
}

/// A step in one line.
fn shorten(step: &str) -> String {
    let words = step.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(100) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

fn not_read(holds: &Inspection) {
    if holds.contents.not_read.is_empty() {
        return;
    }
    title("not read");
    holds.contents.not_read.iter().for_each(|record| line(&format!("  {}: {}", record.path, record.why)));
}
