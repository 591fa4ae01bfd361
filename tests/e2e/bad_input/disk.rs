//! A disk that is full: the same command succeeds when there is room again.

use std::path::Path;
use std::process::Command;

use crate::campus::Campus;
use crate::common::{Home, sh};
use crate::memory_disk::MemoryDisk;

/// Nothing is left of what did not fit.
#[track_caller]
fn is_tidy(home: &Home) {
    home.run(["images"]).ok();
    let count = std::fs::read_dir(home.store().join("tmp")).unwrap().count();
    let half = sh(Command::new("find").arg(home.store()).args(["-name", ".tmp-*"]));
    assert_eq!((count, half.as_str()), (0, ""));
}

/// Bytes that no compression makes smaller.
fn noise(path: &Path, megabytes: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    let bytes: Vec<u8> = (0..megabytes << 17)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_import_that_does_not_fit() {
    let home = Home::new();
    noise(&home.work().join("root/big"), 16);
    sh(Command::new("tar")
        .arg("-cf")
        .arg(home.work().join("big.tar"))
        .arg("-C")
        .arg(home.work().join("root"))
        .arg("."));
    let small = MemoryDisk::mount(&home, "8m");
    home.run(["import", "big.tar", "big:1"]).ends_with(1).says("the disk is full").says("SHIPLAP_HOME");
    is_tidy(&home);
    assert_eq!(home.json(&["images"]).as_array().unwrap().len(), 0);
    small.resize("64m");
    home.run(["import", "big.tar", "big:1"]).ok();
    assert_eq!(home.files("big:1")["big"].len(), 16 << 20);
}

#[test]
fn a_build_that_does_not_fit() {
    let home = Home::new();
    let small = MemoryDisk::mount(&home, "12m");
    home.import_base("base:1");
    noise(&home.work().join("big"), 16);
    home.write("Dockerfile", "FROM base:1\nRUN echo first >/first\nCOPY big /big\n");
    home.run(["build", ".", "-t", "app:1"]).ends_with(1).says("the disk is full").says("[./Dockerfile:3:1]");
    is_tidy(&home);
    home.write("Dockerfile.run", "FROM base:1\nRUN echo first >/first\nRUN dd if=/dev/zero of=/zero bs=1M count=16\n");
    let ran = home.run(["build", ".", "-f", "Dockerfile.run"]).ends_with(1).says("No space left on device");
    // The step before it was kept by the build that failed.
    assert!(ran.err.contains("CACHED RUN echo first"), "{}", ran.err);
    is_tidy(&home);
    small.resize("128m");
    home.run(["build", ".", "-t", "app:1"]).ok();
    assert_eq!(home.files("app:1")["big"].len(), 16 << 20);
    home.run(["build", ".", "-f", "Dockerfile.run"]).ok();
}

#[test]
fn a_release_that_does_not_fit_is_not_there_and_then_is() {
    let campus = Campus::of(Home::new());
    // Both copies of the file fit, its packed layer beside them does not.
    noise(&campus.home.work().join("openedx/text"), 24);
    campus.repo.git(&["commit", "-q", "-a", "-m", "big"]);
    let small = MemoryDisk::mount(&campus.home, "60m");
    campus.home.import_base("base:1");
    campus.run(&["release", "campus", "1.0.0"]).ends_with(1).says("the disk is full");
    is_tidy(&campus.home);
    assert!(campus.releases().is_empty());
    small.resize("256m");
    campus.run(&["release", "campus", "1.0.0"]).ok();
    campus.run(&["deploy", "campus", "1.0.0"]).ok();
    assert_eq!(campus.deployed(), ["1.0.0"]);
}
