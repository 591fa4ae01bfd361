//! What the local store knows of images: records, names, tags.

use std::sync::Arc;

use shiplap_cache::{Digest, ImageId, Store};

use crate::tag::ReleaseTag;
use crate::{Error, Image, Of, PackOptions, Packed, Progress, Reference, Repository, Result};

pub(crate) const RECORDS: &str = "image";
pub(crate) const NAMES: &str = "image-name";
/// The space of tags; its names are `registry/path:tag`.
pub(crate) const TAGS: &str = "tag";
pub(crate) const MANIFESTS: &str = "manifest";
/// What is noted of a manifest whose layers need not be here.
const ELSEWHERE: &str = "layers-elsewhere";

/// The images of a store.
#[derive(Debug, Clone)]
pub struct Images {
    store: Arc<Store>,
}

impl Images {
    /// The images of this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Keeps an image.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, image: &Image) -> Result<ImageId> {
        let bytes = image.to_bytes();
        let id = ImageId::of(&bytes);
        self.store.set_name(RECORDS, &id.hex(), &String::from_utf8_lossy(&bytes))?;
        Ok(id)
    }

    /// An image that was kept.
    ///
    /// # Errors
    /// [`Error::NoImage`], or the database fails.
    pub fn load(&self, id: &ImageId) -> Result<Image> {
        let text = self.store.name(RECORDS, &id.hex())?.ok_or(Error::NoImage(*id))?;
        Ok(serde_json::from_str(&text).map_err(shiplap_cache::Error::from)?)
    }

    /// An image that was kept, with its layers: those that were collected are unpacked again from the blobs of a manifest that it was packed as or came
    /// with, where these are here.
    ///
    /// # Errors
    /// [`Error::NoImage`], a blob is damaged, the disk is full, ...
    pub fn load_with_layers(&self, id: &ImageId) -> Result<Image> {
        let image = self.load(id)?;
        if self.has_layers(&image)? {
            return Ok(image);
        }
        for (manifest, of) in self.store.names(MANIFESTS)? {
            if of == id.hex()
                && let Ok(manifest) = format!("sha256:{manifest}").parse()
                && self.check_whole(&manifest, false).is_ok()
            {
                return self.load(&crate::adopt::from_store(self, &manifest)?);
            }
        }
        Ok(image)
    }

    /// Whether all layers of an image are here.
    ///
    /// # Errors
    /// The store fails.
    pub fn has_layers(&self, image: &Image) -> Result<bool> {
        for layer in &image.layers {
            if !self.store.has_layer(layer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The images whose ids begin so.
    ///
    /// # Errors
    /// The database fails.
    pub fn with_id(&self, beginning: &str) -> Result<Vec<ImageId>> {
        let all = self.store.names(RECORDS)?.into_iter();
        Ok(all.filter(|(id, _)| id.starts_with(beginning)).filter_map(|(id, _)| id.parse().ok()).collect())
    }

    /// Gives an image a name. A name in the form of a release's is given once and never moves.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TagExists`], or the database fails.
    pub fn name(&self, reference: &Reference, id: &ImageId) -> Result<()> {
        let name = reference.to_string();
        if !reference.tag().is_some_and(ReleaseTag::is_release) {
            return Ok(self.store.set_name(NAMES, &name, &id.hex())?);
        }
        let taken = |existing| Error::NameTaken { reference: Box::new(reference.clone()), existing, wanted: *id };
        // A tag that was pulled or released decides over names that a build gave.
        if let Some(existing) = self.tag_digest(reference)?.map(|d| self.image_of(&d)).transpose()?.flatten()
            && existing != *id
        {
            return Err(taken(existing));
        }
        let existing = self.store.create_name(NAMES, &name, &id.hex())?;
        match existing.parse() {
            Ok(existing) if existing != *id => Err(taken(existing)),
            _ => Ok(()),
        }
    }

    /// Takes a name away; says whether it was there.
    ///
    /// # Errors
    /// The database fails.
    pub fn unname(&self, reference: &Reference) -> Result<bool> {
        Ok(self.store.remove_name(NAMES, &reference.to_string())?)
    }

    /// Takes a tag away that is not a release's; says whether it was there.
    ///
    /// # Errors
    /// The database fails.
    pub fn untag(&self, reference: &Reference) -> Result<bool> {
        debug_assert!(!reference.tag().is_some_and(ReleaseTag::is_release));
        Ok(self.store.remove_name(TAGS, &reference.to_string())?)
    }

    /// The image that a name, a tag or a digest stands for.
    ///
    /// # Errors
    /// The database fails.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<ImageId>> {
        if let Some(digest) = reference.digest() {
            return self.image_of(&digest);
        }
        let named = self.store.name(NAMES, &reference.to_string())?.and_then(|text| text.parse().ok());
        match named {
            Some(id) => Ok(Some(id)),
            None => self.tag_digest(reference)?.map(|d| self.image_of(&d)).transpose().map(Option::flatten),
        }
    }

    /// All names, with the images that they stand for, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn list(&self) -> Result<Vec<(Reference, ImageId)>> {
        let names = self.store.names(NAMES)?;
        Ok(names.into_iter().filter_map(|(n, id)| Some((n.parse().ok()?, id.parse().ok()?))).collect())
    }

    /// Packs an image: tars and compresses the layers that are not packed yet, several at once, and makes config and manifest.
    ///
    /// # Errors
    /// A layer is damaged, the disk is full, ...
    pub fn pack(&self, image: &Image, options: &PackOptions, progress: &dyn Progress) -> Result<Packed> {
        let packed = crate::pack::pack(&self.store, image, options, progress)?;
        self.remember(&packed.manifest.digest, &self.save(image)?)?;
        Ok(packed)
    }

    /// Remembers which image a manifest is of.
    pub(crate) fn remember(&self, manifest: &Digest, id: &ImageId) -> Result<()> {
        Ok(self.store.set_name(MANIFESTS, &manifest.hex(), &id.hex())?)
    }

    /// The image that a manifest is of, if it was packed or pulled here.
    ///
    /// # Errors
    /// The database fails.
    pub fn image_of(&self, manifest: &Digest) -> Result<Option<ImageId>> {
        Ok(self.store.name(MANIFESTS, &manifest.hex())?.and_then(|text| text.parse().ok()))
    }

    /// The manifest that an image came with, if it came from a registry or a layout.
    ///
    /// # Errors
    /// The database fails.
    pub fn manifest_of(&self, id: &ImageId) -> Result<Option<Digest>> {
        crate::origin::manifest(&self.store, id)
    }

    /// The manifests that an image was packed as, or came with, sorted. More than one where it was packed in several ways.
    ///
    /// # Errors
    /// The database fails.
    pub fn manifests_of(&self, id: &ImageId) -> Result<Vec<Digest>> {
        let id = id.hex();
        let all = self.store.names(MANIFESTS)?.into_iter().filter(|(_, image)| *image == id);
        Ok(all.filter_map(|(hex, _)| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// Tags a manifest. A release's tag is made if it is absent; the same digest again succeeds. Other tags move.
    ///
    /// # Errors
    /// [`Error::TagExists`] with both digests, [`Error::BadTag`], or the database fails.
    pub fn tag(&self, repository: &Repository, tag: &str, manifest: &Digest) -> Result<Reference> {
        let bad = |_| Error::BadTag { repository: Box::new(repository.clone()), tag: tag.to_owned() };
        let reference = repository.tagged(tag).map_err(bad)?;
        if reference.tag() != Some(tag) || reference.digest().is_some() {
            return Err(Error::BadTag { repository: Box::new(repository.clone()), tag: tag.to_owned() });
        }
        let (name, value) = (reference.to_string(), manifest.to_string());
        if !ReleaseTag::is_release(tag) {
            self.store.set_name(TAGS, &name, &value)?;
            return Ok(reference);
        }
        // A client may have pushed the same tag to the repository that is served under this name.
        let served = repository.familiar();
        let existing = self.store.create_name_beside((TAGS, &name), manifest, (&served, tag))?;
        match existing.parse() {
            Ok(existing) if existing != *manifest => {
                Err(Error::TagExists { reference: Box::new(reference), existing, wanted: *manifest })
            }
            _ => Ok(reference),
        }
    }

    /// The manifest that a tag stands for.
    ///
    /// # Errors
    /// The database fails.
    pub fn tag_digest(&self, reference: &Reference) -> Result<Option<Digest>> {
        let Some(tag) = reference.tag() else { return Ok(reference.digest()) };
        let name = format!("{}:{tag}", reference.repository());
        Ok(self.store.name(TAGS, &name)?.and_then(|text| text.parse().ok()))
    }

    /// The tags of a repository with their manifests, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<(String, Digest)>> {
        let beginning = format!("{repository}:");
        let tags = self.store.names_after(TAGS, &beginning)?;
        Ok(tags.into_iter().filter_map(|(n, d)| Some((n[beginning.len()..].to_owned(), d.parse().ok()?))).collect())
    }

    /// The repositories that have a tag, sorted.
    ///
    /// # Errors
    /// The database fails.
    pub fn repositories(&self) -> Result<Vec<Repository>> {
        let mut all: Vec<Repository> = self.all_tags()?.into_iter().map(|(r, _)| r.repository().clone()).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn all_tags(&self) -> Result<Vec<(Reference, Digest)>> {
        let tags = self.store.names(TAGS)?;
        Ok(tags.into_iter().filter_map(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?))).collect())
    }

    /// Checks that everything a manifest or index names is here and has the right size; with `bytes`, that every byte is right
    /// too. Returns the size of it all.
    ///
    /// # Errors
    /// [`Error::NotWhole`] names the first part that is missing or damaged.
    pub fn check_whole(&self, manifest: &Digest, bytes: bool) -> Result<u64> {
        crate::whole::check(&self.store, manifest, bytes)
    }

    /// Notes that the layers of a manifest that are not here need not be: its registry has them, and they never came here.
    ///
    /// # Errors
    /// Something else is missing or damaged, or the database fails.
    pub fn note_elsewhere(&self, manifest: &Digest) -> Result<()> {
        let missing = crate::whole::missing_layers(&self.store, manifest)?;
        let bytes = serde_json::to_vec(&missing).map_err(shiplap_cache::Error::from)?;
        self.keep_worked_out(&Of::Manifest(*manifest), ELSEWHERE, &bytes)
    }

    /// The layers of which that was noted.
    ///
    /// # Errors
    /// The database fails.
    pub fn elsewhere(&self, manifest: &Digest) -> Result<Vec<Digest>> {
        let noted = self.worked_out(&Of::Manifest(*manifest), ELSEWHERE)?;
        Ok(noted.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Checks that everything a manifest names is here but for the layers of which that was noted. Only a registry knows whether the image is whole then.
    ///
    /// # Errors
    /// [`Error::NotWhole`] names the first part that is missing or damaged.
    pub fn check_but_for_elsewhere(&self, manifest: &Digest) -> Result<u64> {
        crate::whole::check_but(&self.store, manifest, &self.elsewhere(manifest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (tempfile::TempDir, Images) {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        (home, Images::new(store))
    }

    fn image(text: &str) -> Image {
        Image { config: [("author".to_owned(), text.into())].into_iter().collect(), ..Image::default() }
    }

    #[test]
    fn an_image_comes_back_by_its_name() {
        let (_home, images) = images();
        let id = images.save(&image("a")).unwrap();
        assert_eq!(images.load(&id).unwrap(), image("a"));
        let name: Reference = "campus/x".parse().unwrap();
        assert_eq!(images.resolve(&name).unwrap(), None);
        images.name(&name, &id).unwrap();
        assert_eq!(images.resolve(&"docker.io/campus/x:latest".parse().unwrap()).unwrap(), Some(id));
        let other = images.save(&image("b")).unwrap();
        images.name(&name, &other).unwrap();
        assert_eq!(images.list().unwrap(), [(name, other)]);
        assert_eq!(images.with_id(&id.hex()[..12]).unwrap(), [id]);
        assert_eq!(images.with_id("").unwrap().len(), 2);
        assert_eq!(images.with_id("x").unwrap(), []);
        assert!(matches!(images.load(&ImageId::of(b"none")), Err(Error::NoImage(_))));
    }

    #[test]
    fn a_release_tag_never_moves_and_says_both_digests() {
        let (_home, images) = images();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let repository: Repository = "campus/x".parse().unwrap();
        let tag = "1.4.0-g3f2c1ab09d4e";
        images.tag(&repository, tag, &a).unwrap();
        images.tag(&repository, tag, &a).unwrap();
        let error = images.tag(&repository, tag, &b).unwrap_err();
        assert!(matches!(&error, Error::TagExists { existing, wanted, .. } if *existing == a && *wanted == b));
        assert!(error.to_string().contains(&a.to_string()) && error.to_string().contains(&b.to_string()));
        images.tag(&repository, "current", &a).unwrap();
        images.tag(&repository, "current", &b).unwrap();
        assert_eq!(images.tags(&repository).unwrap(), [(tag.to_owned(), a), ("current".to_owned(), b)]);
        assert_eq!(images.repositories().unwrap(), [repository]);
    }

    #[test]
    fn a_name_in_the_form_of_a_release_is_given_once() {
        let (_home, images) = images();
        let (a, b) = (images.save(&image("a")).unwrap(), images.save(&image("b")).unwrap());
        let name: Reference = "campus/x:1.4.0-g3f2c1ab09d4e".parse().unwrap();
        images.name(&name, &a).unwrap();
        images.name(&name, &a).unwrap();
        assert!(matches!(images.name(&name, &b), Err(Error::NameTaken { existing, .. }) if existing == a));
    }

    #[test]
    fn a_tag_that_is_none_is_refused() {
        let (_home, images) = images();
        for tag in ["", ".x", "a b", "a/b", "x@y", &"a".repeat(129)] {
            let result = images.tag(&"campus/x".parse().unwrap(), tag, &Digest::of(b"a"));
            assert!(matches!(result, Err(Error::BadTag { .. })), "{tag}");
        }
    }
}
