//! What is compared: a builder.

use std::fmt;

use serde::Serialize;

use crate::command::Result;
use crate::site::{Base, Site};

/// One timed build.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
}

/// What became of the steps, which only Shiplap says.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Steps {
    /// Nothing below them changed.
    pub cached: u64,
    /// Something below them changed, nothing that they look at.
    pub reused: u64,
    pub ran: u64,
}

pub trait Side {
    fn name(&self) -> &'static str;

    /// Its version, and how it keeps images where that matters.
    fn version(&self) -> Result<String>;

    /// Makes an image the one that [`crate::site::BASE`] names.
    fn set_base(&mut self, site: &Site, base: &Base) -> Result<()>;

    fn build(&mut self, site: &Site) -> Result<Run>;

    /// A build without knowledge of earlier ones. Only the build is timed, not what makes the side forget.
    fn build_cold(&mut self, site: &Site) -> Result<Run>;

    /// Removes the images that this program made there.
    fn clean(&mut self);
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds)?;
        self.steps.iter().try_for_each(|steps| write!(f, ", {steps}"))
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps reused, {} run", self.cached + self.reused, self.ran)
    }
}
