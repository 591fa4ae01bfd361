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
    whole: Duration,
    left: Duration,
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// How many bytes give back a second.
    pub const RATE: u64 = 1024;

    pub fn new(whole: Duration) -> Self {
        Self { whole, left: whole, waiting: None, timer: None }
    }

    /// The client has to do something, and did not yet. Ready when it took too long.
    pub fn waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let start = *self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            let deadline = now + self.left;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.timer = Some(Box::pin(sleep_until(deadline))),
            }
            now
        });
        if start.elapsed() >= self.left {
            return Poll::Ready(());
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }

    /// It did.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(start) = self.waiting.take() {
            self.left = self.left.saturating_sub(start.elapsed());
        }
        let back = Duration::from_millis((bytes as u64).saturating_mul(1000) / Self::RATE);
        self.left = self.left.saturating_add(back).min(self.whole);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Whether a client that sends `bytes` every `pause` is still there after `times`.
    async fn lasts(pause: Duration, bytes: usize, times: usize) -> bool {
        let mut patience = Patience::new(Duration::from_secs(60));
        for _ in 0..times {
            let next = tokio::time::sleep(pause);
            tokio::select! {
                () = poll_fn(|cx| patience.waits(cx)) => return false,
                () = next => patience.moved(bytes),
            }
        }
        true
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_but_honest_may_take_hours_and_a_byte_a_minute_is_too_little() {
        assert!(lasts(Duration::from_secs(30), 64 << 10, 1000).await);
        assert!(lasts(Duration::from_secs(1), 2048, 10_000).await);
        assert!(!lasts(Duration::from_secs(59), 1, 2).await);
        assert!(!lasts(Duration::from_secs(1), 100, 100).await);
        assert!(!lasts(Duration::from_secs(61), 1 << 30, 1).await);
    }
}
