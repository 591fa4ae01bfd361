//! Contents of files whose layer is not here whole.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::{LayerId, TreePath};

/// Where the contents of a file are: in a file of this machine, which may have others too.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Open for reading.
    pub file: Arc<File>,
    /// Where they begin, in bytes.
    pub from: u64,
    /// How long they are, in bytes.
    pub size: u64,
}

impl Piece {
    /// All of a file.
    ///
    /// # Errors
    /// There is no such file, or it is not for us.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), from: 0, size })
    }

    /// Reads bytes at a place of the contents.
    ///
    /// # Errors
    /// The disk fails, or they end too early.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if offset + bytes.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(bytes, self.from + offset)
    }

    /// Reads them from their beginning.
    pub fn reader(self) -> impl Read {
        let size = self.size;
        PieceReader(self).take(size)
    }
}

struct PieceReader(Piece);

impl Read for PieceReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.0.file.read_at(bytes, self.0.from)?;
        self.0.from += read as u64;
        Ok(read)
    }
}

/// Gives the contents of files one by one, as somebody opens them.
pub trait Contents: Debug + Send + Sync {
    /// Gives what the regular file at `path` of a layer holds. Waits until it is here. Its bytes have the hash that the layer's index says.
    ///
    /// # Errors
    /// Nobody can give it. The layer is among [`Contents::lost`] from then on.
    fn open(&self, layer: &LayerId, path: &TreePath) -> io::Result<Piece>;

    /// The layers that a file could not be had of. What a step made that was refused one is worth nothing, whatever it said itself.
    fn lost(&self) -> Vec<LayerId>;
}
