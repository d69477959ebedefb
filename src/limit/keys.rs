//! What is known of each key: a scan segment, or a lane of keys of a target. Only trouble of its own slows a key.
//!
//! A partition that is out of capacity refuses the requests of the keys that lie in it, and says nothing of the others.
//! So its keys back off, exponentially and with jitter, and are then paced below what the partition gave.

use super::bucket::{Bucket, seconds};
use super::pace::{Pace, Throttled};
use super::resource::Meter;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// The first wait after a refusal: about what a partition needs to work off one page.
const FIRST: f64 = 0.05;
/// The longest wait; it always ends.
const LONGEST: f64 = 20.0;
/// Units per second that one partition serves at most: of reads, which are more than writes.
const PARTITION: f64 = 3000.0;

/// All keys that have sent a request.
#[derive(Debug)]
pub struct Keys {
    keys: BTreeMap<u32, Key>,
    rng: StdRng,
}

#[derive(Debug)]
struct Key {
    pace: Pace,
    bucket: Bucket,
    delivered: Meter,
    failures: i32,
    rests_until: Duration,
}

impl Keys {
    /// None yet; the jitter follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Keys { keys: BTreeMap::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// When `key` may send again; in the past or `now` when it may at once.
    pub fn ready_at(&mut self, key: u32, now: Duration) -> Duration {
        let Some(key) = self.keys.get_mut(&key) else { return now };
        if key.rests_until > now {
            return key.rests_until;
        }
        key.refill(now);
        key.bucket.wait(key.pace.rate(now)).map_or(now, |wait| now + wait)
    }

    /// Units per second that `key` may pass; infinite while it had no trouble.
    #[must_use]
    pub fn rate(&self, key: u32, now: Duration) -> f64 {
        self.keys.get(&key).map_or(f64::INFINITY, |key| key.pace.rate(now))
    }

    /// A request of `key` passes.
    pub fn reserve(&mut self, key: u32, estimate: f64, now: Duration) {
        let rate = self.rate(key, now);
        self.get(key, now).bucket.take(estimate, rate);
    }

    /// A request of `key` was served.
    pub fn charge(&mut self, key: u32, estimate: f64, actual: f64, now: Duration) {
        let key = self.get(key, now);
        key.refill(now);
        key.failures = 0;
        key.bucket.take(actual - estimate, key.pace.rate(now));
        key.delivered.add(actual, now);
    }

    /// A request of `key` cost nothing after all.
    pub fn refund(&mut self, key: u32, estimate: f64, now: Duration) {
        let key = self.get(key, now);
        key.refill(now);
        key.bucket.take(-estimate, key.pace.rate(now));
    }

    /// The partition behind `key` refused a request that was let through at `sent`.
    pub fn throttled(&mut self, key: u32, estimate: f64, sent: Duration, now: Duration) {
        let known = self.get(key, now);
        let delivered = known.delivered.rate(now);
        known.pace.cut(Throttled { sent, allowed: f64::INFINITY, delivered, request: estimate }, now);
        self.failed(key, now);
        self.get(key, now).bucket.drain(0.0);
    }

    /// A request of `key` ended, nobody knows how: the next one waits, and nothing is concluded about capacity.
    pub fn failed(&mut self, key: u32, now: Duration) {
        let jitter = self.rng.random_range(0.5..1.0);
        let key = self.get(key, now);
        let wait = (FIRST * 2.0_f64.powi(key.failures.min(20))).min(LONGEST);
        key.failures += 1;
        key.rests_until = key.rests_until.max(now + seconds(wait * jitter));
    }

    /// How many keys are slowed by throttles of their own.
    #[must_use]
    pub fn slowed(&self, now: Duration) -> usize {
        self.keys.values().filter(|key| key.rests_until > now || key.pace.rate(now).is_finite()).count()
    }

    /// The key has ended.
    pub fn forget(&mut self, key: u32) {
        self.keys.remove(&key);
    }

    fn get(&mut self, key: u32, now: Duration) -> &mut Key {
        self.keys.entry(key).or_insert_with(|| Key {
            pace: Pace::default(),
            bucket: Bucket::new(now),
            delivered: Meter::new(Duration::from_secs(1), now),
            failures: 0,
            rests_until: Duration::ZERO,
        })
    }
}

impl Key {
    fn refill(&mut self, now: Duration) {
        // faster than any partition is: the trouble is over
        self.pace.forget_above(PARTITION, now);
        self.bucket.refill(self.pace.rate(now), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_key_without_trouble_is_always_ready() {
        let mut keys = Keys::new(1);
        for _ in 0..100 {
            keys.reserve(7, 128.0, at(1.0));
            assert_eq!(keys.ready_at(7, at(1.0)), at(1.0));
        }
        assert!(keys.rate(7, at(1.0)).is_infinite());
    }

    #[test]
    fn a_throttled_key_waits_ever_longer_and_the_others_do_not() {
        let mut keys = Keys::new(1);
        let mut now = at(1.0);
        let mut waits = Vec::new();
        for _ in 0..20 {
            keys.reserve(7, 1.0, now);
            keys.throttled(7, 1.0, now, now);
            let ready = keys.ready_at(7, now);
            waits.push(ready - now);
            now = ready;
            assert_eq!(keys.ready_at(8, now), now);
        }
        assert!(waits[0] <= at(FIRST) && waits[0] >= at(FIRST / 2.0), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= at(LONGEST)), "a backoff always ends: {waits:?}");
        assert!(waits[19] >= at(LONGEST / 2.0));
        assert_eq!(keys.slowed(now), 1);
        keys.forget(7);
        assert_eq!(keys.slowed(now), 0);
    }

    #[test]
    fn a_served_request_ends_the_backoff() {
        let mut keys = Keys::new(1);
        for second in 0..5 {
            keys.throttled(7, 1.0, at(f64::from(second)), at(f64::from(second)));
        }
        keys.charge(7, 1.0, 1.0, at(100.0));
        keys.throttled(7, 1.0, at(101.0), at(101.0));
        assert!(keys.keys[&7].rests_until < at(101.1));
    }

    #[test]
    fn an_unknown_outcome_rests_the_key_but_cuts_no_pace() {
        let mut keys = Keys::new(1);
        keys.failed(7, at(1.0));
        assert!(keys.ready_at(7, at(1.0)) > at(1.0));
        assert!(keys.rate(7, at(1.0)).is_infinite());
    }
}
