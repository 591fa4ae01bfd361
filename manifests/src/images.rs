//! The question that a release, a deploy and a rollback ask of the places where images are.

use serde::Serialize;
use shiplap_cache::Digest;

use crate::Error;
use crate::names::{ImageName, Reference};
use crate::release::ReleaseImage;

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageProblem {
    /// Nothing is there.
    #[error("is not there")]
    Missing,
    /// The store has it, and the registry that its name says has not.
    #[error("is not in its registry")]
    NotPushed,
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
    /// Its registry, which had it whole when it was released, could not be asked: a person may decide to go on.
    #[error("could not be looked up in its registry: {0}")]
    NotAsked(String),
}

/// Says whether an image is there and whole. The command gives an implementation over the store and registries.
pub trait ImageCheck {
    /// Checks that `reference` stands for `digest`, and that everything that the image consists of is there.
    ///
    /// # Errors
    /// What is wrong; a look-up that fails is an error too.
    fn check(&self, reference: &Reference, digest: &Digest) -> Result<(), ImageProblem>;

    /// Checks images and answers in their order. Whoever asks over a network asks for all of them at once.
    fn check_each(&self, images: &[ReleaseImage]) -> Vec<Result<(), ImageProblem>> {
        images.iter().map(|image| self.check(&image.reference, &image.digest)).collect()
    }
}

impl<F: Fn(&Reference, &Digest) -> Result<(), ImageProblem>> ImageCheck for F {
    fn check(&self, reference: &Reference, digest: &Digest) -> Result<(), ImageProblem> {
        self(reference, digest)
    }
}

/// An image that is taken for whole although its registry could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The image.
    pub image: ImageName,
    /// Why its registry could not be asked.
    pub why: String,
}

impl Unchecked {
    /// The words for the record; none where everything was looked up. They name no reasons: those hold addresses, and say nothing later.
    pub(crate) fn note(all: &[Self]) -> Option<String> {
        let names: Vec<_> = all.iter().map(|one| one.image.as_str()).collect();
        (!names.is_empty())
            .then(|| format!("not looked up in the registry, which gave no answer: {}", names.join(", ")))
    }
}

/// Checks all images of a release. Those whose registry could not be asked are told where that is accepted, and an error where it is not.
pub(crate) fn check_all(
    images: &[ReleaseImage],
    check: &dyn ImageCheck,
    accept_unchecked: bool,
) -> Result<Vec<Unchecked>, Error> {
    let (mut unchecked, mut doubt) = (Vec::new(), None);
    for (image, checked) in images.iter().zip(check.check_each(images)) {
        let Err(problem) = checked else { continue };
        let error = |problem| Error::Image {
            image: image.name.clone(),
            reference: Box::new(image.reference.clone()),
            digest: image.digest,
            problem,
        };
        match problem {
            // What is known to be wrong goes before what is not known.
            ImageProblem::NotAsked(why) if accept_unchecked => {
                unchecked.push(Unchecked { image: image.name.clone(), why });
            }
            problem @ ImageProblem::NotAsked(_) => drop(doubt.get_or_insert_with(|| error(problem))),
            problem => return Err(error(problem)),
        }
    }
    match doubt {
        Some(error) => Err(error),
        None => Ok(unchecked),
    }
}
