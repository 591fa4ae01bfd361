//! Signing an image, and saying whether it is signed.

use std::fmt;

use serde::Serialize;
use shiplap_cache::Digest;

use super::{BUNDLE, PrivateKey, PublicKey, bundle, simple};
use crate::{Images, Repository, Result};

/// How a signature is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A payload under a tag beside the image.
    Tag,
    /// A bundle that is attached to the image.
    Bundle,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tag => "tag",
            Self::Bundle => "bundle",
        })
    }
}

/// A signature that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How it is kept.
    pub form: Form,
    /// The payload, or the manifest of the bundle.
    pub digest: Digest,
}

/// What is known of an image's signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Those that are by the key and over the image.
    pub good: Vec<Verified>,
    /// Why the others are not.
    pub bad: Vec<String>,
}

impl Verdict {
    /// Whether the image is signed by the key.
    pub fn is_good(&self) -> bool {
        !self.good.is_empty()
    }

    /// Why it is not.
    pub fn why(&self) -> String {
        match self.bad.as_slice() {
            [] => "it has no signature".to_owned(),
            bad => bad.join("; "),
        }
    }

    fn add(&mut self, form: Form, digest: Digest, checked: std::result::Result<(), String>) {
        match checked {
            Ok(()) => self.good.push(Verified { form, digest }),
            Err(why) => self.bad.push(why),
        }
    }

    fn has(&self, form: Form) -> bool {
        self.good.iter().any(|good| good.form == form)
    }
}

/// What signing made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The manifest of the signatures under the tag.
    pub tag: Digest,
    /// The manifest of the bundle, where there was none by this key.
    pub bundle: Option<Digest>,
    /// Whether anything is new.
    pub created: bool,
}

impl Images {
    /// Signs a manifest or index that is here, in both forms. Signatures by other keys stay; where this key's are here already, nothing
    /// changes.
    ///
    /// # Errors
    /// The manifest is not here, the system has no random numbers, or the store fails.
    pub fn sign(&self, repository: &Repository, image: &Digest, key: &PrivateKey) -> Result<Signed> {
        let verdict = self.verify_signature(repository, image, &key.public())?;
        let mut layers = simple::layers(self, repository, image)?;
        let created = !verdict.has(Form::Tag);
        if created {
            layers.push(simple::make(self, repository, image, key)?);
        }
        let tag = simple::keep(self, repository, image, layers)?;
        let bundle = match verdict.has(Form::Bundle) {
            true => None,
            false => Some(self.attach(image, &bundle::make(image, key)?)?.manifest.digest),
        };
        Ok(Signed { tag, bundle, created: created || bundle.is_some() })
    }

