//! Executing a file reads more than that file, and all kinds of programs are seen.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::lab::{tree, watch, watch_spec};
use crate::sandbox::lab::Lab;

fn script(lab: &Lab, path: &str, text: &str, mode: u32) {
    let at = lab.layers[0].join(path);
    fs::write(&at, text).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_script_needs_its_interpreter_and_that_ones_interpreter() {
    let lab = tree();
    fs::copy(lab.layers[0].join("bin/busybox"), lab.layers[0].join("opt/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", lab.layers[0].join("opt/sh")).unwrap();
    script(&lab, "opt/inner", "#!/opt/sh\nshift\nexec /opt/sh \"$@\"\n", 0o755);
    script(&lab, "opt/outer", "#!/opt/inner -x\necho hello\n", 0o755);
    let seen = watch(&lab, "/opt/outer");
    seen.has(&["/opt/outer Content", "/opt/inner Content", "/opt/sh Content", "/opt/busybox Content"]);
}

#[test]
fn a_dynamic_program_needs_its_loader() {
    let lab = tree();
    // A loader that is a copy of busybox: it runs, whatever it is given.
    fs::copy(lab.layers[0].join("bin/busybox"), lab.layers[0].join("opt/loader")).unwrap();
    let program = with_loader("/opt/loader");
    fs::write(lab.layers[0].join("opt/program"), program).unwrap();
    fs::set_permissions(lab.layers[0].join("opt/program"), fs::Permissions::from_mode(0o755)).unwrap();
    watch(&lab, "/opt/program || true").has(&["/opt/program Content", "/opt/loader Content"]);
}

/// The smallest ELF program (elf(5)) that names a loader.
fn with_loader(loader: &str) -> Vec<u8> {
    let mut elf = fs::read("/bin/busybox").unwrap()[..64].to_vec();
    let (headers, name) = (64u64, 64u64 + 56);
    elf[32..40].copy_from_slice(&headers.to_ne_bytes());
    elf[54..56].copy_from_slice(&56u16.to_ne_bytes());
    elf[56..58].copy_from_slice(&1u16.to_ne_bytes());
    let length = loader.len() as u64 + 1;
    elf.extend([3u32.to_ne_bytes(), 4u32.to_ne_bytes()].concat());
    elf.extend([name, 0, 0, length, length, 1].iter().flat_map(|n| n.to_ne_bytes()));
    elf.extend(loader.as_bytes());
    elf.push(0);
    elf
}

#[test]
fn a_program_that_is_executed_by_descriptor_is_seen() {
    let lab = tree();
    script(&lab, "opt/s", "#!/bin/sh\necho by descriptor\n", 0o755);
    let seen = watch(&lab, "probe fexecve /opt/s");
    assert_eq!(seen.out, "by descriptor\n");
    seen.has(&["/opt/s Content", "/bin/busybox Content"]);
}

#[test]
fn a_relative_interpreter_is_looked_up_where_the_caller_stands() {
    let lab = tree();
    fs::copy(lab.layers[0].join("bin/busybox"), lab.layers[0].join("in/deep/sh")).unwrap();
    script(&lab, "opt/s", "#!deep/sh\necho relative\n", 0o755);
    let seen = watch(&lab, "cd /in; /opt/s");
    assert_eq!(seen.out, "relative\n");
    seen.has(&["/in/deep/sh Content"]);
}

#[test]
fn a_program_without_a_name_needs_its_interpreter() {
    let lab = tree();
    fs::copy(lab.layers[0].join("bin/busybox"), lab.layers[0].join("opt/sh")).unwrap();
    let seen = watch(&lab, "probe memfd '#!/opt/sh'");
    seen.has(&["/opt/sh Content"]);
}

#[test]
fn a_setuid_program_works_and_is_seen() {
    let lab = tree();
    fs::copy(lab.layers[0].join("bin/probe"), lab.layers[0].join("opt/id")).unwrap();
    fs::set_permissions(lab.layers[0].join("opt/id"), fs::Permissions::from_mode(0o4755)).unwrap();
    let mut spec = lab.spec("/opt/id uid /in/a");
    spec.user = Some("bob".into());
    let seen = watch_spec(&lab, spec);
    assert_eq!(seen.ok().out, "0\n1\n");
    seen.has(&["/opt/id Content", "/in/a Content"]);
}

#[test]
fn a_program_that_may_not_be_read_is_seen() {
    let lab = tree();
    fs::copy(lab.layers[0].join("bin/busybox"), lab.layers[0].join("opt/cat")).unwrap();
    fs::set_permissions(lab.layers[0].join("opt/cat"), fs::Permissions::from_mode(0o111)).unwrap();
    let mut spec = lab.spec("/opt/cat /in/a");
    spec.user = Some("bob".into());
    let seen = watch_spec(&lab, spec);
    assert_eq!(seen.ok().out, "1");
    seen.has(&["/opt/cat Content", "/in/a Content"]);
}

#[test]
fn a_process_that_outlives_the_step_ends_with_it() {
    let lab = tree();
    watch(&lab, "probe stay /in/a").ok().has(&["/in/a Content"]);
}

#[test]
fn a_step_that_speaks_to_the_network_is_marked() {
    let lab = tree();
    // 192.0.2.0/24 is for documentation (RFC 5737): nobody is there.
    assert!(watch(&lab, "probe socket 192.0.2.1").ok().trace.network);
    assert!(watch(&lab, "probe socket 192.0.2.1 sendto").ok().trace.network);
    assert!(watch(&lab, "probe socket 192.0.2.1 sendmmsg").ok().trace.network);
    // A proxy may be on this machine.
    assert!(watch(&lab, "probe socket 127.0.0.1").ok().trace.network);
    assert!(!watch(&lab, "true").ok().trace.network);
    let seen = watch(&lab, "probe connect /in/socket");
    assert!(!seen.has(&["/in/socket Exists"]).trace.network);
}
