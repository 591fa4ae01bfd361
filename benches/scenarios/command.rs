//! Running programs.

use std::process::{Command, Output};
use std::time::Instant;

/// Why something did not work, in words.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How much of a failed program's words is passed on.
const TAIL: usize = 40;

/// Runs a program and gives what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(stdout);
    }
    let said = stdout + &String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = said.lines().collect();
    Err(format!("{status}: {command:?}\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n")).into())
}

/// The same, with the seconds that it took.
pub fn timed(command: &mut Command) -> Result<(f64, String)> {
    let began = Instant::now();
    let output = output(command)?;
    Ok((began.elapsed().as_secs_f64(), output))
}
