//! The crate against real registries, real archives and hostile tars.

mod answers;
mod archives;
mod conformance;
mod engine;
mod fake;
mod fixture;
mod folder;
mod front;
mod fuzz;
mod indices;
mod looking;
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
mod transfer;
mod trust;
mod uploads;
