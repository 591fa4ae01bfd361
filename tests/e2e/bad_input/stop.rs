//! Ctrl-C, and a context that changes while it is read.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::common::{Home, sh};

const SLEEPING: &str = "FROM base:1\nRUN echo first >/first\nRUN echo sleeping; sleep 7531 & sleep 7531\n";

/// A build that has come to its long step.
fn sleeping(home: &Home) -> Child {
    home.write("Dockerfile", SLEEPING);
    let mut child = home.command(["build", "."]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with(" sleeping")), "the step did not begin");
    // Whoever writes to a pipe that nobody reads is killed by it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// The processes below a process.
fn family(of: u32) -> Vec<u32> {
    // Each thread has a list of those that it started.
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let children: Vec<u32> = threads
        .flat_map(|thread| {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
        })
        .collect();
    let mut all = children.clone();
    for child in children {
        all.extend(family(child));
    }
    all
}

/// Waits for a moment until none of the processes is there any more.
#[track_caller]
pub fn are_gone(family: &[u32]) {
    let alive =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..100 {
        if !family.iter().any(alive) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("still there: {:?}", family.iter().filter(|pid| alive(pid)).collect::<Vec<_>>());
}

#[test]
fn a_signal_during_a_step_ends_it_and_leaves_the_store_usable() {
    let home = Home::with_base();
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let mut child = sleeping(&home);
        let below = family(child.id());
        assert!(below.len() >= 3, "{below:?}");
        sh(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]));
        assert_eq!(child.wait().unwrap().code(), code);
        are_gone(&below);
        // The next command removes what a killed one left.
        let tmp = home.store().join("tmp");
        if code.is_some() {
            assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
        }
        home.run(["images"]).ok();
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(home.store().to_str().unwrap()), "{mounts}");
        home.write("Dockerfile", SLEEPING.replace("; sleep 7531 & sleep 7531", ""));
        home.run(["build", "."]).ok().says("CACHED RUN echo first");
    }
}

/// Some file is always being written. A build either says so or holds each file as it was at one moment.
#[test]
fn a_context_that_changes_during_the_build_gives_whole_files_or_an_error() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\nCOPY data /data\n");
    let files: Vec<_> = (0..40).map(|n| home.write(&format!("data/{n}"), "a".repeat(200_000))).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut letters = ["b", "c", "d"].into_iter().cycle();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let text = letters.next().unwrap().repeat(200_000);
                files.iter().for_each(|file| {
                    let beside = file.with_extension("new");
                    std::fs::write(&beside, &text).unwrap();
                    std::fs::rename(&beside, file).unwrap();
                });
            }
        });
        for n in 0..8 {
            let name = format!("app:{n}");
            let ran = home.run(["build", ".", "-t", &name]);
            if ran.code == Some(0) {
                // Read back by its index: a file that differs from it is an error of the export.
                for (path, content) in home.files(&name).into_iter().filter(|(path, _)| path.starts_with("data/")) {
                    let whole = content.len() == 200_000 && content.iter().all(|&byte| byte == content[0]);
                    assert!(whole || path.ends_with('/') || path.ends_with(".new"), "{path} is torn");
                }
            } else {
                assert!([Some(1), Some(2), Some(4)].contains(&ran.code), "{ran:?}");
                assert!(ran.err.contains("data"), "{}", ran.err);
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
    });
    std::fs::write(&files[0], "at rest").unwrap();
    home.run(["build", ".", "-t", "app:rest"]).ok();
    assert_eq!(home.file("app:rest", "data/0"), "at rest");
}
