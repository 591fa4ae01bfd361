//! From a Dockerfile to layers.
//!
//! - [`dockerfile`] reads a Dockerfile and expands it into a [`plan`].
//! - [`build`] carries a plan out: each step is reused or run.
//! - [`served`] gives a step the files of its layers one by one, as it reads them.
//! - [`sandbox`] runs one `RUN` step, [`trace`] watches what it asks of the tree below it.

pub mod build;
pub mod dockerfile;
#[doc(hidden)]
pub mod fuzzing;
pub mod glob;
pub mod ignore;
pub mod plan;
pub mod sandbox;
pub mod served;
pub mod trace;
