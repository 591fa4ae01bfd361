//! `ADD`: archives, files of the web, git repositories.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::Case;
use super::base::Tar;
use crate::common::{Repo, sh};

fn archive() -> Vec<u8> {
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.dir("top", 0o750, 7);
    tar.file("top/a", b"a\n", 0o640, 8);
    tar.file("top/tool", b"t\n", 0o4755, 0);
    tar.link("top/link", "a");
    tar.hard_link("top/second", "top/a", 0o640, 8);
    tar.fifo("top/pipe");
    // Folders without an entry of their own.
    tar.file("no/entry/b", b"b\n", 0o600, 9);
    tar.xattr("user.note", b"n");
    tar.file("noted", b"x\n", 0o644, 0);
    tar.bytes()
}

/// The archive as a program packs it.
fn packed(program: &str) -> Vec<u8> {
    let mut child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&archive()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[test]
fn an_archive_is_unpacked() {
    Case::new("FROM base\nADD a.tar /x/\nADD a.tar /new\nADD a.tar /data/dir\nADD a.tar /data/link/\nWORKDIR /w\nADD a.tar .\n")
        .file("a.tar", archive())
        .same();
}

#[test]
fn packed_archives_are_unpacked() {
    for program in ["gzip", "bzip2", "zstd"] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: no {program}");
            continue;
        }
        Case::new("FROM base\nADD a.any /x/\n").file("a.any", packed(program)).same();
    }
}

/// Unpacked by Docker where it has the program `xz`, and always by us: `tests/e2e/add_from_elsewhere.rs`.
#[test]
fn an_archive_of_xz_that_is_told_to_stay() {
    if Command::new("xz").arg("--version").output().is_err() {
        return eprintln!("skipped: no xz");
    }
    Case::new("FROM base\nADD --unpack=false a.tar.xz /x/\n").file("a.tar.xz", packed("xz")).same();
}

#[test]
fn archives_with_links_that_lead_out() {
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.link("out", "../../../../etc");
    tar.link("absolute", "/etc");
    tar.file("plain", b"p\n", 0o644, 0);
    Case::new("FROM base\nADD a.tar /x/\n").file("a.tar", tar.bytes()).same();
    // The top of the archive is its root.
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.dir("etc", 0o755, 0);
    tar.link("out", "/etc");
    tar.file("out/new", b"through the link\n", 0o644, 0);
    Case::new("FROM base\nADD a.tar /x/\n").file("a.tar", tar.bytes()).same();
}

#[test]
fn excludes_of_add() {
    Case::new("FROM base\nADD --exclude=*.txt --exclude=d/e . /x/\nADD --exclude=a.tar a.tar b.txt /y/\nADD --exclude=top a.tar /z/\n")
        .file("a.tar", archive())
        .file("b.txt", "b")
        .file("d/e", "e")
        .file("d/f", "f")
        .same();
}

#[test]
fn adds_are_like_copies() {
    Case::new("FROM base\nADD a /x\nADD d /y\nADD a d /z/\nADD [\"a\", \"/w v\"]\nADD * /v/\nWORKDIR /u\nADD a ./b/\n")
        .file("a", "a")
        .file("d/e", "e")
        .same();
    Case::new("FROM base\nADD nothing /x\n").refused();
    Case::new("FROM base\nADD a b /x\n").file("a", "a").file("b", "b").same();
    Case::new("FROM base\nADD --chown=nobody:7 --chmod=u+x a /x\n").file("a", "a").same();
}

#[test]
fn what_is_no_archive_is_copied() {
    let mut text = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    text.stdin.take().unwrap().write_all(b"only text\n").unwrap();
    let text = text.wait_with_output().unwrap().stdout;
    Case::new("FROM base\nADD a.tar.gz /x/\nADD notes.tar /y\nADD empty.tar /z\nADD text.gz /w\nADD short.gz /v\nCOPY real.tar /u\n")
        .file("a.tar.gz", "not packed")
        .file("notes.tar", "not an archive")
        .file("empty.tar", "")
        .file("text.gz", text)
        .file("short.gz", b"\x1f\x8b")
        .file("real.tar", archive())
        .same();
}

#[test]
fn an_archive_cut_short() {
    let whole = archive();
    Case::new("FROM base\nADD a.tar /x/\n").file("a.tar", &whole[..700]).refused();
}

#[test]
fn archives_with_owners_modes_and_others() {
    Case::new("FROM base\nADD --chown=bob a.tar /x/\nADD --chown=bob:extra --chmod=711 one.txt /y/\nADD a.tar one.txt /z/\nADD *.t* /w/\nADD d /v\n")
        .file("a.tar", archive())
        .file("one.txt", "1")
        .file("d/b.tar", archive())
        .same();
}

#[test]
fn a_mode_for_an_archive() {
    Case::new("FROM base\nADD --chmod=711 a.tar /x/\n").file("a.tar", archive()).same();
}

