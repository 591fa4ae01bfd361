//! A store on a file system in memory: as small as a test wants it, and without a wait for a disk that others use.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Home, sh};

/// A file system at the place of a home's store.
pub struct MemoryDisk(PathBuf);

impl MemoryDisk {
    pub fn mount(home: &Home, size: &str) -> Self {
        std::fs::create_dir_all(home.store()).unwrap();
        sh(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(home.store()));
        Self(home.store())
    }

    pub fn resize(&self, size: &str) {
        sh(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0));
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
