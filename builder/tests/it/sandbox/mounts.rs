//! `RUN --mount` of each type, and the mount points' disappearance.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

use shiplap_builder::sandbox::{BindSource, Lower, Mount};

use super::lab::{Lab, run};

fn bind(source: BindSource, subpath: &str, target: &str, read_only: bool) -> Mount {
    Mount::Bind { source, subpath: subpath.into(), target: target.into(), read_only }
}

fn tmpfs(target: &str) -> Mount {
    Mount::Tmpfs { target: target.into(), size: None }
}

/// A directory on the host, as a build context is.
fn context(lab: &Lab) -> BindSource {
    let dir = lab.path("context");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "context\n").unwrap();
    fs::write(dir.join("sub/deep"), "deep\n").unwrap();
    BindSource::Host(dir)
}

#[test]
fn a_bind_mount_is_read_only_by_default() {
    let lab = Lab::new();
    let mounts = vec![bind(context(&lab), "/", "/c", true), bind(context(&lab), "/sub/deep", "/d/file", true)];
    let ran = lab.with(
        mounts,
        "cat /c/file /d/file; for f in /c/new /c/file /d/file; do (echo x > $f) 2>/dev/null && echo wrote; done; true",
    );
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "context\ndeep\n");
}

#[test]
fn what_is_written_to_a_bind_mount_is_discarded() {
    let lab = Lab::new();
    let source = context(&lab);
    let mounts = vec![bind(source.clone(), "", "/c", false), bind(source, "file", "/one", false)];
    let ran = lab.with(
        mounts,
        "echo x > /c/file; echo y > /c/new; rm /c/sub/deep; echo z > /one; cat /c/file /c/new /one; ls /c/sub",
    );
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "x\ny\nz\n");
    assert_eq!(fs::read_to_string(lab.path("context/file")).unwrap(), "context\n");
    assert!(lab.path("context/sub/deep").exists() && !lab.path("context/new").exists());
}

#[test]
fn a_stage_is_mounted_from_its_layers() {
    let mut lab = Lab::new();
    let base = lab.layers.clone();
    let first = lab.layer();
    fs::create_dir(first.join("out")).unwrap();
    fs::write(first.join("out/a"), "a\n").unwrap();
    fs::write(first.join("out/gone"), "").unwrap();
    let second = lab.sh("rm /out/gone; echo b > /out/b");
    let stage: Vec<Lower> = [vec![second.upper], lab.layers.clone()].concat().into_iter().map(Into::into).collect();
    lab.layers = base;
    let mounts = |read_only| {
        let all = BindSource::Layers(stage.clone());
        let one = BindSource::Layers(vec![first.clone().into()]);
        vec![bind(all, "/out", "/s", read_only), bind(one, "out/a", "/a", read_only)]
    };
    let read = lab.with(mounts(true), "ls /s; cat /s/b /a; touch /s/new 2>/dev/null || echo read-only");
    assert_eq!(read.ok(), "a\nb\nb\na\nread-only\n");
    let written = lab.with(mounts(false), "echo c > /s/c; rm /s/a; ls /s");
    assert_eq!(written.changed(), Vec::<String>::new());
    assert_eq!(written.ok(), "b\nc\n");
    assert!(first.join("out/a").exists());
}

/// A symlink of a stage is followed inside the stage, never into the host.
#[test]
fn a_subpath_stays_inside_its_source() {
    let lab = Lab::new();
    let source = lab.path("stage");
    fs::create_dir_all(source.join("etc")).unwrap();
    fs::write(source.join("etc/hostname"), "of the stage\n").unwrap();
    symlink("/etc", source.join("link")).unwrap();
    for source in [BindSource::Host(source.clone()), BindSource::Layers(vec![source.into()])] {
        let mounts = vec![bind(source.clone(), "link/hostname", "/x", true), bind(source, "../../etc", "/y", true)];
        assert_eq!(lab.with(mounts, "cat /x /y/hostname").ok(), "of the stage\nof the stage\n");
    }
}

#[test]
fn a_missing_source_is_named() {
    let lab = Lab::new();
    let mut spec = lab.spec("true");
    spec.mounts = vec![bind(context(&lab), "nowhere", "/x", true)];
    let text = run(&spec).err().unwrap().to_string();
    assert!(text.contains("nowhere") && text.contains("No such file"), "{text}");
    let mut spec = lab.spec("true");
    spec.mounts = vec![bind(context(&lab), "file", "/etc", true)];
    let text = run(&spec).err().unwrap().to_string();
    assert!(text.contains("/etc") && text.contains("directory"), "{text}");
    for target in ["/", "relative"] {
        let mut spec = lab.spec("true");
        spec.mounts = vec![tmpfs(target)];
        assert!(run(&spec).err().unwrap().to_string().contains("absolute path"));
    }
}

#[test]
fn a_cache_lives_on() {
    let lab = Lab::new();
    let dir = lab.path("cache");
    fs::create_dir(&dir).unwrap();
    let cache = |read_only| vec![Mount::Cache { dir: dir.clone(), target: "/root/.cache/pip".into(), read_only }];
    let first = lab.with(cache(false), "test ! -e /root/.cache/pip/x; echo kept > /root/.cache/pip/x");
    assert_eq!(first.changed(), Vec::<String>::new());
    first.ok();
    let second =
        lab.with(cache(true), "cat /root/.cache/pip/x; touch /root/.cache/pip/y 2>/dev/null || echo read-only");
    assert_eq!(second.ok(), "kept\nread-only\n");
    assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "kept\n");
}

