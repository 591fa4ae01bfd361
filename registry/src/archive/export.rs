//! Writing images into files, the same bytes each time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use shiplap_cache::{Digest, Store};

use super::docker::Item;
use super::layout::{CONTAINERD_NAME, REF_NAME};
use crate::error::At;
use crate::media::{Document, Index, LAYER_TAR, Manifest, OCI_MANIFEST};
use crate::pack::open_layer;
use crate::tarball::{Head, Kind, Writer, write_tree};
use crate::{Descriptor, Error, Image, Packed, Reference, Result};

/// The first file of a layout (image-spec, image-layout.md, *oci-layout file*).
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where the bytes of an exported file come from.
enum Content {
    Bytes(Vec<u8>),
    Blob(Digest, u64),
    /// A layer's tar, and its size.
    Tar(Box<shiplap_cache::LayerBlob>, u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(_, size) | Self::Tar(_, size) => *size,
        }
    }

    fn open<'a>(&'a self, store: &'a Store) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(&bytes[..]),
            Self::Blob(digest, _) => Box::new(store.blobs().open_blob(digest)?),
            Self::Tar(blob, _) => open_layer(store, blob)?,
        })
    }
}

type Files = BTreeMap<String, Content>;

/// Where a blob is in a layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The descriptors of an index: the manifest once for each name, or once without.
fn named(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    let with = |name: &Reference| {
        let tag = name.tag().map(|t| (REF_NAME.to_owned(), t.to_owned()));
        let full = (CONTAINERD_NAME.to_owned(), name.to_string());
        let own = manifest.annotations.clone().unwrap_or_default();
        Descriptor { annotations: Some(own.into_iter().chain(tag).chain([full]).collect()), ..manifest.clone() }
    };
    if names.is_empty() { vec![manifest.clone()] } else { names.iter().map(with).collect() }
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value).map_err(shiplap_cache::Error::from)?)
}

fn index(manifest: &Descriptor, names: &[Reference]) -> Result<Content> {
    let index = Index::new(named(manifest, names));
    to_json(&index).map(Content::Bytes)
}

fn layout_files(store: &Store, packed: &Packed, names: &[Reference]) -> Result<Files> {
    let manifest = &packed.manifest;
    let bytes = store.blobs().read(&manifest.digest)?;
    let mut files = Files::new();
    files.insert("oci-layout".into(), Content::Bytes(LAYOUT.to_vec()));
    files.insert("index.json".into(), index(manifest, names)?);
    if let Document::Manifest(document) = Document::parse(&bytes, manifest.digest)? {
        for blob in document.layers.iter().chain([&document.config]) {
            files.insert(blob_name(&blob.digest), Content::Blob(blob.digest, blob.size));
        }
    }
    files.insert(blob_name(&manifest.digest), Content::Bytes(bytes));
    Ok(files)
}

/// Writes an image as an OCI layout into a folder that is new or empty. It is there whole or not at all.
///
/// # Errors
/// [`Error::Exists`], a blob is missing or damaged, the disk is full, ...
pub fn export_layout(store: &Store, packed: &Packed, names: &[Reference], folder: &Path) -> Result<()> {
    let files = layout_files(store, packed, names)?;
    let taken = match std::fs::read_dir(folder) {
        Ok(mut items) => items.next().is_some(),
        Err(e) => e.kind() == io::ErrorKind::NotADirectory,
    };
    if taken {
        return Err(Error::Exists(folder.to_owned()));
    }
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::Builder::new().prefix(".shiplap-export-").tempdir_in(parent).at("write", parent)?;
    let blobs = beside.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).at("make", &blobs)?;
    for (name, content) in &files {
        let at = beside.path().join(name);
        let mut out = std::fs::File::create_new(&at).at("write", &at)?;
        io::copy(&mut content.open(store)?, &mut out).at("write", &at)?;
        out.sync_all().at("write", &at)?;
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(beside.path(), std::fs::Permissions::from_mode(0o755)).at("write", folder)?;
    std::fs::rename(beside.path(), folder).at("write", folder)?;
    shiplap_cache::durable::sync_dir(parent).at("write", parent)?;
    // It stands in its place now; there is nothing left to remove.
    let _ = beside.keep();
    Ok(())
}

/// Writes an image as a tar of an OCI layout.
///
/// # Errors
/// A blob is missing or damaged, or writing fails.
pub fn export_layout_tar(store: &Store, packed: &Packed, names: &[Reference], out: impl Write) -> Result<()> {
    write_files(store, &layout_files(store, packed, names)?, out)
}

