//! How long to wait before another attempt.

use std::time::Duration;

use super::ClientOptions;

/// The longest pause, whatever the registry asks for: who wants more is told the next time again.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Pauses that double with each attempt and are a little different for everybody, so that who was refused together does not come back
/// together.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    left: u32,
}

impl Pauses {
    pub fn new(options: &ClientOptions) -> Self {
        Self { next: options.backoff, left: options.attempts.saturating_sub(1) }
    }

    /// The pause before the next attempt, none when it is time to give up. A registry that says how long it wants to be left alone (RFC
    /// 9110, 10.2.3) is left alone for so long, within reason.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = self.next.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(Duration::from_secs(30));
        Some(asked.map_or(own, |asked| asked.max(own)).min(MAX_PAUSE))
    }
}

/// What `Retry-After` says: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(date.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(attempts: u32) -> Pauses {
        Pauses::new(&ClientOptions { attempts, backoff: Duration::from_secs(1), ..ClientOptions::default() })
    }

    #[test]
    fn pauses_double_about_and_end() {
        let mut pauses = pauses(4);
        for about in [1.0, 2.0, 4.0] {
            let pause = pauses.next(None).unwrap().as_secs_f64();
            assert!((about * 0.75..=about * 1.25).contains(&pause), "{pause} is not about {about}");
        }
        assert_eq!(pauses.next(None), None);
    }

    #[test]
    fn two_clients_do_not_come_back_at_the_same_moment() {
        let all: std::collections::BTreeSet<_> = (0..50).filter_map(|_| pauses(2).next(None)).collect();
        assert!(all.len() > 40);
    }

    #[test]
    fn what_the_registry_asks_for_is_kept_within_reason() {
        let seconds = Duration::from_secs;
        assert_eq!(pauses(2).next(Some(seconds(7))), Some(seconds(7)));
        assert_eq!(pauses(2).next(Some(seconds(100_000))), Some(MAX_PAUSE));
        assert!(pauses(2).next(Some(Duration::ZERO)).unwrap() >= Duration::from_millis(750));
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now = "2026-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 06 Nov 2026 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Fri, 06 Nov 2020 08:49:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
