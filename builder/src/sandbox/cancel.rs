//! Stops running steps from another thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// A switch that can be thrown once; every step that was given a clone of it is killed, and later
/// ones do not start.
#[derive(Debug, Clone)]
pub struct Cancel {
    // Level triggered: once written it stays readable, so any number of waiting steps see it.
    event: Arc<OwnedFd>,
}

impl Cancel {
    /// A switch that is not thrown yet.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event: Arc::new(event) })
    }

    /// Throws the switch.
    pub fn cancel(&self) {
        // Fails only when the counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether the switch was thrown.
    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&*self.event, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_see_it() {
        let cancel = Cancel::new().unwrap();
        let other = cancel.clone();
        assert!(!other.is_cancelled());
        cancel.cancel();
        cancel.cancel();
        assert!(other.is_cancelled() && cancel.is_cancelled());
    }
}
