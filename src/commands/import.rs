//! `shiplap import`

use std::path::PathBuf;
use std::process::ExitCode;

use shiplap_builder::dockerfile::{self, BuildOptions};
use shiplap_registry::Reference;
use shiplap_registry::archive::{self, ImportOptions};

use crate::app::App;
use crate::commands::build::flags::platform;
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Take an image into the store: a root file system, a docker-archive or an OCI layout
///
/// The format is told by what is in the file. A tar may be compressed with gzip or zstd.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The tar, or the folder of an OCI layout
    file: PathBuf,
    /// The name that the image gets [default: those in the archive]
    name: Option<Reference>,
    /// A Dockerfile instruction to apply to a root file system: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, WORKDIR, ...
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// The platform of a root file system; which image of a multi-platform archive
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Which image of an archive with several
    #[arg(long, value_name = "NAME")]
    source: Option<Reference>,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let platform = platform(args.platform.as_deref())?;
    if !args.file.exists() {
        return Err(Failure::new(Kind::Missing, format!("there is no file {}", args.file.display())));
    }
    let images = app.images()?;
    let text = platform.to_string();
    let options = ImportOptions {
        in_layout: None,
        name: args.source.clone(),
        platform: text.parse().map_err(|e| Failure::new(Kind::Usage, format!("the platform {text}: {e}")))?,
        config: changes(&args.change)?,
        created: None,
    };
    let imported = archive::import(&images, &args.file, &options)?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => imported.names.clone(),
    };
    for name in &names {
        images.name(name, &imported.image)?;
    }
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    if app.global.json {
        output::json(&serde_json::json!({"id": imported.image, "names": names}))?;
    } else {
        output::line(&format!("{}  {}", imported.image.short(), names.join(", ")));
    }
    if names.is_empty() {
        eprintln!("warning: the image has no name: import it again with one");
    }
    Ok(ExitCode::SUCCESS)
}

/// What instructions make of an empty configuration.
fn changes(instructions: &[String]) -> Result<serde_json::Map<String, serde_json::Value>> {
    let text = format!("FROM scratch\n{}\n", instructions.join("\n"));
    let wrong = |error: &dyn std::error::Error| Failure::new(Kind::Usage, format!("--change: {error}"));
    let graph = dockerfile::parse("--change", &text)
        .and_then(|file| file.resolve(&BuildOptions::default()))
        .map_err(|e| wrong(&e))?;
    let plan = graph.lower(&|_| None).map_err(|e| wrong(&e))?;
    let stage = plan.stage(plan.target);
    if let Some(step) =
        stage.steps.iter().find(|step| step.makes_layer() && !step.text.to_uppercase().starts_with("WORKDIR"))
    {
        return Err(Failure::new(
            Kind::Usage,
            format!("--change: `{}` changes files, not the configuration", step.text),
        ));
    }
    let serde_json::Value::Object(mut config) = serde_json::to_value(&stage.config.config)? else {
        return Ok(serde_json::Map::new());
    };
    // `FROM scratch` begins in /, an import says nothing of it.
    if !stage.steps.iter().any(|step| step.makes_layer()) {
        config.remove("WorkingDir");
    }
    Ok(config)
}
