//! Receives the calls of a step and lets each go on (seccomp_unotify(2)).

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use nix::libc::{self, c_int, c_long, open_how, seccomp_notif, seccomp_notif_resp};
use rustix::event::{PollFd, PollFlags, poll};
use shiplap_cache::{Question, TreePath};

use super::caller::Caller;
use super::calls::{Call, Look, Then, follows_open};
use super::recorder::{Recorder, Start, tree_path};

/// How many threads receive calls.
const THREADS: usize = 2;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): the caller goes on, on the processor that we were on.
const SYNC_WAKE_UP: u64 = 1;

/// Receives calls on threads of their own, until nobody is left to make one.
pub(super) fn follow<'scope>(
    scope: &'scope Scope<'scope, '_>,
    recorder: &'scope Mutex<Recorder<'_>>,
    listener: OwnedFd,
) {
    let listener = Arc::new(listener);
    // SAFETY: the flag is passed by value. Kernels without it refuse it, and the calls take a few microseconds more.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, SYNC_WAKE_UP) };
    // Before Linux 6.11 a thread that waits for a call is not woken when the last caller is gone. There one thread polls.
    let wakes = kernel_is_at_least(6, 11);
    for _ in 0..if wakes { THREADS } else { 1 } {
        let listener = listener.clone();
        scope.spawn(move || {
            while wakes || callers_left(listener.as_fd()) {
                match receive(listener.as_fd()) {
                    Ok(call) => answer(listener.as_fd(), recorder, &call),
                    // A caller that died before we came to it (ENOENT), or the last of them when we are woken at the end.
                    Err(libc::ENOENT) if wakes && !callers_left(listener.as_fd()) => break,
                    Err(libc::ENOENT | libc::EINTR) => {}
                    Err(errno) => {
                        let why = io::Error::from_raw_os_error(errno);
                        lock(recorder).give_up(format!("its calls could not be received: {why}"));
                        break;
                    }
                }
            }
        });
    }
}

/// Waits for a call; whether there is one, or somebody who can still make one.
fn callers_left(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&listener, PollFlags::IN)];
    match poll(&mut fds, None) {
        Ok(_) => fds[0].revents().contains(PollFlags::IN) || !fds[0].revents().contains(PollFlags::HUP),
        Err(error) => error == rustix::io::Errno::INTR,
    }
}

fn receive(listener: BorrowedFd<'_>) -> Result<seccomp_notif, c_int> {
    // SAFETY: all zeroes is a valid value, and what the kernel asks for.
    let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure has the size that is part of the request's number, and outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut call) };
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or_default()) } else { Ok(call) }
}

/// Notes a call and lets it go on.
fn answer(listener: BorrowedFd<'_>, recorder: &Mutex<Recorder<'_>>, call: &seccomp_notif) {
    if let Err(error) = note(listener, recorder, call)
        && is_waiting(listener, call)
    {
        lock(recorder).give_up(format!("one of its calls could not be followed: {error}"));
    }
    let go_on =
        seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
    // SAFETY: as in `receive`. A caller that was killed meanwhile needs no answer.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const go_on) };
}

/// Whether the caller still waits: only then what we read under its number was its own.
fn is_waiting(listener: BorrowedFd<'_>, call: &seccomp_notif) -> bool {
    // SAFETY: as in `receive`.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const call.id) == 0 }
}

fn note(listener: BorrowedFd<'_>, recorder: &Mutex<Recorder<'_>>, call: &seccomp_notif) -> io::Result<()> {
    let caller = Caller(call.pid);
    if !super::filter::is_native(&call.data) {
        lock(recorder).give_up("a program for another architecture, such as a 32-bit one, cannot be watched");
        return Ok(());
    }
    match Call::of(&call.data) {
        Call::Paths(look, second) => {
            let by_descriptor = takes_descriptor(call);
            for look in [Some(look), second].into_iter().flatten() {
                follow_path(listener, recorder, call, caller, look, None, by_descriptor)?;
            }
            lock(recorder).calls += 1;
        }
        Call::OpenHow { dir, path, how } => {
            let Some(bytes) = caller.bytes(how, size_of::<open_how>())? else { return Ok(()) };
            let field = |at: usize| {
                let bytes = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
                bytes.map_or(0, u64::from_ne_bytes)
            };
            let (flags, resolve) = (field(offset_of!(open_how, flags)), field(offset_of!(open_how, resolve)));
            let follow = follows_open(flags as c_int);
            let look = Look { dir, path, follow, question: Question::Stat, then: Then::Nothing };
            let in_root = (resolve & libc::RESOLVE_IN_ROOT != 0).then_some(dir);
            follow_path(listener, recorder, call, caller, look, in_root, false)?;
            lock(recorder).calls += 1;
        }
        Call::List(fd) => {
            let path = caller.directory(fd)?;
            let mut recorder = lock(recorder);
            recorder.calls += 1;
            if let Some(path) = path {
                recorder.ask_open(&tree_path(&path), Question::Listing);
            }
        }
        Call::Address { address, length } => socket(recorder, caller, address, length)?,
        Call::Unknown => {}
    }
    Ok(())
}

