//! Something that has a capacity and a budget of its own: the table, or an index that writes feed.

use super::bucket::Bucket;
use super::pace::{Pace, Throttled};
use super::rate::Rate;
use super::refused::Refused;
use super::throttle::ThrottleReason;
use std::time::Duration;

/// After a throttle the flow rests for this share of a second's worth, so that the server's own bucket fills again
/// before the foreground feels it.
pub(super) const REST: f64 = 0.25;

/// What a cut takes off. Much: what lacks here is missed by the foreground too, and what others leave changes all the time.
const CUT: f64 = 0.3;

/// How long it is remembered, about, what was delivered when much was asked for.
const BUSY_MEMORY: Duration = Duration::from_secs(60);

/// A request that was refused, wholly or in part.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// When it was let through.
    pub sent: Duration,
    /// Units that it was meant to cost.
    pub request: f64,
    /// The part of it that was refused, 0 to 1.
    pub part: f64,
}

/// A budget, its bucket, and what throttles have taught about the server behind it.
#[derive(Debug)]
pub struct Resource {
    /// This process's part of the budget.
    budget: Rate,
    /// The budget of all processes.
    whole: Rate,
    processes: u32,
    pace: Pace,
    bucket: Bucket,
    delivered: Meter,
    busy: Busiest,
    refused: Refused,
    reason: Option<ThrottleReason>,
}

impl Resource {
    /// One that may be used at `budget`.
    #[must_use]
    pub fn new(budget: Rate, now: Duration) -> Self {
        Resource {
            budget,
            whole: budget,
            processes: 1,
            pace: Pace::new(CUT),
            bucket: Bucket::clumping(now),
            delivered: Meter::new(Duration::from_secs(2), now),
            busy: Busiest::default(),
            refused: Refused::default(),
            reason: None,
        }
    }

    /// One without a budget, that is taken to have been used as much as this one.
    #[must_use]
    pub fn like_unlimited(&self, now: Duration) -> Self {
        Resource { delivered: self.delivered.clone(), busy: self.busy, ..Resource::new(Rate::UNLIMITED, now) }
    }

    /// Sets another budget, of all processes together. What throttles taught moves with it: both follow from the capacity
    /// behind.
    pub fn set_budget(&mut self, whole: Rate, now: Duration) {
        self.refill(now);
        self.whole = whole;
        let budget = whole.part_of(self.processes);
        if self.budget.is_limited() && budget.is_limited() {
            self.pace.scale(budget.units() / self.budget.units());
        }
        self.budget = budget;
    }

    /// So many processes use the budget, this one included: it takes an equal part.
    pub fn share_among(&mut self, processes: u32, now: Duration) {
        self.processes = processes.max(1);
        self.set_budget(self.whole, now);
    }

    /// Units per second that may pass now; infinite when nothing limits.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        self.pace.rate(now).min(self.budget.units())
    }

    /// How long until the next request may pass; none when it may now.
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        self.refill(now);
        self.bucket.wait(self.rate(now))
    }

    /// Reserves the estimate of a request that passes.
    pub fn reserve(&mut self, estimate: f64, now: Duration) {
        self.bucket.take(estimate, self.rate(now));
    }

    /// Puts the actual charge in place of the estimate.
    pub fn charge(&mut self, estimate: f64, actual: f64, now: Duration) {
        self.refill(now);
        self.bucket.take(actual - estimate, self.rate(now));
        self.delivered.add(actual, now);
        self.busy.saw(self.delivered.rate(now), now);
        self.refused.answered();
    }

    /// A request that was let through at `sent`, and has been charged what it cost, was refused, or a part of it, because
    /// this ran out.
    pub fn throttled(&mut self, reason: &ThrottleReason, refusal: Refusal, now: Duration) {
        self.refill(now);
        self.refused.refused(refusal.part);
        let throttled = Throttled {
            sent: refusal.sent,
            allowed: self.budget.units(),
            delivered: self.delivered_lately(now),
            request: refusal.request,
            many: self.refused.is_many(),
        };
        if self.pace.cut(throttled, now) {
            self.bucket.drain(self.rate(now) * REST);
        }
        self.reason = Some(reason.clone());
    }

    /// Why this passes less than its budget, if it does.
    #[must_use]
    pub fn reason(&self, now: Duration) -> Option<&ThrottleReason> {
        if self.pace.rate(now) < self.budget.units() { self.reason.as_ref() } else { None }
    }

    /// Whether the budget is what limits it.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.budget.is_limited()
    }

    /// Units per second that the server is known to give. Before the first cut of what has no budget nothing but demand
    /// bounds what is delivered, and where little was asked for at this moment, little was given: that says nothing of the
    /// server.
    fn delivered_lately(&self, now: Duration) -> f64 {
        let delivered = self.delivered.rate(now);
        let is_paced = self.budget.is_limited() || self.pace.level().is_some();
        if is_paced { delivered } else { delivered.max(self.busy.rate(now)) }
    }

    fn refill(&mut self, now: Duration) {
        self.pace.forget_above(self.budget.units(), now);
        self.bucket.refill(self.rate(now), now);
    }
}

/// Units per second over the last moments, the older the less.
#[derive(Clone, Debug)]
pub struct Meter {
    units: f64,
    began: Duration,
    at: Duration,
    memory: f64,
}

