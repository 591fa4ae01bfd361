//! How fast the main job's parts are, each against something that people know, both sides in one run, in turn.
//!
//! ```text
//! cargo bench --bench main_job                 all that can run here
//! cargo bench --bench main_job -- hash         one of hash, capture, zstd, noop
//! ```
//!
//! `noop` needs a Docker engine whose command is in `SHIPLAP_BENCH_DOCKER` (as in `docker`), with the base image of
//! `examples/campus` in it, and the base image's tar in `SHIPLAP_BENCH_BASE`; the first build of each side is not timed.
//!
//! A program and no criterion bench: the other side is often another program, and machines are noisy, so the sides take turns and
//! the ratio of their fastest runs is what counts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shiplap_cache::{SourceTree, Store, Tree, TreePath, Walk};
use shiplap_registry::{Compression, Image, Images, NoProgress, PackOptions};

const FILES: usize = 50_000;
const GIB: usize = 1 << 30;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let benches: [(&str, fn()); 4] = [("hash", hash), ("capture", capture), ("zstd", zstd), ("noop", noop)];
    for (name, bench) in benches {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            bench();
        }
    }
}

/// One side of a comparison.
struct Side<'a> {
    name: &'a str,
    run: Box<dyn FnMut() + 'a>,
}

/// Runs the sides in turn and prints the fastest and median time of each, and the ratio of the fastest to the first side's.
fn compare(title: &str, rounds: usize, sides: &mut [Side<'_>]) {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); sides.len()];
    for _ in 0..rounds {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let began = Instant::now();
            (side.run)();
            times.push(began.elapsed());
        }
    }
    println!("{title} ({rounds} rounds)");
    times.iter_mut().for_each(|times| times.sort());
    let ours = times[0][0].as_secs_f64();
    for (side, times) in sides.iter().zip(&times) {
        let (best, median) = (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64());
        println!("  {:32} best {best:9.4} s  median {median:9.4} s  {:6.1}x", side.name, best / ours);
    }
    println!();
}

/// A context of 50,000 files: known from the last time, read anew, and what `sha256sum` takes.
fn hash() {
    let dir = tempfile::tempdir_in(".").expect("a folder");
    for i in 0..FILES {
        let folder = dir.path().join(format!("{:03}", i / 200));
        if i % 200 == 0 {
            std::fs::create_dir(&folder).expect("a folder");
        }
        std::fs::write(folder.join(i.to_string()), format!("{i}").repeat(700)).expect("a file");
    }
    std::thread::sleep(Duration::from_millis(200));
    let scan = |memory: &[u8]| {
        let tree = SourceTree::scan(dir.path(), memory, |_, _| Walk::Take).expect("a scan");
        let files: Vec<&TreePath> = tree.files().iter().filter(|(_, f)| f.meta.is_file()).map(|(p, _)| p).collect();
        tree.hash_all(files).expect("hashes");
        tree
    };
    let memory = scan(&[]).memory();
    let sums = format!("find {} -type f -print0 | xargs -0 sha256sum", dir.path().display());
    let mut sides = [
        Side { name: "known from the last time", run: Box::new(|| drop(scan(&memory))) },
        Side { name: "read and hashed", run: Box::new(|| drop(scan(&[]))) },
        Side { name: "find | xargs sha256sum", run: Box::new(|| shell(&sums)) },
    ];
    compare("hashing a context of 50,000 files", 5, &mut sides);
}

/// A layer of 1 GiB in 4,000 files: indexed and kept, against `tar` to nowhere, which reads the same.
fn capture() {
    let home = tempfile::tempdir_in(".").expect("a folder");
    let store = Store::open(home.path()).expect("a store");
    let pending = store.begin_layer(&Tree::default()).expect("a layer");
    fill(&pending.upper());
    let upper = pending.upper();
    let tar = format!("tar -C {} -cf - . | cat >/dev/null", upper.display());
    let overlay = store.overlay();
    let mut sides = [
        Side {
            name: "index of the layer",
            run: Box::new(|| drop(shiplap_cache::capture(&upper, overlay).expect("an index"))),
        },
        Side { name: "tar | cat", run: Box::new(|| shell(&tar)) },
    ];
    compare("capturing a layer of 1 GiB", 3, &mut sides);
}

