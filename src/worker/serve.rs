//! The other side: the first process of the container.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use rustix::mount::mount_bind;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::tree::Tree;
use super::wire::{Job, Wanted};
use crate::failure::Kind;

/// Where the store is.
pub const STORE: &str = "/store";
/// Where the engine's socket is, where the build needs the engine.
pub const ENGINE_SOCKET: &str = "/run/engine.sock";
/// A folder in memory.
const MEMORY: &str = "/run/shiplap";

/// Takes a job from standard input and carries it out.
pub fn main() -> ExitCode {
    let mut input = BufReader::new(io::stdin());
    match prepare(&mut input).and_then(|prepared| carry_out(prepared, input)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the worker in the container: {error}");
            ExitCode::from(Kind::Failed as u8)
        }
    }
}

/// A job whose files are in place.
struct Prepared {
    job: Job,
    /// Nobody else changes these until the build is over.
    _trees: Vec<Tree>,
}

fn prepare(input: &mut impl io::BufRead) -> io::Result<Prepared> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line)?;
    let mut files = Vec::new();
    for file in &job.files {
        let mut bytes = Vec::new();
        input.take(file.size).read_to_end(&mut bytes)?;
        files.push(bytes);
    }
    let open = |folder: &super::wire::Folder| Tree::open(&Path::new(STORE).join("worker").join(&folder.id));
    let trees: Vec<Tree> = job.folders.iter().map(open).collect::<io::Result<_>>()?;
    let lacks = trees.iter().zip(&job.folders).map(|(tree, folder)| tree.lacks(&folder.entries));
    let mut out = io::stdout().lock();
    out.write_all(&serde_json::to_vec(&Wanted { folders: lacks.collect() })?)?;
    out.write_all(b"\n")?;
    out.flush()?;
    for (tree, folder) in trees.iter().zip(&job.folders) {
        tree.become_like(&folder.entries, input)?;
        fs::create_dir_all(&folder.at)?;
        mount_bind(tree.files(), &folder.at)?;
    }
    fs::create_dir_all(MEMORY)?;
    for (number, (file, bytes)) in job.files.iter().zip(files).enumerate() {
        let kept = Path::new(MEMORY).join(number.to_string());
        fs::File::options().write(true).create_new(true).mode(0o600).open(&kept)?.write_all(&bytes)?;
        let at = PathBuf::from(&file.at);
        if let Some(folder) = at.parent() {
            fs::create_dir_all(folder)?;
        }
        // Somewhere to be seen; what it has to say stays in memory.
        fs::File::options().append(true).create(true).open(&at)?;
        mount_bind(&kept, &at)?;
    }
    fs::create_dir_all(&job.cwd)?;
    Ok(Prepared { job, _trees: trees })
}

/// Runs the build until it ends, or until standard input does.
fn carry_out(prepared: Prepared, mut input: impl Read + Send + 'static) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        // The first process of a container hears only the signals that it has asked for (pid_namespaces(7)).
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let Job { args, cwd, env, .. } = &prepared.job;
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.args(args).current_dir(cwd).stdin(Stdio::null()).env_clear().envs(env);
        command.env("SHIPLAP_HOME", STORE).env("PATH", "/bin").env("HOME", "/root");
        command.env("DOCKER_CONFIG", "/run/docker").env("DOCKER_HOST", format!("unix://{ENGINE_SOCKET}"));
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut gone = tokio::task::spawn_blocking(move || io::copy(&mut input, &mut io::sink()));
        let mut alone = false;
        loop {
            tokio::select! {
                ended = child.wait() => return ended,
                _ = &mut gone, if !alone => alone = true,
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if let Some(pid) = pid {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    });
    // The thread that reads standard input may wait for long.
    runtime.shutdown_background();
    Ok(ExitCode::from(code?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Kind::Failed as u8)))
}
