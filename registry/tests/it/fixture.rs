//! Stores, layers and tars to test with.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::Arc;

use shiplap_cache::{ImageId, LayerId, Store, Tree};
use shiplap_registry::tarball::{Head, Kind, Writer};
use shiplap_registry::{Client, ClientOptions, History, Image, Images, NoProgress, PackOptions, Packed};

/// A store that is gone after the test.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub images: Images,
}

pub fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    Home { dir, images: Images::new(store) }
}

impl Home {
    pub fn store(&self) -> &Arc<Store> {
        self.images.store()
    }

    pub fn layer(&self, parent: &Tree, fill: impl FnOnce(&Path)) -> LayerId {
        let pending = self.store().begin_layer(parent).unwrap();
        fill(&pending.upper());
        self.store().commit_layer(pending, parent).unwrap().unwrap()
    }

    /// An image of two layers with everything that a layer can hold.
    pub fn image(&self) -> (Image, ImageId) {
        self.image_of("hello")
    }

    pub fn image_of(&self, text: &str) -> (Image, ImageId) {
        let base = self.layer(&Tree::default(), |at| fill_base(at, text));
        let tree = self.store().tree([&base]).unwrap();
        let top = self.layer(&tree, |at| fill_top(at, self.store().overlay().opaque()));
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}});
        let line = |by: &str| History { created_by: Some(by.to_owned()), ..History::default() };
        let image = Image {
            config: config.as_object().unwrap().clone(),
            history: vec![line("base"), History { empty_layer: true, ..line("ENV PATH=/bin") }, line("top")],
            layers: vec![base, top],
        };
        let id = self.images.save(&image).unwrap();
        (image, id)
    }

    pub fn packed(&self) -> (Image, Packed) {
        let image = self.image().0;
        let packed = self.images.pack(&image, &PackOptions::default(), &NoProgress).unwrap();
        (image, packed)
    }

    /// How many blobs and layers there are, for "nothing was kept".
    pub fn kept(&self) -> (usize, usize) {
        let count = |name: &str| std::fs::read_dir(self.dir.path().join(name)).unwrap().count();
        (count("blobs/sha256"), count("layers"))
    }
}

fn touch(at: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 999 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, at, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn fill_base(at: &Path, text: &str) {
    std::fs::create_dir_all(at.join("usr/bin")).unwrap();
    std::fs::create_dir_all(at.join("gone")).unwrap();
    std::fs::create_dir_all(at.join("hidden")).unwrap();
    std::fs::write(at.join("usr/bin/tool"), text).unwrap();
    std::fs::set_permissions(at.join("usr/bin/tool"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::hard_link(at.join("usr/bin/tool"), at.join("usr/bin/again")).unwrap();
    std::fs::write(at.join("gone/x"), "x").unwrap();
    std::fs::write(at.join("hidden/x"), "x").unwrap();
    let many: Vec<u8> = (0..800_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect();
    std::fs::write(at.join("large"), many).unwrap();
    std::fs::write(at.join("n".repeat(150)), "a long name").unwrap();
    std::fs::write(at.join("\u{fc}n\u{ef}code"), "").unwrap();
    symlink("usr/bin", at.join("bin")).unwrap();
    chown(at.join("gone/x"), Some(3_000_000), Some(1000)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(at.join("large"), "user.note", b"line\n\nline=\0", flags).unwrap();
    touch(&at.join("large"), 1_600_000_000);
    touch(&at.join("bin"), 1_500_000_000);
    for dir in ["usr/bin", "usr", "gone", "hidden", "usr/bin/tool", "gone/x", "hidden/x", "\u{fc}n\u{ef}code"] {
        touch(&at.join(dir), 1_400_000_000);
    }
    touch(&at.join("n".repeat(150)), -7);
}

fn fill_top(at: &Path, opaque: &str) {
    std::fs::create_dir(at.join("hidden")).unwrap();
    rustix::fs::lsetxattr(at.join("hidden"), opaque, b"y", rustix::fs::XattrFlags::empty()).unwrap();
    std::fs::write(at.join("hidden/y"), "y").unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, at.join("gone"), kind, rustix::fs::Mode::empty(), 0).unwrap();
    for path in ["hidden/y", "hidden"] {
        touch(&at.join(path), 1_700_000_000);
    }
}

pub fn client() -> Client {
    let backoff = std::time::Duration::from_millis(10);
    Client::new(ClientOptions { backoff, attempts: 3, ..ClientOptions::default() })
}

pub fn head(path: &str, kind: Kind) -> Head {
    let mode = if kind == Kind::Dir { 0o755 } else { 0o644 };
    Head { path: path.into(), kind, mode, mtime: 1_600_000_000, ..Head::default() }
}

pub fn link(path: &str, kind: Kind, target: &str) -> Head {
    Head { link: target.into(), ..head(path, kind) }
}

/// A tar of these entries; contents are given for files.
pub fn tar(entries: &[(Head, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (head, contents) in entries {
        let head = Head { size: contents.len() as u64, ..head.clone() };
        writer.entry(&head, contents.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

/// All that is below a folder, in words.
pub fn listing(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).unwrap() {
            let at = item.unwrap().path();
            let meta = std::fs::symlink_metadata(&at).unwrap();
            let name = at.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            let what = if meta.is_dir() {
                folders.push(at.clone());
                "/".to_owned()
            } else if meta.is_symlink() {
                format!(" -> {}", std::fs::read_link(&at).unwrap().display())
            } else if meta.is_file() {
                format!(" = {}", String::from_utf8_lossy(&std::fs::read(&at).unwrap()))
            } else {
                format!(" {:o} {}", meta.mode() & 0o170_000, meta.rdev())
            };
            lines.push(format!("{name}{what}"));
        }
    }
    lines.sort();
    lines
}
