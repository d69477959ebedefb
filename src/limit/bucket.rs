//! A token bucket that may go into debt: what a request costs is known only afterwards.
//!
//! A request passes while the level is above zero and takes its estimate at once; the difference to the actual charge is
//! settled later. The bucket is small, so that what was not used is mostly gone: any ten seconds hold at most ten seconds'
//! worth, the bucket, and one request's debt.

use std::time::Duration;

/// The bucket's size, in seconds' worth of the rate.
const SECONDS: f64 = 0.2;
/// What a wait is longer than computed, so that rounding cannot make it end just before there is a token.
const ROUNDING: f64 = 50e-6;

/// Tokens, one a capacity unit. Its rate is an argument, as it changes all the time.
#[derive(Clone, Debug)]
pub struct Bucket {
    level: f64,
    at: Duration,
}

impl Bucket {
    /// An empty bucket: the first request passes as soon as a little time has.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Bucket { level: 0.0, at: now }
    }

    /// Adds what has dripped in since the last call, at `rate` units per second. An infinite rate forgives all debt.
    pub fn refill(&mut self, rate: f64, now: Duration) {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = if rate.is_finite() { (self.level + rate * seconds).min(rate * SECONDS) } else { 0.0 };
    }

    /// How long until a request may pass; none when it may now. Refill first.
    #[must_use]
    pub fn wait(&self, rate: f64) -> Option<Duration> {
        if rate.is_infinite() || self.level > 0.0 {
            return None;
        }
        Some(seconds(ROUNDING - self.level / rate))
    }

    /// Takes `units`, which may be more than there are; below zero gives back.
    pub fn take(&mut self, units: f64, rate: f64) {
        self.level = (self.level - units).min(rate * SECONDS);
    }

    /// Empties the bucket down to a debt of `units`, if it is not deeper in debt already.
    pub fn drain(&mut self, units: f64) {
        self.level = self.level.min(-units);
    }
}

/// So many seconds, at most a year.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, 3.2e7)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_passes_above_zero_and_its_debt_is_waited_for() {
        let mut bucket = Bucket::new(Duration::ZERO);
        assert!(bucket.wait(10.0).is_some());
        bucket.refill(10.0, Duration::from_millis(10));
        assert!(bucket.wait(10.0).is_none());
        bucket.take(5.1, 10.0);
        let wait = bucket.wait(10.0).unwrap();
        assert!(wait > Duration::from_millis(499) && wait < Duration::from_millis(502), "{wait:?}");
        bucket.refill(10.0, Duration::from_millis(10) + wait);
        assert!(bucket.wait(10.0).is_none(), "the wait it named is enough");
    }

    #[test]
    fn what_is_not_used_is_lost_but_for_a_fifth_of_a_second() {
        let mut bucket = Bucket::new(Duration::ZERO);
        bucket.refill(100.0, Duration::from_secs(3600));
        bucket.take(20.0, 100.0);
        assert!(bucket.wait(100.0).is_some());
        bucket.take(-1000.0, 100.0);
        bucket.take(20.0, 100.0);
        assert!(bucket.wait(100.0).is_some(), "nor is more given back than it holds");
    }

    #[test]
    fn a_clock_that_steps_back_adds_nothing() {
        let mut bucket = Bucket::new(Duration::from_secs(5));
        bucket.refill(100.0, Duration::ZERO);
        bucket.refill(100.0, Duration::from_secs(5));
        assert!(bucket.wait(100.0).is_some());
    }

    #[test]
    fn an_infinite_rate_never_waits() {
        let mut bucket = Bucket::new(Duration::ZERO);
        bucket.take(1e9, f64::INFINITY);
        bucket.refill(f64::INFINITY, Duration::ZERO);
        assert!(bucket.wait(f64::INFINITY).is_none());
        bucket.refill(1.0, Duration::from_millis(1));
        assert!(bucket.wait(1.0).is_none(), "and leaves no debt behind");
    }
}
