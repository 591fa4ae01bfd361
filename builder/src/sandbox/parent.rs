//! The caller's side of a step: starts the supervisor, streams output, cancels, reports the end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

use super::cancel::Cancel;
use super::error::SandboxError;
use super::spec::RunSpec;
use super::wire::{self, Report};

/// The first argument by which the program knows that it is a sandbox's supervisor and must call
/// [`super::child_main`] before anything else.
pub const CHILD_ARGUMENT: &str = "__sandbox-child";

/// Where a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It ended with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// Its program could not be executed.
    NotStarted {
        /// 127 when there is no such program, 126 when it cannot be executed: what Docker reports.
        code: i32,
        /// Why, in words.
        message: String,
    },
}

impl Exit {
    /// Whether the step ended with code 0.
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The exit code as a shell reports it: 128 and the signal for a killed step.
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) | Self::NotStarted { code, .. } => *code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What the caller of a step is told while it runs.
#[derive(Debug)]
pub enum Told {
    /// The descriptor that the step's calls are told to (seccomp_unotify(2)). Each told call waits for an answer.
    Traced(OwnedFd),
    /// Why the step's calls are not told.
    Untraced(String),
    /// A served tree is mounted, and the kernel asks by this device. The step waits for the answers.
    Serve {
        /// The number that [`super::Lower::Served`] has.
        tree: usize,
        /// A device of fuse(4).
        device: OwnedFd,
    },
    /// The step is being killed: nobody wants answers any more.
    Cancelled,
}

/// The program that is started as a step's supervisor.
#[derive(Debug, Clone)]
pub struct Sandbox {
    exe: PathBuf,
    arguments: Vec<OsString>,
}

impl Sandbox {
    /// This program itself; its `main` must answer to [`CHILD_ARGUMENT`].
    pub fn this_program() -> Self {
        Self::program("/proc/self/exe")
    }

    /// Another program that answers to [`CHILD_ARGUMENT`].
    pub fn program(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), arguments: vec![CHILD_ARGUMENT.into()] }
    }

    /// Runs one step to its end. `output` is called with what the step writes, as it comes, on the
    /// calling thread. When the step could not be set up or was cancelled, `spec.upper` holds nothing
    /// of use. In every case nothing of the step is alive or mounted on return.
    pub fn run(
        &self,
        spec: &RunSpec,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
        cancel: &Cancel,
    ) -> Result<Exit, SandboxError> {
        self.run_traced(spec, output, cancel, &mut |_| {})
    }

    /// As [`Sandbox::run`]. `told` is called with what the caller has to know of, on the calling thread: when `spec.trace` is set, before the step does
    /// anything, with the descriptor that its calls are told to or with why that could not be had; once for each served tree. A tree that is not answered for
    /// fails the step.
    pub fn run_traced(
        &self,
        spec: &RunSpec,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
        cancel: &Cancel,
        told: &mut (dyn FnMut(Told) + Send),
    ) -> Result<Exit, SandboxError> {
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        let message = wire::frame(spec)?;
        let (control, theirs) = UnixStream::pair()?;
        // Its own process group: a Ctrl-C at the terminal is for the caller, who cancels in order. No
        // environment: the step's own comes in the message.
        let mut command = Command::new(&self.exe);
        command
            .args(&self.arguments)
            .env_clear()
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let over = Cancel::new()?;
        std::thread::scope(|scope| {
            let _over = Over(&over);
            let (tell, told_of) = std::sync::mpsc::channel();
            scope.spawn(|| hold(command, tell, &control, cancel, &over));
            let started = told_of.recv().map_err(|_| std::io::Error::other("its thread ended"));
            let mut child = started
                .and_then(|started| started)
                .map_err(|source| SandboxError::Start { exe: self.exe.clone(), source })?;
            // A child that died early is noticed below, by the lack of its last word.
            let _ = (&control).write_all(&message);
            drop(message);
            let stdout = child.stdout.take().expect("stdout is piped");
            let stderr = child.stderr.take().expect("stderr is piped");
            let followed = follow(&control, stdout, stderr, output, cancel, told);
            if followed.is_err() {
                let _ = child.kill();
            }
            let status = child.wait()?;
            let (reports, cancelled) = followed?;
            if cancelled {
                return Err(SandboxError::Cancelled);
            }
            outcome(reports).unwrap_or_else(|| Err(SandboxError::Vanished { status: status.to_string() }))
        })
    }
}

