//! `RUN` steps in the sandbox. Needs root, for namespaces and overlayfs, as CI has it.

mod isolation;
pub mod lab;
mod layers;
pub mod lifecycle;
mod mounts;
pub mod rootless;
mod users;
