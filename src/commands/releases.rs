//! `shiplap releases`

use std::process::ExitCode;

use super::build::only_instance;
use crate::app::App;
use crate::failure::Result;
use crate::{output, shared, table};

/// List the releases of an instance, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance [default: the only one of shiplap.toml]
    instance: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
}

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let name = args.instance.clone().map_or_else(|| only_instance(app), Ok)?;
    let config = app.need_config()?;
    let (instance, _) = config.instance(&name)?;
    let images = app.images()?;
    let mut history = app.history(&images)?;
    shared::look(app, Some(&config), &mut history)?;
    let releases = history.releases(instance, Some(args.limit))?;
    let current = history.current(instance)?.map(|deployment| deployment.release);
    if app.global.json {
        output::json(&releases)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |release: &shiplap_manifests::history::ReleaseRow| {
        let here = if current == Some(release.sequence) { "deployed" } else { "" };
        vec![
            release.sequence.0.to_string(),
            release.version.to_string(),
            release.tag.to_string(),
            release.created.to_string(),
            here.to_owned(),
        ]
    };
    table::print(&["SEQ", "VERSION", "TAG", "CREATED", ""], &releases.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}
