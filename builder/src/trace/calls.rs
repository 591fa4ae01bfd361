//! The calls that are told: which argument is a path, and what the call wants to know of it.

use nix::libc::{self, c_int, c_long, seccomp_data};
use shiplap_cache::Question;

/// A path that a call takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// What a relative path starts from: a descriptor, or `AT_FDCWD`.
    pub(super) dir: c_int,
    /// Where the path is in the caller's memory.
    pub(super) path: u64,
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
    pub(super) question: Question,
    pub(super) then: Then,
}

/// What the call does to the path, as far as later paths through it are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// It stays, and gets another name.
    Found,
    /// A link is put there, or what may be or hold one.
    Made,
    /// What the call's first path leads to is put there.
    Moved,
    /// What was there goes away.
    Gone,
    /// It is executed.
    Executed,
    /// It becomes the caller's root.
    Root,
}

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// Takes these paths.
    Paths(Look, Option<Look>),
    /// `openat2`: flags and the way of resolving are in a structure in the caller's memory.
    OpenHow { dir: c_int, path: u64, how: u64 },
    /// Lists an open directory.
    List(c_int),
    /// Binds a socket, connects it or sends to an address. Of a socket of this machine that is a path.
    Address { address: u64, length: u64, sends: bool },
    /// Sends what these headers describe, which may have addresses. Of several the first counts.
    Message(u64),
    /// A call that the filter should not have told.
    Unknown,
}

/// Calls without a constant in every C library's headers; their numbers are the same on all architectures.
const SETXATTRAT: c_long = 463;
const GETXATTRAT: c_long = 464;
const LISTXATTRAT: c_long = 465;
const REMOVEXATTRAT: c_long = 466;
const OPEN_TREE_ATTR: c_long = 467;
const FILE_GETATTR: c_long = 468;
const FILE_SETATTR: c_long = 469;
const FCHMODAT2: c_long = 452;

/// The calls that the filter tells.
pub(super) const TOLD: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_chdir,
    libc::SYS_chroot,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_truncate,
    libc::SYS_utimensat,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SETXATTRAT,
    GETXATTRAT,
    LISTXATTRAT,
    REMOVEXATTRAT,
    OPEN_TREE_ATTR,
    FILE_GETATTR,
    FILE_SETATTR,
    libc::SYS_statfs,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_mark,
    libc::SYS_name_to_handle_at,
    libc::SYS_getdents64,
    libc::SYS_bind,
    libc::SYS_connect,
    // Not `sendmsg`: by it the step hands us the descriptor that its calls are told to.
    libc::SYS_sendmmsg,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getdents,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

