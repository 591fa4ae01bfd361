//! Where and when it was measured.

use std::process::Command;

use serde::Serialize;

use crate::command::{Result, output};
use crate::side::Side;

#[derive(Debug, Serialize)]
pub struct Machine {
    pub date: String,
    pub kernel: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub sides: Vec<Version>,
}

/// What a side is.
#[derive(Debug, Serialize)]
pub struct Version {
    pub name: &'static str,
    pub version: String,
}

impl Version {
    /// The number alone.
    pub fn release(&self) -> &str {
        self.version.split(',').next().unwrap_or_default()
    }
}

pub fn facts(sides: &[Box<dyn Side>]) -> Result<Machine> {
    let versions = sides.iter().map(|side| Ok(Version { name: side.name(), version: side.version()? }));
    let memory: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    Ok(Machine {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        kernel: output(Command::new("uname").args(["-s", "-r"]))?.trim().to_owned(),
        processor: field("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism()?.get(),
        memory_gib: memory.div_ceil(1 << 20),
        sides: versions.collect::<Result<_>>()?,
    })
}

/// The first value of a name in a file of `name: value`; empty where there is none, as not all processors tell their names.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name);
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}
