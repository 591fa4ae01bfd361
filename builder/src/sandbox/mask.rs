//! Hides and protects parts of `/proc` and `/sys`, the ones that Docker does (moby, `oci/defaults.go`).

use std::fs;
use std::io;
use std::path::Path;

use super::error::{Doing, Failure};
use super::mounts::{READ_ONLY, STRICT, attach, clone_of_path, file_system};

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const PROTECTED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// To be called inside the step's root. Paths that this kernel does not have need nothing.
pub(super) fn apply() -> Result<(), Failure> {
    for path in PROTECTED {
        unless_missing(protect(Path::new(path))).doing(|| format!("protecting {path}"))?;
    }
    for path in MASKED {
        unless_missing(mask(Path::new(path))).doing(|| format!("masking {path}"))?;
    }
    for cpu in fs::read_dir("/sys/devices/system/cpu").into_iter().flatten() {
        let path = cpu.doing(|| "listing the processors".to_owned())?.path().join("thermal_throttle");
        unless_missing(mask(&path)).doing(|| format!("masking {}", path.display()))?;
    }
    Ok(())
}

fn protect(path: &Path) -> io::Result<()> {
    attach(&clone_of_path(path, READ_ONLY | STRICT)?, path)
}

fn mask(path: &Path) -> io::Result<()> {
    let cover = if fs::metadata(path)?.is_dir() {
        file_system("tmpfs", &[("nr_inodes", "1"), ("size", "4k")], READ_ONLY | STRICT)?
    } else {
        clone_of_path(Path::new("/dev/null"), READ_ONLY)?
    };
    attach(&cover, path)
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        result => result,
    }
}
