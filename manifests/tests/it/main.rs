//! The tests of `manifests` as a whole, by what a user does.

mod all_targets;
mod config;
mod crash;
mod crash_of_all_targets;
mod deploy;
mod git;
mod health;
mod log;
mod release;
mod rollback;
mod share;
mod share_in_registry;
mod site;
mod speed;
mod store;
mod tutor;
mod unchecked;
