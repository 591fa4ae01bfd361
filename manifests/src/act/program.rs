//! Running the programs of `exec` targets and health checks.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::target::{Call, Program, TargetError};

/// How often it is looked whether a program ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The variable that names the file with the release manifest.
const RELEASE_FILE: &str = "SHIPLAP_RELEASE";

/// A program that brings a release to where no file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// With the new release.
    pub(crate) program: Program,
    /// What it is told to go back; none where nothing ran before.
    pub(crate) before: Option<Call>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.command.join(" "))
    }
}

impl Run {
    pub(super) fn forward(&self) -> Result<(), TargetError> {
        self.run(&self.program.call)
    }

    pub(super) fn backward(&self) -> Result<Option<String>, TargetError> {
        match &self.before {
            Some(call) => self.run(call).map(|()| None),
            None => Ok(Some(format!("what `{self}` did stays, because no release was there before"))),
        }
    }

    fn run(&self, call: &Call) -> Result<(), TargetError> {
        let Program { command, folder, timeout, .. } = &self.program;
        let failed = |e: std::io::Error| failure(command, format!("cannot be told about the release: {e}"));
        let mut manifest = tempfile::NamedTempFile::new().map_err(failed)?;
        manifest.write_all(call.manifest.as_bytes()).and_then(|()| manifest.flush()).map_err(failed)?;
        let mut process = prepare(command, folder, &call.env)?;
        process.env(RELEASE_FILE, manifest.path());
        // What it says is for whoever waits, and in no record: it may be a secret.
        process.stdout(Stdio::from(std::io::stderr())).stderr(Stdio::inherit());
        let child = start(command, &mut process)?;
        success(command, finish(command, child, *timeout)?)
    }
}

/// Runs a program for what it prints.
pub(crate) fn ask(command: &[String], folder: &Path, timeout: Duration) -> Result<Vec<u8>, TargetError> {
    let failed = |e: std::io::Error| failure(command, format!("cannot be listened to: {e}"));
    let mut out = tempfile::tempfile().map_err(failed)?;
    let mut process = prepare(command, folder, &BTreeMap::new())?;
    process.stdout(out.try_clone().map_err(failed)?).stderr(Stdio::inherit());
    let child = start(command, &mut process)?;
    success(command, finish(command, child, timeout)?)?;
    read_all(&mut out).map_err(failed)
}

/// Runs a program to see whether it succeeds. What it prints goes nowhere.
pub(crate) fn probe(
    command: &[String],
    folder: &Path,
    env: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<(), TargetError> {
    let mut process = prepare(command, folder, env)?;
    process.stdout(Stdio::null()).stderr(Stdio::null());
    let child = start(command, &mut process)?;
    success(command, finish(command, child, timeout)?)
}

fn read_all(file: &mut File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn prepare(command: &[String], folder: &Path, env: &BTreeMap<String, String>) -> Result<Command, TargetError> {
    let (program, args) = command.split_first().ok_or_else(|| failure(command, "is no program".to_owned()))?;
    // A relative path is meant from the folder of shiplap.toml, whatever folder the command was given in.
    let program = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut process = Command::new(program);
    process.args(args).envs(env).stdin(Stdio::null());
    if !folder.as_os_str().is_empty() {
        process.current_dir(folder);
    }
    // A group of its own, so that what it starts ends with it when it takes too long.
    process.process_group(0);
    Ok(process)
}

fn start(command: &[String], process: &mut Command) -> Result<Child, TargetError> {
    process.spawn().map_err(|e| failure(command, format!("cannot be run: {e}; is it installed, and executable?")))
}

fn finish(command: &[String], mut child: Child, timeout: Duration) -> Result<ExitStatus, TargetError> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < timeout => std::thread::sleep(PAUSE),
            Ok(None) => {
                end(&mut child);
                let after = timeout.as_secs_f64();
                return Err(failure(
                    command,
                    format!(
                        "did not end within {after} seconds, and was killed: give it a longer `timeout`, or see what it waits for"
                    ),
                ));
            }
            Err(e) => return Err(failure(command, format!("cannot be waited for: {e}"))),
        }
    }
}

/// Kills a program with all that it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It has ended meanwhile, or is killed.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

fn success(command: &[String], status: ExitStatus) -> Result<(), TargetError> {
    match (status.success(), status.code(), status.signal()) {
        (true, ..) => Ok(()),
        (_, Some(code), _) => Err(failure(command, format!("failed with exit code {code}"))),
        (_, _, signal) => Err(failure(command, format!("was killed by signal {}", signal.unwrap_or_default()))),
    }
}

fn failure(command: &[String], why: String) -> TargetError {
    TargetError::Program { command: command.join(" "), why }
}
