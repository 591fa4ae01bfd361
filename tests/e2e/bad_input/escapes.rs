//! Paths that lead out, and contexts that are odd or huge: the right result or a clear error, and nothing is written, or read, beside
//! the context and the store.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{Home, Ran};

/// What stands beside the context. It is in no image, and stays as it is.
const SECRET: &str = "nobody may read this";

struct Room {
    home: Home,
    outside: PathBuf,
    before: (i64, i64),
}

impl Room {
    fn new() -> Self {
        let home = Home::with_base();
        let outside = home.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        let before = times(&outside);
        Self { home, outside, before }
    }

    /// Builds `app:1`, whatever comes of it.
    fn build(&self, dockerfile: &str) -> Ran {
        self.home.write("Dockerfile", dockerfile);
        let ran = self.home.run(["build", "-t", "app:1", "."]);
        self.outside_is_untouched();
        assert!(!format!("{}{}", ran.out, ran.err).contains(SECRET), "{ran:?}");
        ran
    }

    /// The files of `app:1`; none of them is the one outside.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.home.files("app:1");
        let secret = files.iter().find(|(_, content)| content.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()));
        assert!(secret.is_none(), "{secret:?}");
        files
    }

    #[track_caller]
    fn outside_is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        let secret = self.outside.join("secret");
        assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
        assert_eq!(secret.metadata().unwrap().nlink(), 1);
        assert_eq!(times(&self.outside), self.before);
    }

    /// The folder outside, as it is on this machine.
    fn absolute(&self) -> &str {
        self.outside.to_str().unwrap()
    }
}

fn times(folder: &Path) -> (i64, i64) {
    let meta = folder.metadata().unwrap();
    (meta.mtime(), meta.mtime_nsec())
}

#[test]
fn dots_end_at_the_root_of_a_source_and_of_the_image() {
    let room = Room::new();
    room.home.write("inside", "inside");
    for copy in [
        "COPY ../outside/secret /",
        "COPY ../../../../../../../../outside/secret /",
        "COPY [\"../outside/secret\", \"/\"]",
        "COPY --parents ../outside/secret /",
        "ADD ../outside/secret /",
        "RUN --mount=type=bind,source=../outside,target=/mnt cat /mnt/secret",
        "RUN --mount=type=bind,from=base:1,source=/../../outside,target=/mnt cat /mnt/secret",
        "COPY --from=base:1 /../../outside/secret /",
    ] {
        let ran = room.build(&format!("FROM base:1\n{copy}\n"));
        assert!(matches!(ran.code, Some(1 | 2)), "{copy}: {ran:?}");
        ran.says("outside").says("[./Dockerfile:2:1]");
    }
    let outside = room.absolute();
    room.build(&format!(
        "FROM base:1\nCOPY ../inside /one\nCOPY inside /../../../..{outside}/two\nCOPY inside ../../../../three\n\
         WORKDIR /../../../..{outside}\nRUN echo four > four && echo five > ../../../../../../../five\nVOLUME /../../six\n"
    ))
    .ok();
    let files = room.files();
    let outside = outside.trim_start_matches('/');
    for (path, content) in [("one", "inside"), ("three", "inside"), ("five", "five\n")] {
        assert_eq!(files[path], content.as_bytes(), "{path}");
    }
    assert_eq!(files[&format!("{outside}/two")], b"inside");
    assert_eq!(files[&format!("{outside}/four")], b"four\n");
}

#[test]
fn absolute_links_are_followed_inside_of_the_context_and_of_the_image() {
    let room = Room::new();
    let outside = room.absolute().to_owned();
    room.home.write("file", "file");
    symlink(&outside, room.home.work().join("out")).unwrap();
    symlink(format!("{outside}/secret"), room.home.work().join("leak")).unwrap();
    symlink("../outside", room.home.work().join("up")).unwrap();
    for copy in ["COPY out/secret /", "COPY up/secret /", "ADD out/secret /", "COPY leak /", "ADD leak /"] {
        let ran = room.build(&format!("FROM base:1\n{copy}\n"));
        assert_eq!(ran.code, Some(2), "{copy}: {ran:?}");
        ran.says("[./Dockerfile:2:1]");
    }
    // A pattern may match nothing, and matches nothing out there.
    room.build("FROM base:1\nCOPY out/* up/* a/../../outside/* /x/\n").ok();
    assert!(!room.files().contains_key("x/secret"));
    // As a part of a folder they are links, and stay so.
    room.build("FROM base:1\nCOPY . /all/\n").ok();
    assert_eq!(room.files()["all/leak"], format!("-> {outside}/secret").as_bytes());

    let stage = format!(
        "FROM base:1 AS stage\nRUN ln -s {outside} /out && ln -s {outside}/secret /leak && ln -s / /root/slash\n"
    );
    for copy in [
        "COPY --from=stage /out/secret /",
        "COPY --from=stage /leak /",
        "RUN --mount=from=stage,source=/out,target=/m cat /m/secret",
    ] {
        let ran = room.build(&format!("{stage}FROM base:1\n{copy}\n"));
        assert!(matches!(ran.code, Some(1 | 2)), "{copy}: {ran:?}");
    }
    // Where a link of the image leads to is a place in the image.
    room.build(&format!(
        "{stage}RUN mkdir -p {outside}\nCOPY file /out/\nCOPY file /root/slash/other\nADD file /leak\n"
    ))
    .ok();
    let files = room.files();
    assert_eq!(files[&format!("{}/file", &outside[1..])], b"file");
    assert_eq!(files["other"], b"file");
}

