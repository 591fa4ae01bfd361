//! What can go wrong, and the way one failed action travels from a child process to the caller.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Why a step could not be run to its end. A step that ran and failed is an [`super::Exit`] instead.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The supervisor could not be started.
    #[error("cannot start {exe} for a RUN step: {source}")]
    Start {
        /// The program that was to be the supervisor.
        exe: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A path or a text of the step cannot be handed to the sandbox.
    #[error("cannot hand the RUN step to its sandbox: {0}")]
    Spec(#[from] serde_json::Error),
    /// Making the surroundings of the step failed.
    #[error("cannot set up the RUN step: {action}: {reason}{hint}")]
    SetUp {
        /// What was being done, such as `mounting /proc`.
        action: String,
        /// Why it failed.
        reason: String,
        /// What to do about it, empty or starting with a separator.
        hint: String,
    },
    /// The build was cancelled while the step ran.
    #[error("the RUN step was cancelled")]
    Cancelled,
    /// The sandbox ended without a word, for example killed for want of memory.
    #[error("the sandbox of the RUN step ended early ({status}); is the machine out of memory?")]
    Vanished {
        /// How the supervisor ended.
        status: String,
    },
    /// Talking to the supervisor failed.
    #[error("cannot follow the RUN step: {0}")]
    Io(#[from] io::Error),
}

/// Why an unprivileged user cannot run steps.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// The user has no range of subordinate ids.
    #[error(
        "{user} has no range of subordinate ids in {file}; add one, for example with \
         `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`, or run as root"
    )]
    NoSubordinateIds {
        /// Who is running the build.
        user: String,
        /// The file that was looked at.
        file: PathBuf,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error(
        "{program} is not installed; install the package `uidmap` (Debian, Ubuntu) or `shadow-utils`, or run as root"
    )]
    NoHelper {
        /// The missing program.
        program: String,
    },
    /// `newuidmap` or `newgidmap` refused.
    #[error("mapping subordinate ids failed: {0}")]
    Mapping(String),
    /// The kernel does not let this user make a user namespace.
    #[error(
        "{action} failed: {source}; this kernel does not let unprivileged users make user namespaces \
         (see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and \
         kernel.apparmor_restrict_unprivileged_userns), or a container around this process forbids it; \
         allow it, or run as root"
    )]
    Refused {
        /// What was refused.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// One action of a child process that failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    action: String,
    reason: String,
    errno: Option<i32>,
}

impl Failure {
    pub(super) fn new(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { action: action.into(), reason: reason.into(), errno: None }
    }

    pub(super) fn into_error(self) -> SandboxError {
        let errno = self.errno.map(rustix::io::Errno::from_raw_os_error);
        let hint = match errno {
            Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
                "; a RUN step needs root, or a user with a range of subordinate ids, and inside a \
                 container the right to mount (`docker run --privileged`)"
            }
            Some(rustix::io::Errno::NOSYS) => "; a RUN step needs Linux 5.12 or newer",
            Some(rustix::io::Errno::NODEV) => "; the kernel lacks this file system (for overlayfs: `modprobe overlay`)",
            Some(rustix::io::Errno::NOSPC) => "; make room on the disk of the store",
            _ => "",
        };
        SandboxError::SetUp { action: self.action, reason: self.reason, hint: hint.to_owned() }
    }
}

/// Names the action that an error belongs to.
pub(super) trait Doing<T> {
    /// Turns the error into the failure of `action`.
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            Failure { action: action(), errno: error.raw_os_error(), reason: error.to_string() }
        })
    }
}
