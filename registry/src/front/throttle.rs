//! Slows down whoever tries passwords.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many addresses are remembered.
const MOST: usize = 10_000;

/// Counts failures by address. A failure is forgotten after `each`; with `most` of them an address has to wait.
pub(super) struct Throttle {
    most: u32,
    each: Duration,
    /// When all the failures of an address will be forgotten.
    until: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    pub fn new(most: u32, each: Duration) -> Self {
        Self { most, each, until: Mutex::default() }
    }

    /// How long this address has to wait before it may try again, if it has to.
    pub fn wait(&self, address: IpAddr) -> Option<Duration> {
        let until = self.lock().get(&network(address)).copied()?;
        let left = until.saturating_duration_since(Instant::now());
        let allowed = self.each * self.most.saturating_sub(1);
        (left > allowed).then(|| left - allowed)
    }

    /// Notes a failure.
    pub fn failed(&self, address: IpAddr) {
        let now = Instant::now();
        let mut until = self.lock();
        if until.len() >= MOST {
            until.retain(|_, end| now < *end);
            // Whoever has so many addresses is not stopped by counting them, but memory is not theirs.
            if until.len() >= MOST {
                until.clear();
            }
        }
        let end = until.entry(network(address)).or_insert(now);
        *end = (*end).max(now) + self.each;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_failures_an_address_waits_and_others_do_not() {
        let throttle = Throttle::new(3, Duration::from_secs(60));
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..2 {
            throttle.failed(one);
            assert!(throttle.wait(one).is_none());
        }
        throttle.failed(one);
        assert!(throttle.wait(one).is_some_and(|wait| wait <= Duration::from_secs(60)));
        assert!(throttle.wait(other).is_none());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let throttle = Throttle::new(1, Duration::from_secs(60));
        throttle.failed("2001:db8::1".parse().unwrap());
        assert!(throttle.wait("2001:db8::2".parse().unwrap()).is_some());
        assert!(throttle.wait("2001:db8:0:1::1".parse().unwrap()).is_none());
        throttle.failed("::ffff:10.0.0.1".parse().unwrap());
        assert!(throttle.wait("10.0.0.1".parse().unwrap()).is_some());
    }
}
