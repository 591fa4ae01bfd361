//! How steps on served trees go on and end: by what they read, by files that do not come, by a kill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shiplap_builder::sandbox::{BindSource, Cancel, Exit, Lower, Mount, RunSpec, SandboxError};
use shiplap_builder::served::ServedTree;
use shiplap_cache::TreePath;

use super::lab::{full, run, served, served_with, tree_of};
use crate::sandbox::lab::Lab;
use crate::sandbox::lifecycle::alive;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn never() -> Cancel {
    Cancel::new().unwrap()
}

#[test]
fn only_what_is_read_is_asked_for() {
    let lab = full();
    let (spec, tree, folders) =
        served(&lab, "stat /data/big > /none; ls -l /many > /none2; cat /data/a; cat /data/a /data/sub/c");
    let out = run(&spec, &[tree], &never(), |_| ()).ok();
    assert_eq!(out, "one file\n".repeat(3));
    let mut opened = folders.opened.lock().unwrap().clone();
    opened.sort();
    // One file, however many names it has and however often it is read.
    assert_eq!(opened, ["bin/busybox", "data/a", "etc/group", "etc/passwd"].map(path));
}

#[test]
fn two_thousand_files_from_many_processes() {
    let lab = full();
    let (spec, tree, folders) =
        served(&lab, "for i in 1 2 3 4 5 6; do (find / -xdev -type f -exec cat {} + | wc -c) & done; wait");
    let out = run(&spec, &[tree], &never(), |_| ()).ok();
    let sizes: std::collections::BTreeSet<_> = out.lines().collect();
    assert!(out.lines().count() == 6 && sizes.len() == 1, "{out}");
    assert!(folders.opened.lock().unwrap().len() >= 1700);
}

/// A file that takes its time holds up those who read it, and nobody else.
#[test]
fn a_slow_file_holds_nothing_else_up() {
    let lab = full();
    let (spec, tree, folders) = served_with(
        &lab,
        "cat /data/big | wc -c & cat /data/bob; find /many -type f -exec cat {} + | wc -c; echo others are done; wait",
        |folders| folders.slow = Some(path("data/big")),
    );
    let out = run(&spec, &[tree], &never(), |text| {
        if text.contains("others are done") {
            folders.gate.open();
        }
    })
    .ok();
    assert!(out.ends_with("others are done\n3000017\n"), "{out}");
}

#[test]
fn a_file_that_nobody_has_ends_the_step() {
    let lab = full();
    let (spec, tree, _) = served_with(
        &lab,
        "cat /data/bob; trap '' TERM INT HUP; cat /data/big > /copy || true; while true; do sleep 1; done",
        |folders| folders.gone = Some(path("data/big")),
    );
    let contents = tree.contents.clone();
    let ran = run(&spec, &[tree], &never(), |_| ());
    assert!(matches!(ran.exit, Err(SandboxError::Cancelled)), "{:?}", ran.exit);
    assert_eq!(ran.failed, Some(path("data/big")));
    assert_eq!(contents.lost().len(), 1);
}

/// However the step waits for the file: in a read, for a page of a program, for a page of memory.
#[test]
fn a_killed_step_waits_for_no_file() {
    for (slow, script) in [
        ("data/big", "echo up; cat /data/big"),
        ("bin/plain", "echo up; /bin/plain"),
        ("data/big", "echo up; plain /data/big"),
        ("data/big", "echo up; echo x >> /data/big"),
    ] {
        let lab = full();
        let (spec, tree, folders) = served_with(&lab, script, |folders| folders.slow = Some(path(slow)));
        let cancel = Cancel::new().unwrap();
        let asked = folders.clone();
        let other = cancel.clone();
        // It is killed when the file was asked for, and the gate stays closed.
        let killer = std::thread::spawn(move || {
            while !asked.opened.lock().unwrap().contains(&path(slow)) {
                std::thread::yield_now();
            }
            other.cancel();
        });
        let ran = run(&spec, &[tree], &cancel, |_| ());
        killer.join().unwrap();
        assert!(matches!(ran.exit, Err(SandboxError::Cancelled)), "{script}: {:?}", ran.exit);
        assert!(!mounted(&spec), "{script}");
        // Nothing is mounted on it any more.
        std::fs::remove_dir_all(spec.work.parent().unwrap()).unwrap();
        folders.gate.open();
        ends(|| Arc::strong_count(&folders) == 1);
    }
}

