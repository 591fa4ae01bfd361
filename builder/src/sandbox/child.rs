//! The supervisor: makes the step's namespaces and its tree, waits for pid 1, cleans up.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_parent_process_death_signal, umask, waitpid,
};
use rustix::thread::UnshareFlags;

use super::error::{Doing, Failure};
use super::overlay::{self, Overlay};
use super::spec::{Network, RunSpec};
use super::stubs::Stubs;
use super::wire::{self, Report};
use super::{init, serve, sys};

/// The directories that a step needs beside its layers, all in its `work` directory.
pub(super) struct Workspace {
    /// Where the step's tree is mounted.
    pub merged: PathBuf,
    /// A file system in memory for secrets and generated files.
    pub files: PathBuf,
    /// The parts of mounts whose writes are discarded.
    pub mounts: PathBuf,
    /// A directory with nothing in it, to stand in for layers.
    pub empty: PathBuf,
    /// Where served trees are mounted.
    pub served: PathBuf,
}

impl Workspace {
    fn create(spec: &RunSpec) -> Result<Self, Failure> {
        let make = |name: &str| {
            let dir = spec.work.join(name);
            fs::create_dir(&dir).doing(|| format!("creating {}", dir.display()))?;
            Ok(dir)
        };
        Ok(Self {
            merged: make("merged")?,
            files: make("files")?,
            mounts: make("mounts")?,
            empty: make("empty")?,
            served: make("served")?,
        })
    }
}

/// What the program does instead of its own work when its first argument is
/// [`super::CHILD_ARGUMENT`]. To be called before any thread is started and any file opened.
pub fn child_main() -> ! {
    let control = match take_control() {
        Ok(control) => control,
        Err(failure) => {
            // Without the socket there is nobody else to tell.
            eprintln!("{:?}", failure.into_error());
            sys::exit_now(1);
        }
    };
    let code = match supervise(&control) {
        Ok(()) => {
            wire::report(&control, &Report::Finished);
            0
        }
        Err(failure) => {
            wire::report(&control, &Report::Failed(failure));
            1
        }
    };
    sys::exit_now(code)
}

/// Moves the control socket away from standard input, where it came in.
fn take_control() -> Result<UnixStream, Failure> {
    // SAFETY: `child_main` is documented to come before anything that opens files.
    unsafe { sys::close_inherited() }.doing(|| "closing inherited files".to_owned())?;
    let control =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).doing(|| "taking the control socket".to_owned())?;
    let null = File::open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null).doing(|| "replacing standard input".to_owned())?;
    Ok(UnixStream::from(control))
}

fn supervise(control: &UnixStream) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "binding the sandbox to the build".to_owned())?;
    let spec: RunSpec = wire::read(control).doing(|| "reading the step".to_owned())?;
    // Modes below are meant as they are written.
    umask(rustix::fs::Mode::empty());
    let space = Workspace::create(&spec)?;
    enter_namespaces(spec.network)?;
    serve::mount_all(&space.served, spec.served, control)?;
    Overlay {
        lower: &overlay::open_layers(&spec.lower, &space.served)?,
        empty: &space.empty,
        upper: Some((&spec.upper, &spec.work.join("overlay"))),
        target: &space.merged,
    }
    .mount()
    .doing(|| format!("mounting an overlay of {} layers", spec.lower.len()))?;

    let (stubs_in, stubs_out) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing(|| "making a pipe".to_owned())?;
    // SAFETY: this process has a single thread, as `child_main` demands.
    let pid = match unsafe { sys::fork() }.doing(|| "starting pid 1 of the step".to_owned())? {
        Some(pid) => pid,
        None => {
            drop(stubs_in);
            init::run(spec, &space, control, stubs_out)
        }
    };
    drop(stubs_out);
    wait_for(pid, stubs_in, control).and_then(|stubs| {
        stubs.clean(&space.merged);
        unmount(&space.merged, UnmountFlags::empty()).doing(|| "unmounting the step's tree".to_owned())?;
        stubs.prune(&spec.upper);
        serve::unmount_all(&space.served, spec.served);
        Ok(())
    })
}

fn enter_namespaces(network: Network) -> Result<(), Failure> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWPID;
    if network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: no file descriptor table is unshared, and there are no other threads.
    unsafe { rustix::thread::unshare_unsafe(flags) }.doing(|| "making the step's namespaces".to_owned())?;
    // Only hides the path of our own cgroup; a kernel without it is fine.
    // SAFETY: as above.
    let _ = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) };
    sys::new_session_keyring();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .doing(|| "keeping mounts to the step".to_owned())
}

/// Waits until pid 1 and with it every process of the step is gone, and kills them when the caller
/// hangs up. Returns the mount points that were made for the step.
fn wait_for(pid: Pid, stubs: OwnedFd, control: &UnixStream) -> Result<Stubs, Failure> {
    let null = File::options().write(true).open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    rustix::stdio::dup2_stdout(&null).doing(|| "letting go of the output".to_owned())?;
    rustix::stdio::dup2_stderr(&null).doing(|| "letting go of the output".to_owned())?;

    let mut bytes = Vec::new();
    File::from(stubs).read_to_end(&mut bytes).doing(|| "reading the mount points".to_owned())?;
    let child = pidfd_open(pid, PidfdFlags::empty()).doing(|| "watching pid 1".to_owned())?;
    let mut listening = true;
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
        if listening {
            fds.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.doing(|| "waiting for the step".to_owned())?,
        };
        // The caller sends one message only, so anything more on the socket is its end.
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            listening = false;
            let _ = kill_process(pid, Signal::KILL);
        }
        if !fds[0].revents().is_empty() {
            break;
        }
    }
    waitpid(Some(pid), WaitOptions::empty()).doing(|| "waiting for the step".to_owned())?;
    // Empty when pid 1 did not get as far as the step; it has reported why.
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}