#[test]
fn an_archive_that_is_told_to_stay_or_to_be_unpacked() {
    Case::new("FROM base\nADD --unpack=false a.tar /x\nADD --unpack=true a.tar /y\n").file("a.tar", archive()).same();
}

#[test]
fn an_archive_over_what_is_there() {
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.dir("data/dir", 0o711, 5);
    tar.file("data/file", b"new\n", 0o600, 5);
    tar.link("data/tool", "file");
    tar.file("data/to-file", b"no link\n", 0o600, 5);
    tar.dir("data/owned", 0o700, 0);
    tar.file("data/owned/x", b"x\n", 0o600, 5);
    Case::new("FROM base\nADD a.tar /\n").file("a.tar", tar.bytes()).same();
}

#[test]
fn an_archive_with_other_kinds_over_what_is_there() {
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.file("data/dir", b"a file over a folder\n", 0o600, 5);
    Case::new("FROM base\nADD a.tar /\n").file("a.tar", tar.bytes()).same();
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.dir("data/file", 0o700, 0);
    tar.file("data/file/x", b"a folder over a file\n", 0o600, 5);
    Case::new("FROM base\nADD a.tar /\n").file("a.tar", tar.bytes()).same();
    let mut tar = Tar(tar::Builder::new(Vec::new()));
    tar.dir("data/link", 0o700, 0);
    tar.file("data/link/x", b"a folder over a link\n", 0o600, 5);
    Case::new("FROM base\nADD a.tar /\n").file("a.tar", tar.bytes()).same();
}

#[test]
fn an_archive_in_an_empty_image() {
    Case::new("FROM scratch\nADD a.tar /\n").file("a.tar", archive()).same();
    Case::new("FROM scratch\nADD --link a.tar /x/\n").with_merge().file("a.tar", archive()).same();
}

/// A server of files on loopback; it answers until the test ends.
struct Web {
    address: String,
}

impl Web {
    fn serve(files: Vec<(&'static str, &'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files);
            }
        });
        Self { address }
    }
}

