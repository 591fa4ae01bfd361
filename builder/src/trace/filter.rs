//! The seccomp filter of a step: a classic BPF program over the call's number and plain arguments (seccomp(2)).
//!
//! Calls that take a path are told. What would get around the telling is refused, with the errno that makes programs fall back; the
//! same refusals hold for a step that is not watched, so that both do the same. Docker refuses these, too
//! (moby, `profiles/seccomp/default_linux.go`).

use std::io;
use std::mem::offset_of;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::libc::{self, c_long, seccomp_data, sock_filter, sock_fprog};

use super::calls;

/// Whether calls are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Told to the listener.
    Traced,
    /// Only what is refused is looked at.
    Refusals,
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// Calls of the x32 ABI have this bit in their number.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// The newest call that we know the meaning of (`file_setattr`, Linux 6.17). Of later ones nobody knows what they read.
const NEWEST: u32 = 469;

/// New namespaces: in one of its own a step could mount things where we do not see them.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Calls that are refused, each with its errno. Those of `ENOSYS` have an older call that programs fall back to.
const REFUSED: [(c_long, i32); 20] = [
    (libc::SYS_clone3, libc::ENOSYS),
    (libc::SYS_io_uring_setup, libc::ENOSYS),
    (libc::SYS_io_uring_enter, libc::ENOSYS),
    (libc::SYS_io_uring_register, libc::ENOSYS),
    (libc::SYS_open_by_handle_at, libc::EPERM),
    (libc::SYS_setns, libc::EPERM),
    (libc::SYS_mount, libc::EPERM),
    (libc::SYS_umount2, libc::EPERM),
    (libc::SYS_pivot_root, libc::EPERM),
    (libc::SYS_open_tree, libc::EPERM),
    (libc::SYS_move_mount, libc::EPERM),
    (libc::SYS_fsopen, libc::EPERM),
    (libc::SYS_fsconfig, libc::EPERM),
    (libc::SYS_fsmount, libc::EPERM),
    (libc::SYS_fspick, libc::EPERM),
    (libc::SYS_mount_setattr, libc::EPERM),
    (libc::SYS_bpf, libc::EPERM),
    (libc::SYS_quotactl, libc::EPERM),
    (libc::SYS_acct, libc::EPERM),
    (libc::SYS_swapon, libc::EPERM),
];

const TELL: u32 = libc::SECCOMP_RET_USER_NOTIF;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// Installs the filter in this process and all that it will start. With [`Mode::Traced`] returns what the calls are told to.
///
/// To be called with `CAP_SYS_ADMIN`: without it the kernel asks for `no_new_privs`, and setuid programs would stop working.
pub(crate) fn install(mode: Mode) -> io::Result<Option<OwnedFd>> {
    let program = program(mode);
    let mut flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if mode == Mode::Traced {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    let set = match set_filter(flags, &program) {
        // Before Linux 5.19 a signal interrupts a call that is being told, and the kernel starts it again.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            set_filter(flags & !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program)
        }
        set => set,
    }?;
    // SAFETY: with NEW_LISTENER the kernel returned a new descriptor, which nobody else owns.
    Ok((mode == Mode::Traced).then(|| unsafe { OwnedFd::from_raw_fd(set) }))
}

/// Whether a call was made by the numbers that we know.
pub(super) fn is_native(call: &seccomp_data) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call.nr as u32 >= X32 {
        return false;
    }
    call.arch == NATIVE
}

fn set_filter(flags: libc::c_ulong, program: &[sock_filter]) -> io::Result<RawFd> {
    let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program outlives the call, which only reads it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

fn program(mode: Mode) -> Vec<sock_filter> {
    let tell = if mode == Mode::Traced { TELL } else { ALLOW };
    let mut code = vec![load(offset_of!(seccomp_data, arch))];
    // A program of another architecture, such as a 32-bit one, has other numbers: all that it does is told, and the listener gives
    // the step up.
    code.extend(unless_equal(NATIVE, tell));
    code.push(load(offset_of!(seccomp_data, nr)));
    #[cfg(target_arch = "x86_64")]
    code.extend(if_at_least(X32, tell));
    code.extend(if_at_least(NEWEST + 1, refuse(libc::ENOSYS)));
    for (call, errno) in REFUSED {
        code.extend(if_equal(call as u32, refuse(errno)));
    }
    // Namespaces are asked for in the flags, the first argument of both.
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        let check = [load(argument(0)), if_any(NAMESPACES, 0, 1), give(refuse(libc::EPERM)), give(ALLOW)];
        code.push(jump(libc::BPF_JEQ, call as u32, 0, check.len() as u8));
        code.extend(check);
    }
    if mode == Mode::Traced {
        // Sending on a connected socket has no address, and is done often.
        let mut check = Vec::new();
        for half in [0, 4] {
            check.push(load(argument(4) + half));
            check.extend(unless_equal(0, TELL));
        }
        check.push(give(ALLOW));
        code.push(jump(libc::BPF_JEQ, libc::SYS_sendto as u32, 0, check.len() as u8));
        code.extend(check);
        for call in calls::TOLD {
            code.extend(if_equal(*call as u32, TELL));
        }
    }
    code.push(give(ALLOW));
    code
}

fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// Where the lower half of an argument is; both architectures that we build for are little endian.
fn argument(number: usize) -> usize {
    offset_of!(seccomp_data, args) + number * 8
}

fn load(offset: usize) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset as u32 }
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt, jf, k }
}

fn if_any(bits: u32, jt: u8, jf: u8) -> sock_filter {
    jump(libc::BPF_JSET, bits, jt, jf)
}

fn give(action: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: action }
}

fn if_equal(k: u32, action: u32) -> [sock_filter; 2] {
    [jump(libc::BPF_JEQ, k, 0, 1), give(action)]
}

fn unless_equal(k: u32, action: u32) -> [sock_filter; 2] {
    [jump(libc::BPF_JEQ, k, 1, 0), give(action)]
}

fn if_at_least(k: u32, action: u32) -> [sock_filter; 2] {
    [jump(libc::BPF_JGE, k, 0, 1), give(action)]
}
