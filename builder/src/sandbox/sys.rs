//! The system calls for which no crate of ours has a safe function.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::unistd::ForkResult;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;

/// Adds attributes to a mount, and to all below it when `recursive`.
pub(super) fn mount_setattr(mount: impl AsFd, recursive: bool, set: MountAttrFlags) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: u64::from(set.bits()), attr_clr: 0, propagation: 0, userns_fd: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a C string and the structure outlives the call, which only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    check(result)
}

/// Makes a child process; `None` is the child.
///
/// # Safety
///
/// The process must have one thread only: another thread's locks would stay taken in the child.
pub(super) unsafe fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the caller promises to be alone.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(None),
        ForkResult::Parent { child } => Ok(Pid::from_raw(child.as_raw())),
    }
}

/// Ends this process without running the exit handlers of the program that it was forked from.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound.
    unsafe { libc::_exit(code) }
}

/// Closes every file descriptor from 3 on: what the caller's own surroundings left open must not
/// reach a step.
///
/// # Safety
///
/// Nothing in this process may own a file descriptor above 2.
pub(super) unsafe fn close_inherited() -> io::Result<()> {
    // SAFETY: the caller promises that nobody misses them.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })
}

/// Gives every signal its default action and blocks none, as a fresh process has it. The Rust runtime
/// ignores `SIGPIPE`, and whoever started us may have ignored more; both would be inherited by the step.
pub(super) fn reset_signals() {
    // The kernel's `struct sigaction` and 64-bit signal set, all zero: the default action, no flags, no
    // mask. Not by way of the C library, which keeps signals 32 and 33 to itself.
    let default = [0u64; 4];
    let none = 0u64;
    for signal in 1..=64 {
        // SAFETY: the structures outlive the calls, which only read them; the default action runs no
        // code of ours. The two signals that cannot be set are refused.
        unsafe {
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size_of_val(&none));
        }
    }
    // SAFETY: as above.
    unsafe {
        let old = std::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, old, size_of_val(&none));
    }
}

/// Leaves the session keyring of whoever runs the build behind, so that a step cannot read its keys.
pub(super) fn new_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring. Kernels without keyrings have nothing to hide.
    unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>());
    }
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a whole ifreq that outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