    /// Says whether an image is signed by a key, by what is in the store. A signature that cannot be read is not good.
    ///
    /// # Errors
    /// The store fails.
    pub fn verify_signature(&self, repository: &Repository, image: &Digest, key: &PublicKey) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        match simple::layers(self, repository, image) {
            Ok(layers) => {
                for layer in layers {
                    verdict.add(Form::Tag, layer.digest, simple::check(self, &layer, image, key));
                }
            }
            Err(error) => verdict.bad.push(format!("its signatures cannot be read: {error}")),
        }
        match self.referrers_of_type(image, BUNDLE) {
            Ok(bundles) => {
                for attached in bundles {
                    let checked = attached.blobs.first().ok_or("a bundle is empty".to_owned()).and_then(|blob| {
                        let bytes = self.store().blobs().read(&blob.digest).map_err(|e| e.to_string())?;
                        bundle::check(&bytes, image, key)
                    });
                    verdict.add(Form::Bundle, attached.manifest.digest, checked);
                }
            }
            Err(error) => verdict.bad.push(format!("what is attached to it cannot be read: {error}")),
        }
        Ok(verdict)
    }

    /// Takes over the signatures of a manifest that came from a registry, beside those that are here.
    ///
    /// # Errors
    /// It cannot be read, or the store fails.
    pub fn merge_signatures(&self, repository: &Repository, image: &Digest, theirs: &Digest) -> Result<Digest> {
        // Theirs first: where ours has nothing more, the manifest is as it was there.
        let mut layers = simple::layers_of(self, theirs)?;
        let mine = simple::layers(self, repository, image)?;
        let added = mine.into_iter().filter(|layer| !layers.contains(layer)).collect::<Vec<_>>();
        if added.is_empty() {
            self.tag(repository, &simple::signature_tag(image), theirs)?;
            return Ok(*theirs);
        }
        layers.extend(added);
        simple::keep(self, repository, image, layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Document, Manifest};
    use crate::referrers::tests::{images, packed};

    fn repository() -> Repository {
        "campus/openedx".parse().unwrap()
    }

    fn key() -> PrivateKey {
        PrivateKey::generate().unwrap()
    }

    /// Changes the manifest under the tag of an image's signatures.
    fn tamper(images: &Images, image: &Digest, change: impl FnOnce(&mut Manifest)) {
        let tag = simple::signature_tag(image);
        let digest = images.tag_digest(&repository().tagged(&tag).unwrap()).unwrap().unwrap();
        let bytes = images.store().blobs().read(&digest).unwrap();
        let Document::Manifest(mut manifest) = Document::parse(&bytes, digest).unwrap() else { panic!() };
        change(&mut manifest);
        let digest = images.store().blobs().put(&serde_json::to_vec(&manifest).unwrap()).unwrap();
        images.tag(&repository(), &tag, &digest).unwrap();
    }

    #[test]
    fn a_signed_image_is_good_for_its_key_and_for_no_other() {
        let (_home, images) = images();
        let (one, other, key) = (packed(&images, "one"), packed(&images, "other"), key());
        let verify = |image, key: &PrivateKey| images.verify_signature(&repository(), image, &key.public()).unwrap();
        assert_eq!(verify(&one, &key).why(), "it has no signature");
        assert!(images.sign(&repository(), &one, &key).unwrap().created);
        let forms: Vec<Form> = verify(&one, &key).good.iter().map(|good| good.form).collect();
        assert_eq!(forms, [Form::Tag, Form::Bundle]);
        assert!(!verify(&other, &key).is_good());
        let stranger = verify(&one, &PrivateKey::generate().unwrap());
        assert!(!stranger.is_good() && stranger.why().contains("another key"), "{stranger:?}");
    }

    #[test]
    fn signing_again_changes_nothing_and_another_key_is_added() {
        let (_home, images) = images();
        let (image, first, second) = (packed(&images, "one"), key(), key());
        let signed = images.sign(&repository(), &image, &first).unwrap();
        let again = images.sign(&repository(), &image, &first).unwrap();
        assert_eq!((again.tag, again.bundle, again.created), (signed.tag, None, false));
        assert!(images.sign(&repository(), &image, &second).unwrap().created);
        for key in [&first, &second] {
            let verdict = images.verify_signature(&repository(), &image, &key.public()).unwrap();
            assert_eq!((verdict.good.len(), verdict.bad.len()), (2, 2));
        }
    }

    #[test]
    fn a_signature_of_another_image_moved_over_is_found() {
        let (_home, images) = images();
        let (one, other, key) = (packed(&images, "one"), packed(&images, "other"), key());
        images.sign(&repository(), &other, &key).unwrap();
        let theirs = images.tag_digest(&repository().tagged(&simple::signature_tag(&other)).unwrap()).unwrap().unwrap();
        images.tag(&repository(), &simple::signature_tag(&one), &theirs).unwrap();
        let bundle = images.referrers_of_type(&other, BUNDLE).unwrap();
        let bytes = images.store().blobs().read(&bundle[0].blobs[0].digest).unwrap();
        let moved = crate::Artifact { artifact_type: BUNDLE.to_owned(), bytes, ..crate::Artifact::default() };
        images.attach(&one, &moved).unwrap();
        let verdict = images.verify_signature(&repository(), &one, &key.public()).unwrap();
        assert!(!verdict.is_good());
        assert_eq!(
            verdict.bad,
            [format!("a signature is of another image, {other}"), "a bundle is of another image".into()]
        );
    }

    #[test]
    fn a_changed_payload_or_signature_is_found() {
        let (_home, images) = images();
        let (image, key) = (packed(&images, "one"), key());
        let verdict = |change: &dyn Fn(&mut Manifest)| {
            images
                .tag(
                    &repository(),
                    &simple::signature_tag(&image),
                    &simple::keep(
                        &images,
                        &repository(),
                        &image,
                        vec![simple::make(&images, &repository(), &image, &key).unwrap()],
                    )
                    .unwrap(),
                )
                .unwrap();
            assert!(images.verify_signature(&repository(), &image, &key.public()).unwrap().is_good());
            tamper(&images, &image, change);
            images.verify_signature(&repository(), &image, &key.public()).unwrap()
        };
        let payload = images.store().blobs().put(br#"{"critical":{"image":{}}}"#).unwrap();
        let changed = verdict(&|manifest| manifest.layers[0].digest = payload);
        assert!(changed.why().contains("was changed"), "{changed:?}");
        let changed = verdict(&|manifest| manifest.layers[0].annotations = None);
        assert_eq!(changed.why(), "a payload has no signature");
        let changed = verdict(&|manifest| {
            let notes = manifest.layers[0].annotations.as_mut().unwrap();
            notes.values_mut().for_each(|text| *text = "MEUCIQ==".to_owned());
        });
        assert!(changed.why().contains("another key"), "{changed:?}");
        let changed = verdict(&|manifest| manifest.layers[0].digest = Digest::of(b"missing"));
        assert!(!changed.is_good());
        let changed = verdict(&|manifest| manifest.layers.clear());
        assert_eq!(changed.why(), "it has no signature");
    }

    #[test]
    fn signatures_of_a_registry_stand_beside_those_of_the_store() {
        let (_home, images) = images();
        let (_other_home, elsewhere) = self::images();
        let (image, mine, theirs) = (packed(&images, "one"), key(), key());
        packed(&elsewhere, "one");
        let signed = elsewhere.sign(&repository(), &image, &theirs).unwrap();
        for layer in simple::layers(&elsewhere, &repository(), &image).unwrap() {
            images.store().blobs().put(&elsewhere.store().blobs().read(&layer.digest).unwrap()).unwrap();
        }
        images.store().blobs().put(&elsewhere.store().blobs().read(&signed.tag).unwrap()).unwrap();
        assert_eq!(images.merge_signatures(&repository(), &image, &signed.tag).unwrap(), signed.tag);
        images.sign(&repository(), &image, &mine).unwrap();
        images.merge_signatures(&repository(), &image, &signed.tag).unwrap();
        for key in [mine, theirs] {
            let verdict = images.verify_signature(&repository(), &image, &key.public()).unwrap();
            assert!(verdict.good.iter().any(|good| good.form == Form::Tag), "{verdict:?}");
        }
    }
}