impl Meter {
    /// One that remembers for about `memory`.
    #[must_use]
    pub fn new(memory: Duration, now: Duration) -> Self {
        Meter { units: 0.0, began: now, at: now, memory: memory.as_secs_f64() }
    }

    /// Counts `units` now.
    pub fn add(&mut self, units: f64, now: Duration) {
        self.units = self.remembered(now) + units;
        self.at = self.at.max(now);
    }

    /// Units per second.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        let lasted = now.saturating_sub(self.began).as_secs_f64().max(0.001);
        // a memory that is not full yet is not taken for one of idle times
        self.remembered(now) / (self.memory * (1.0 - (-lasted / self.memory).exp()))
    }

    fn remembered(&self, now: Duration) -> f64 {
        self.units * (-now.saturating_sub(self.at).as_secs_f64() / self.memory).exp()
    }
}

/// The highest rate there was, the longer ago the less.
#[derive(Clone, Copy, Debug, Default)]
struct Busiest {
    rate: f64,
    at: Duration,
}

impl Busiest {
    fn saw(&mut self, rate: f64, now: Duration) {
        if rate >= self.rate(now) {
            *self = Busiest { rate, at: now };
        }
    }

    fn rate(&self, now: Duration) -> f64 {
        self.rate * (-now.saturating_sub(self.at).as_secs_f64() / BUSY_MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn refused_at(seconds: f64) -> Refusal {
        Refusal { sent: at(seconds), request: 1.0, part: 1.0 }
    }

    /// Sends one-unit requests as fast as they may pass, from `from` to `until` seconds; how many passed.
    fn passed(resource: &mut Resource, from: f64, until: f64) -> f64 {
        let (mut now, mut count) = (at(from), 0.0);
        while now < at(until) {
            match resource.wait(now) {
                Some(wait) => now += wait,
                None => {
                    resource.reserve(1.0, now);
                    resource.charge(1.0, 1.0, now);
                    count += 1.0;
                }
            }
        }
        count
    }

    #[test]
    fn the_budget_is_used_and_not_exceeded() {
        let mut resource = Resource::new(Rate::per_second(50.0), Duration::ZERO);
        let count = passed(&mut resource, 0.0, 100.0);
        assert!((4990.0..=5012.0).contains(&count), "{count}");
    }

    #[test]
    fn a_throttle_slows_it_and_says_why_until_it_has_recovered() {
        let mut resource = Resource::new(Rate::per_second(50.0), Duration::ZERO);
        passed(&mut resource, 0.0, 10.0);
        resource.throttled(&ThrottleReason::unstated(false), refused_at(9.9), at(10.0));
        assert!(resource.rate(at(10.0)) < 45.0);
        assert!(resource.reason(at(20.0)).is_some());
        assert!(resource.reason(at(60.0)).is_none());
        assert!(passed(&mut resource, 60.0, 70.0) > 490.0);
    }

    #[test]
    fn a_throttle_when_little_is_asked_for_does_not_take_that_for_all_the_server_gives() {
        let mut resource = Resource::new(Rate::UNLIMITED, Duration::ZERO);
        for tenth in 0..100_u32 {
            resource.charge(0.0, 100.0, at(f64::from(tenth) / 10.0));
        }
        // whoever takes the pages is busy with them
        for second in 10..20_u32 {
            resource.charge(0.0, 1.0, at(f64::from(second)));
        }
        resource.throttled(&ThrottleReason::unstated(false), refused_at(19.9), at(20.0));
        assert!(resource.rate(at(20.0)) > 400.0, "{}", resource.rate(at(20.0)));
    }

    #[test]
    fn a_new_budget_moves_what_throttles_taught_with_it() {
        let mut resource = Resource::new(Rate::per_second(100.0), Duration::ZERO);
        passed(&mut resource, 0.0, 10.0);
        resource.throttled(&ThrottleReason::unstated(false), refused_at(9.9), at(10.0));
        let before = resource.rate(at(11.0));
        resource.set_budget(Rate::per_second(50.0), at(11.0));
        assert!((resource.rate(at(11.0)) - before / 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_budget_that_is_shared_stays_so_when_it_changes() {
        let mut resource = Resource::new(Rate::per_second(90.0), Duration::ZERO);
        resource.share_among(3, at(1.0));
        assert_eq!(resource.rate(at(1.0)), 30.0);
        resource.set_budget(Rate::per_second(60.0), at(2.0));
        assert_eq!(resource.rate(at(2.0)), 20.0);
        resource.share_among(1, at(3.0));
        assert_eq!(resource.rate(at(3.0)), 60.0);
    }

    #[test]
    fn the_meter_tells_the_rate_of_the_last_moments() {
        let mut meter = Meter::new(Duration::from_secs(2), Duration::ZERO);
        meter.add(10.0, at(0.1));
        assert!((meter.rate(at(0.1)) - 100.0).abs() < 5.0, "from the beginning");
        for tenth in 0..200_u32 {
            meter.add(10.0, at(f64::from(tenth) / 10.0));
        }
        assert!((meter.rate(at(20.0)) - 100.0).abs() < 5.0, "{}", meter.rate(at(20.0)));
        assert!(meter.rate(at(40.0)) < 1.0);
    }
}
