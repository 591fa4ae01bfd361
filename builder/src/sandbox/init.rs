//! Pid 1 of a step: furnishes the step's tree, enters it, starts the step, reaps its orphans.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::MemfdFlags;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, chdir, pivot_root, set_dumpable_behavior,
    set_parent_process_death_signal, wait,
};
use rustix::thread::UnshareFlags;

use super::child::Workspace;
use super::error::{Doing, Failure};
use super::etc_files::Files;
use super::identity::{self, Identity};
use super::mounts::{self, Tree};
use super::spec::{Network, RunSpec};
use super::step::Step;
use super::stubs::Stubs;
use super::wire::{self, Report};
use super::{mask, run_mounts, sys};

// What Docker gives a step that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the step to its end in this process's pid namespace, of which it is the first process.
pub(super) fn run(spec: RunSpec, space: &Workspace, control: &UnixStream, stubs: OwnedFd) -> ! {
    let code = match set_up(spec, space, stubs).and_then(|step| start(&step, control)) {
        Ok(pid) => {
            wire::report(control, &reap_until(pid));
            0
        }
        Err(failure) => {
            wire::report(control, &Report::Failed(failure));
            1
        }
    };
    // With pid 1 the kernel kills whatever the step left running.
    sys::exit_now(code)
}

fn set_up(spec: RunSpec, space: &Workspace, stubs_out: OwnedFd) -> Result<Step, Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "binding pid 1 to its supervisor".to_owned())?;
    // A step runs with our user id; our memory (secrets) and our program are not its business.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(|| "protecting pid 1".to_owned())?;
    // The supervisor keeps the bare tree, in which it cleans up afterwards.
    // SAFETY: no file descriptor table is unshared, and there are no other threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.doing(|| "making a mount namespace".to_owned())?;
    rustix::system::sethostname(spec.hostname.as_bytes())
        .doing(|| format!("setting the host name {:?}", spec.hostname))?;
    if spec.network == Network::None {
        sys::loopback_up().doing(|| "bringing the loopback interface up".to_owned())?;
    }

    furnish(&spec, space, stubs_out)?;
    enter(&space.merged)?;
    mask::apply()?;

    let identity = look_up(spec.user.as_deref().unwrap_or(""))?;
    make_working_directory(&spec.cwd, &identity)?;
    Ok(Step {
        env: environment(spec.env, &identity.home)?,
        argv: spec.argv.into_iter().map(c_string).collect::<Result<_, _>>()?,
        identity,
        cwd: spec.cwd,
        limits: spec.ulimits,
        stdin: spec.stdin.as_deref().map(in_memory).transpose()?,
        trace: spec.trace,
    })
}

/// Mounts everything that the step sees, and tells the supervisor what was made for it.
fn furnish(spec: &RunSpec, space: &Workspace, stubs_out: OwnedFd) -> Result<(), Failure> {
    let mut tree = Tree { root: &space.merged, stubs: Stubs::default() };
    let mut files = Files::new(&space.files)?;
    // What was made so far has to be cleaned up after a failure, too.
    let furnished = mounts::furnish(&mut tree, spec, &mut files).and_then(|()| {
        let mut mounts = spec.mounts.iter().enumerate();
        mounts.try_for_each(|(number, mount)| run_mounts::add(&mut tree, &mut files, space, number, mount))
    });
    tree.stubs.seal(tree.root);
    let stubs = serde_json::to_vec(&tree.stubs).map_err(io::Error::from);
    stubs.and_then(|stubs| File::from(stubs_out).write_all(&stubs)).doing(|| "noting the mount points".to_owned())?;
    furnished?;
    mounts::control_groups(tree.root);
    Ok(())
}

/// Makes the tree the root and lets go of the host's.
fn enter(root: &Path) -> Result<(), Failure> {
    chdir(root)
        // The old root is mounted over the new one, and then taken off it: pivot_root(2), NOTES.
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| chdir("/"))
        .doing(|| "entering the step's tree".to_owned())
}

fn look_up(user: &str) -> Result<Identity, Failure> {
    let read = |path: &str| match fs::read(path) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).doing(|| format!("reading the image's {path}")),
    };
    identity::lookup(user, &read("/etc/passwd")?, &read("/etc/group")?)
        .map_err(|error| Failure::new(format!("looking up USER {user}"), error.to_string()))
}

fn make_working_directory(cwd: &str, identity: &Identity) -> Result<(), Failure> {
    let cwd = Path::new(cwd);
    let action = || format!("creating the working directory {}", cwd.display());
    if !cwd.is_absolute() {
        return Err(Failure::new(action(), "it is not an absolute path"));
    }
    let missing: Vec<_> = cwd.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        DirBuilder::new().mode(0o755).create(dir).doing(action)?;
        chown(dir, Some(identity.uid), Some(identity.gid)).doing(action)?;
    }
    Ok(())
}

fn environment(mut env: Vec<(String, String)>, home: &str) -> Result<Vec<CString>, Failure> {
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
    }
    // An empty HOME is none, as in runc.
    if !env.iter().any(|(name, value)| name == "HOME" && !value.is_empty()) {
        env.retain(|(name, _)| name != "HOME");
        env.push(("HOME".to_owned(), home.to_owned()));
    }
    env.into_iter().map(|(name, value)| c_string(format!("{name}={value}"))).collect()
}

fn c_string(text: String) -> Result<CString, Failure> {
    CString::new(text).map_err(|error| {
        Failure::new(
            "passing arguments and environment",
            format!("a zero byte in {:?}", error.into_vec().escape_ascii().to_string()),
        )
    })
}

fn in_memory(contents: &[u8]) -> Result<File, Failure> {
    rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)
        .map_err(io::Error::from)
        .and_then(|fd| {
            let mut file = File::from(fd);
            file.write_all(contents)?;
            file.rewind()?;
            Ok(file)
        })
        .doing(|| "preparing standard input".to_owned())
}

fn start(step: &Step, control: &UnixStream) -> Result<Pid, Failure> {
    // SAFETY: this process has a single thread.
    match unsafe { sys::fork() }.doing(|| "starting the step".to_owned())? {
        Some(pid) => Ok(pid),
        None => {
            let report = step.execute(control);
            wire::report(control, &report);
            sys::exit_now(127)
        }
    }
}

/// Collects every process that ends here, until the step itself did.
fn reap_until(step: Pid) -> Report {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == step => {
                return match status.terminating_signal() {
                    Some(signal) => Report::Signalled(signal),
                    None => Report::Exited(status.exit_status().unwrap_or_default()),
                };
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Unreachable while the step is alive, and better than waiting for ever.
            Err(error) => {
                return Report::Failed(Failure::new("waiting for the step", error.to_string()));
            }
        }
    }
}
