//! When to try again: the one table of waits. Exponential with full jitter, so that many writers do not march in step.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The waits of one operation's retries.
pub struct Backoff {
    attempt: u32,
    attempts_max: u32,
    first: Duration,
    longest: Duration,
    rng: StdRng,
}

impl Backoff {
    /// For deadlocks and lock waits: short, and given up after 20, about a minute of contention.
    #[must_use]
    pub fn contention(seed: u64) -> Self {
        Backoff::new(20, Duration::from_millis(5), Duration::from_secs(5), seed)
    }

    /// For a server that is restarting or failing over: about five minutes in all.
    #[must_use]
    pub fn reconnect(seed: u64) -> Self {
        Backoff::new(40, Duration::from_millis(100), Duration::from_secs(15), seed)
    }

    /// For a target that cannot take writes (full disk, read only): about five minutes for somebody to mend it.
    #[must_use]
    pub fn blocked(seed: u64) -> Self {
        Backoff::new(20, Duration::from_secs(1), Duration::from_secs(30), seed)
    }

    /// For requests that a limit turned away: never given up, since what is limited comes through in time.
    #[must_use]
    pub fn throttled(seed: u64) -> Self {
        Backoff::new(u32::MAX, Duration::from_millis(25), Duration::from_secs(5), seed)
    }

    fn new(attempts_max: u32, first: Duration, longest: Duration, seed: u64) -> Self {
        Backoff { attempt: 0, attempts_max, first, longest, rng: StdRng::seed_from_u64(seed) }
    }

    /// The next wait, or none when it is time to give up.
    pub fn wait(&mut self) -> Option<Duration> {
        if self.attempt >= self.attempts_max {
            return None;
        }
        let ceiling = self.first.saturating_mul(1 << self.attempt.min(20)).min(self.longest);
        self.attempt += 1;
        Some(ceiling.mul_f64(self.rng.random_range(0.5..1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_end() {
        let mut backoff = Backoff::reconnect(1);
        let waits: Vec<_> = std::iter::from_fn(|| backoff.wait()).collect();
        assert_eq!(waits.len(), 40);
        assert!(waits[0] < Duration::from_millis(101));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(15)));
        assert!(waits.iter().sum::<Duration>() > Duration::from_secs(240));
    }
}
