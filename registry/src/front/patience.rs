//! How long somebody at the other end may take.
//!
//! A bound on each wait alone lets a client send a byte a minute for ever; a bound on the whole cuts off an honest upload of hours. So waiting is
//! taken from a store of patience, and bytes give it back: who is slower than [`Patience::RATE`] runs out of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Patience with one direction of one client.
pub(super) struct Patience {
    store: Store,
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// How many bytes give back a second.
    pub const RATE: u64 = 1024;

    pub fn new(whole: Duration) -> Self {
        Self { store: Store { whole, left: whole }, waiting: None, timer: None }
    }

    /// The client has to do something, and did not yet. Ready when it took too long.
    pub fn waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.store.left;
        let start = *self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(now + left),
                None => self.timer = Some(Box::pin(sleep_until(now + left))),
            }
            now
        });
        if start.elapsed() >= left {
            return Poll::Ready(());
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }

    /// It did.
    pub fn moved(&mut self, bytes: usize) {
        let waited = self.waiting.take().map(|start| start.elapsed()).unwrap_or_default();
        self.store.moved(waited, bytes as u64);
    }
}

/// What is left of it.
struct Store {
    whole: Duration,
    left: Duration,
}

impl Store {
    fn moved(&mut self, waited: Duration, bytes: u64) {
        let back = Duration::from_millis(bytes.saturating_mul(1000) / Patience::RATE);
        self.left = self.left.saturating_sub(waited).saturating_add(back).min(self.whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client that sends `bytes` every so many seconds is still there after `times`.
    fn lasts(seconds: u64, bytes: u64, times: usize) -> bool {
        let pause = Duration::from_secs(seconds);
        let mut store = Store { whole: Duration::from_secs(60), left: Duration::from_secs(60) };
        (0..times).all(|_| {
            let there = pause < store.left;
            store.moved(pause, bytes);
            there
        })
    }

    #[test]
    fn who_is_slow_but_honest_may_take_hours_and_a_byte_a_minute_is_too_little() {
        assert!(lasts(30, 64 << 10, 1000));
        assert!(lasts(1, 2048, 10_000));
        assert!(!lasts(59, 1, 2));
        assert!(!lasts(1, 100, 100));
    }

    #[test]
    fn no_gift_of_bytes_buys_more_than_the_whole() {
        assert!(lasts(1, 1 << 40, 2));
        assert!(!lasts(61, 1 << 40, 2));
    }
}
