//! What is known of each key: a scan segment, or a lane of keys of a target. Only trouble of its own slows a key.
//!
//! A partition that is out of capacity refuses the requests of the keys that lie in it, and says nothing of the others,
//! nor which those are. Two things follow from a refusal:
//! - the *key* rests, exponentially longer each time, with jitter;
//! - its *zone* is paced below what it gave. Segments cut the hash space in order and partitions are ranges of it, so
//!   that neighbours share a partition, and a pace. Were each paced alone, each would have to be refused again and again
//!   to find its share. A zone is half a partition if the layout is known, and one key if it is not.

use super::bucket::{Bucket, seconds};
use super::pace::{Pace, Throttled};
use super::resource::{Meter, REST, Refusal};
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
/// What a cut takes off a zone's pace. Little: what a partition gives is fixed, and is found again and again.
const CUT: f64 = 0.1;
/// When to look again at a zone for which somebody waits already.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Zones for each partition: the borders of the two do not meet.
const ZONES: u32 = 2;

/// All keys that have sent a request.
#[derive(Debug)]
pub struct Keys {
    rests: BTreeMap<u32, Rest>,
    zones: BTreeMap<u32, Zone>,
    /// Keys in all, and zones that they lie in; none while each key is its own zone.
    layout: Option<(u32, u32)>,
    /// Keys of each zone that have not ended.
    left: BTreeMap<u32, u32>,
    rng: StdRng,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    failures: i32,
    until: Duration,
}

#[derive(Debug)]
struct Zone {
    pace: Pace,
    bucket: Bucket,
    delivered: Meter,
    /// Asks that wait.
    waiting: usize,
}

impl Keys {
    /// None yet; the jitter follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Keys { rests: BTreeMap::new(), zones: BTreeMap::new(), layout: None, left: BTreeMap::new(), rng }
    }

    /// Keys 0 to `keys` cut the hash space evenly and in order, and about `partitions` serve it.
    pub fn lay_out(&mut self, keys: u32, partitions: u32) {
        self.layout = Some((keys.max(1), partitions.saturating_mul(ZONES).clamp(1, keys.max(1))));
        self.zones.clear();
        self.left.clear();
        for key in 0..keys {
            *self.left.entry(self.zone_of(key)).or_insert(0) += 1;
        }
    }

    /// When `key` may send again; in the past or `now` when it may at once.
    pub fn ready_at(&mut self, key: u32, now: Duration) -> Duration {
        let rests = self.rests.get(&key).map_or(now, |rest| rest.until.max(now));
        let Some(zone) = self.zones.get_mut(&self.zone_of(key)) else { return rests };
        zone.refill(now);
        zone.bucket.wait(zone.pace.rate(now)).map_or(rests, |wait| rests.max(now + wait))
    }

    /// As [`ready_at`](Keys::ready_at), for an ask that is only thought of: where a zone is paced, one that waits is
    /// enough, or all readers would come to wait for the same zone.
    pub fn free_at(&mut self, key: u32, now: Duration) -> Duration {
        let ready = self.ready_at(key, now);
        let zone = self.zones.get(&self.zone_of(key));
        let taken = zone.is_some_and(|zone| zone.waiting > 0 && zone.pace.rate(now).is_finite());
        if taken { ready.max(now + LOOK_AGAIN) } else { ready }
    }

    /// An ask of `key` waits from now on.
    pub fn waits(&mut self, key: u32, now: Duration) {
        self.zone(key, now).waiting += 1;
    }

    /// An ask of `key` waits no more.
    pub fn waits_no_more(&mut self, key: u32, now: Duration) {
        let zone = self.zone(key, now);
        zone.waiting = zone.waiting.saturating_sub(1);
    }

    /// Units per second that the zone of `key` may pass; infinite while it had no trouble.
    #[must_use]
    pub fn rate(&self, key: u32, now: Duration) -> f64 {
        self.zones.get(&self.zone_of(key)).map_or(f64::INFINITY, |zone| zone.pace.rate(now))
    }

    /// A request of `key` passes.
    pub fn reserve(&mut self, key: u32, estimate: f64, now: Duration) {
        let zone = self.zone(key, now);
        zone.bucket.take(estimate, zone.pace.rate(now));
    }

    /// A request of `key` was served.
    pub fn charge(&mut self, key: u32, estimate: f64, actual: f64, now: Duration) {
        self.rests.remove(&key);
        let zone = self.zone(key, now);
        zone.refill(now);
        zone.bucket.take(actual - estimate, zone.pace.rate(now));
        zone.delivered.add(actual, now);
    }

    /// A request of `key` cost nothing after all.
    pub fn refund(&mut self, key: u32, estimate: f64, now: Duration) {
        let zone = self.zone(key, now);
        zone.refill(now);
        zone.bucket.take(-estimate, zone.pace.rate(now));
    }

    /// The partition behind `key` refused a request, or a part of it, that has been charged what it cost.
    pub fn throttled(&mut self, key: u32, refusal: Refusal, now: Duration) {
        self.failed(key, now);
        let zone = self.zone(key, now);
        let throttled = Throttled {
            sent: refusal.sent,
            allowed: PARTITION,
            delivered: zone.delivered.rate(now),
            request: refusal.request,
            // one refusal is one too many: what a partition gives is fixed
            many: true,
        };
        zone.pace.cut(throttled, now);
        zone.bucket.drain(zone.pace.rate(now) * REST);
    }

    /// A request of `key` ended, nobody knows how: the next one waits, and nothing is concluded about capacity.
    pub fn failed(&mut self, key: u32, now: Duration) {
        let jitter = self.rng.random_range(0.5..1.0);
        let rest = self.rests.entry(key).or_default();
        let wait = (FIRST * 2.0_f64.powi(rest.failures.min(20))).min(LONGEST);
        rest.failures += 1;
        rest.until = rest.until.max(now + seconds(wait * jitter));
    }

    /// How many zones (keys, without a layout) are slowed by throttles of their own.
    #[must_use]
    pub fn slowed(&self, now: Duration) -> usize {
        self.zones.values().filter(|zone| zone.pace.rate(now).is_finite()).count()
    }

    /// The key has ended.
    pub fn forget(&mut self, key: u32) {
        self.rests.remove(&key);
        let zone = self.zone_of(key);
        if self.layout.is_none() {
            self.zones.remove(&zone);
            return;
        }
        let left = self.left.entry(zone).or_insert(0);
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.bequeath(zone);
        }
    }

    /// All keys of a zone have ended: what its partition gave it is there for the zones beside it.
    fn bequeath(&mut self, zone: u32) {
        let Some(level) = self.zones.remove(&zone).and_then(|zone| zone.pace.level()) else { return };
        let below = self.zones.range_mut(..zone).next_back();
        if let Some((_, heir)) = below {
            heir.inherit(level);
        }
        if let Some((_, heir)) = self.zones.range_mut(zone..).next() {
            heir.inherit(level);
        }
    }

    fn zone_of(&self, key: u32) -> u32 {
        let Some((keys, zones)) = self.layout else { return key };
        let zone = u64::from(key) * u64::from(zones) / u64::from(keys);
        u32::try_from(zone).unwrap_or(u32::MAX)
    }

    fn zone(&mut self, key: u32, now: Duration) -> &mut Zone {
        self.zones.entry(self.zone_of(key)).or_insert_with(|| Zone {
            pace: Pace::new(CUT),
            bucket: Bucket::new(now),
            delivered: Meter::new(Duration::from_secs(1), now),
            waiting: 0,
        })
    }
}

