//! `RUN` steps in the sandbox. Needs root, for namespaces and overlayfs, as CI has it.

mod isolation;
mod lab;
mod layers;
mod lifecycle;
mod mounts;
mod rootless;
mod users;