#[test]
fn a_tmpfs_is_empty_and_bounded() {
    let lab = Lab::new();
    let mounts = vec![Mount::Tmpfs { target: "/home".into(), size: Some(1 << 20) }];
    let ran = lab.with(
        mounts,
        "ls /home; stat -c %a /home; dd if=/dev/zero of=/home/x bs=1k count=1100 2>/dev/null || echo full",
    );
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "1777\nfull\n");
}

#[test]
fn a_secret_is_in_memory_with_its_mode_and_owner() {
    let lab = Lab::new();
    let secret = Mount::Secret {
        contents: b"s3cret-9f".to_vec(),
        target: "/run/secrets/token".into(),
        mode: 0o440,
        uid: 3333,
        gid: 29,
    };
    let script = "cat /run/secrets/token; echo; stat -c %a:%u:%g /run/secrets/token; stat -f -c %T /run/secrets/token
        (echo x > /run/secrets/token) 2>/dev/null || echo read-only
        tr '\\0' '\\n' < /proc/self/environ | grep -c s3cret-9f || true";
    let mut spec = lab.spec(script);
    spec.mounts = vec![secret];
    let ran = run(&spec).unwrap();
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "s3cret-9f\n440:3333:29\ntmpfs\nread-only\n0\n");
    for entry in walkdir::WalkDir::new(spec.work.parent().unwrap()) {
        let path = entry.unwrap().into_path();
        if path.is_file() {
            assert!(!fs::read_to_string(&path).unwrap_or_default().contains("s3cret-9f"), "{path:?}");
        }
    }
}

#[test]
fn a_file_of_the_builder_may_be_executed() {
    let lab = Lab::new();
    let contents = b"#!/bin/sh\necho heredoc $1\n".to_vec();
    let mounts = vec![Mount::File { contents, target: "/dev/pipes/EOF".into(), mode: 0o755 }];
    let ran = lab.with(mounts, "/dev/pipes/EOF now");
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "heredoc now\n");
}

#[test]
fn an_agents_socket_can_be_reached() {
    let lab = Lab::new();
    let socket = lab.path("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mounts = vec![Mount::Ssh { socket, target: "/run/buildkit/ssh_agent.0".into() }];
    let ran = lab.with(mounts, "test -S /run/buildkit/ssh_agent.0");
    assert_eq!(ran.changed(), Vec::<String>::new());
    ran.ok();
}

#[test]
fn mounts_inside_mounts() {
    let lab = Lab::new();
    let mounts = vec![tmpfs("/t"), bind(context(&lab), "/", "/t/in/c", true), tmpfs("/t/in/other")];
    let ran = lab.with(mounts, "ls /t/in; cat /t/in/c/file");
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "c\nother\ncontext\n");
}

/// An image's own symlink decides where a mount goes, inside the image.
#[test]
fn a_target_follows_the_images_symlinks() {
    let mut lab = Lab::new();
    let layer = lab.layer();
    fs::create_dir(layer.join("etc")).unwrap();
    symlink("../run/systemd/resolve/stub.conf", layer.join("etc/resolv.conf")).unwrap();
    symlink("/home/bob", layer.join("link")).unwrap();
    let mounts = vec![tmpfs("/link/new")];
    let ran = lab.with(
        mounts,
        "touch /home/bob/new/x; test -e /link/new/x; test -s /etc/resolv.conf; readlink -f /etc/resolv.conf",
    );
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "/run/systemd/resolve/stub.conf\n");
}

#[test]
fn mount_points_go_with_their_directorys_new_time() {
    let lab = Lab::new();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in ["home", "home/bob", "root"] {
        fs::File::open(lab.layers[0].join(path)).unwrap().set_modified(old).unwrap();
    }
    let targets = || vec![tmpfs("/home/bob/a/b/c"), tmpfs("/home/bob/d"), tmpfs("/root/a/b")];
    // The step's own file keeps one directory; the other is as if nothing had been.
    let ran = lab.with(targets(), "touch /root/mine; touch /home/bob/a/b/c/x");
    assert_eq!(ran.changed(), ["root", "root/mine"]);
    assert!(fs::metadata(ran.upper.join("root")).unwrap().modified().unwrap() > old);
    // A changed mode keeps the directory, with its old time.
    let ran = lab.with(targets(), "chmod 700 /home/bob");
    assert_eq!(ran.changed(), ["home", "home/bob"]);
    assert_eq!(fs::metadata(ran.upper.join("home/bob")).unwrap().modified().unwrap(), old);
    assert_eq!(fs::metadata(ran.upper.join("home")).unwrap().modified().unwrap(), old);
    // What the step put beside a mount point keeps what leads to it.
    let ran = lab.with(targets(), "echo 1 > /root/a/mine");
    assert_eq!(ran.changed(), ["root", "root/a", "root/a/mine"]);
}

/// A step may replace what holds a mount point once that is gone, and a deleted directory stays deleted.
#[test]
fn a_step_that_fails_after_its_mounts_is_cleaned_up_too() {
    let lab = Lab::new();
    let ran = lab.with(vec![tmpfs("/x/y/z")], "exit 3");
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.exit.code(), 3);
}

#[test]
fn a_cache_shows_its_directorys_owner() {
    let lab = Lab::new();
    let dir = lab.path("cache");
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(3333), Some(29)).unwrap();
    let mut spec = lab.spec("touch /c/x");
    spec.user = Some("bob".into());
    spec.mounts = vec![Mount::Cache { dir: dir.clone(), target: "/c".into(), read_only: false }];
    run(&spec).unwrap().ok();
    assert_eq!(fs::metadata(dir.join("x")).unwrap().uid(), 3333);
}
