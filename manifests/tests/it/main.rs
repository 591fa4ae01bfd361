//! The tests of `manifests` as a whole, by what a user does.

mod all_targets;
mod config;
mod crash;
mod deploy;
mod git;
mod log;
mod release;
mod rollback;
mod site;
mod speed;
mod store;
mod tutor;
