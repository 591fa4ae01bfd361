//! Runs one `RUN` step of an image build, on Linux.
//!
//! The way of a step, three processes deep, none of them with more than one thread:
//!
//! ```text
//! Sandbox::run        starts the supervisor, streams output, waits            parent.rs
//!   supervisor        namespaces, overlay of the layers; cleans up after       child.rs
//!     init (pid 1)    mounts, pivot_root, user lookup; reaps the step's orphans init.rs
//!       step          capabilities, user, exec                                 step.rs
//! ```
//!
//! The supervisor is a re-execution of the program, so that nothing forks inside a threaded runtime.
//! What to run comes to it over the socket that is its standard input, never in arguments or
//! environment: it holds secrets. The reports of all three go back over the same socket. When the
//! socket closes, for a cancelled build or a dead parent, the supervisor kills pid 1 and with it, by
//! the pid namespace, everything that the step left behind.
//!
//! `no_new_privs` is never set: setuid programs (`sudo`, `su`, `ping`) work in `RUN`, as in Docker.
//! The root and `/dev` are mounted `nodev` in place of Docker's device cgroup: a step may make device
//! nodes (Docker's `CAP_MKNOD`), but cannot reach the host's disks through them.
//!
//! Linux 5.12 or newer (`mount_setattr`, and overlayfs in user namespaces).

mod cancel;
mod caps;
mod child;
mod dev;
mod error;
mod etc_files;
mod identity;
mod init;
mod limits;
mod mask;
mod mounts;
mod overlay;
mod parent;
mod resolve;
mod run_mounts;
mod serve;
mod spec;
mod step;
mod stubs;
mod sys;
mod userns;
mod wire;

pub use cancel::Cancel;
pub use child::child_main;
pub use error::{SandboxError, UserNamespaceError};
pub use identity::{Identity, IdentityError, lookup as lookup_user};
pub use limits::UlimitError;
pub use parent::{CHILD_ARGUMENT, Exit, Sandbox, Stream, Told};
pub use spec::{BindSource, Lower, Mount, Network, RunSpec, Ulimit};
pub use userns::enter_user_namespace;
