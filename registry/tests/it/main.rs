//! The crate against real registries, real archives and hostile tars.

mod archives;
mod fixture;
mod packing;
mod peers;
mod refusals;
mod server;
mod tars;
mod transfer;
