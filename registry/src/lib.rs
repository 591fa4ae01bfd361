//! OCI images: assembling, pulling, pushing, importing, exporting, tags that cannot move.
//!
//! From the bottom up:
//!
//! - [`Reference`], [`Repository`] and [`Platform`] name images as Docker does; [`tag`] holds the tags of releases.
//! - [`tarball`] turns a layer directory into a tar with the same bytes on every machine, [`unpack`] turns a tar from
//!   anywhere into a layer, and never writes outside of it.
//! - [`Images`] is what the local store knows: images before and after they are packed, their names and tags.
//! - [`remote`] has what is not in the store and can be fetched into it from [tiers](shiplap_cache::tier).
//! - [`signature`] signs images as cosign does, and says whether they are signed; what is attached to an image is in [`Images::referrers`].
//! - [`Client`] pulls and pushes; [`RegistryTier`] keeps a build cache in a repository; [`archive`] imports and exports files; [`server`] is a
//!   registry over the store; [`engine`] hands images to Docker and Podman and takes them from there.
//!
//! Nothing here prints or reads the environment; progress goes to a [`Progress`].

#![forbid(unsafe_code)]

mod adopt;
mod annotate;
pub mod archive;
pub mod auth;
mod client;
mod collect;
mod compress;
pub mod engine;
mod error;
mod frames;
pub mod front;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod image;
mod images;
mod kept;
mod look;
mod media;
mod origin;
mod pack;
mod platform;
mod progress;
mod reference;
mod referrers;
pub mod remote;
pub mod server;
pub mod signature;
pub mod tag;
pub mod tarball;
pub mod unpack;
mod verify;
mod whole;

pub use annotate::Annotations;
pub use client::{Client, ClientOptions, Pulled, Pushed, RegistryTier, install_tls};
pub use collect::{Broken, Collector, Root, ServedPolicy};
pub use compress::Compression;
pub use error::{Error, RemoteError, Result, Trouble};
pub use image::{History, Image};
pub use images::Images;
pub use kept::Of;
pub use look::{KeptFiles, Seen, Wanted};
pub use media::Descriptor;
pub use pack::{PackOptions, Packed, clamped};
pub use platform::{Platform, PlatformError};
pub use progress::{Event, NoProgress, Progress};
pub use reference::{Reference, ReferenceError, Repository};
pub use referrers::{Artifact, Attached};
pub use verify::{Damaged, Verified, verify};
