//! What cannot be watched is refused, or the step is given up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::lab::{tree, watch};

#[test]
fn what_gets_around_the_telling_is_refused_so_that_programs_fall_back() {
    let lab = tree();
    assert_eq!(watch(&lab, "probe io_uring").ok().out, "io_uring: Function not implemented\n");
    assert_eq!(watch(&lab, "probe by_handle /in/a").ok().out, "by_handle: Operation not permitted\n");
    assert_eq!(watch(&lab, "probe unshare").ok().out, "unshare: Operation not permitted\n");
}

#[test]
fn the_same_is_refused_when_nobody_watches() {
    let lab = tree();
    assert_eq!(
        lab.sh("probe io_uring; probe unshare").ok(),
        "io_uring: Function not implemented\nunshare: Operation not permitted\n"
    );
}

#[test]
fn a_second_listener_is_refused_and_a_second_filter_is_not() {
    let lab = tree();
    let seen = watch(&lab, "probe listener /in/a");
    assert_eq!(seen.out, "listener: Device or resource busy\nfilter: ok\n1\n");
    seen.has(&["/in/a Content"]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_program_runs_and_gives_the_step_up() {
    // write(1, "32\n", 3); exit(0), by the calls of i386
    let source = ".globl _start\n_start: mov $4,%eax; mov $1,%ebx; mov $text,%ecx; mov $3,%edx; int $0x80\n\
                  mov $1,%eax; xor %ebx,%ebx; int $0x80\n.data\ntext: .ascii \"32\\n\"\n";
    let lab = tree();
    let (text, object, program) = (lab.path("p.s"), lab.path("p.o"), lab.layers[0].join("opt/p"));
    fs::write(&text, source).unwrap();
    assert!(Command::new("as").arg("--32").arg(&text).arg("-o").arg(&object).status().unwrap().success());
    assert!(Command::new("ld").args(["-m", "elf_i386", "-o"]).arg(&program).arg(&object).status().unwrap().success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let seen = watch(&lab, "/opt/p");
    if seen.out.contains("not a program") || seen.out.contains("Exec format") {
        return eprintln!("skipped: this kernel runs no 32-bit programs");
    }
    assert_eq!(seen.ok().out, "32\n");
    assert!(seen.trace.untraced.as_deref().unwrap_or_default().contains("32-bit"));
    assert!(seen.trace.set.is_whole_parent());
}
