//! Is an image here, all of it?

use shiplap_cache::{Digest, Store};

use crate::media::Document;
use crate::{Descriptor, Error, Result};

pub(crate) fn check(store: &Store, manifest: &Digest, bytes: bool) -> Result<u64> {
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
        None => Err(fail(what, &d.digest, "is missing".into())),
        Some(size) if size != d.size => Err(fail(what, &d.digest, format!("has {size} bytes, not {}", d.size))),
        Some(_) if bytes => match store.blobs().verify(&d.digest) {
            Ok(size) => Ok(size),
            Err(e) => Err(fail(what, &d.digest, format!("is damaged: {e}"))),
        },
        Some(size) => Ok(size),
    };
    match Document::parse(&document, *manifest)? {
        Document::Manifest(m) => {
            m.layers.iter().try_fold(own + part("config", &m.config)?, |sum, layer| Ok(sum + part("layer", layer)?))
        }
        Document::Index(index) => {
            index.manifests.iter().try_fold(own, |sum, image| Ok(sum + check(store, &image.digest, bytes)?))
        }
    }
}
