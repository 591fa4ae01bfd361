//! `shiplap diff`

mod markdown;
pub mod summary;
mod text;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use shiplap_cache::Digest;
use shiplap_manifests::compare::{self, Both, Comparison, Side};
use shiplap_manifests::names::ImageName;
use shiplap_registry::Images;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::subject::{Subject, SubjectImage};

/// Show what is different between two releases or images
///
/// Packages that came, went or moved up or down, themes and plugins by file, settings, migrations, layers, and how much a node that has the first must
/// pull for the second. Nothing is run, pulled or unpacked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `INSTANCE@VERSION` twice, an instance and two versions, or two images; of an instance and one version the newest release is
    /// the other side
    #[arg(value_name = "A B", num_args = 2..=3, required = true)]
    what: Vec<String>,
    /// Only this image of the instance
    #[arg(long, value_name = "NAME")]
    image: Option<ImageName>,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// End with 1 when something is different, as git does
    #[arg(long)]
    exit_code: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For a terminal
    #[default]
    Text,
    /// For a merge request of GitHub or GitLab
    Markdown,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    /// What was compared.
    pub before: String,
    pub after: String,
    /// Whether anything is different.
    pub different: bool,
    pub images: Vec<ImageReport>,
}

/// An image that both sides have, or one of them.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    pub name: String,
    pub before: Option<Digest>,
    pub after: Option<Digest>,
    /// What both releases say of it, where they say something else: Tutor's version, ...
    pub facts: BTreeMap<String, Both<String>>,
    /// None where only one side has the image.
    pub changes: Option<Comparison>,
    #[serde(skip)]
    same: bool,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let (before, after) = match args.what.as_slice() {
        [instance, before, after] => {
            let side = |version: &String| Subject::find(app, &images, instance, Some(version));
            (side(before)?, side(after)?)
        }
        [instance, version] if is_version_of(app, instance, version)? => {
            (Subject::find(app, &images, instance, Some(version))?, Subject::find(app, &images, instance, None)?)
        }
        [before, after] => (Subject::find(app, &images, before, None)?, Subject::find(app, &images, after, None)?),
        _ => return Err(Failure::new(Kind::Usage, "two releases or images are compared")),
    };
    let report = report(&images, args, before, after)?;
    match (app.global.json, args.format) {
        (true, _) => output::json(&report)?,
        (false, Format::Text) => text::show(&report),
        (false, Format::Markdown) => output::line(markdown::write(&report).trim_end()),
    }
    Ok(if args.exit_code && report.different { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether `campus 1.0.0` is an instance and a version, and not two images.
fn is_version_of(app: &App, instance: &str, version: &str) -> Result<bool> {
    let is_version = shiplap_manifests::version::parse(version).is_ok();
    Ok(is_version && app.config()?.is_some_and(|config| config.instance(instance).is_ok()))
}

fn report(images: &Images, args: &Args, mut before: Subject, mut after: Subject) -> Result<Report> {
    before.only(args.image.as_ref())?;
    after.only(args.image.as_ref())?;
    let mut reports = Vec::new();
    for (name, a, b) in pairs(&before, &after) {
        reports.push(report_of(images, (&before, &after), (&name, a, b))?);
    }
    let different = reports.iter().any(|report| !report.same);
    let schema = "shiplap.diff/1";
    Ok(Report { schema, before: title(&before), after: title(&after), different, images: reports })
}

/// An image's name, and what each side has of it.
type Pair = (String, Option<SubjectImage>, Option<SubjectImage>);

/// The images of both sides, by name.
fn pairs(before: &Subject, after: &Subject) -> Vec<Pair> {
    // Two images are compared whatever their names are.
    match (before.images.as_slice(), after.images.as_slice()) {
        ([a], [b]) if before.release.is_none() || after.release.is_none() => {
            vec![(b.name.clone(), Some(a.clone()), Some(b.clone()))]
        }
        (a, b) => {
            let mut all: BTreeMap<String, (Option<SubjectImage>, Option<SubjectImage>)> = BTreeMap::new();
            a.iter().for_each(|image| all.entry(image.name.clone()).or_default().0 = Some(image.clone()));
            b.iter().for_each(|image| all.entry(image.name.clone()).or_default().1 = Some(image.clone()));
            all.into_iter().map(|(name, (a, b))| (name, a, b)).collect()
        }
    }
}

/// What is different in an image.
fn report_of(
    images: &Images,
    (before, after): (&Subject, &Subject),
    (name, a, b): (&str, Option<SubjectImage>, Option<SubjectImage>),
) -> Result<ImageReport> {
    let digest = |side: &Option<SubjectImage>| side.as_ref().and_then(|image| image.digest);
    let (digest_a, digest_b) = (digest(&a), digest(&b));
    let changes = match (&a, &b) {
        (Some(a), Some(b)) => {
            let (holds_a, holds_b) = (a.read(images)?, b.read(images)?);
            let side = |holds, digest| Side { holds, digest };
            Some(compare::compare(side(&holds_a, digest_a), side(&holds_b, digest_b)))
        }
        _ => None,
    };
    let facts = facts(before, after, name);
    let same = changes.as_ref().is_some_and(Comparison::is_empty) && facts.is_empty();
    Ok(ImageReport { name: name.to_owned(), before: digest_a, after: digest_b, facts, changes, same })
}

fn title(subject: &Subject) -> String {
    match (&subject.release, subject.images.as_slice()) {
        (Some(stored), _) => format!("{}@{}", stored.release.instance, stored.release.version),
        (None, images) => images.first().map(|image| image.name.clone()).unwrap_or_default(),
    }
}

/// What two releases say about an image in words: hashes are not of interest, what they are of is compared itself.
fn facts(before: &Subject, after: &Subject, name: &str) -> BTreeMap<String, Both<String>> {
    let of = |side: &Subject| -> BTreeMap<String, String> {
        let inputs = side.release.iter().flat_map(|stored| &stored.release.inputs);
        let facts = inputs.filter(|(image, _)| image.as_str() == name).flat_map(|(_, inputs)| inputs.facts.clone());
        facts.filter(|(name, _)| ["tutor", "tutor plugins"].contains(&name.as_str())).collect()
    };
    let (before, after) = (of(before), of(after));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let both = |name: &String| Both { before: before.get(name).cloned(), after: after.get(name).cloned() };
    let all = names.into_iter().map(|name| (name.clone(), both(name)));
    all.filter(|(_, both)| both.before != both.after).collect()
}
