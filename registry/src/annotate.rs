//! Notes on an image (image-spec, annotations.md).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Descriptor, Images, Packed, Result};

/// Notes on an image, by where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// In the manifest.
    pub manifest: BTreeMap<String, String>,
    /// In the descriptor of the manifest, where an index has one.
    pub descriptor: BTreeMap<String, String>,
}

impl Annotations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.manifest.is_empty() && self.descriptor.is_empty()
    }
}

impl Images {
    /// The same image with notes: another manifest, and nothing else that is new.
    ///
    /// # Errors
    /// The manifest cannot be read, or the new one cannot be written.
    pub fn annotate(&self, mut packed: Packed, annotations: &Annotations) -> Result<Packed> {
        if !annotations.manifest.is_empty() {
            let blobs = self.store().blobs();
            // Not through our own type: what it has no field for stays.
            let mut manifest: Map<String, Value> =
                serde_json::from_slice(&blobs.read(&packed.manifest.digest)?).map_err(shiplap_cache::Error::from)?;
            let mut notes = manifest.get("annotations").and_then(Value::as_object).cloned().unwrap_or_default();
            notes.extend(annotations.manifest.iter().map(|(name, text)| (name.clone(), text.clone().into())));
            manifest.insert("annotations".to_owned(), notes.into());
            let bytes = serde_json::to_vec(&manifest).map_err(shiplap_cache::Error::from)?;
            blobs.put(&bytes)?;
            let noted = Descriptor::of(&packed.manifest.media_type, &bytes);
            let plain = std::mem::replace(&mut packed.manifest, noted);
            if let Some(image) = self.image_of(&plain.digest)? {
                self.remember(&packed.manifest.digest, &image)?;
            }
        }
        if !annotations.descriptor.is_empty() {
            packed.manifest.annotations.get_or_insert_default().extend(annotations.descriptor.clone());
        }
        Ok(packed)
    }
}
