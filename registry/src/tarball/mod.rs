//! Tars: writing a layer with the same bytes everywhere, reading one from anywhere.
//!
//! The `tar` crate writes the headers here and reads none: it splits PAX records at line feeds, so an extended attribute with a line feed in
//! its value (any `security.capability` may have one) ends its list (0.4.46, `pax.rs`), and it knows no sparse files in PAX form.

mod layer;
mod number;
mod problem;
mod read;
mod sparse;
mod write;

pub(crate) use layer::{Checked, Mark, OPAQUE, WHITEOUT, each_entry, write_contents, write_marked};
pub use layer::{write_layer, write_tree};
pub use problem::TarProblem;
pub use read::{Head, Kind, Reader};
pub use write::Writer;
