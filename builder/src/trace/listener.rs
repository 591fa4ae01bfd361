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
use super::recorder::{Place, Recorder, Start};

/// How many threads receive calls.
const THREADS: usize = 2;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): the caller goes on, on the processor that we were on.
const SYNC_WAKE_UP: u64 = 1;

/// Whether a thread that waits for a call is woken when the last caller is gone (Linux 6.11). Before, one thread polls.
pub(super) fn kernel_wakes() -> bool {
    kernel_is_at_least(6, 11)
}

/// Receives calls on threads of their own, until nobody is left to make one.
pub(super) fn follow<'scope>(
    scope: &'scope Scope<'scope, '_>,
    recorder: &'scope Mutex<Recorder<'_>>,
    listener: OwnedFd,
    wakes: bool,
) {
    let listener = Arc::new(listener);
    // SAFETY: the flag is passed by value. Kernels without it refuse it, and the calls take a few microseconds more.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, SYNC_WAKE_UP) };
    for _ in 0..if wakes { THREADS } else { 1 } {
        let listener = listener.clone();
        scope.spawn(move || {
            let mut calls = 0;
            while wakes || callers_left(listener.as_fd()) {
                match receive(listener.as_fd()) {
                    Ok(call) => {
                        calls += 1;
                        answer(listener.as_fd(), recorder, &call);
                    }
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
            lock(recorder).calls += calls;
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
            let first = follow_path(listener, recorder, call, caller, look, None, by_descriptor)?;
            if let Some(mut second) = second {
                if second.then == Then::Moved {
                    // A file is no link and holds none.
                    match lock(recorder).is_file_now(caller, &first)? {
                        true => second.then = Then::Gone,
                        // A directory takes the place of one that is empty alone.
                        false => (second.then, second.question) = (Then::Made, Question::Listing),
                    }
                }
                follow_path(listener, recorder, call, caller, second, None, by_descriptor)?;
            }
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
        }
        Call::List(fd) => {
            let path = caller.directory(fd)?;
            if let Some(path) = path {
                let mut recorder = lock(recorder);
                let path = recorder.path_now(caller, &path)?;
                recorder.ask_open(&path, Question::Listing);
            }
        }
        Call::Address { address, length, sends } => socket(recorder, caller, address, length, sends)?,
        Call::Message(header) => {
            // struct msghdr: the address and, in four bytes, its length (recvmsg(2)).
            let Some(header) = caller.bytes(header, 12)? else { return Ok(()) };
            let Some((&address, &length)) =
                header.split_first_chunk().and_then(|(a, rest)| Some((a, rest.first_chunk()?)))
            else {
                return Ok(());
            };
            let address = u64::from_ne_bytes(address);
            if address != 0 {
                socket(recorder, caller, address, u32::from_ne_bytes(length).into(), true)?;
            }
        }
        Call::Unknown => {}
    }
    Ok(())
}

/// A socket of this machine has a path, and whether something is there is asked. Sending to the network marks the step, to an address of
/// this machine too: a proxy may be there.
fn socket(recorder: &Mutex<Recorder<'_>>, caller: Caller, address: u64, length: u64, sends: bool) -> io::Result<()> {
    let length = (length as usize).min(size_of::<libc::sockaddr_un>());
    let Some(bytes) = caller.bytes(address, length)? else { return Ok(()) };
    let Some((&[a, b], rest)) = bytes.split_first_chunk() else { return Ok(()) };
    match i32::from(u16::from_ne_bytes([a, b])) {
        libc::AF_INET | libc::AF_INET6 => lock(recorder).network |= sends,
        libc::AF_UNIX => {
            let path = rest.split(|&b| b == 0).next().unwrap_or_default();
            // An abstract name begins with a zero byte and is no path.
            if !path.is_empty() {
                unix_socket(recorder, caller, path)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn unix_socket(recorder: &Mutex<Recorder<'_>>, caller: Caller, path: &[u8]) -> io::Result<()> {
    let Some(base) = base(caller, libc::AT_FDCWD, path)? else { return Ok(()) };
    let mut recorder = lock(recorder);
    let start = start(&mut recorder, caller, &base)?;
    recorder.ask(caller, &start, path, true, Question::Exists)
}

/// Notes a path. Says where it leads, when more is done to it than looking.
fn follow_path(
    listener: BorrowedFd<'_>,
    recorder: &Mutex<Recorder<'_>>,
    call: &seccomp_notif,
    caller: Caller,
    look: Look,
    in_root: Option<c_int>,
    by_descriptor: bool,
) -> io::Result<Place> {
    // The times of an open descriptor are set with no path.
    if look.path == 0 {
        return Ok(Place::Nowhere);
    }
    let Some(path) = caller.string(look.path)? else { return Ok(Place::Nowhere) };
    if path.is_empty() && !by_descriptor {
        // Without a path either the call fails, or it is about a descriptor, whose opening was noted.
        return Ok(Place::Nowhere);
    }
    let Some(base) = base(caller, look.dir, &path)? else { return Ok(Place::Nowhere) };
    let in_root = match in_root.map(|dir| caller.directory(dir)).transpose()? {
        Some(None) => return Ok(Place::Nowhere),
        root => root.flatten(),
    };
    let stands = match look.then {
        Then::Executed => caller.directory(libc::AT_FDCWD)?,
        _ => None,
    };
    let mut recorder = lock(recorder);
    let Look { follow, question, .. } = look;
    let only_looks = look.then == Then::Nothing;
    // Most questions come again and again. Should the caller be gone and this be somebody else's path, nothing is noted for it.
    if only_looks && in_root.is_none() && recorder.has_asked(&base, &path, follow, question) {
        return Ok(Place::Nowhere);
    }
    if !is_waiting(listener, call) {
        return Ok(Place::Nowhere);
    }
    let mut start = start(&mut recorder, caller, &base)?;
    if let Some(root) = in_root {
        let root = recorder.path_now(caller, &root)?;
        start = Start { base: root.clone(), root };
    }
    if only_looks {
        recorder.ask(caller, &start, &path, follow, question)?;
        return Ok(Place::Nowhere);
    }
    let place = recorder.find(caller, &start, &path, follow, question)?;
    match look.then {
        Then::Nothing | Then::Found => {}
        Then::Made | Then::Moved => recorder.change(&place),
        Then::Gone => recorder.remove(&place),
        Then::Executed => {
            let descriptor = if path.is_empty() { Some(look.dir) } else { descriptor_of(&path) };
            let stands = match stands {
                Some(stands) => self::start(&mut recorder, caller, &stands)?,
                None => start,
            };
            recorder.executed(caller, &stands, &place, descriptor)?;
        }
        Then::Root => recorder.chroot = true,
    }
    Ok(place)
}

/// The directory that a caller's path starts from, as the kernel says it; empty when the path is absolute. None when that is no file
/// of the tree.
fn base(caller: Caller, dir: c_int, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if path.starts_with(b"/") { Ok(Some(Vec::new())) } else { caller.directory(dir) }
}

/// Where a caller's path starts from.
fn start(recorder: &mut Recorder<'_>, caller: Caller, base: &[u8]) -> io::Result<Start> {
    let mut root = TreePath::root();
    if recorder.chroot
        && let Some(path) = caller.root()?
    {
        root = recorder.path_now(caller, &path)?;
    }
    Ok(Start { base: recorder.path_now(caller, base)?, root })
}

/// The descriptor that a path such as `/proc/self/fd/3` or `/dev/fd/3` names.
fn descriptor_of(path: &[u8]) -> Option<c_int> {
    let (folder, name) = path.split_at(path.iter().rposition(|&b| b == b'/')?);
    let number = std::str::from_utf8(&name[1..]).ok()?.parse().ok()?;
    folder.ends_with(b"/fd").then_some(number)
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
