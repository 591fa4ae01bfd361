//! Is an image of a release here and in its registry, whole, and signed by the key that is asked for?

use std::path::PathBuf;

use shiplap_cache::Digest;
use shiplap_manifests::config::{Config, Instance};
use shiplap_manifests::images::{ImageCheck, ImageProblem};
use shiplap_manifests::names::Reference;
use shiplap_manifests::release::ReleaseImage;
use shiplap_registry::signature::PublicKey;
use shiplap_registry::{Client, Images, Repository};

use super::{exchange, in_registry, keys};
use crate::app::App;
use crate::failure::Result;
use crate::release_images::{Check, Here};

/// A [`Check`] that also asks registries, where releases are pushed, and for a signature, where a key is given.
pub struct SignedCheck<'a> {
    whole: Check<'a>,
    images: &'a Images,
    client: Client,
    key: Option<PublicKey>,
    pushes: Option<bool>,
}

impl<'a> SignedCheck<'a> {
    /// With the key of the command line, else the one of the instance.
    pub fn new(
        app: &App,
        images: &'a Images,
        given: Option<&PathBuf>,
        config: &Config,
        instance: &Instance,
    ) -> Result<Self> {
        let path = given.cloned().or_else(|| Some(config.folder().join(instance.verify_key.as_ref()?)));
        let key = path.map(|path| keys::public(&path)).transpose()?;
        let (client, pushes) = (app.hasty_client(), config.release.push);
        Ok(Self { whole: Check::new(images), images, client, key, pushes })
    }

    /// Of images that nobody has signed yet.
    pub fn unsigned(app: &App, images: &'a Images, config: &Config) -> Self {
        let (client, pushes) = (app.client(), config.release.push);
        Self { whole: Check::new(images), images, client, key: None, pushes }
    }

    /// How much of an image is here, signed as it should be.
    fn look(&self, reference: &Reference, digest: &Digest) -> std::result::Result<Here, ImageProblem> {
        let here = self.whole.look(reference, digest)?;
        if let Some(key) = &self.key {
            self.is_signed(key, reference, digest)?;
        }
        Ok(here)
    }

    fn is_signed(
        &self,
        key: &PublicKey,
        reference: &Reference,
        digest: &Digest,
    ) -> std::result::Result<(), ImageProblem> {
        let unknown = |error: &dyn std::error::Error| ImageProblem::Unknown(error.to_string());
        let repository: Repository = reference.repository.to_string().parse().map_err(|e| unknown(&e))?;
        let verify = || self.images.verify_signature(&repository, digest, key).map_err(|e| unknown(&e));
        let verdict = verify()?;
        if verdict.is_good() {
            return Ok(());
        }
        if reference.repository.registry().is_none() {
            return Err(ImageProblem::NotSigned(verdict.why()));
        }
        // The store may know of none, and the registry of one.
        let fetched = tokio::task::block_in_place(|| {
            let fetch = exchange::fetch_signatures(&self.client, self.images, &repository, digest);
            tokio::runtime::Handle::current().block_on(fetch)
        });
        let verdict = verify()?;
        match fetched {
            _ if verdict.is_good() => Ok(()),
            Ok(()) => Err(ImageProblem::NotSigned(verdict.why())),
            Err(error) => Err(ImageProblem::NotSigned(format!(
                "{}, and {} could not be asked for one: {error}",
                verdict.why(),
                repository.registry()
            ))),
        }
    }
}

impl ImageCheck for SignedCheck<'_> {
    fn check(&self, reference: &Reference, digest: &Digest) -> std::result::Result<(), ImageProblem> {
        match self.look(reference, digest)? {
            Here::Whole => Ok(()),
            Here::ButForLayers(why) => Err(ImageProblem::Incomplete(why)),
        }
    }

    fn check_each(&self, images: &[ReleaseImage]) -> Vec<std::result::Result<(), ImageProblem>> {
        if self.pushes == Some(false) {
            return images.iter().map(|image| self.check(&image.reference, &image.digest)).collect();
        }
        let here: Vec<_> = images.iter().map(|image| self.look(&image.reference, &image.digest)).collect();
        let mut all: Vec<_> = here.iter().map(|look| look.clone().map(drop)).collect();
        // What is not even here need not be asked for.
        let is_asked = |image: &ReleaseImage| image.reference.repository.registry().is_some();
        if all.iter().any(std::result::Result::is_err) {
            return all;
        }
        let (places, asked): (Vec<_>, Vec<_>) = images
            .iter()
            .enumerate()
            .filter(|(_, image)| is_asked(image))
            .map(|(place, image)| (place, (&image.reference, &image.digest)))
            .unzip();
        for (place, answer) in places.into_iter().zip(in_registry::look_up(&self.client, &asked)) {
            all[place] = match (answer, &here[place]) {
                // Its registry had it whole when it was released. Who decides to go on should know that the store cannot help.
                (Err(ImageProblem::NotAsked(why)), Ok(Here::ButForLayers(_))) => {
                    Err(ImageProblem::NotAsked(format!("{why}; layers of it are there alone, and not in this store")))
                }
                (answer, _) => answer,
            };
        }
        all
    }
}
