//! Importing an OCI layout; since Docker 25, `docker save` writes one too.

use std::io;

use rayon::prelude::*;
use shiplap_cache::{Digest, LayerBlob, Store};

use super::source::Source;
use super::{Choice, Format, ImportOptions, Imported, InLayout, choose, json};
use crate::adopt::{self, Step};
use crate::compress::decompress;
use crate::error::At;
use crate::image::ConfigFile;
use crate::media::{self, Document, Index, LAYER_TAR, Manifest};
use crate::{Descriptor, Error, Images, Reference, Result, origin};

/// The tag (image-spec, annotations.md).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, by containerd.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";

pub(super) fn import(images: &Images, source: &Source, options: &ImportOptions) -> Result<Imported> {
    let index: Index = json(source, "index.json")?;
    let manifests = match &options.in_layout {
        None => index.manifests,
        Some(wanted) => pick(source, index.manifests, wanted)?,
    };
    let chosen = choose(source.path(), grouped(manifests), options.name.as_ref())?;
    let (digest, manifest) = manifest(images.store(), source, &chosen.item, options)?;
    adopt::check_types(&manifest, digest)?;
    copy(images.store(), source, &manifest.config)?;
    let config_digest = manifest.config.digest;
    let config = ConfigFile::parse(&images.store().blobs().read(&config_digest)?, config_digest)?;
    adopt::check_layers(&manifest, digest, &config)?;
    let blobs = adopt::blobs_of(&manifest, &config);
    let layers: Vec<_> = blobs
        .into_par_iter()
        .zip(origin::chain(&config.diff_ids))
        .map(|(blob, chain)| layer(images.store(), source, blob, &chain))
        .collect::<Result<_>>()?;
    // A manifest with layers that are not compressed names blobs that are not kept.
    let kept = manifest.layers.iter().all(|l| media::layer(&l.media_type) != Some(LAYER_TAR)).then_some(digest);
    let image = adopt::assemble(images, config, Some(config_digest), layers, kept)?;
    Ok(Imported { image, format: Format::OciLayout, names: chosen.names, manifest: kept })
}

/// The image with a tag or a digest.
fn pick(source: &Source, manifests: Vec<Descriptor>, wanted: &InLayout) -> Result<Vec<Descriptor>> {
    let tags: Vec<String> = manifests.iter().filter_map(tag).collect();
    let is_wanted = |item: &Descriptor| match wanted {
        InLayout::Tag(wanted) => tag(item).as_ref() == Some(wanted),
        InLayout::Digest(wanted) => item.digest == *wanted,
    };
    let found: Vec<Descriptor> = manifests.into_iter().filter(is_wanted).collect();
    match (found.is_empty(), wanted) {
        (false, _) => Ok(found),
        (true, InLayout::Tag(tag)) => {
            let all = if tags.is_empty() { "nothing with a tag".to_owned() } else { tags.join(", ") };
            Err(source.bad(format!("it holds no tag {tag}, but {all}")))
        }
        (true, InLayout::Digest(digest)) => Err(source.bad(format!("its index does not hold {digest}"))),
    }
}

fn tag(item: &Descriptor) -> Option<String> {
    let note = |key: &str| item.annotations.as_ref()?.get(key);
    // Docker puts the tag alone there, others the whole name.
    let of_name = |name: &String| name.parse::<Reference>().ok()?.tag().map(str::to_owned);
    match note(REF_NAME) {
        Some(tag) if !tag.contains(['/', ':']) => Some(tag.clone()),
        name => of_name(name.or_else(|| note(CONTAINERD_NAME))?),
    }
}

/// The images of a layout: one manifest may stand in the index several times, once for each name.
fn grouped(manifests: Vec<Descriptor>) -> Vec<Choice<Descriptor>> {
    let mut all: Vec<Choice<Descriptor>> = Vec::new();
    for item in manifests {
        if item.platform.as_ref().is_some_and(|p| p.os == "unknown") {
            continue;
        }
        let note = |key: &str| item.annotations.as_ref().and_then(|a| a.get(key)).cloned();
        // A tag alone, as the specification has it, names no repository.
        let name = note(CONTAINERD_NAME).or_else(|| note(REF_NAME).filter(|n| n.contains(['/', ':'])));
        let name = name.and_then(|n| n.parse::<Reference>().ok());
        match all.iter_mut().find(|c| c.item.digest == item.digest) {
            Some(same) => same.names.extend(name),
            None => all.push(Choice { item, names: name.into_iter().collect() }),
        }
    }
    all
}

fn manifest(
    store: &Store,
    source: &Source,
    chosen: &Descriptor,
    options: &ImportOptions,
) -> Result<(Digest, Manifest)> {
    let mut at = chosen.clone();
    // An index in the index, as buildx writes for each name.
    for _ in 0..3 {
        copy(store, source, &at)?;
        match Document::parse(&store.blobs().read(&at.digest)?, at.digest)? {
            Document::Manifest(manifest) => return Ok((at.digest, manifest)),
            Document::Index(index) => {
                at = index.pick(&options.platform, &source.path().display().to_string())?.clone();
            }
        }
    }
    Err(source.bad("its indexes are nested too deep".into()))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Copies a blob into the store and checks it.
fn copy(store: &Store, source: &Source, blob: &Descriptor) -> Result<()> {
    if store.blobs().size(&blob.digest)? == Some(blob.size) {
        return Ok(());
    }
    let mut reader = source.open_file(&blob_name(&blob.digest))?;
    let mut writer = store.blobs().writer()?;
    io::copy(&mut reader, &mut writer).at("copy a blob of", source.path())?;
    match writer.commit(Some((&blob.digest, blob.size))) {
        Err(e @ (shiplap_cache::Error::WrongDigest { .. } | shiplap_cache::Error::WrongSize { .. })) => {
            Err(source.bad(format!("it is damaged: {e}")))
        }
        committed => Ok(committed.map(drop)?),
    }
}

fn layer(store: &Store, source: &Source, blob: LayerBlob, chain: &Digest) -> Result<(Option<LayerBlob>, Step)> {
    if blob.media_type == LAYER_TAR {
        let name = blob_name(&blob.digest);
        let tar = decompress(source.open_file(&name)?).map_err(Error::from_read(source.path()))?.0;
        return adopt::take_tar(store, tar, &format!("{name} in {}", source.path().display()), &blob.diff_id, chain);
    }
    copy(store, source, &Descriptor::new(&blob.media_type, blob.digest, blob.size))?;
    let step = adopt::unpack_blob(store, &blob, chain)?;
    Ok((Some(blob), step))
}