/// A tar of one entry after the other: a name, what it is, where it links to, what is in it.
fn tar(entries: &[(&str, tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        // The crate would refuse what is tried here.
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        if kind.is_character_special() || kind.is_block_special() {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn an_archive_does_not_lead_out() {
    use tar::EntryType as Is;
    let room = Room::new();
    let outside = room.absolute().to_owned();
    let short = outside.len() < 90;
    assert!(short, "{outside} is too long for a tar header");
    let evil = format!("{outside}/evil");
    let secret = format!("{outside}/secret");
    let refused = [
        vec![("../outside/evil", Is::Regular, "", "x")],
        vec![("a/../../../../../../../../outside/evil", Is::Regular, "", "x")],
        vec![("..", Is::Directory, "", "")],
        vec![("hard", Is::Link, secret.as_str(), "")],
        vec![("hard", Is::Link, "../outside/secret", "")],
        vec![("out", Is::Symlink, outside.as_str(), ""), ("hard", Is::Link, "out/secret", "")],
    ];
    for entries in refused {
        fs::write(room.home.work().join("a.tar"), tar(&entries)).unwrap();
        let ran = room.build("FROM base:1\nADD a.tar /x/\n");
        assert!(matches!(ran.code, Some(1 | 2)), "{entries:?}: {ran:?}");
        ran.says("a.tar").says("[./Dockerfile:2:1]");
    }
    let kept = [
        vec![(evil.as_str(), Is::Regular, "", "x")],
        vec![("out", Is::Symlink, outside.as_str(), ""), ("out/evil", Is::Regular, "", "x")],
        vec![("out", Is::Symlink, "../../../../../../..", ""), ("out/evil", Is::Regular, "", "x")],
        vec![("out", Is::Symlink, "/proc/self/cwd", ""), ("out/evil", Is::Regular, "", "x")],
        vec![("leak", Is::Symlink, secret.as_str(), ""), ("leak", Is::Regular, "", "x")],
        vec![("out", Is::Symlink, outside.as_str(), ""), ("out", Is::Directory, "", "")],
    ];
    for entries in kept {
        fs::write(room.home.work().join("a.tar"), tar(&entries)).unwrap();
        let ran = room.build("FROM base:1\nADD a.tar /x/\n");
        match ran.code {
            Some(0) => drop(room.files()),
            // There is nothing in the folder at which the link points.
            Some(1) => drop(ran.says("a link that leads nowhere").says("[./Dockerfile:2:1]")),
            _ => panic!("{entries:?}: {ran:?}"),
        }
    }
}

/// Root makes them, as Docker does; in a step they are shut off like any device.
#[test]
fn devices_and_pipes_of_an_archive_are_made_or_left_out() {
    use tar::EntryType as Is;
    let room = Room::new();
    let entries = [
        ("null", Is::Char, "", ""),
        ("disk", Is::Block, "", ""),
        ("pipe", Is::Fifo, "", ""),
        ("file", Is::Regular, "", "x"),
    ];
    fs::write(room.home.work().join("a.tar"), tar(&entries)).unwrap();
    room.build(
        "FROM base:1\nADD a.tar /x/\nRUN test -p /x/pipe && cat /x/file && ! dd if=/x/disk of=/dev/null count=1\n",
    )
    .ok();
    let found: Vec<_> =
        fs::read_dir(room.home.store().join("layers")).unwrap().map(|layer| layer.unwrap().path()).collect();
    let at = |name: &str| found.iter().map(|layer| layer.join("x").join(name)).find(|at| at.symlink_metadata().is_ok());
    assert!(at("pipe").unwrap().metadata().unwrap().file_type().is_fifo());
    assert!(at("null").is_none_or(|at| at.metadata().unwrap().file_type().is_char_device()));
    assert!(at("disk").is_none_or(|at| at.metadata().unwrap().file_type().is_block_device()));
}

#[test]
fn names_that_are_not_utf8_are_copied_as_they_are() {
    let room = Room::new();
    for name in [&b"caf\xe9"[..], b"caf\xe8", b"\xff\xfe", b"new\nline"] {
        fs::write(room.home.work().join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(room.home.work().join(OsStr::from_bytes(b"d\xe9"))).unwrap();
    fs::write(room.home.work().join(OsStr::from_bytes(b"d\xe9/left-out")), "x").unwrap();
    room.home.write(".dockerignore", "**/left-out\n");
    let check = r#"RUN cd /all && for n in caf\\351 caf\\350 \\377\\376 new\\nline; do \
        f="$(printf "$n")" && test "$(cat "$f")" = "$f" || exit 3; done && test -d "$(printf 'd\351')" && ! ls d*/left-out"#;
    room.build(&format!("FROM base:1\nCOPY . /all/\n{check}\nCOPY caf? /some/\nRUN test $(ls /some | wc -l) = 2\n"))
        .ok();
    // What was exported comes back the same.
    let tar = room.home.path("out.tar");
    room.home.run(["export", "app:1", tar.to_str().unwrap(), "--format", "docker-archive"]).ok();
    room.home.run(["import", tar.to_str().unwrap(), "again:1"]).ok();
    room.home.write("Dockerfile", format!("FROM again:1\n{check}\n"));
    room.home.run(["build", "."]).ok();
}

#[test]
fn a_line_of_100_000_characters_is_a_line() {
    let room = Room::new();
    let long = "x".repeat(100_000);
    room.build(&format!(
        "FROM base:1\nLABEL long={long}\nRUN echo {long} | wc -c > /length\nCOPY <<EOF /file\n{long}\nEOF\n"
    ))
    .ok();
    let files = room.files();
    assert_eq!(files["length"], b"100001\n");
    assert_eq!(files["file"].len(), 100_001);
    assert_eq!(room.home.config("app:1")["config"]["Labels"]["long"].as_str().unwrap().len(), 100_000);
    // The kernel takes no argument above 128 KiB.
    let longer = "x".repeat(200_000);
    room.build(&format!("FROM base:1\nRUN echo {longer}\n")).ends_with(1).says("Argument list too long");
    // An error shows where it is without showing all of it.
    let ran = room.build(&format!("FROM base:1\nRUNN {long}\n")).ends_with(2);
    assert!(ran.err.contains("RUNN"), "{}", &ran.err[..200.min(ran.err.len())]);
    let name = "n".repeat(5000);
    room.build(&format!("FROM base:1\nCOPY {name} /\n")).ends_with(2);
    room.build(&format!("FROM base:1\nRUN true\nWORKDIR /{name}\n")).ends_with(1).says("name too long");
}

#[test]
fn a_file_of_10_gb_without_content_takes_no_space() {
    let room = Room::new();
    let size = 10 << 30;
    let file = File::create(room.home.work().join("big")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"middle", size / 2).unwrap();
    room.build(&format!(
        "FROM base:1 AS first\nCOPY big /\nRUN test $(stat -c %s /big) = {size}\n\
         FROM base:1\nCOPY --from=first --chown=bob /big /\n\
         RUN test $(dd if=/big bs=1024 skip={} count=1 | head -c 6) = middle\n",
        size / 2 / 1024
    ))
    .ok();
    let used: u64 = walk(&room.home.store()).iter().map(|meta| meta.blocks() * 512).sum();
    assert!(used < 100 << 20, "{used} bytes");
    assert!(walk(&room.home.store()).iter().filter(|meta| meta.len() == size).count() >= 2);
}

fn walk(folder: &Path) -> Vec<fs::Metadata> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        if meta.is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(meta);
    }
    found
}

#[test]
fn two_hundred_stages_are_built() {
    let room = Room::new();
    room.home.write("file", "from the first\n");
    let mut side_by_side = "FROM base:1 AS s0\nCOPY file /f\n".to_owned();
    for n in 1..200 {
        side_by_side += &format!("FROM base:1 AS s{n}\nCOPY --from=s{} /f /f\n", n - 1);
    }
    room.build(&side_by_side).ok();
    assert_eq!(room.files()["f"], b"from the first\n");

    let mut one_on_the_other = "FROM base:1 AS s0\nCOPY file /f0\n".to_owned();
    for n in 1..200 {
        one_on_the_other += &format!("FROM s{} AS s{n}\nCOPY file /f{n}\n", n - 1);
    }
    one_on_the_other += "RUN cat /f0 /f77 /f199 > /all\n";
    room.build(&one_on_the_other).ok();
    let files = room.files();
    assert_eq!(files["all"], b"from the first\n".repeat(3));
    assert_eq!(files.keys().filter(|path| path.starts_with('f')).count(), 200);
}
