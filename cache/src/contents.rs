//! Contents of files whose layer is not here whole.

use std::fmt::Debug;
use std::fs::File;
use std::io;

use crate::{LayerId, TreePath};

/// Gives the contents of files one by one, as somebody opens them.
pub trait Contents: Debug + Send + Sync {
    /// Opens, for reading, a file of this machine that has what the regular file at `path` of a layer holds. Waits until it is here. Its bytes have the hash
    /// that the layer's index says.
    ///
    /// # Errors
    /// Nobody can give it. The layer is among [`Contents::lost`] from then on.
    fn open(&self, layer: &LayerId, path: &TreePath) -> io::Result<File>;

    /// The layers that a file could not be had of. What a step made that was refused one is worth nothing, whatever it said itself.
    fn lost(&self) -> Vec<LayerId>;
}
