//! The crate against real registries, real archives and hostile tars.

mod answers;
mod archives;
mod base_files;
mod conformance;
mod demand;
mod engine;
mod fake;
mod fixture;
mod folder;
// What stands before our own registry is called `front`, as in the crate.
#[path = "../../../cache/tests/it/front.rs"]
mod faulty;
mod front;
mod fuzz;
mod indices;
mod looking;
mod lost_blobs;
mod mounts;
mod odd;
mod packing;
mod peers;
mod places;
mod racing;
mod referring;
mod refusals;
mod server;
mod shelf;
mod tars;
mod tier_faults;
mod tiers;
mod together;
mod transfer;
mod trust;
mod uploads;
