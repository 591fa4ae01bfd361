//! Another program, watched until it ends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run took.
pub struct Measured {
    pub seconds: f64,
    /// Resident memory at its highest, in bytes.
    pub peak: u64,
}

/// Runs a program to its end.
pub fn measure(mut command: Command) -> Measured {
    let output = tempfile::tempfile().expect("a file");
    let clone = || Stdio::from(output.try_clone().expect("a file"));
    command.stdin(Stdio::null()).stdout(clone()).stderr(clone());
    let began = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut peak = 0;
    let status = loop {
        peak = high_water(&child).max(peak);
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        use std::io::{Read, Seek};
        let (mut output, mut text) = (output, String::new());
        output.rewind().and_then(|()| output.read_to_string(&mut text)).expect("what it said");
        panic!("{command:?}: {status}\n{text}");
    }
    Measured { seconds, peak }
}

/// `VmHWM` of a process (proc_pid_status(5)), 0 when it has ended.
pub fn high_water(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
