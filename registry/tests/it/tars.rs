//! Tars from anywhere, hostile ones too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use shiplap_cache::Overlay;
use shiplap_registry::tarball::{Head, Kind, TarProblem};
use shiplap_registry::unpack::{Unpacked, unpack};

use crate::fixture::{head, link, listing, tar};

struct Box_ {
    outer: tempfile::TempDir,
}

impl Box_ {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("upper")).unwrap();
        std::fs::create_dir(outer.path().join("secret")).unwrap();
        std::fs::write(outer.path().join("secret/file"), "safe").unwrap();
        Self { outer }
    }

    fn upper(&self) -> std::path::PathBuf {
        self.outer.path().join("upper")
    }

    fn unpack(&self, entries: &[(Head, &str)]) -> Result<Unpacked, TarProblem> {
        unpack(&tar(entries)[..], &self.upper(), Overlay::detect())
    }

    fn outside_is_untouched(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.outer.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["secret", "upper"]);
        assert_eq!(listing(&self.outer.path().join("secret")), ["file = safe"]);
        assert_eq!(std::fs::metadata(self.outer.path().join("secret/file")).unwrap().nlink(), 1);
    }
}

#[test]
fn nothing_leaves_the_directory() {
    let outside = "../secret";
    let file = |path: &str| (head(path, Kind::File), "evil");
    let cases: Vec<Vec<(Head, &str)>> = vec![
        vec![file("../secret/file")],
        vec![file("a/../../secret/file")],
        vec![file("../../../../../../etc/shiplap-evil")],
        vec![(link("out", Kind::Symlink, outside), ""), file("out/file")],
        vec![
            (link("out", Kind::Symlink, "/"), ""),
            (link("out2", Kind::Symlink, "out/../../secret"), ""),
            file("out2/file"),
        ],
        vec![(link("file", Kind::Symlink, "../secret/file"), ""), file("file")],
        vec![(link("hard", Kind::HardLink, "../secret/file"), ""), file("hard")],
        vec![(link("out", Kind::Symlink, outside), ""), (link("hard", Kind::HardLink, "out/file"), ""), file("hard")],
        vec![(link("l", Kind::Symlink, "../secret/file"), ""), (link("hard", Kind::HardLink, "l"), ""), file("hard")],
        vec![(link("out", Kind::Symlink, outside), ""), (head("out/.wh.file", Kind::File), "")],
        vec![(link("out", Kind::Symlink, outside), ""), (head("out/.wh..wh..opq", Kind::File), "")],
        vec![(head(".wh..", Kind::File), "")],
        vec![(head("d/.wh...", Kind::File), "")],
        vec![(link("out", Kind::Symlink, outside), ""), (head("out", Kind::Dir), ""), file("out/file")],
        vec![(link("out", Kind::Symlink, outside), ""), (Head { mode: 0o777, ..head("out/", Kind::Dir) }, "")],
        vec![(link("proc", Kind::Symlink, "/proc/self/root/proc/self/cwd"), ""), file("proc/evil")],
        vec![(head("..", Kind::Dir), "")],
    ];
    for (i, case) in cases.iter().enumerate() {
        let room = Box_::new();
        // Refused or kept inside, either is fine; never outside.
        let _ = room.unpack(case);
        room.outside_is_untouched();
        assert!(!Path::new("/etc/shiplap-evil").exists(), "case {i}");
    }
}

#[test]
fn a_name_that_climbs_out_is_an_error_and_an_absolute_one_is_inside() {
    let room = Box_::new();
    let error = room.unpack(&[(head("a/../../x", Kind::File), "")]).unwrap_err();
    assert!(matches!(&error, TarProblem::Name(name) if name == "a/../../x"), "{error}");
    room.unpack(&[(head("/etc/passwd", Kind::File), "root"), (head("./b/./c", Kind::File), "")]).unwrap();
    assert_eq!(listing(&room.upper()), ["b/", "b/c = ", "etc/", "etc/passwd = root"]);
}

#[test]
fn links_on_the_way_are_followed_inside() {
    let room = Box_::new();
    room.unpack(&[
        (head("usr/lib", Kind::Dir), ""),
        (link("lib", Kind::Symlink, "usr/lib"), ""),
        (link("abs", Kind::Symlink, "/usr/lib"), ""),
        (link("up", Kind::Symlink, "../../../usr"), ""),
        (head("lib/a", Kind::File), "1"),
        (head("abs/b", Kind::File), "2"),
        (head("up/lib/c", Kind::File), "3"),
    ])
    .unwrap();
    let all = listing(&room.upper());
    for line in ["usr/lib/a = 1", "usr/lib/b = 2", "usr/lib/c = 3"] {
        assert!(all.iter().any(|l| l == line), "{all:?}");
    }
}

