//! Signatures of images that cosign makes and accepts, with a key and without a transparency log.
//!
//! An image is signed by its manifest's digest, in two forms side by side:
//!
//! - [`simple`]: a signed payload as a layer of an image with the tag `sha256-<hex>.sig` beside the image
//!   (cosign, `specs/SIGNATURE_SPEC.md`). cosign 1 and 2, podman, skopeo, CRI-O and the admission controllers read it.
//! - [`bundle`]: a Sigstore bundle, attached to the image as a referrer (cosign, `specs/BUNDLE_SPEC.md`). cosign 3 reads it.
//!
//! A signature is good when it is by the key that was named and over the digest that was asked for, whatever name it was found under.

mod bundle;
mod encrypted;
mod key;
mod simple;
mod verify;

pub use key::{KeyError, PrivateKey, PublicKey};
pub use simple::{is_signature_tag, signature_tag};
pub use verify::{Form, Signed, Verdict, Verified};

/// The artifact type of a signature that is attached to an image.
pub const BUNDLE: &str = bundle::MEDIA_TYPE;