impl Zone {
    fn inherit(&mut self, level: f64) {
        if let Some(own) = self.pace.level() {
            self.pace.scale((own + level).min(PARTITION).max(own) / own);
        }
    }

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

    fn refusal(request: f64, sent: Duration) -> Refusal {
        Refusal { sent, request, part: 1.0 }
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
            keys.throttled(7, refusal(1.0, now), now);
            let ready = keys.ready_at(7, now);
            waits.push(ready - now);
            now = ready;
            assert_eq!(keys.ready_at(8, now), now);
        }
        assert!(waits[0] <= at(REST + 0.01) && waits[0] >= at(FIRST / 2.0), "{waits:?}");
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
            keys.throttled(7, refusal(1.0, at(f64::from(second))), at(f64::from(second)));
        }
        keys.charge(7, 1.0, 1.0, at(100.0));
        keys.throttled(7, refusal(1.0, at(101.0)), at(101.0));
        assert!(keys.rests[&7].until < at(101.1));
    }

    #[test]
    fn neighbours_of_one_zone_are_paced_together_and_rest_alone() {
        let mut keys = Keys::new(1);
        keys.lay_out(100, 5);
        keys.throttled(13, refusal(1.0, at(0.9)), at(1.0));
        assert!(keys.rate(10, at(1.0)).is_finite() && keys.rate(19, at(1.0)).is_finite());
        assert!(keys.rate(9, at(1.0)).is_infinite() && keys.rate(20, at(1.0)).is_infinite());
        for _ in 0..4 {
            keys.failed(13, at(1.0));
        }
        assert!(keys.ready_at(13, at(1.3)) > at(1.3), "the key rests");
        assert_eq!(keys.ready_at(12, at(1.3)), at(1.3), "its neighbour does not");
        keys.forget(13);
        assert!(keys.rate(10, at(1.0)).is_finite());
    }

    #[test]
    fn a_zone_that_has_ended_leaves_its_pace_to_its_neighbours() {
        let mut keys = Keys::new(1);
        keys.lay_out(100, 5);
        for key in [15, 25, 95] {
            keys.charge(key, 100.0, 100.0, at(0.5));
            keys.throttled(key, refusal(100.0, at(0.9)), at(1.0));
        }
        let before = (keys.rate(25, at(1.0)), keys.rate(95, at(1.0)));
        (10..19).for_each(|key| keys.forget(key));
        assert_eq!(keys.rate(25, at(1.0)), before.0);
        keys.forget(19);
        assert!(keys.rate(25, at(1.0)) > before.0 * 1.5);
        assert_eq!(keys.rate(95, at(1.0)), before.1);
    }

    #[test]
    fn one_that_waits_for_a_paced_zone_is_enough() {
        let mut keys = Keys::new(1);
        keys.lay_out(100, 5);
        keys.waits(12, at(1.0));
        assert_eq!(keys.free_at(13, at(1.0)), at(1.0), "as long as it is not paced");
        keys.throttled(12, refusal(1.0, at(0.9)), at(1.0));
        let later = at(2.0);
        assert!(keys.free_at(13, later) > later);
        keys.waits_no_more(12, later);
        assert_eq!(keys.free_at(13, later), later);
    }

    #[test]
    fn an_unknown_outcome_rests_the_key_but_cuts_no_pace() {
        let mut keys = Keys::new(1);
        keys.failed(7, at(1.0));
        assert!(keys.ready_at(7, at(1.0)) > at(1.0));
        assert!(keys.rate(7, at(1.0)).is_infinite());
    }
}