#[test]
fn of_two_entries_with_one_name_the_last_wins() {
    let room = Box_::new();
    room.unpack(&[
        (head("a", Kind::File), "first, and longer"),
        (head("a", Kind::File), "second"),
        (head("d/x", Kind::File), "x"),
        (head("d", Kind::File), "no directory any more"),
        (head("f", Kind::File), "f"),
        (Head { mode: 0o700, ..head("f", Kind::Dir) }, ""),
        (head("f/y", Kind::File), "y"),
        (link("l", Kind::Symlink, "a"), ""),
        (head("l", Kind::File), "not through the link"),
        (head("k", Kind::Dir), ""),
        (head("k/in", Kind::File), "kept"),
        (Head { mode: 0o711, ..head("k", Kind::Dir) }, ""),
    ])
    .unwrap();
    assert_eq!(
        listing(&room.upper()),
        ["a = second", "d = no directory any more", "f/", "f/y = y", "k/", "k/in = kept", "l = not through the link"]
    );
    assert_eq!(std::fs::metadata(room.upper().join("k")).unwrap().mode() & 0o777, 0o711);
}

#[test]
fn attributes_and_times_are_those_of_the_tar() {
    let room = Box_::new();
    let capability = b"\x01\0\0\x02\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let xattrs = vec![
        (b"security.capability".to_vec(), capability.clone()),
        (b"user.note".to_vec(), b"a\nb".to_vec()),
        (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
        (b"user.overlay.redirect".to_vec(), b"/x".to_vec()),
    ];
    room.unpack(&[
        (Head { mtime: 1_111_111_111, mode: 0o1777, ..head("d", Kind::Dir) }, ""),
        (Head { mode: 0o6755, uid: 33, gid: 44, mtime: -3, xattrs, ..head("d/f", Kind::File) }, "x"),
        (Head { mtime: 1_222_222_222, uid: 5, ..link("d/l", Kind::Symlink, "f") }, ""),
        (link("d/h", Kind::HardLink, "d/f"), ""),
        (head("d/p", Kind::Fifo), ""),
    ])
    .unwrap();
    let meta = |p: &str| std::fs::symlink_metadata(room.upper().join(p)).unwrap();
    assert_eq!((meta("d").mtime(), meta("d").mode() & 0o7777), (1_111_111_111, 0o1777));
    let f = meta("d/f");
    assert_eq!((f.mode() & 0o7777, f.uid(), f.gid(), f.mtime(), f.nlink()), (0o6755, 33, 44, -3, 2));
    assert_eq!((meta("d/l").mtime(), meta("d/l").uid()), (1_222_222_222, 5));
    assert_eq!(meta("d/h").ino(), f.ino());
    let at = room.upper().join("d/f");
    let mut value = [0; 64];
    let mut get = |name: &str| rustix::fs::lgetxattr(&at, name, &mut value[..]).map(|n| value[..n].to_vec());
    assert_eq!(get("security.capability").unwrap(), capability);
    assert_eq!(get("user.note").unwrap(), b"a\nb");
    assert!(get("trusted.overlay.opaque").is_err() && get("user.overlay.redirect").is_err());
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    let room = Box_::new();
    let overlay = Overlay::detect();
    room.unpack(&[
        (head("a/.wh.gone", Kind::File), ""),
        (head("o/x", Kind::File), "x"),
        (head("o/.wh..wh..opq", Kind::File), ""),
        (head("new/.wh..wh..opq", Kind::File), ""),
        (head(".wh..wh.plnk", Kind::Dir), ""),
        // Removed and made again in one layer: what is below is hidden, what is here stays.
        (head(".wh.again", Kind::File), ""),
        (head("again", Kind::Dir), ""),
        (head("again/x", Kind::File), "x"),
        (head("before", Kind::Dir), ""),
        (head("before/x", Kind::File), "x"),
        (head(".wh.before", Kind::File), ""),
        (head("file", Kind::File), "stays"),
        (head(".wh.file", Kind::File), ""),
    ])
    .unwrap();
    let gone = std::fs::symlink_metadata(room.upper().join("a/gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    for dir in ["o", "new", "again", "before"] {
        let mut value = [0; 8];
        let got = rustix::fs::lgetxattr(room.upper().join(dir), overlay.opaque(), &mut value[..]);
        assert_eq!(got.map(|n| &value[..n]), Ok(&b"y"[..]), "{dir}");
    }
    let all = listing(&room.upper());
    assert!(all.contains(&"file = stays".to_owned()) && !all.iter().any(|l| l.contains(".wh.")), "{all:?}");
}

#[test]
fn missing_parents_are_made_and_noted() {
    let room = Box_::new();
    let unpacked = room.unpack(&[(head("a/b/c", Kind::File), ""), (head("a", Kind::Dir), "")]).unwrap();
    let implied: Vec<String> = unpacked.implied.iter().map(ToString::to_string).collect();
    assert_eq!(implied, ["/a/b"]);
    let b = std::fs::metadata(room.upper().join("a/b")).unwrap();
    assert_eq!((b.mode() & 0o7777, b.mtime()), (0o755, 0));
}

#[test]
fn a_hard_link_to_nothing_says_to_what() {
    let error = Box_::new().unpack(&[(link("h", Kind::HardLink, "not/there"), "")]).unwrap_err();
    assert!(error.to_string().contains("not/there"), "{error}");
}

#[test]
fn a_tar_cut_anywhere_is_an_error_or_has_no_end() {
    let whole = tar(&[
        (head("d", Kind::Dir), ""),
        (head(&"n".repeat(120), Kind::File), "a file behind a PAX header"),
        (head("d/f", Kind::File), &"x".repeat(2000)),
    ]);
    for cut in (0..whole.len() - 1024).step_by(37) {
        let room = Box_::new();
        match unpack(&whole[..cut], &room.upper(), Overlay::detect()) {
            Ok(unpacked) => assert!(!unpacked.ended, "cut at {cut}"),
            Err(e) => assert!(matches!(e, TarProblem::Truncated(_)), "cut at {cut}: {e}"),
        }
    }
    assert!(unpack(&whole[..], &Box_::new().upper(), Overlay::detect()).unwrap().ended);
}

#[test]
fn what_is_no_tar_is_told_so() {
    let error = unpack(&[b'x'; 2048][..], &Box_::new().upper(), Overlay::detect()).unwrap_err();
    assert!(matches!(error, TarProblem::Header { offset: 0, .. }), "{error}");
}

/// Whatever stands in a header: an error or something inside, never a panic, never something outside.
#[test]
fn any_byte_of_a_header_may_be_anything() {
    let xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
    let whole = tar(&[
        (head("d", Kind::Dir), ""),
        (Head { uid: 4_000_000, mtime: -1, xattrs, ..head("d/f", Kind::File) }, "contents"),
        (link("d/l", Kind::Symlink, "../../secret"), ""),
        (link("d/h", Kind::HardLink, "d/f"), ""),
    ]);
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let room = Box_::new();
    for _ in 0..1000 {
        let mut bytes = whole.clone();
        for _ in 0..=random() % 3 {
            let at = random() % (bytes.len() - 1024);
            bytes[at] = b"\0/.x1507SgLKx=\n \x80\xff"[random() % 18];
        }
        // Where a header was, its sum is made right again.
        for block in bytes.chunks_mut(512).filter(|b| &b[257..262] == b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = unpack(&bytes[..], &room.upper(), Overlay::detect());
        room.outside_is_untouched();
        std::fs::remove_dir_all(room.upper()).unwrap();
        std::fs::create_dir(room.upper()).unwrap();
    }
}

/// `tar(1)` writes every dialect; all must come out the same.
#[test]
fn all_dialects_of_gnu_tar_come_out_the_same() {
    let from = tempfile::tempdir().unwrap();
    let at = |p: &str| from.path().join(p);
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    std::fs::create_dir_all(at(&deep)).unwrap();
    std::fs::write(at(&deep).join("f"), "deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(140), at("link")).unwrap();
    std::fs::hard_link(at(&deep).join("f"), at("hard")).unwrap();
    // Holes at the start, between and at the end.
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    use std::os::unix::fs::FileExt;
    sparse.write_all_at(b"one", 1 << 20).unwrap();
    sparse.write_all_at(b"two", 3 << 20).unwrap();
    sparse.set_len(5 << 20).unwrap();
    std::fs::write(at("small"), "small").unwrap();
    let want = listing(from.path());
    for args in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let made = std::process::Command::new("tar")
            .args(args)
            .args(["-C", from.path().to_str().unwrap(), "-cf", "-", "."])
            .output();
        let bytes = made.unwrap().stdout;
        let room = Box_::new();
        unpack(&bytes[..], &room.upper(), Overlay::detect()).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        assert!(listing(&room.upper()) == want, "{args:?}");
        if args.contains(&"--sparse") {
            let blocks = std::fs::metadata(room.upper().join("sparse")).unwrap().blocks();
            assert!(blocks * 512 < 1 << 20, "{args:?}: holes were filled, {blocks} blocks");
        }
    }
}