/// With whoever answers for a tree its step ends too, even one that copies a file that does not come to its output: sendfile(2) holds the pipe, and
/// whoever reads that then cannot even be killed.
#[test]
fn a_killed_builder_leaves_no_step_that_waits() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let lab = Lab::new();
    std::fs::write(lab.layers[0].join("slow-1072.5"), "never seen\n").unwrap();
    for _ in 0..5 {
        let spec = RunSpec { lower: vec![Lower::Served(0)], served: 1, ..lab.spec("echo up; exec cat /slow-1072.5") };
        let mut builder = Command::new(crate::sandbox::lab::child())
            .arg("run")
            .args(&lab.layers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        builder.stdin.take().unwrap().write_all(&serde_json::to_vec(&spec).unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(builder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        ends(|| alive("/slow-1072.5"));
        builder.kill().unwrap();
        ends(|| !alive("/slow-1072.5"));
        builder.wait().unwrap();
    }
}

#[test]
fn nothing_is_left_of_a_step() {
    let lab = full();
    let (spec, tree, folders) = served(&lab, "cat /data/bob; (exec sleep 1071.5) & true");
    let before = threads();
    run(&spec, &[tree], &never(), |_| ()).ok();
    assert!(!mounted(&spec));
    std::fs::remove_dir_all(spec.work.parent().unwrap()).unwrap();
    ends(|| Arc::strong_count(&folders) == 1 && threads() <= before);
}

#[test]
fn a_mount_of_a_served_stage() {
    let lab = full();
    let other = Lab::new();
    let (tree, folders) = tree_of(&lab.layers);
    let folders = Arc::new(folders);
    let base = tree_of(&other.layers);
    let bind = |subpath: &str, target: &str, read_only| Mount::Bind {
        source: BindSource::Layers(vec![Lower::Served(0)]),
        subpath: subpath.into(),
        target: target.into(),
        read_only,
    };
    let mut spec = RunSpec {
        lower: vec![Lower::Served(1)],
        served: 2,
        ..other.spec(
            "cat /file; ls /stage /tree; touch /stage/x 2>/dev/null || echo read-only; echo y > /tree/y; cat /tree/y",
        )
    };
    spec.mounts =
        vec![bind("/data/link2", "/file", true), bind("/opaque", "/stage", true), bind("/opaque", "/tree", false)];
    let trees =
        [ServedTree { tree, contents: folders.clone() }, ServedTree { tree: base.0, contents: Arc::new(base.1) }];
    let out = run(&spec, &trees, &never(), |_| ()).ok();
    assert_eq!(out, "one file\n/stage:\nyoung\n\n/tree:\nyoung\nread-only\ny\n");
    assert_eq!(*folders.opened.lock().unwrap(), [path("data/a")]);
}

/// A tree that nobody answers for is an error, and no step that waits for ever.
#[test]
fn a_tree_that_is_not_answered_for() {
    let lab = Lab::new();
    let spec = RunSpec { lower: vec![Lower::Served(0)], served: 1, ..lab.spec("true") };
    let error = crate::sandbox::lab::run(&spec).err().unwrap();
    assert!(matches!(error, SandboxError::SetUp { .. }), "{error}");
    assert!(!mounted(&spec));
}

#[test]
fn a_failing_step_fails_as_always() {
    let lab = full();
    let (spec, tree, _) = served(&lab, "cat /data/none 2>/dev/null || exit 7");
    assert!(matches!(run(&spec, &[tree], &never(), |_| ()).exit, Ok(Exit::Code(7))));
}

/// Whether anything of a step is mounted in our own mount namespace.
fn mounted(spec: &RunSpec) -> bool {
    std::fs::read_to_string("/proc/self/mounts").unwrap().contains(spec.work.to_str().unwrap())
}

/// Threads of this process that answer for trees.
fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    names.map(name).filter(|name| name.starts_with("fuser") || name.starts_with("served")).count()
}

/// Waits for what happens by itself.
#[track_caller]
fn ends(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}
