//! `shiplap images`

use std::process::ExitCode;

use serde::Serialize;
use shiplap_cache::ImageId;

use crate::app::App;
use crate::failure::Result;
use crate::{output, table};

/// List the images in the store
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: ImageId,
    created: Option<String>,
    platform: String,
    layers: usize,
    /// Bytes of the files in its layers.
    size: u64,
}

pub fn run(app: &App, _: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let mut rows = Vec::new();
    for (name, id) in images.list()? {
        let image = images.load(&id)?;
        let mut size = 0;
        for layer in &image.layers {
            size += images.store().layer_size(layer)?;
        }
        rows.push(Row {
            name: name.familiar(),
            id,
            created: image.config.get("created").and_then(|v| v.as_str()).map(str::to_owned),
            platform: image.platform().map(|p| p.to_string()).unwrap_or_default(),
            layers: image.layers.len(),
            size,
        });
    }
    if app.global.json {
        output::json(&rows)?;
    } else {
        let row = |r: &Row| {
            vec![
                r.name.clone(),
                r.id.short(),
                r.created.clone().unwrap_or_default(),
                r.platform.clone(),
                r.layers.to_string(),
                output::size(r.size),
            ]
        };
        table::print(
            &["NAME", "ID", "CREATED", "PLATFORM", "LAYERS", "SIZE"],
            &rows.iter().map(row).collect::<Vec<_>>(),
        );
    }
    Ok(ExitCode::SUCCESS)
}
