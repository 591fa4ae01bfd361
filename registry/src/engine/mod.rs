//! Docker's engine and Podman's: images are handed over to them and taken from them.
//!
//! An engine on this machine *pulls* from an [`endpoint`] of ours, and asks only for the layers that it has not had from there before. One that does not reach it
//! (in a virtual machine, on another host) is sent an [`archive`], without the lowest layers that its images have already. Both carry the same
//! [`parts`].

mod address;
mod archive;
mod client;
mod container;
mod endpoint;
mod error;
mod hand_over;
mod parts;
mod save;
mod stream;

pub use address::{Address, Tls};
pub use client::{Engine, Keeps};
pub use container::{Running, Task, Written};
pub use error::EngineError;
pub use hand_over::{HandedOver, Way};
pub use save::Found;