/// Starts the supervisor, which dies with the thread that started it, and tells it when it is to stop.
///
/// That is a thread that reads no output. A process that copies a file of a served tree to its output with sendfile(2) holds the pipe for as long as the
/// file takes to come, and who reads the pipe then can neither go on nor be killed: he could tell nobody to stop, and with a builder
/// that is killed the step would wait for him, and he for the step.
fn hold(
    mut command: Command,
    tell: std::sync::mpsc::Sender<std::io::Result<Child>>,
    control: &UnixStream,
    cancel: &Cancel,
    over: &Cancel,
) {
    let _ = tell.send(command.spawn());
    // The other ends of the step's pipes.
    drop(command);
    cancel.wait_or(over);
    if cancel.is_cancelled() {
        let _ = control.shutdown(Shutdown::Write);
    }
    over.wait_or(over);
}

/// Throws the switch at the end, however that comes.
struct Over<'a>(&'a Cancel);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Hands on output and collects reports until the supervisor is gone; tells it to stop when cancelled.
fn follow(
    control: &UnixStream,
    stdout: impl Read + AsFd,
    stderr: impl Read + AsFd,
    output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    cancel: &Cancel,
    told: &mut (dyn FnMut(Told) + Send),
) -> Result<(Vec<Report>, bool), SandboxError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut messages = Vec::new();
    let mut descriptors = VecDeque::new();
    let mut reports = Vec::new();
    let mut cancelled = false;
    let mut stdout = Some(stdout);
    let mut stderr = Some(stderr);
    let mut open = true;
    while open || stdout.is_some() || stderr.is_some() {
        // A closed or finished source is left out of the poll: it would be ready for ever.
        let mut fds = Vec::with_capacity(4);
        let mut whose = Vec::with_capacity(4);
        if let Some(stdout) = &stdout {
            fds.push(PollFd::new(stdout, PollFlags::IN));
            whose.push(Source::Stdout);
        }
        if let Some(stderr) = &stderr {
            fds.push(PollFd::new(stderr, PollFlags::IN));
            whose.push(Source::Stderr);
        }
        if open {
            fds.push(PollFd::new(control, PollFlags::IN));
            whose.push(Source::Control);
        }
        if !cancelled {
            for fd in cancel.fds() {
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                whose.push(Source::Cancel);
            }
        }
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.map_err(std::io::Error::from)?,
        };
        let ready: Vec<Source> =
            fds.iter().zip(whose).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, source)| source).collect();
        drop(fds);
        for source in ready {
            match source {
                Source::Stdout => {
                    let read = stdout.as_mut().map_or(Ok(0), |from| from.read(&mut buffer))?;
                    match read {
                        0 => stdout = None,
                        read => output(Stream::Stdout, &buffer[..read]),
                    }
                }
                Source::Stderr => {
                    let read = stderr.as_mut().map_or(Ok(0), |from| from.read(&mut buffer))?;
                    match read {
                        0 => stderr = None,
                        read => output(Stream::Stderr, &buffer[..read]),
                    }
                }
                Source::Control => match wire::receive(control, &mut buffer) {
                    // A supervisor that dies with our message unread resets the connection.
                    Ok((0, _)) | Err(_) => open = false,
                    Ok((read, descriptor)) => {
                        messages.extend_from_slice(&buffer[..read]);
                        descriptors.extend(descriptor);
                        for report in wire::take_all(&mut messages) {
                            if let Some(news) = news(&report, &mut descriptors) {
                                told(news);
                            }
                            reports.push(report);
                        }
                    }
                },
                Source::Cancel => {
                    cancelled = true;
                    told(Told::Cancelled);
                }
            }
        }
    }
    Ok((reports, cancelled))
}

/// What a report tells the caller, with the descriptor that came for it: they come in the order of their reports.
fn news(report: &Report, descriptors: &mut VecDeque<OwnedFd>) -> Option<Told> {
    match report {
        Report::Traced => descriptors.pop_front().map(Told::Traced),
        Report::Served(tree) => descriptors.pop_front().map(|device| Told::Serve { tree: *tree, device }),
        Report::Untraced(why) => Some(Told::Untraced(why.clone())),
        _ => None,
    }
}

enum Source {
    Stdout,
    Stderr,
    Control,
    Cancel,
}

/// The end of the step from its reports, or `None` when they stop short.
fn outcome(reports: Vec<Report>) -> Option<Result<Exit, SandboxError>> {
    let mut exit = None;
    let mut finished = false;
    for report in reports {
        let new = match report {
            Report::Failed(failure) => return Some(Err(failure.into_error())),
            Report::NotStarted { code, message } => Exit::NotStarted { code, message },
            Report::Exited(code) => Exit::Code(code),
            Report::Signalled(signal) => Exit::Signal(signal),
            Report::Traced | Report::Untraced(_) | Report::Served(_) => continue,
            Report::Finished => {
                finished = true;
                continue;
            }
        };
        // The first one counts: pid 1 reports the end of a process that could not even execute, too.
        exit.get_or_insert(new);
    }
    exit.filter(|_| finished).map(Ok)
}