fn answer(mut stream: TcpStream, files: &[(&str, &str, Vec<u8>)]) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = files.iter().find(|(name, ..)| *name == path);
    let (status, headers, body) = match found {
        Some((_, headers, body)) => ("200 OK", *headers, body.as_slice()),
        None => ("404 Not Found", "", b"nothing\n".as_slice()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    let body = if request.starts_with("HEAD") { b"" } else { body };
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

fn web() -> Web {
    Web::serve(vec![
        ("/f.txt", "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n", b"from the web\n".to_vec()),
        ("/d/a.tar", "", archive()),
        ("/named", "Content-Disposition: attachment; filename=\"other.txt\"\r\n", b"named\n".to_vec()),
        ("/q?x=1", "", b"query\n".to_vec()),
        ("/a%20b+c.txt", "", b"escaped\n".to_vec()),
        ("/", "", b"root\n".to_vec()),
    ])
}

#[test]
fn files_of_the_web() {
    let at = web().address;
    Case::new(&format!(
        "FROM base\nADD {at}/f.txt /x/\nADD {at}/f.txt /y\nADD --chmod=755 --chown=bob {at}/f.txt /z/\nADD {at}/d/a.tar /w/\nADD {at}/q?x=1 /v\nADD {at}/f.txt /data/dir\n"
    ))
    .same();
}

#[test]
fn a_name_from_the_server() {
    let at = web().address;
    Case::new(&format!("FROM base\nADD {at}/named /x/\n")).same();
}

#[test]
fn an_archive_of_the_web_that_is_told_to_be_unpacked() {
    let at = web().address;
    Case::new(&format!("FROM base\nADD --unpack=true {at}/d/a.tar /w/\n")).same();
}

#[test]
fn a_checksum() {
    use std::fmt::Write;
    let at = web().address;
    let digest = sh(Command::new("sh").args(["-c", "printf 'from the web\\n' | sha256sum | cut -d' ' -f1"]));
    let mut text = String::from("FROM base\n");
    writeln!(text, "ADD --checksum=sha256:{digest} {at}/f.txt /x/").unwrap();
    Case::new(&text).same();
    Case::new(&text.replace("sha256:", "sha256:0").replace(&format!("0{digest}"), &"0".repeat(64))).refused();
}

#[test]
fn a_file_of_the_web_whose_name_is_escaped() {
    let at = web().address;
    Case::new(&format!("FROM base\nADD {at}/a%20b+c.txt /x/\n")).same();
    Case::new(&format!("FROM base\nADD {at}/%zz /x/\n")).refused();
}

#[test]
fn a_file_of_the_web_that_is_missing() {
    let at = web().address;
    Case::new(&format!("FROM base\nADD {at}/nothing /x/\n")).refused();
    Case::new(&format!("FROM base\nADD {at}/ /x/\n")).same();
}

/// A repository, and the daemon that serves it on loopback.
pub struct Served {
    _folder: tempfile::TempDir,
    daemon: Child,
    pub url: String,
    first: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

pub fn repository() -> Option<Served> {
    let folder = tempfile::tempdir().unwrap();
    let repo = Repo::of(&folder.path().join("repo.git"));
    repo.write("a", "a\n");
    repo.write("dir/b", "b\n");
    repo.write("dir/deep/c", "c\n");
    std::os::unix::fs::symlink("dir/b", repo.path.join("link")).unwrap();
    repo.write("tool", "#!/bin/sh\n");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(repo.path.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let first = repo.commit("one");
    repo.git(&["tag", "v1"]);
    repo.git(&["tag", "-a", "-m", "two", "v2"]);
    repo.write("a", "more\n");
    repo.commit("two");
    repo.git(&["branch", "side", "v1"]);
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = Command::new("git")
        .args(["daemon", "--export-all", "--listen=127.0.0.1", "--reuseaddr"])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", folder.path().display()))
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut served = Served { _folder: folder, daemon, url: format!("git://127.0.0.1:{port}/repo.git"), first };
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(served);
        }
        if served.daemon.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    eprintln!("skipped: no `git daemon` here");
    None
}

#[test]
fn repositories() {
    let Some(served) = repository() else { return };
    let (url, first) = (&served.url, &served.first);
    Case::new(&format!(
        "FROM base\nADD {url} /head\nADD {url}#v1 /tag/\nADD {url}#v2 /annotated\nADD {url}#side /branch\nADD {url}#{first} /commit\n\
         ADD {url}#main:dir /sub\nADD --chown=bob:extra {url}#v1 /owned\nADD {url}#v1 /data/dir\nADD --chmod=711 {url}#v1 /mode\n\
         ADD --link {url}#v1:dir /link/\nADD {url}#refs/tags/v1 /ref\nADD --exclude=dir {url}#v1 /less\n"
    ))
    .same();
}

#[test]
fn repositories_with_their_history() {
    let Some(served) = repository() else { return };
    let url = &served.url;
    Case::new(&format!("FROM base\nADD --keep-git-dir=true {url}#v1 /x\nRUN ls -A /x >/kept; cat /x/.git/HEAD /x/.git/shallow >/head; rm -r /x/.git\n")).same();
}

#[test]
fn repositories_with_a_wrong_reference() {
    let Some(served) = repository() else { return };
    let url = &served.url;
    Case::new(&format!("FROM base\nADD {url}#nothing /x\n")).refused();
    Case::new(&format!("FROM base\nADD {url}#v1:nothing /x\n")).refused();
    Case::new(&format!("FROM base\nADD {url}#v1:a /x\n")).refused();
    Case::new(&format!("FROM base\nADD --checksum=0123456789012345678901234567890123456789 {url}#v1 /x\n")).refused();
}

#[test]
fn repositories_by_query() {
    let Some(served) = repository() else { return };
    let (url, first) = (&served.url, &served.first);
    Case::new(&format!(
        "FROM base\nADD {url}?ref=v1 /a\nADD {url}?tag=v2 /b\nADD {url}?branch=side&subdir=dir /c\nADD {url}?ref=main&checksum=$C /d\n"
    ).replace("&checksum=$C", ""))
    .same();
    Case::new(&format!("FROM base\nADD {url}?tag=v1&checksum={first} /a\n")).same();
    Case::new(&format!("FROM base\nADD {url}?commit={first} /a\n")).same();
    Case::new(&format!("FROM base\nADD {url}?ref=v1&keep-git-dir=false&submodules=false /a\n")).same();
    Case::new(&format!("FROM base\nADD --checksum={first} {url}#v1 /a\n")).same();
    Case::new(&format!("FROM base\nADD --checksum={} {url}#v1 /a\n", &first[..12])).same();
    for wrong in [
        "?tag=v1&branch=side",
        "?nothing=1",
        "?ref=",
        "?ref=v1&ref=v2",
        "?ref=v1&checksum=0123456789012345678901234567890123456789",
        "?keep-git-dir=perhaps",
        "?ref=v1&fetch-depth=1",
        "?ref=v1#v2",
    ] {
        Case::new(&format!("FROM base\nADD {url}{wrong} /a\n")).refused();
    }
}

#[test]
fn a_repository_as_a_context() {
    let Some(served) = repository() else { return };
    let url = &served.url;
    Case::new("FROM base\nCOPY --from=code . /x\nRUN --mount=from=code,target=/c ls -A /c >/y\n")
        .flag(&format!("--build-context=code={url}#v1"))
        .same();
    Case::new("FROM base\nCOPY --from=code . /x\n").flag(&format!("--build-context=code={url}#v1:dir")).same();
    Case::new("FROM base AS code\nRUN exit 1\nFROM base\nCOPY --from=code dir /x\n")
        .flag(&format!("--build-context=code={url}"))
        .same();
}
