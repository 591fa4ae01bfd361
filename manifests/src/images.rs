//! The question that a release, a deploy and a rollback ask of the place where images are.

use shiplap_cache::Digest;

use crate::Error;
use crate::names::Reference;
use crate::release::ReleaseImage;

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageProblem {
    /// Nothing is there.
    #[error("is not there")]
    Missing,
    /// The tag is there and stands for something else.
    #[error("is not there: the tag stands for {0}")]
    OtherDigest(Digest),
    /// The manifest is there, and something that it names is not, or is damaged.
    #[error("is not whole: {0}")]
    Incomplete(String),
    /// It is not signed by the key that is asked for.
    #[error("is not signed by the key that is asked for: {0}")]
    NotSigned(String),
    /// The place could not be asked. Not to know is no reason to go on.
    #[error("could not be looked up: {0}")]
    Unknown(String),
}

/// Says whether an image is there and whole. The command gives an implementation over the store or a registry.
pub trait ImageCheck {
    /// Checks that `reference` stands for `digest`, and that everything that the image consists of is there.
    ///
    /// # Errors
    /// What is wrong; a look-up that fails is an error too.
    fn check(&self, reference: &Reference, digest: &Digest) -> Result<(), ImageProblem>;
}

impl<F: Fn(&Reference, &Digest) -> Result<(), ImageProblem>> ImageCheck for F {
    fn check(&self, reference: &Reference, digest: &Digest) -> Result<(), ImageProblem> {
        self(reference, digest)
    }
}

/// Checks all images of a release.
pub(crate) fn check_all(images: &[ReleaseImage], check: &dyn ImageCheck) -> Result<(), Error> {
    for image in images {
        check.check(&image.reference, &image.digest).map_err(|problem| Error::Image {
            image: image.name.clone(),
            reference: Box::new(image.reference.clone()),
            digest: image.digest,
            problem,
        })?;
    }
    Ok(())
}
