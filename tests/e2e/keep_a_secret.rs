//! `--secret`: what a step reads and nothing keeps.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::common::{Home, Ran};

const SECRET: &str = "correct-horse-battery-staple";

#[test]
fn a_secret_is_in_no_file_of_the_store_no_log_and_no_layer() {
    let home = Home::with_base();
    home.write("token", SECRET);
    let dockerfile = "
FROM base:1
RUN --mount=type=secret,id=token test \"$(cat /run/secrets/token)\" = correct-horse-'battery'-staple && echo right >/checked
RUN --mount=type=secret,id=other,env=OTHER test \"$OTHER\" = correct-horse-'battery'-staple
RUN test ! -s /run/secrets/token
";
    home.write("Dockerfile", dockerfile);
    let secrets = ["--secret", "id=token,src=token", "--secret", "id=other,env=PASS"];
    let mut build = home.command([&["build", "-t", "app:1"], &secrets[..], &["."]].concat());
    let ran = Ran::of(build.env("PASS", SECRET).output().unwrap()).ok();
    assert_eq!(home.file("app:1", "checked"), "right\n");
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET));
    // Packed layers are searched too.
    home.run(["export", "app:1", "layout"]).ok();
    assert!(search(&home.store()) > 10);
    assert!(search(&home.work().join("layout")) > 3);

    // Another value of the secret is no reason to run the step again.
    home.write("token", "another");
    let again = home.build_again("app:1", &["--secret", "id=token,src=token", "--secret", "id=other,src=token"]);
    assert_eq!(again.ran(), Vec::<&str>::new());
}

/// Looks for the secret in every file below a folder, and in what is compressed; gives the number of files.
fn search(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files += search(&entry.path());
        } else if kind.is_file() {
            files += 1;
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!has(&bytes), "the secret is in {}", entry.path().display());
            assert!(!has(&unpacked(&bytes)), "the secret is packed in {}", entry.path().display());
        }
    }
    files
}

fn has(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match bytes {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut out),
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out),
        _ => return out,
    };
    read.unwrap();
    out
}
