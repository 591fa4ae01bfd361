//! The crate against real object stores, with and without faults in between.

mod fixture;
mod objects;
mod s3;
