//! A small base image: busybox and a few files to copy onto.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};

const APPLETS: &str = "sh cat echo ls id env grep stat mkdir rmdir rm mv ln touch sleep kill chmod chown chgrp test sort head tail \
     wc readlink hostname nc mknod mkfifo mount umount true false ps awk cut tr sync find dd su umask cp tar gzip sed printf od \
     sha256sum date pwd [ ip";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbob:x:3333:100::/home/bob:/bin/sh\nsolo:x:44:55::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:bob\nextra:x:4444:bob,root\n";

/// Makes the tar of the base image; the second value changes when what is in it changes.
pub fn make() -> (PathBuf, String) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    let mut tar = Tar(Builder::new(Vec::new()));
    for (dir, mode) in
        [("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o555), ("root", 0o700)]
    {
        tar.dir(dir, mode, 0);
    }
    tar.dir("sys", 0o555, 0);
    tar.dir("tmp", 0o1777, 0);
    tar.dir("home/bob", 0o750, 3333);
    tar.file("bin/busybox", &busybox.expect("the tests need a static busybox (package busybox-static)"), 0o755, 0);
    for applet in APPLETS.split_whitespace() {
        tar.link(&format!("bin/{applet}"), "busybox");
    }
    tar.file("etc/passwd", PASSWD.as_bytes(), 0o644, 0);
    tar.file("etc/group", GROUP.as_bytes(), 0o644, 0);
    // Things to copy onto and through.
    tar.dir("data", 0o755, 0);
    tar.dir("data/dir", 0o755, 0);
    tar.file("data/dir/inner", b"inner of the base\n", 0o644, 0);
    tar.dir("data/dir/sub", 0o700, 3333);
    tar.file("data/dir/sub/deep", b"deep of the base\n", 0o600, 3333);
    tar.dir("data/owned", 0o2710, 3333);
    tar.file("data/file", b"file of the base\n", 0o640, 3333);
    tar.file("data/tool", b"a setuid tool\n", 0o4755, 0);
    for (name, target) in [
        ("data/link", "dir"),
        ("data/absolute", "/data/dir"),
        ("data/chain", "link"),
        ("data/dangling", "nowhere/here"),
        ("data/to-file", "file"),
        ("data/up", "../../../data/owned"),
        ("data/loop", "loop"),
    ] {
        tar.link(name, target);
    }
    tar.hard_link("data/second", "data/file", 0o640, 3333);
    let bytes = tar.0.into_inner().unwrap();
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("{:016x}", hasher.finish());
    let at = std::env::temp_dir().join(format!("shiplap-test-base-{tag}.tar"));
    if !at.exists() {
        // Tests run in processes side by side.
        let aside = at.with_extension(std::process::id().to_string());
        std::fs::write(&aside, bytes).unwrap();
        std::fs::rename(aside, &at).unwrap();
    }
    (at, tag)
}

/// A tar under construction. Also for archives that `ADD` unpacks.
pub struct Tar(pub Builder<Vec<u8>>);

impl Tar {
    fn put(&mut self, path: &str, kind: EntryType, mode: u32, owner: u64, target: Option<&str>, bytes: &[u8]) {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(1_600_000_000);
        header.set_size(bytes.len() as u64);
        match target {
            Some(target) => self.0.append_link(&mut header, path, target).unwrap(),
            None => self.0.append_data(&mut header, path, bytes).unwrap(),
        }
    }

    pub fn dir(&mut self, path: &str, mode: u32, owner: u64) {
        self.put(path, EntryType::Directory, mode, owner, None, b"");
    }

    pub fn file(&mut self, path: &str, bytes: &[u8], mode: u32, owner: u64) {
        self.put(path, EntryType::Regular, mode, owner, None, bytes);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.put(path, EntryType::Symlink, 0o777, 0, Some(target), b"");
    }

    /// Mode and owner are those of the file, in every tar that a program made of files.
    pub fn hard_link(&mut self, path: &str, target: &str, mode: u32, owner: u64) {
        self.put(path, EntryType::Link, mode, owner, Some(target), b"");
    }

    pub fn fifo(&mut self, path: &str) {
        self.put(path, EntryType::Fifo, 0o644, 0, None, b"");
    }

    /// Extended attributes for the entry that comes next.
    pub fn xattr(&mut self, name: &str, value: &[u8]) {
        self.0.append_pax_extensions([(format!("SCHILY.xattr.{name}").as_str(), value)]).unwrap();
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
