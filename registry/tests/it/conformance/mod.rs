//! The registry over the store, held against the distribution-spec 1.1, section by section, over a real socket.

mod bad_requests;
mod clients;
mod collected;
mod concurrent;
mod discovery;
mod immutable;
pub mod lab;
mod management;
mod pull;
mod push;
mod released;
mod uploads;
