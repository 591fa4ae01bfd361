//! The fuzz target `tar`, briefly. `fuzz/README.md` says how to go on.

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

use shiplap_registry::fuzzing;

const WORDS: [&str; 14] = [
    "../",
    "..",
    "/",
    ".wh.",
    ".wh..wh..opq",
    "./",
    "\0",
    "7777777",
    "30 mtime=1\n",
    "20 size=9999\n",
    "18 path=../x\n",
    "22 linkpath=/etc\n",
    "GNU.sparse.major=1",
    "SCHILY.xattr.user.a",
];

#[test]
fn tars() {
    let check = |case: &[u8]| {
        let room = tempfile::tempdir().unwrap();
        fuzzing::tar(case, room.path());
    };
    mutate::run("tar", &WORDS, mend, check);
}

/// Nearly every change breaks the sum of a header; most get a right one again.
fn mend(case: &mut [u8]) {
    if case.len().is_multiple_of(7) {
        return;
    }
    for block in case.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
