//! Runs the whole program as root of a user namespace, for users without root.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Uid, WaitOptions, getgid, getppid, getuid, waitpid};
use rustix::thread::{UnshareFlags, set_thread_res_gid, set_thread_res_uid};

use super::error::UserNamespaceError;
use super::sys;

/// Whether this process is in a user namespace of its own; the first one maps every id to itself.
pub(super) fn inside() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Makes this process root of a new user and mount namespace with the user's subordinate ids, so that
/// the rest of the program can mount, own files of any image user, and run steps. Does nothing for
/// root. To be called at the very start, before any thread.
///
/// The files that the program writes as root belong to the user outside; the environment, the working
/// directory and the supplementary groups stay as they are.
pub fn enter_user_namespace() -> Result<(), UserNamespaceError> {
    if getuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let user = user_name(uid);
    let uids = mapping(uid, &subordinate("/etc/subuid", uid, &user)?);
    let gids = mapping(gid, &subordinate("/etc/subgid", uid, &user)?);

    let (go, going) = pipe()?;
    let (answer, answering) = pipe()?;
    // SAFETY: the caller promises that no thread was started.
    let helper = unsafe { sys::fork() }
        .map_err(|source| UserNamespaceError::Refused { action: "starting a process", source })?;
    let Some(helper) = helper else {
        drop((going, answer));
        help(go, answering, &uids, &gids)
    };
    drop((go, answering));

    // SAFETY: no file descriptor table is unshared, and there are no other threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .map_err(|source| UserNamespaceError::Refused { action: "making a user namespace", source: source.into() })?;
    finish(helper, File::from(going), File::from(answer))?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .and_then(|()| set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
        .and_then(|()| {
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private)
        })
        .map_err(|source| UserNamespaceError::Refused {
            action: "becoming root of a user namespace",
            source: source.into(),
        })
}

fn pipe() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd), UserNamespaceError> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|source| UserNamespaceError::Refused { action: "making a pipe", source: source.into() })
}

/// The helper's life: it stays outside the new namespace, where `newuidmap` has its privilege, and maps
/// the ids of its parent.
fn help(go: std::os::fd::OwnedFd, answering: std::os::fd::OwnedFd, uids: &[String], gids: &[String]) -> ! {
    let mut byte = [0];
    // Nothing comes when the parent could not make its namespace.
    if File::from(go).read_exact(&mut byte).is_ok() {
        let parent = getppid().map_or(0, Pid::as_raw_pid).to_string();
        let outcome = map("newuidmap", &parent, uids).and_then(|()| map("newgidmap", &parent, gids));
        let _ = File::from(answering).write_all(outcome.err().unwrap_or_default().as_bytes());
    }
    sys::exit_now(0)
}

const NOT_INSTALLED: &str = "not installed: ";

fn map(program: &str, pid: &str, mapping: &[String]) -> Result<(), String> {
    let result = Command::new(program).arg(pid).args(mapping).stdin(Stdio::null()).output();
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{NOT_INSTALLED}{program}")),
        Err(error) => Err(format!("{program}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("{} ({program} {})", if said.is_empty() { "refused" } else { &said }, output.status))
        }
    }
}

fn finish(helper: Pid, mut going: File, mut answer: File) -> Result<(), UserNamespaceError> {
    let mut said = String::new();
    let talked = going.write_all(b"x").and_then(|()| answer.read_to_string(&mut said));
    let _ = waitpid(Some(helper), WaitOptions::empty());
    talked.map_err(|error| UserNamespaceError::Mapping(error.to_string()))?;
    match said.strip_prefix(NOT_INSTALLED) {
        Some(program) => Err(UserNamespaceError::NoHelper { program: program.to_owned() }),
        None if said.is_empty() => Ok(()),
        None => Err(UserNamespaceError::Mapping(said)),
    }
}

fn user_name(uid: u32) -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name)
}

/// The ranges of subuid(5) or subgid(5) for a user, as first id and count.
fn subordinate(file: &str, uid: u32, user: &str) -> Result<Vec<(u32, u32)>, UserNamespaceError> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let ranges = ranges(&text, uid, user);
    if ranges.is_empty() {
        return Err(UserNamespaceError::NoSubordinateIds {
            user: user.to_owned(),
            file: Path::new(OsStr::new(file)).to_owned(),
        });
    }
    Ok(ranges)
}

fn ranges(text: &str, uid: u32, user: &str) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let first = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok()?;
            ((owner == user || owner == number) && count > 0).then_some((first, count))
        })
        .collect()
}

/// The arguments for newuidmap(1): root is the user, the rest follows in order.
fn mapping(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut triples = vec![0, own, 1];
    let mut inside = 1u32;
    for &(first, count) in ranges {
        triples.extend([inside, first, count]);
        inside = inside.saturating_add(count);
    }
    triples.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_and_number() {
        let text = "ann:100000:65536\n1000:300000:10\nbob:1:0\nbob:nonsense:2\n";
        assert_eq!(ranges(text, 1000, "ann"), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, 7, "bob"), []);
        let arguments = mapping(1000, &ranges(text, 1000, "ann")).join(" ");
        assert_eq!(arguments, "0 1000 1 1 100000 65536 65537 300000 10");
    }
}
