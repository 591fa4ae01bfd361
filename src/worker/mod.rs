//! `build --engine`: a build in a container of an engine, where this machine cannot build, or another one shall.
//!
//! - `client` runs on this side: it has the engine run a container of [`image`], which is this very program, and sends it a [`wire::Job`].
//! - [`gather`] finds out what has to be sent: folders, files, variables.
//! - [`relay`] shows the build's progress on a terminal as if it were one here.
//! - [`serve`] runs in the container: it says which contents it lacks, makes the folders ([`tree`]) appear under the paths that they have here, and runs
//!   `shiplap build` with the words of the command line.
//!
//! The store is in a volume, and so are the folders, so that the next build sends only what changed.

pub mod client;
mod gather;
mod image;
mod relay;
mod serve;
mod tree;
mod wire;

pub use serve::main;

/// The argument that makes this program the one in the container.
pub const ARGUMENT: &str = "__worker";