impl Call {
    /// Reads a call's registers.
    pub(super) fn of(data: &seccomp_data) -> Self {
        let number = |i: usize| data.args[i] as c_int;
        let at = |dir: usize, path: usize| (number(dir), data.args[path]);
        let here = |path: usize| (libc::AT_FDCWD, data.args[path]);
        // Most take AT_SYMLINK_NOFOLLOW in their flags.
        let followed = |flags: usize| number(flags) & libc::AT_SYMLINK_NOFOLLOW == 0;
        let one = |(dir, path): (c_int, u64), follow, question| {
            Self::Paths(Look { dir, path, follow, question, then: Then::Nothing }, None)
        };
        let two = |from: Look, to: Look| Self::Paths(from, Some(to));
        let look = |(dir, path): (c_int, u64), follow, question, then| Look { dir, path, follow, question, then };
        use Question::{Content, Exists, Listing, Stat};
        #[cfg(target_arch = "x86_64")]
        match data.nr.into() {
            libc::SYS_open => return one(here(0), follows_open(number(1)), Stat),
            libc::SYS_creat | libc::SYS_uselib => return one(here(0), true, Stat),
            libc::SYS_stat => return one(here(0), true, Stat),
            libc::SYS_lstat => return one(here(0), false, Stat),
            libc::SYS_access => return one(here(0), true, Exists),
            libc::SYS_readlink => return one(here(0), false, Stat),
            libc::SYS_rename => {
                return two(look(here(0), false, Content, Then::Gone), look(here(1), false, Exists, Then::Moved));
            }
            libc::SYS_unlink => return Self::Paths(look(here(0), false, Exists, Then::Gone), None),
            libc::SYS_rmdir => return Self::Paths(look(here(0), false, Listing, Then::Gone), None),
            libc::SYS_link => {
                return two(look(here(0), false, Content, Then::Found), look(here(1), false, Exists, Then::Moved));
            }
            libc::SYS_symlink => return Self::Paths(look(here(1), false, Exists, Then::Made), None),
            libc::SYS_mkdir | libc::SYS_mknod => return one(here(0), false, Exists),
            libc::SYS_chmod | libc::SYS_chown => return one(here(0), true, Exists),
            libc::SYS_lchown => return one(here(0), false, Exists),
            libc::SYS_utime | libc::SYS_utimes => return one(here(0), true, Exists),
            libc::SYS_futimesat => return one(at(0, 1), true, Exists),
            libc::SYS_getdents => return Self::List(number(0)),
            _ => {}
        }
        match data.nr.into() {
            libc::SYS_openat => one(at(0, 1), follows_open(number(2)), Stat),
            libc::SYS_openat2 => Self::OpenHow { dir: number(0), path: data.args[1], how: data.args[2] },
            libc::SYS_newfstatat => one(at(0, 1), followed(3), Stat),
            libc::SYS_statx => one(at(0, 1), followed(2), Stat),
            libc::SYS_faccessat => one(at(0, 1), true, Exists),
            libc::SYS_faccessat2 => one(at(0, 1), followed(3), Exists),
            libc::SYS_readlinkat => one(at(0, 1), false, Stat),
            libc::SYS_execve => Self::Paths(look(here(0), true, Stat, Then::Executed), None),
            libc::SYS_execveat => Self::Paths(look(at(0, 1), followed(4), Stat, Then::Executed), None),
            libc::SYS_chdir => one(here(0), true, Exists),
            libc::SYS_chroot => Self::Paths(look(here(0), true, Exists, Then::Root), None),
            libc::SYS_renameat2 if data.args[4] as u32 & libc::RENAME_EXCHANGE != 0 => {
                two(look(at(0, 1), false, Content, Then::Made), look(at(2, 3), false, Content, Then::Made))
            }
            libc::SYS_renameat | libc::SYS_renameat2 => {
                two(look(at(0, 1), false, Content, Then::Gone), look(at(2, 3), false, Exists, Then::Moved))
            }
            libc::SYS_unlinkat if number(2) & libc::AT_REMOVEDIR != 0 => {
                Self::Paths(look(at(0, 1), false, Listing, Then::Gone), None)
            }
            libc::SYS_unlinkat => Self::Paths(look(at(0, 1), false, Exists, Then::Gone), None),
            libc::SYS_linkat => {
                let follow = number(4) & libc::AT_SYMLINK_FOLLOW != 0;
                two(look(at(0, 1), follow, Content, Then::Found), look(at(2, 3), false, Exists, Then::Moved))
            }
            libc::SYS_symlinkat => Self::Paths(look(at(1, 2), false, Exists, Then::Made), None),
            libc::SYS_mkdirat | libc::SYS_mknodat => one(at(0, 1), false, Exists),
            libc::SYS_fchmodat => one(at(0, 1), true, Exists),
            FCHMODAT2 => one(at(0, 1), followed(3), Exists),
            libc::SYS_fchownat => one(at(0, 1), followed(4), Exists),
            libc::SYS_truncate => one(here(0), true, Stat),
            libc::SYS_utimensat => one(at(0, 1), followed(3), Exists),
            libc::SYS_getxattr | libc::SYS_listxattr | libc::SYS_setxattr | libc::SYS_removexattr => {
                one(here(0), true, Content)
            }
            libc::SYS_lgetxattr | libc::SYS_llistxattr | libc::SYS_lsetxattr | libc::SYS_lremovexattr => {
                one(here(0), false, Content)
            }
            SETXATTRAT | GETXATTRAT | LISTXATTRAT | REMOVEXATTRAT => one(at(0, 1), followed(2), Content),
            FILE_GETATTR | FILE_SETATTR => one(at(0, 1), followed(4), Stat),
            OPEN_TREE_ATTR => one(at(0, 1), followed(2), Stat),
            libc::SYS_statfs => one(here(0), true, Exists),
            libc::SYS_inotify_add_watch => one(here(1), true, Exists),
            libc::SYS_fanotify_mark => one(at(3, 4), true, Exists),
            libc::SYS_name_to_handle_at => one(at(0, 1), number(4) & libc::AT_SYMLINK_FOLLOW != 0, Exists),
            libc::SYS_getdents64 => Self::List(number(0)),
            libc::SYS_bind => Self::Address { address: data.args[1], length: data.args[2], sends: false },
            libc::SYS_connect => Self::Address { address: data.args[1], length: data.args[2], sends: true },
            libc::SYS_sendto => Self::Address { address: data.args[4], length: data.args[5], sends: true },
            libc::SYS_sendmmsg => Self::Message(data.args[1]),
            _ => Self::Unknown,
        }
    }
}

/// Whether opening with these flags follows a link at the end.
pub(super) fn follows_open(flags: c_int) -> bool {
    let exclusive = libc::O_CREAT | libc::O_EXCL;
    flags & libc::O_NOFOLLOW == 0 && flags & exclusive != exclusive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_told_call_has_a_meaning() {
        for &nr in TOLD {
            let data = seccomp_data { nr: nr as c_int, arch: 0, instruction_pointer: 0, args: [0; 6] };
            assert!(!matches!(Call::of(&data), Call::Unknown), "call {nr}");
        }
    }

    #[test]
    fn how_links_at_the_end_are_followed() {
        let follow = |nr: c_long, args: [u64; 6]| {
            let data = seccomp_data { nr: nr as c_int, arch: 0, instruction_pointer: 0, args };
            match Call::of(&data) {
                Call::Paths(look, _) => look.follow,
                other => panic!("{other:?}"),
            }
        };
        let flag = |n: c_int| n as u64;
        assert!(follow(libc::SYS_openat, [0; 6]));
        assert!(!follow(libc::SYS_openat, [0, 0, flag(libc::O_NOFOLLOW), 0, 0, 0]));
        assert!(!follow(libc::SYS_openat, [0, 0, flag(libc::O_CREAT | libc::O_EXCL), 0, 0, 0]));
        assert!(follow(libc::SYS_openat, [0, 0, flag(libc::O_CREAT), 0, 0, 0]));
        assert!(!follow(libc::SYS_newfstatat, [0, 0, 0, flag(libc::AT_SYMLINK_NOFOLLOW), 0, 0]));
        assert!(!follow(libc::SYS_linkat, [0; 6]));
        assert!(follow(libc::SYS_linkat, [0, 0, 0, 0, flag(libc::AT_SYMLINK_FOLLOW), 0]));
        assert!(!follow(libc::SYS_readlinkat, [0; 6]) && !follow(libc::SYS_unlinkat, [0; 6]));
    }
}