/// The same layer packed with zstd, against `tar | zstd -3 -T2 | sha256sum`, which does the same work.
fn zstd() {
    let home = tempfile::tempdir_in(".").expect("a folder");
    let store = Arc::new(Store::open(home.path()).expect("a store"));
    let pending = store.begin_layer(&Tree::default()).expect("a layer");
    fill(&pending.upper());
    let layer = store.commit_layer(pending, &Tree::default()).expect("a layer").expect("files");
    let image = Image { layers: vec![layer], ..Image::default() };
    let dir = store.layer_dir(&layer);
    let pipe = format!("tar -C {} -cf - . | tee >(sha256sum >/dev/null) | zstd -q -3 -T2 | sha256sum", dir.display());
    let pack = || {
        // Another store each time, with the same layer: a packed layer is not packed again.
        let home = tempfile::tempdir_in(".").expect("a folder");
        let fresh = Arc::new(Store::open(home.path()).expect("a store"));
        let pending = fresh.begin_layer(&Tree::default()).expect("a layer");
        std::fs::remove_dir(pending.upper()).expect("an empty folder");
        std::fs::rename(&dir, pending.upper()).expect("a move");
        let index = (*store.index(&layer).expect("an index")).clone();
        fresh.keep_layer(pending, index).expect("a layer");
        let options = PackOptions { compression: Compression::Zstd, ..PackOptions::default() };
        let images = Images::new(fresh.clone());
        images.pack(&image, &options, &NoProgress).expect("an image");
        std::fs::rename(fresh.layer_dir(&layer), &dir).expect("a move");
    };
    let mut sides = [
        Side { name: "pack (tar, zstd, digests, disk)", run: Box::new(pack) },
        Side { name: "tar | zstd -3 | sha256sum", run: Box::new(|| shell(&pipe)) },
    ];
    compare("packing a layer of 1 GiB", 3, &mut sides);
}

/// A build of the example in which nothing changed.
fn noop() {
    let (Ok(docker), Ok(base)) = (std::env::var("SHIPLAP_BENCH_DOCKER"), std::env::var("SHIPLAP_BENCH_BASE")) else {
        println!("noop: skipped, SHIPLAP_BENCH_DOCKER and SHIPLAP_BENCH_BASE are not set\n");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = tempfile::tempdir_in(".").expect("a folder");
    let site = home.path().join("campus");
    shell(&format!("cp -a {}/examples/campus {}", root.display(), site.display()));
    let shiplap =
        format!("{} --home {} --progress quiet", env!("CARGO_BIN_EXE_shiplap"), home.path().join("store").display());
    let context = format!("--build-context edx-platform={0}/edx-platform --target final {0}/openedx", site.display());
    shell(&format!(
        "mapfile -t s < <({}/scripts/base-image --changes); {shiplap} import {base} campus/base:bookworm \"${{s[@]/#/--change=}}\"",
        root.display()
    ));
    let (ours, theirs) =
        (format!("{shiplap} build {context}"), format!("{docker} buildx build --network host {context}"));
    shell(&ours);
    shell(&theirs);
    let mut sides = [
        Side { name: "shiplap build", run: Box::new(|| shell(&ours)) },
        Side { name: "docker buildx build", run: Box::new(|| shell(&theirs)) },
    ];
    compare("the example's openedx image, nothing changed", 15, &mut sides);
}

/// Files that compress as an image's do: text, and some that do not.
fn fill(dir: &Path) {
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<String> = (0..4096).map(|_| format!("{:x} ", random() % 0xffff_ffff)).collect();
    for i in 0..4000 {
        let mut bytes = Vec::with_capacity(GIB / 4000 + 64);
        while bytes.len() < GIB / 4000 {
            match i % 5 {
                0 => bytes.extend_from_slice(&random().to_le_bytes()),
                _ => bytes.extend_from_slice(words[(random() % 4096) as usize].as_bytes()),
            }
        }
        std::fs::write(dir.join(i.to_string()), bytes).expect("a file");
    }
}

fn shell(script: &str) {
    let status = Command::new("bash").arg("-c").arg(script).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|s| s.success()), "failed: {script}");
}
