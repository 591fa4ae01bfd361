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
    /// The switches that throw this one, too.
    above: Vec<Arc<OwnedFd>>,
}

impl Cancel {
    /// A switch that is not thrown yet.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event: Arc::new(event), above: Vec::new() })
    }

    /// A switch for a part of what this one ends: it is thrown with this one, and alone.
    pub fn below(&self) -> io::Result<Self> {
        let above = self.above.iter().chain([&self.event]).cloned().collect();
        Ok(Self { above, ..Self::new()? })
    }

    /// Throws the switch.
    pub fn cancel(&self) {
        // Fails only when the counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether the switch was thrown.
    pub fn is_cancelled(&self) -> bool {
        let mut fds: Vec<_> = self.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits until this switch or the other one is thrown.
    pub(super) fn wait_or(&self, other: &Self) {
        let mut fds: Vec<_> =
            self.fds().chain(other.fds()).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        while poll(&mut fds, None).is_err() {}
    }

    /// When one of these can be read, the switch was thrown.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.event).chain(&self.above).map(|event| event.as_fd())
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

    #[test]
    fn a_part_ends_with_the_whole_and_alone() {
        let whole = Cancel::new().unwrap();
        let (one, other) = (whole.below().unwrap(), whole.below().unwrap());
        one.cancel();
        assert!(one.is_cancelled() && !other.is_cancelled() && !whole.is_cancelled());
        let part = other.below().unwrap();
        assert!(!part.is_cancelled());
        whole.cancel();
        assert!(other.is_cancelled() && part.is_cancelled());
    }
}