/// A socket of this machine has a path, and whether something is there is asked. One of the network marks the step, unless it stays on
/// this machine.
fn socket(recorder: &Mutex<Recorder<'_>>, caller: Caller, address: u64, length: u64) -> io::Result<()> {
    let length = (length as usize).min(size_of::<libc::sockaddr_un>());
    let Some(bytes) = caller.bytes(address, length)? else { return Ok(()) };
    let Some((&[a, b], rest)) = bytes.split_first_chunk() else { return Ok(()) };
    lock(recorder).calls += 1;
    // ip(7): two bytes of port, then the address; ipv6(7): four bytes of flow more.
    let part = |from: usize, length: usize| rest.get(from..from + length);
    let elsewhere = match i32::from(u16::from_ne_bytes([a, b])) {
        libc::AF_INET => part(2, 4).is_some_and(|ip| ip[0] != 127 && ip != [0; 4]),
        libc::AF_INET6 => part(6, 16).and_then(|ip| ip.try_into().ok()).is_some_and(|ip: [u8; 16]| {
            let ip = std::net::Ipv6Addr::from(ip);
            !ip.is_loopback() && !ip.is_unspecified() && !ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }),
        libc::AF_UNIX => {
            let path = rest.split(|&b| b == 0).next().unwrap_or_default();
            // An abstract name begins with a zero byte and is no path.
            return if path.is_empty() { Ok(()) } else { unix_socket(recorder, caller, path) };
        }
        _ => false,
    };
    lock(recorder).network |= elsewhere;
    Ok(())
}

fn unix_socket(recorder: &Mutex<Recorder<'_>>, caller: Caller, path: &[u8]) -> io::Result<()> {
    let start = start(recorder, caller, libc::AT_FDCWD, path)?;
    let mut recorder = lock(recorder);
    match start {
        Some(start) => recorder.ask(caller, start, path, true, Question::Exists),
        None => Ok(()),
    }
}

fn follow_path(
    listener: BorrowedFd<'_>,
    recorder: &Mutex<Recorder<'_>>,
    call: &seccomp_notif,
    caller: Caller,
    look: Look,
    in_root: Option<c_int>,
    by_descriptor: bool,
) -> io::Result<()> {
    // The times of an open descriptor are set with no path.
    if look.path == 0 {
        return Ok(());
    }
    let Some(path) = caller.string(look.path)? else { return Ok(()) };
    if path.is_empty() && !by_descriptor {
        // Without a path either the call fails, or it is about a descriptor, whose opening was noted.
        return Ok(());
    }
    let mut start = match start(recorder, caller, look.dir, &path)? {
        Some(start) => start,
        None => return Ok(()),
    };
    if let Some(dir) = in_root {
        let Some(root) = caller.directory(dir)? else { return Ok(()) };
        start = Start { base: tree_path(&root), root: tree_path(&root) };
    }
    if !is_waiting(listener, call) {
        return Ok(());
    }
    let mut recorder = lock(recorder);
    let Look { follow, question, .. } = look;
    match look.then {
        Then::Nothing => recorder.ask(caller, start, &path, follow, question),
        Then::Made => {
            let place = recorder.find(caller, &start, &path, follow, question)?;
            recorder.change(&place);
            Ok(())
        }
        Then::Gone => {
            let place = recorder.find(caller, &start, &path, follow, question)?;
            recorder.remove(&place);
            Ok(())
        }
        Then::Executed => {
            let place = recorder.find(caller, &start, &path, follow, question)?;
            recorder.executed(caller, &start, &place)
        }
        Then::Root => {
            recorder.find(caller, &start, &path, follow, question)?;
            recorder.chroot = true;
            Ok(())
        }
    }
}

/// Where a caller's path starts from. None when that is no file of the tree.
fn start(recorder: &Mutex<Recorder<'_>>, caller: Caller, dir: c_int, path: &[u8]) -> io::Result<Option<Start>> {
    let root = match lock(recorder).chroot {
        true => caller.root()?.as_deref().map(tree_path).unwrap_or_default(),
        false => TreePath::root(),
    };
    if path.starts_with(b"/") {
        return Ok(Some(Start { base: TreePath::root(), root }));
    }
    Ok(caller.directory(dir)?.map(|base| Start { base: tree_path(&base), root }))
}

/// Whether a program is executed by a descriptor alone: then the empty path is the descriptor's file.
fn takes_descriptor(call: &seccomp_notif) -> bool {
    c_long::from(call.data.nr) == libc::SYS_execveat && call.data.args[4] as c_int & libc::AT_EMPTY_PATH != 0
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn lock<'a, 't>(recorder: &'a Mutex<Recorder<'t>>) -> std::sync::MutexGuard<'a, Recorder<'t>> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}
