//! The last process: becomes the step's user and executes its program.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::Mode;
use rustix::process::{Gid, Uid};
use rustix::process::{chdir, setsid, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::error::{Doing, Failure};
use super::identity::Identity;
use super::spec::Ulimit;
use super::wire::Report;
use super::{caps, limits, sys, wire};
use crate::trace;

/// What to execute, and as whom.
pub(super) struct Step {
    pub argv: Vec<CString>,
    pub env: Vec<CString>,
    pub identity: Identity,
    pub cwd: String,
    pub limits: Vec<Ulimit>,
    pub stdin: Option<File>,
    pub trace: bool,
}

impl Step {
    /// Becomes the step. Comes back only when that failed, with what to tell the caller.
    pub(super) fn execute(&self, control: &UnixStream) -> Report {
        let ready = self.prepare().map(|()| self.install_filter(control)).and_then(|()| self.drop_privileges());
        match ready {
            Ok(()) => self.exec(),
            Err(failure) => Report::Failed(failure),
        }
    }

    /// Everything that needs the privileges which the step will not have.
    fn prepare(&self) -> Result<(), Failure> {
        setsid().doing(|| "making a session".to_owned())?;
        if let Some(stdin) = &self.stdin {
            rustix::stdio::dup2_stdin(stdin).doing(|| "giving standard input".to_owned())?;
        }
        sys::reset_signals();
        limits::apply(&self.limits)?;
        chdir(&*self.cwd).doing(|| format!("entering the working directory {}", self.cwd))
    }

    /// Before the privileges go: without `CAP_SYS_ADMIN` a filter needs `no_new_privs`. A step that cannot be watched runs all the same,
    /// and the caller knows.
    fn install_filter(&self, control: &UnixStream) {
        if self.trace {
            match trace::install(trace::Mode::Traced) {
                Ok(Some(listener)) => return wire::report_with(control, &Report::Traced, &listener),
                Ok(None) => {}
                Err(error) => wire::report(control, &Report::Untraced(error.to_string())),
            }
        }
        // A kernel without filters refuses nothing, as a step on it is never watched.
        let _ = trace::install(trace::Mode::Refusals);
    }

    fn drop_privileges(&self) -> Result<(), Failure> {
        let uid = Uid::from_raw(self.identity.uid);
        let gid = Gid::from_raw(self.identity.gid);
        // The primary group is in the list too, as Docker does (CVE-2022-36109).
        let groups: Vec<_> =
            [gid].into_iter().chain(self.identity.groups.iter().map(|&gid| Gid::from_raw(gid))).collect();
        caps::bound()
            .and_then(|()| set_thread_groups(&groups))
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .and_then(|()| caps::hold(uid.is_root()))
            .doing(|| {
                format!("becoming user {}:{} with Docker's capabilities", self.identity.uid, self.identity.gid)
            })?;
        umask(Mode::from_raw_mode(0o022));
        Ok(())
    }

    /// Executes the program, looked up in the step's `PATH` as `execvp` does, save that a file of an
    /// unknown format is not handed to a shell.
    fn exec(&self) -> Report {
        let Some(program) = self.argv.first().filter(|program| !program.is_empty()) else {
            return not_started(127, "the command is empty".to_owned());
        };
        let name = program.to_string_lossy();
        if program.as_bytes().contains(&b'/') {
            return not_started_for(program, self.try_exec(program));
        }
        let mut refused = None;
        for dir in self.path().split(|&byte| byte == b':') {
            let dir = if dir.is_empty() { b"." } else { dir };
            let Ok(candidate) = CString::new([dir, b"/", program.to_bytes()].concat()) else {
                continue;
            };
            match self.try_exec(&candidate) {
                Errno::ENOENT if is_there(&candidate) => {
                    return not_started_for(&candidate, Errno::ENOENT);
                }
                Errno::ENOENT | Errno::ENOTDIR => {}
                // A later directory may have one that we may execute.
                Errno::EACCES => refused = refused.or(Some(candidate)),
                errno => return not_started_for(&candidate, errno),
            }
        }
        match refused {
            Some(candidate) => not_started_for(&candidate, Errno::EACCES),
            None => not_started(127, format!("{name}: not found in PATH ({})", String::from_utf8_lossy(self.path()))),
        }
    }

    /// Comes back only with an error.
    fn try_exec(&self, program: &CStr) -> Errno {
        match nix::unistd::execve(program, &self.argv, &self.env) {
            Err(errno) => errno,
            Ok(never) => match never {},
        }
    }

    fn path(&self) -> &[u8] {
        self.env.iter().find_map(|variable| variable.as_bytes().strip_prefix(b"PATH=")).unwrap_or_default()
    }
}

fn is_there(program: &CStr) -> bool {
    Path::new(OsStr::from_bytes(program.to_bytes())).exists()
}

fn not_started_for(program: &CStr, errno: Errno) -> Report {
    let name = program.to_string_lossy();
    match errno {
        Errno::ENOENT if is_there(program) => not_started(
            127,
            format!("{name}: the interpreter that it names (its #! line or dynamic loader) is not in the image"),
        ),
        Errno::ENOENT | Errno::ENOTDIR => not_started(127, format!("{name}: no such file in the image")),
        Errno::ENOEXEC => {
            not_started(126, format!("{name}: not a program for this machine, nor a script with a #! line"))
        }
        errno => not_started(126, format!("{name}: {}", errno.desc())),
    }
}

fn not_started(code: i32, message: String) -> Report {
    Report::NotStarted { code, message }
}
