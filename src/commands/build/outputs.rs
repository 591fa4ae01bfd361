//! `--push` and `--output`.

use shiplap_builder::build::Built;
use shiplap_registry::{Images, Reference};

use super::flags::{Flags, fields};
use super::pack_options;
use crate::app::App;
use crate::commands::export::{self, Format};
use crate::failure::{Failure, Kind, Result};

/// Takes the image where the flags say.
pub async fn write(app: &App, images: &Images, flags: &Flags, built: &Built, names: &[Reference]) -> Result<()> {
    if !flags.push && flags.output.is_empty() {
        return Ok(());
    }
    let options = pack_options(flags.compression.map(super::flags::CompressionKind::config))?;
    if flags.push {
        if names.is_empty() {
            return Err(Failure::new(Kind::Usage, "--push needs a name").hint("give one with -t REGISTRY/NAME:TAG"));
        }
        let packed = images.pack(&built.image, &options, &*app.progress)?;
        let client = app.client();
        for name in names {
            client.push(images, &packed.manifest.digest, name).await?;
        }
    }
    for output in &flags.output {
        let fields = fields("--output", output)?;
        let expected =
            || Failure::new(Kind::Usage, format!("--output {output}: expected type=oci|docker|tar,dest=FILE"));
        let dest = fields.get("dest").ok_or_else(expected)?;
        let format = match fields.get("type").map(String::as_str) {
            Some("oci") => Format::OciArchive,
            Some("docker") => Format::DockerArchive,
            Some("tar") => Format::Rootfs,
            _ => return Err(expected()),
        };
        export::write(app, images, &built.image, names, format, &options, dest.as_ref())?;
    }
    Ok(())
}
