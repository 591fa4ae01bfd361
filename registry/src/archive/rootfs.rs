//! Importing a root file system, as `docker import` does.

use serde_json::{Map, Value};

use super::source::Source;
use super::{Format, ImportOptions, Imported};
use crate::image::ConfigFile;
use crate::{History, Images, Result, adopt};

pub(super) fn import(images: &Images, source: &Source, options: &ImportOptions) -> Result<Imported> {
    let label = source.path().display().to_string();
    let (step, diff_id) = adopt::unpack_tar(images.store(), source.whole()?, &label, None)?;
    let mut config = Map::new();
    config.insert("architecture".into(), options.platform.architecture.clone().into());
    config.insert("os".into(), options.platform.os.clone().into());
    if let Some(variant) = &options.platform.variant {
        config.insert("variant".into(), variant.clone().into());
    }
    if let Some(created) = &options.created {
        config.insert("created".into(), created.clone().into());
    }
    config.insert("config".into(), Value::Object(options.config.clone()));
    let line =
        History { created: options.created.clone(), created_by: Some("shiplap import".into()), ..History::default() };
    let config = ConfigFile { config, history: vec![line], diff_ids: vec![diff_id] };
    // No blob is remembered: packed by us, equal files have equal bytes, however their tar was made.
    let image = adopt::assemble(images, config, None, vec![(None, step)], None)?;
    Ok(Imported { image, format: Format::Rootfs, names: Vec::new(), manifest: None })
}
