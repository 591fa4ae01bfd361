//! `shiplap export`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use shiplap_cache::ImageId;
use shiplap_registry::{Image, Images, Packed, Reference, archive};

use crate::app::App;
use crate::commands::build::packing::{CompressionKind, Packing};
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Write an image of the store to a file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, by a name or by its id
    name: Reference,
    /// The file, or the folder for an OCI layout; `-` writes to standard output
    dest: PathBuf,
    /// What is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How layers are compressed
    #[arg(long, value_name = "KIND")]
    compression: Option<CompressionKind>,
}

/// The formats of images as files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A folder in the OCI image layout
    #[default]
    OciLayout,
    /// A tar of an OCI image layout
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
    /// A tar of all files, as a container sees them
    Rootfs,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let image = find_whole(app, &images, &args.name).await?;
    let packing = Packing::plain(args.compression)?;
    // An id is no name to be found by elsewhere.
    let names = if images.resolve(&args.name)?.is_some() { std::slice::from_ref(&args.name) } else { &[] };
    write(app, &images, &image, names, args.format, &packing, &args.dest)?;
    app.progress.finish();
    if args.dest.as_os_str() != "-" {
        output::line(&args.dest.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// The image of a name in the store, or of an id as `shiplap build -q` prints it, from twelve digits on, with its layers.
pub fn find(images: &Images, name: &Reference) -> Result<Image> {
    Ok(images.load_with_layers(&find_id(images, name)?)?)
}

/// As [`find`]; layers that only a cache has come here now.
pub async fn find_whole(app: &App, images: &Images, name: &Reference) -> Result<Image> {
    let image = find(images, name)?;
    if !images.has_layers(&image)?
        && let Some(remote) = app.remote(images)?
    {
        remote.sync().await?;
        if remote.layers(&image.layers).await?.is_err() {
            let what = format!("no cache has all layers of {} any more", name.familiar());
            return Err(
                Failure::new(Kind::Missing, what).hint("build it again: its steps run where their layers are gone")
            );
        }
    }
    Ok(image)
}

/// The id of such an image, whether its layers are here or not.
pub fn find_id(images: &Images, name: &Reference) -> Result<ImageId> {
    let id = name.repository().familiar();
    let is_id = (12..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    let found = match images.resolve(name)? {
        None if is_id => match images.with_id(&id)?.as_slice() {
            [] => None,
            [one] => Some(*one),
            [..] => return Err(Failure::new(Kind::Usage, format!("several images have ids that begin with {id}"))),
        },
        found => found,
    };
    found.ok_or_else(|| {
        Failure::new(Kind::Missing, format!("there is no image {} in the store", name.familiar()))
            .hint("`shiplap images` and `shiplap tags` list them; `shiplap pull` gets one")
    })
}

/// Writes an image in a format, and says how it was packed, where it was. A file is there whole or not at all.
pub fn write(
    app: &App,
    images: &Images,
    image: &Image,
    names: &[Reference],
    format: Format,
    packing: &Packing,
    dest: &Path,
) -> Result<Option<Packed>> {
    let store = images.store();
    let packed = match format {
        Format::Rootfs => None,
        _ => Some(packing.pack(app, images, image)?),
    };
    let to = |out: &mut dyn Write| match (&packed, format) {
        (None, _) => archive::export_rootfs(store, image, packing.options.clamp, out),
        (Some(packed), Format::DockerArchive) => archive::export_docker(store, packed, names, out),
        (Some(packed), _) => archive::export_layout_tar(store, packed, names, out),
    };
    match &packed {
        Some(packed) if format == Format::OciLayout => archive::export_layout(store, packed, names, dest)?,
        _ => write_file(dest, |out| Ok(to(out)?))?,
    }
    Ok(packed)
}

fn write_file(dest: &Path, to: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", dest.display()));
    if dest.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        return to(&mut out).and_then(|()| out.flush().map_err(failed));
    }
    if dest.exists() && !dest.is_file() {
        // A device or a pipe is written to as it is.
        let mut out = BufWriter::new(File::options().write(true).open(dest).map_err(failed)?);
        return to(&mut out).and_then(|()| out.flush().map_err(failed));
    }
    let folder = dest.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::new(Kind::Missing, format!("there is no folder {} to write to", folder.display())));
    }
    let mut out =
        BufWriter::with_capacity(1 << 20, shiplap_cache::durable::DurableFile::new_in(folder).map_err(failed)?);
    to(&mut out)?;
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.for_people().and_then(|file| file.persist(dest)).map_err(failed)
}
