//! `shiplap inspect`

mod sections;

use std::process::ExitCode;

use serde::Serialize;
use shiplap_manifests::inspect::Inspection;
use shiplap_manifests::names::ImageName;
use shiplap_manifests::release::StoredRelease;

use crate::app::App;
use crate::failure::Result;
use crate::output;
use crate::subject::{Subject, SubjectImage};
use sections::Section;

/// Show what a release or an image holds
///
/// Platform, Tutor, packages, XBlocks, themes, plugins, settings, translations, Django migrations, and where the bytes are. It is read from layer indices
/// and small files: nothing is run, pulled or unpacked, and an image of which only the blobs are here is read too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An instance of shiplap.toml, for its newest release or another one, or an image of the store
    #[arg(value_name = "INSTANCE[@VERSION]|IMAGE")]
    what: String,
    /// Only this image of the instance
    #[arg(long, value_name = "NAME")]
    image: Option<ImageName>,
    /// Only this section, with all its lines; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    section: Vec<Section>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    release: Option<&'a StoredRelease>,
    images: Vec<One>,
}

#[derive(Debug, Serialize)]
struct One {
    #[serde(flatten)]
    image: SubjectImage,
    #[serde(flatten)]
    holds: Inspection,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let mut subject = Subject::find(app, &images, &args.what, None)?;
    subject.only(args.image.as_ref())?;
    let release = subject.release.as_ref();
    let one = |image: &SubjectImage| Ok(One { image: image.clone(), holds: image.read(&images)? });
    let report =
        Report { schema: "shiplap.inspect/1", release, images: subject.images.iter().map(one).collect::<Result<_>>()? };
    if app.global.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(StoredRelease { release, digest }) = release {
        output::line(&format!("{} {} (release {}, {digest})", release.instance, release.tag, release.sequence));
        output::line(&format!("  created {} by {}", release.created, release.creator));
        output::line(&format!(
            "  from {} {}",
            release.git.remote.as_deref().unwrap_or("a repository without remote"),
            release.git.commit.as_str()
        ));
    }
    for One { image, holds } in &report.images {
        output::line("");
        output::line(&format!("image {}  {}", image.name, image.reference));
        let facts =
            release.and_then(|stored| stored.release.inputs.iter().find(|(name, _)| name.as_str() == image.name));
        sections::show(holds, facts.map(|(_, inputs)| &inputs.facts), &args.section);
    }
    Ok(ExitCode::SUCCESS)
}
