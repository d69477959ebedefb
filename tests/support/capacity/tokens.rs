//! A bucket of capacity units: fills at a rate, holds so many seconds' worth, may go into debt.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Tokens {
    rate: f64,
    seconds: f64,
    level: f64,
    at: Duration,
}

impl Tokens {
    /// A full one.
    pub(super) fn full(rate: f64, seconds: f64, now: Duration) -> Tokens {
        Tokens { rate, seconds, level: rate * seconds, at: now }
    }

    pub(super) fn set_rate(&mut self, rate: f64, now: Duration) {
        self.refill(now);
        self.rate = rate;
        self.level = self.level.min(rate * self.seconds);
    }

    /// Whether a request passes now.
    pub(super) fn open(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.level > 0.0
    }

    pub(super) fn take(&mut self, units: f64, now: Duration) {
        self.refill(now);
        self.level -= units;
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + self.rate * passed).min(self.rate * self.seconds);
    }
}
