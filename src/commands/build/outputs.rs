//! `--push` and `--output`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shiplap_builder::build::Built;
use shiplap_registry::{Images, Reference};

use super::fields::fields;
use super::flags::Flags;
use super::pack_options;
use crate::app::App;
use crate::commands::export::{self, Format};
use crate::failure::{Failure, Kind, Result};

/// Where an output goes, and in which format.
fn parse(output: &str) -> Result<(Format, PathBuf)> {
    let fields: BTreeMap<String, String> = fields("--output", output)?.into_iter().collect();
    let expected = || Failure::new(Kind::Usage, format!("--output {output}: expected type=oci|docker|tar,dest=FILE"));
    let dest = fields.get("dest").ok_or_else(expected)?;
    let format = match fields.get("type").map(String::as_str) {
        Some("oci") => Format::OciArchive,
        Some("docker") => Format::DockerArchive,
        Some("tar") => Format::Rootfs,
        _ => return Err(expected()),
    };
    Ok((format, dest.into()))
}

/// Says what is wrong with the flags, before anything is built.
pub fn check(flags: &Flags, names: &[Reference]) -> Result<()> {
    if flags.push && names.is_empty() {
        return Err(Failure::new(Kind::Usage, "--push needs a name").hint("give one with -t REGISTRY/NAME:TAG"));
    }
    flags.output.iter().try_for_each(|output| parse(output).map(drop))
}

/// Takes the image where the flags say.
pub async fn write(app: &App, images: &Images, flags: &Flags, built: &Built, names: &[Reference]) -> Result<()> {
    if !flags.push && flags.output.is_empty() {
        return Ok(());
    }
    let options = pack_options(flags.compression.map(super::flags::CompressionKind::config))?;
    if flags.push {
        let packed = images.pack(&built.image, &options, &*app.progress)?;
        let client = app.client();
        for name in names {
            client.push(images, &packed.manifest.digest, name).await?;
        }
    }
    for output in &flags.output {
        let (format, dest) = parse(output)?;
        export::write(app, images, &built.image, names, format, &options, &dest)?;
    }
    Ok(())
}
