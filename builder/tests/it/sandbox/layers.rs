//! What a step leaves in the upper directory.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::lab::{Lab, run};

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn new_and_changed_files_land_in_the_upper_directory() {
    let lab = Lab::new();
    let ran = lab.sh("echo new > /root/file; echo more >> /etc/passwd; chmod 700 /home; umask");
    assert_eq!(ran.changed(), ["etc", "etc/passwd", "home", "root", "root/file"]);
    assert_eq!(fs::read_to_string(ran.upper.join("root/file")).unwrap(), "new\n");
    let whole = fs::read_to_string(ran.upper.join("etc/passwd")).unwrap();
    assert!(whole.starts_with("root:") && whole.ends_with("more\n"));
    assert_eq!(fs::metadata(ran.upper.join("home")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(ran.upper.join("root/file")).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(ran.ok(), "0022\n");
}

#[test]
fn a_deleted_path_is_a_whiteout() {
    let lab = Lab::new();
    let ran = lab.sh("rm /etc/group; rm -r /home");
    assert_eq!(ran.changed(), ["etc", "etc/group", "home"]);
    for path in ["etc/group", "home"] {
        let whiteout = fs::symlink_metadata(ran.upper.join(path)).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0, "{path}");
    }
}

#[test]
fn a_replaced_directory_is_opaque() {
    let lab = Lab::new();
    let ran = lab.sh("rm -r /home; mkdir /home; touch /home/new");
    assert_eq!(ran.changed(), ["home", "home/new"]);
    assert_eq!(attribute(&ran.upper.join("home"), "trusted.overlay.opaque").unwrap(), b"y");
}

/// A directory of a lower layer is renamed by copying (`EXDEV`), for `redirect_dir` is off, and no
/// file is there by its metadata alone.
#[test]
fn renames_and_chmods_are_whole_copies() {
    let mut lab = Lab::new();
    let layer = lab.layer();
    fs::create_dir_all(layer.join("data/sub")).unwrap();
    fs::write(layer.join("data/sub/big"), vec![7; 100_000]).unwrap();
    let ran = lab.sh("mv /data /moved; chmod 600 /bin/busybox");
    assert!(ran.changed().contains(&"moved/sub/big".to_owned()));
    assert_eq!(fs::read(ran.upper.join("moved/sub/big")).unwrap(), vec![7; 100_000]);
    let busybox = ran.upper.join("bin/busybox");
    assert_eq!(fs::read(&busybox).unwrap(), fs::read("/bin/busybox").unwrap());
    for path in [&busybox, &ran.upper.join("moved")] {
        assert_eq!(attribute(path, "trusted.overlay.metacopy"), None);
        assert_eq!(attribute(path, "trusted.overlay.redirect"), None);
    }
}

#[test]
fn a_layer_may_be_in_a_stack_twice() {
    let mut lab = Lab::new();
    let first = lab.sh("mkdir /d; echo first > /d/both").upper;
    lab.layers.insert(0, first.clone());
    let second = lab.sh("echo second > /d/both; echo second > /d/own").upper;
    lab.layers.insert(0, second);
    lab.layers.insert(0, first);
    assert_eq!(lab.sh("cat /d/both /d/own").ok(), "first\nsecond\n");
}

#[test]
fn the_upper_directory_of_a_step_is_a_layer_of_the_next() {
    let mut lab = Lab::new();
    let first = lab.sh("echo 1 > /one; rm /etc/group; rm -r /home; mkdir /home; touch /home/h");
    lab.layers.insert(0, first.upper);
    let second = lab.sh("cat /one; test ! -e /etc/group; ls /home");
    assert_eq!(second.changed(), Vec::<String>::new());
    assert_eq!(second.ok(), "1\nh\n");
}

#[test]
fn a_step_that_changes_nothing_leaves_nothing() {
    let lab = Lab::new();
    let before = fs::metadata(lab.layers[0].join("etc")).unwrap().modified().unwrap();
    let ran = lab.sh("stat -c %Y /etc");
    assert_eq!(ran.changed(), Vec::<String>::new());
    let seconds = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Making the mount point of resolv.conf, which the image lacks, has not reached the step's own view
    // of the time in the layer below.
    assert!(ran.ok().trim().parse::<u64>().unwrap() >= seconds);
    assert_eq!(fs::metadata(lab.layers[0].join("etc")).unwrap().modified().unwrap(), before);
}

/// Docker images have up to 127 layers.
#[test]
fn a_hundred_and_twenty_layers() {
    let mut lab = Lab::new();
    for number in 1..120 {
        let layer = lab.layer();
        fs::write(layer.join(format!("from{number}")), "").unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
    }
    assert_eq!(lab.layers.len(), 120);
    assert_eq!(lab.sh("ls / | grep -c ^from; cat /top").ok(), "119\n119");
}

/// Characters that mount options would need escapes for.
#[test]
fn layer_names_may_be_odd() {
    let mut lab = Lab::new();
    let odd = lab.path("a:b,c\\d e");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("odd"), "").unwrap();
    lab.layers.insert(0, odd);
    lab.sh("test -e /odd").ok();
}

/// `FROM scratch`: the program comes by a mount, and all mount points go again but those that runc leaves in Docker.
#[test]
fn no_layers_at_all() {
    let lab = Lab::new();
    let mut spec = lab.spec("echo from nothing > /file");
    spec.lower.clear();
    spec.mounts.push(shiplap_builder::sandbox::Mount::Bind {
        source: shiplap_builder::sandbox::BindSource::Layers(lab.layers.into_iter().map(Into::into).collect()),
        subpath: "/bin".into(),
        target: "/bin".into(),
        read_only: true,
    });
    let ran = run(&spec).unwrap();
    assert_eq!(ran.changed(), ["dev", "file", "proc", "sys"]);
    assert_eq!(fs::metadata(&ran.upper).unwrap().mode() & 0o7777, 0o755);
    ran.ok();
}

/// Whoever makes the upper directory knows the root of the tree; the directories of layers do not.
#[test]
fn the_root_is_as_the_upper_directory_whatever_the_layers_directories_are() {
    let lab = Lab::new();
    let mut spec = lab.spec("stat -c %a /");
    fs::set_permissions(&spec.upper, fs::Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(&lab.layers[0], fs::Permissions::from_mode(0o700)).unwrap();
    spec.user = Some("bob".into());
    assert_eq!(run(&spec).unwrap().ok(), "751\n");
}
