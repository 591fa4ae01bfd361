//! A tree of layers as a file system whose files come one by one, as somebody reads them.
//!
//! Names, kinds, owners and times are in the layers' indices, which are small and here. What a file holds is asked of [`Contents`] when
//! somebody opens it, and not before: whatever a program does, nothing of a file that is not here can reach it unasked.
//! The kernel's side is FUSE (Linux `Documentation/filesystems/fuse.rst`). The supervisor of a step mounts the file system in its own
//! mount namespace ([`crate::sandbox`]) and sends the device here; overlayfs takes it as its lowest layer. A tree never changes, so
//! the kernel keeps all that it was told, names that are not there among it.
//!
//! ```text
//! tree.rs     the calls of the kernel, answered from indices         inodes.rs   numbers of files, and their attributes
//! reader.rs   files, given when they are here                        recent.rs   what was used last
//! ```

mod inodes;
mod reader;
mod recent;
mod tree;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fuser::{Config, Session, SessionACL};
use shiplap_cache::{Contents, Tree, TreePath};

use reader::Reader;
use tree::TreeFs;

/// Threads that answer what indices know. Reads that wait for a file have their own.
const THREADS: usize = 2;

/// A tree, and who gives the contents of its files.
#[derive(Debug, Clone)]
pub struct ServedTree {
    /// What is where.
    pub tree: Arc<Tree>,
    /// The contents of its files.
    pub contents: Arc<dyn Contents>,
}

impl ServedTree {
    /// Answers the kernel for a mount that was made with this device, until it is gone. `broken` is called, perhaps more than once, when a file could not
    /// be given: whoever reads from this mount works with less than there is.
    ///
    /// # Errors
    /// The device is no mount's, or there are too many threads.
    pub fn serve(&self, device: OwnedFd, broken: impl Fn() + Send + Sync + 'static) -> io::Result<Serving> {
        let reader = Reader::start(self.contents.clone(), Box::new(broken))?;
        let serving = Serving { reader: reader.clone() };
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        let session = Session::from_fd(TreeFs::new(self.tree.clone(), reader), device, SessionACL::All, config)?;
        // Its threads end when the kernel has let go of the mount.
        session.spawn()?;
        Ok(serving)
    }
}

/// A mount that is being answered for. The kernel's questions are answered for as long as it has any, also when this is dropped: somebody may still hold
/// a file of it, in this process even (who watches a step holds its root). What is dropped with it is the reading of files.
#[derive(Debug)]
pub struct Serving {
    reader: Arc<Reader>,
}

impl Serving {
    /// Refuses the reads that wait for a file, and all to come, so that no process waits for what nobody wants any more.
    pub fn stop(&self) {
        self.reader.stop();
    }

    /// The first file that could not be given, and why.
    pub fn failure(&self) -> Option<(TreePath, Arc<io::Error>)> {
        self.reader.failure()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.reader.stop();
    }
}
