//! The crate against real registries, real archives and hostile tars.

mod archives;
mod conformance;
mod fake;
mod fixture;
mod folder;
mod front;
mod fuzz;
mod odd;
mod packing;
mod peers;
mod places;
mod refusals;
mod server;
mod tars;
mod transfer;
