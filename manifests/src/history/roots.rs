//! What the history needs of the store.

use std::cell::RefCell;
use std::collections::HashMap;

use shiplap_cache::Digest;
use shiplap_cache::collect::Need;
use shiplap_registry::Root;

use super::{History, read_manifest};
use crate::{Error, Result};

/// The images of releases that were read: a release never changes.
#[derive(Debug, Default)]
pub struct Releases(RefCell<HashMap<Digest, Vec<Root>>>);

impl History {
    /// What must stay for the releases of all instances: their manifests and their images. Deployments name releases and nothing else, and no
    /// release is ever removed. Images that are only in a registry need nothing here.
    ///
    /// # Errors
    /// The database fails, or a manifest is missing or damaged: then nobody knows what it needs.
    pub fn roots(&self, read: &Releases) -> Result<Vec<Root>> {
        let mut roots = Vec::new();
        for instance in self.instances()? {
            for row in self.releases(&instance, None)? {
                if let Some(known) = read.0.borrow().get(&row.digest) {
                    roots.extend_from_slice(known);
                    continue;
                }
                let name = format!("{instance} {}", row.version);
                let root = |digest, is_manifest| Root { digest, is_manifest, need: Need::Release, name: name.clone() };
                let mut of_release = vec![root(row.digest, false)];
                let release = read_manifest(self.blobs(), &instance, &row).map_err(|e| Error::Damaged {
                    instance: instance.clone(),
                    what: format!("the manifest of release {} ({}) cannot be read: {e}", row.sequence, row.version),
                })?;
                for image in release.images {
                    if self.blobs().size(&image.digest)?.is_some() {
                        of_release.push(root(image.digest, true));
                    }
                }
                roots.extend_from_slice(&of_release);
                read.0.borrow_mut().insert(row.digest, of_release);
            }
        }
        Ok(roots)
    }
}
