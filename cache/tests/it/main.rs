//! The crate against real object stores, with and without faults in between.

mod faults;
mod fixture;
mod front;
mod many;
mod objects;
mod s3;
