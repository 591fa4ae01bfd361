//! The calls of the kernel, answered from indices.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, Filesystem, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use shiplap_cache::{Found, Kind, Tree};

use super::inodes::{BLOCK, Inodes, nothing};
use super::reader::{Place, Question, Reader};
use super::recent::Recent;

/// How long the kernel may believe what it was told: for good.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// A number is never given to another file.
const ONLY: Generation = Generation(0);

/// How many listings are kept: a directory that does not fit into one answer is asked for again at once.
const LISTINGS: usize = 16;

/// Reads of files that the kernel may have under way at once, readahead among them. One that waits for the network must not hold up the others.
const UNDER_WAY: u16 = 1024;

/// The names in a directory, in order.
type Listing = Vec<(Vec<u8>, Found)>;

/// A tree as a file system for the kernel.
#[derive(Debug)]
pub(super) struct TreeFs {
    inodes: Inodes,
    reader: Arc<Reader>,
    listings: Recent<Listing>,
}

impl TreeFs {
    pub(super) fn new(tree: Arc<Tree>, reader: Arc<Reader>) -> Self {
        Self { inodes: Inodes::new(tree), reader, listings: Recent::new(LISTINGS) }
    }

    /// What is under a name in a directory; none when nothing is.
    fn child(&self, parent: u64, name: &OsStr) -> Option<FileAttr> {
        let path = self.inodes.path(parent)?.join(name.as_bytes());
        self.inodes.tree().find(&path).map(|found| self.inodes.attributes_of(found))
    }

    fn listing(&self, folder: u64) -> Option<Arc<Listing>> {
        if let Some(known) = self.listings.get(folder) {
            return Some(known);
        }
        let path = self.inodes.path(folder)?;
        Some(self.listings.put(folder, self.inodes.tree().list(&path).into_iter().collect()))
    }

    fn ask(&self, number: INodeNo, question: Question) {
        match self.inodes.file(number.0) {
            Some((layer, path, size)) => self.reader.ask(Place { number: number.0, layer, path, size }, question),
            // The kernel asks this of regular files alone. Dropped, a question is answered with an error.
            None => drop(question),
        }
    }

    fn xattrs(&self, number: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.inodes.find(number).map(|found| self.inodes.tree().entry(found).xattrs).unwrap_or_default()
    }
}

impl Filesystem for TreeFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // A listing brings the attributes along, look-ups in one directory go side by side, and links are kept.
        let mut wanted =
            InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_CACHE_SYMLINKS;
        // Costs a question for each file that is not root's.
        if self.inodes.tree().layers().iter().any(|layer| layer.has_xattr(b"system.posix_acl_")) {
            wanted |= InitFlags::FUSE_POSIX_ACL;
        }
        config.add_capabilities(wanted).map_err(|lacking| {
            io::Error::new(io::ErrorKind::Unsupported, format!("this kernel's FUSE lacks {lacking:?}"))
        })?;
        let _ = config.set_max_background(UNDER_WAY);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.child(parent.0, name) {
            Some(attributes) => reply.entry(&FOR_EVER, &attributes, ONLY),
            // A name that leads to number 0 is not there, and the kernel may remember that, as it may not with an error (fuse_lookup_name).
            None => reply.entry(&FOR_EVER, &nothing(), ONLY),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inodes.attributes(number.0) {
            Some(attributes) => reply.attr(&FOR_EVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.inodes.find(number.0).map(|found| self.inodes.tree().entry(found).kind) {
            Some(Kind::Symlink { target }) => reply.data(&target),
            _ => reply.error(Errno::EINVAL),
        }
    }

    /// A file is here before it is open. Were it fetched when it is read, sendfile(2) would hold the pipe that it writes to for as long as that takes, and of a
    /// builder that is killed meanwhile the kernel could close neither that pipe nor our device.
    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.ask(number, Question::Open(reply));
    }

    /// Directories have no state while they are open. The kernel hears that once, then opens them without asking and keeps their listings
    /// (`fuse_file_open`, `no_opendir`).
    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.ask(number, Question::Read { offset, size, reply });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (Some(listing), Some(own)) = (self.listing(number.0), self.inodes.attributes(number.0)) else {
            return reply.error(Errno::ENOENT);
        };
        // The kernel looks neither of the first two up (`fuse_direntplus_link`), so the number of the folder above does not matter.
        for (at, name) in [(1, "."), (2, "..")].into_iter().skip(usize::try_from(offset).unwrap_or(2).min(2)) {
            if reply.add(own.ino, at, name, &FOR_EVER, &own, ONLY) {
                return reply.ok();
            }
        }
        let rest = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        for (at, (name, found)) in listing.iter().enumerate().skip(rest) {
            let attributes = self.inodes.attributes_of(*found);
            let next = at as u64 + 3;
            if reply.add(attributes.ino, next, OsStr::from_bytes(name), &FOR_EVER, &attributes, ONLY) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.xattrs(number.0).into_iter().find(|(own, _)| own == name.as_bytes()) {
            Some((_, value)) => answer(&value, size, reply),
            None => reply.error(Errno::ENODATA),
        }
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let names: Vec<u8> =
            self.xattrs(number.0).into_iter().flat_map(|(name, _)| name.into_iter().chain([0])).collect();
        answer(&names, size, reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // Full: nothing can be written. As many bytes a name as any file system of Linux has.
        reply.statfs(0, 0, 0, 0, 0, BLOCK, 255, BLOCK);
    }
}

/// As getxattr(2) and listxattr(2) have it: a size of zero asks for the size.
fn answer(bytes: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(bytes.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(bytes),
        _ => reply.error(Errno::ERANGE),
    }
}