/// Writes an image as `docker load` and podman read it: an OCI layout whose layers are not compressed, with Docker's own
/// `manifest.json` beside, as `docker save` does since Docker 25.
///
/// # Errors
/// As [`export_layout_tar`].
pub fn export_docker(store: &Store, packed: &Packed, names: &[Reference], out: impl Write) -> Result<()> {
    let config = Descriptor::new(crate::media::OCI_CONFIG, packed.config.digest, packed.config.size);
    let mut files = Files::new();
    let mut layers = Vec::new();
    for blob in &packed.layers {
        // The header before the tar wants its size, which nobody wrote down.
        let at = store.blobs().path(&blob.digest);
        let size = match io::copy(&mut open_layer(store, blob)?, &mut io::sink()) {
            Ok(size) => size,
            // A decompressor that stumbles says little: the digest tells whether the blob is to blame.
            Err(e) => {
                store.blobs().verify(&blob.digest)?;
                return Err(e).at("decompress", &at);
            }
        };
        files.insert(blob_name(&blob.diff_id), Content::Tar(Box::new(blob.clone()), size));
        layers.push(Descriptor::new(LAYER_TAR, blob.diff_id, size));
    }
    let item = Item {
        config: blob_name(&config.digest),
        repo_tags: Some(names.iter().filter(|n| n.tag().is_some()).map(Reference::familiar).collect()),
        layers: packed.layers.iter().map(|l| blob_name(&l.diff_id)).collect(),
    };
    files.insert(item.config.clone(), Content::Blob(config.digest, config.size));
    let media_type = Some(OCI_MANIFEST.to_owned());
    let annotations = match Document::parse(&store.blobs().read(&packed.manifest.digest)?, packed.manifest.digest)? {
        Document::Manifest(manifest) => manifest.annotations,
        Document::Index(_) => None,
    };
    let manifest = to_json(&Manifest {
        schema_version: 2,
        media_type,
        artifact_type: None,
        config,
        layers,
        subject: None,
        annotations,
    })?;
    let annotations = packed.manifest.annotations.clone();
    let descriptor = Descriptor { annotations, ..Descriptor::of(OCI_MANIFEST, &manifest) };
    files.insert(blob_name(&descriptor.digest), Content::Bytes(manifest));
    files.insert("oci-layout".into(), Content::Bytes(LAYOUT.to_vec()));
    files.insert("index.json".into(), index(&descriptor, names)?);
    files.insert("manifest.json".into(), Content::Bytes(to_json(&[item])?));
    write_files(store, &files, out)
}

/// The documents of an archive that both older engines (`manifest.json`) and newer ones (an OCI layout) load, by path: config and layers are
/// blobs beside them, under [`blob_name`].
pub(crate) fn docker_files(
    (manifest, manifest_bytes): &(Descriptor, Vec<u8>),
    (config, config_bytes): &(Descriptor, Vec<u8>),
    layers: &[Digest],
    names: &[Reference],
) -> Result<BTreeMap<String, Vec<u8>>> {
    let item = Item {
        config: blob_name(&config.digest),
        // In full: Podman takes a short name for one of its own, `localhost/...`.
        repo_tags: Some(names.iter().filter(|n| n.tag().is_some()).map(Reference::to_string).collect()),
        layers: layers.iter().map(blob_name).collect(),
    };
    Ok(BTreeMap::from([
        (blob_name(&config.digest), config_bytes.clone()),
        (blob_name(&manifest.digest), manifest_bytes.clone()),
        ("oci-layout".into(), LAYOUT.to_vec()),
        ("index.json".into(), to_json(&Index::new(named(manifest, names)))?),
        ("manifest.json".into(), to_json(&[item])?),
    ]))
}

/// Writes an image's files as one tar, as `docker export` does.
///
/// # Errors
/// A layer is missing or damaged, or writing fails.
pub fn export_rootfs(store: &Store, image: &Image, clamp: Option<i64>, out: impl Write) -> Result<()> {
    write_tree(out, store, &*store.tree(&image.layers)?, clamp)
}

fn write_files(store: &Store, files: &Files, out: impl Write) -> Result<()> {
    let to = Path::new("the archive");
    let mut writer = Writer::new(io::BufWriter::with_capacity(1 << 17, out));
    for folder in ["blobs/", "blobs/sha256/"] {
        let head = Head { path: folder.into(), kind: Kind::Dir, mode: 0o755, ..Head::default() };
        writer.entry(&head, io::empty()).at("write", to)?;
    }
    for (name, content) in files {
        let head = Head { path: name.clone().into(), mode: 0o644, size: content.size(), ..Head::default() };
        let mut reader = content.open(store)?;
        writer.entry(&head, &mut reader).at("write", to)?;
        // To the end, where a damaged blob is found.
        io::copy(&mut reader, &mut io::sink()).at("read", to)?;
    }
    writer.finish().at("write", to)?.flush().at("write", to)
}
