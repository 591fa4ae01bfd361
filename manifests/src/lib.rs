//! Instances, their releases, where they are deployed, and the way back.
//!
//! - [`config`] reads `shiplap.toml`; [`git`] says what the tree is.
//! - A [`release::Release`] is an immutable, content-addressed manifest of a whole set of images; [`draft`] makes one.
//! - The [`History`] keeps releases and deployments. [`Deployer`] points an instance's [`target`]s at a release, or back at an earlier one; what was begun
//!   and not ended, because the process died, is finished or undone by the next one.
//! - [`Status`] reads back what is there.
//!
//! Whether images are there is asked through [`images::ImageCheck`]: this crate moves no image.

#![forbid(unsafe_code)]

mod act;
pub mod canonical;
pub mod config;
pub mod contents;
pub mod deploy;
pub mod deployment;
pub mod draft;
mod error;
pub mod git;
pub mod health;
pub mod history;
pub mod images;
pub mod names;
pub mod observer;
pub mod preview;
pub mod provenance;
pub mod release;
pub mod rollback;
pub mod sbom;
pub mod status;
pub mod target;
pub mod version;

pub use config::Config;
pub use deploy::{DeployReport, DeployRequest, Deployer, Expect};
pub use draft::{Built, Committed, ReleaseDraft, ReleaseRequest, VersionChoice};
pub use error::{Error, Result};
pub use history::History;
pub use rollback::{RollbackReport, RollbackRequest};
pub use status::Status;

/// The time, to the second: records are for people, and order is by sequence.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}
