//! Is an image here, all of it?

use std::cell::RefCell;

use shiplap_cache::{Digest, Store};

use crate::media::Document;
use crate::{Descriptor, Error, Result};

/// Which state of a blob's file was read to its end and found right.
pub(crate) const VERIFIED: &str = "verified";

/// Reads a blob to its end, unless its file is as it was when that was done before: whoever writes to it changes its times. So a
/// release is read once, and going back to it at night takes no time.
fn verify(store: &Store, digest: &Digest) -> Result<(), shiplap_cache::Error> {
    let state = state(store, digest);
    if state.is_some() && store.name(VERIFIED, &digest.hex())? == state {
        return Ok(());
    }
    store.blobs().verify(digest)?;
    note(store, digest, state)
}

/// Notes that a blob's file is right as it is.
pub(crate) fn note_verified(store: &Store, digest: &Digest) -> Result<(), shiplap_cache::Error> {
    note(store, digest, state(store, digest))
}

fn note(store: &Store, digest: &Digest, state: Option<String>) -> Result<(), shiplap_cache::Error> {
    match state {
        Some(state) => store.set_name(VERIFIED, &digest.hex(), &state),
        None => Ok(()),
    }
}

/// What `stat(2)` says of a blob's file, taken before it is read.
fn state(store: &Store, digest: &Digest) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(store.blobs().path(digest)).ok()?;
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    Some(format!("{}:{} {} {modified:?} {changed:?}", meta.dev(), meta.ino(), meta.len()))
}

/// Whether a layer's blob need not be here.
type Away<'a> = dyn Fn(&Digest) -> Result<bool> + 'a;

pub(crate) fn check(store: &Store, manifest: &Digest, bytes: bool) -> Result<u64> {
    check_parts(store, manifest, bytes, &|_| Ok(false))
}

/// As [`check`]; a blob that a tier in use has counts as being here.
pub(crate) fn check_anywhere(store: &Store, manifest: &Digest) -> Result<u64> {
    check_parts(store, manifest, false, &|blob| Ok(!store.blob_places(blob)?.is_empty()))
}

/// As [`check`]; these need not be here.
pub(crate) fn check_but(store: &Store, manifest: &Digest, these: &[Digest]) -> Result<u64> {
    check_parts(store, manifest, false, &|blob| Ok(these.contains(blob)))
}

/// The layers that a manifest names and that are not here.
pub(crate) fn missing_layers(store: &Store, manifest: &Digest) -> Result<Vec<Digest>> {
    let missing = RefCell::new(Vec::new());
    check_parts(store, manifest, false, &|blob| {
        missing.borrow_mut().push(*blob);
        Ok(true)
    })?;
    Ok(missing.into_inner())
}

fn check_parts(store: &Store, manifest: &Digest, bytes: bool, away: &Away<'_>) -> Result<u64> {
    let fail = |what, digest: &Digest, problem: String| Error::NotWhole {
        manifest: *manifest,
        what,
        digest: *digest,
        problem,
    };
    let document = match store.blobs().read(manifest) {
        Ok(document) => document,
        Err(shiplap_cache::Error::MissingBlob(_)) => return Err(fail("manifest", manifest, "is missing".into())),
        Err(e) => return Err(fail("manifest", manifest, format!("cannot be read: {e}"))),
    };
    let own = document.len() as u64;
    let part = |what: &'static str, d: &Descriptor| match store.blobs().size(&d.digest)? {
        None if what == "layer" && away(&d.digest)? => Ok(d.size),
        None => Err(fail(what, &d.digest, "is missing".into())),
        Some(size) if size != d.size => Err(fail(what, &d.digest, format!("has {size} bytes, not {}", d.size))),
        Some(size) if bytes => match verify(store, &d.digest) {
            Ok(()) => Ok(size),
            Err(e) => Err(fail(what, &d.digest, format!("is damaged: {e}"))),
        },
        Some(size) => Ok(size),
    };
    match Document::parse(&document, *manifest)? {
        Document::Manifest(m) => {
            m.layers.iter().try_fold(own + part("config", &m.config)?, |sum, layer| Ok(sum + part("layer", layer)?))
        }
        Document::Index(index) => {
            index.manifests.iter().try_fold(own, |sum, image| Ok(sum + check_parts(store, &image.digest, bytes, away)?))
        }
    }
}
