//! Full disks, and users who are not root.

use std::path::Path;
use std::process::Command;

use shiplap_cache::{Overlay, Store};
use shiplap_registry::archive::{ImportOptions, export_rootfs, import};
use shiplap_registry::tarball::{Head, Kind, TarProblem};
use shiplap_registry::unpack::unpack;
use shiplap_registry::{Images, NoProgress, PackOptions};

use crate::fixture::{head, home, tar};

/// A small file system, gone with the test.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},nr_inodes=0");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status().unwrap();
        assert!(mounted.success(), "this test needs root");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_half_is_kept() {
    let (here, dir) = (home(), tempfile::tempdir().unwrap());
    let (image, _) = here.image();
    let path = dir.path().join("rootfs.tar");
    export_rootfs(here.store(), &image, None, std::fs::File::create(&path).unwrap()).unwrap();
    let room = std::fs::metadata(&path).unwrap().len();

    let small = Tmpfs::new(&(room / 2).to_string());
    let images = Images::new(Store::open(small.path()).unwrap().into());
    let error = import(&images, &path, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    let count = |folder: &str| std::fs::read_dir(small.path().join(folder)).unwrap().count();
    assert_eq!((count("layers"), count("indices"), count("blobs/sha256")), (0, 0, 0));

    // Room for the layer and not for its blob beside it.
    let middle = Tmpfs::new(&(room + room / 4).to_string());
    let images = Images::new(Store::open(middle.path()).unwrap().into());
    let imported = import(&images, &path, &ImportOptions::default()).unwrap();
    let image = images.load(&imported.image).unwrap();
    let error = images.pack(&image, &PackOptions::default(), &NoProgress).unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(std::fs::read_dir(middle.path().join("blobs/sha256")).unwrap().count(), 0);
}

/// Runs itself in a user namespace.
#[test]
fn without_root_devices_are_left_out_and_foreign_owners_are_an_error() {
    let mut child = Command::new("unshare");
    child.args(["-U", "-r"]).arg(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "places::in_a_user_namespace", "--ignored", "--nocapture"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by without_root_devices_are_left_out_and_foreign_owners_are_an_error"]
fn in_a_user_namespace() {
    assert_eq!(Overlay::detect(), Overlay::User);
    let dir = tempfile::tempdir().unwrap();
    let null = Head { device: (1, 3), ..head("dev/null", Kind::Char) };
    let entries = [
        (null, ""),
        (head("o/.wh..wh..opq", Kind::File), ""),
        (head(".wh.gone", Kind::File), ""),
        (head("p", Kind::Fifo), ""),
    ];
    let unpacked = unpack(&tar(&entries)[..], dir.path(), Overlay::User).unwrap();
    assert_eq!(unpacked.skipped_devices, 1);
    assert!(!dir.path().join("dev/null").exists() && dir.path().join("p").exists());
    let index = shiplap_cache::capture(dir.path(), Overlay::User).unwrap();
    let kind = |path: &str| index.entry(index.find(path.as_bytes()).unwrap()).kind;
    assert_eq!(kind("gone"), shiplap_cache::Kind::Whiteout);
    assert_eq!(kind("o"), shiplap_cache::Kind::Dir { opaque: true });

    let foreign = tar(&[(Head { uid: 1000, gid: 1000, ..head("f", Kind::File) }, "")]);
    let error = unpack(&foreign[..], tempfile::tempdir().unwrap().path(), Overlay::User).unwrap_err();
    assert!(matches!(error, TarProblem::Owner { uid: 1000, .. }) && error.to_string().contains("subuid"), "{error}");
}
