//! Documents about images, and signatures: made, kept, taken to registries and fetched from them.

pub mod check;
pub mod documents;
pub mod exchange;
pub mod in_registry;
pub mod keys;

pub use check::SignedCheck;
pub use documents::{Recipe, Wanted};
