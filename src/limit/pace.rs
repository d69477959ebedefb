//! What a congested server is believed to give: cut at a throttle, recovered slowly, slowest near the level of the cut.
//!
//! After a cut the pace follows a cubic curve in time: fast up from the cut, flat around the level at which the throttle
//! came (where most of the time is spent, just below what the server can give), then faster and faster, since a throttle
//! that does not come back means that the level is out of date. The shape is that of CUBIC (RFC 9438), with units per
//! second in place of a window.
//!
//! A server that was overrun refuses everything for a while, until its own bucket is out of debt. What is refused then
//! says nothing new. So cuts are seconds apart, and by then what the server did give tells what it can.
//!
//! Cuts presume that fewer requests meet fewer refusals. Some refusals do not depend on the rate: of a fault, of others who
//! use the table in bursts. To cut at each of them is to crawl, since the more seldom they come, the longer the cuts: the
//! rate would settle where one comes in each recovery. So the presumption is put to the test. A server that lacks half of
//! what it gave refuses one request in ten or more. When the level has sunk by half while refusals were few all the time,
//! slowing has not helped: few refusals cut no more, until they are many.

use std::time::Duration;

/// What was sent this soon after a cut cuts no more.
const SETTLING: Duration = Duration::from_secs(2);
/// Back at the level of the cut after this many seconds, at least,
const RECOVERY_SECONDS: f64 = 30.0;
/// after this many requests, so that one throttle in a recovery is well under one in a hundred,
const RECOVERY_REQUESTS: f64 = 200.0;
/// and not later than this.
const RECOVERY_SECONDS_MAX: f64 = 300.0;
/// Twice the level so many seconds after that.
const DOUBLING_SECONDS: f64 = 30.0;
/// What few refusals may take of a level, in all.
const FEW_TAKE: f64 = 0.5;

/// Units per second that seem safe; no limit until the first cut.
#[derive(Clone, Debug)]
pub struct Pace {
    share: f64,
    cut: Option<Cut>,
    /// The highest level since refusals were many.
    highest: f64,
    /// Few refusals cut no more: slowing has not helped.
    unmoved: bool,
}

#[derive(Clone, Debug)]
struct Cut {
    at: Duration,
    level: f64,
    recovery: f64,
}

/// What is known at a throttle.
#[derive(Clone, Copy, Debug)]
pub struct Throttled {
    /// When the refused request was let through.
    pub sent: Duration,
    /// Units per second that were meant to pass at most.
    pub allowed: f64,
    /// Units per second that did pass lately.
    pub delivered: f64,
    /// Units of a usual request.
    pub request: f64,
    /// Whether much is refused, or this one among many that pass.
    pub many: bool,
}

impl Pace {
    /// One that takes `share` off the level which the server seems to give, at each cut.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Pace { share, cut: None, highest: 0.0, unmoved: false }
    }

    /// Units per second; infinite until the first cut.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        let Some(cut) = &self.cut else { return f64::INFINITY };
        let since = now.saturating_sub(cut.at).as_secs_f64();
        if since < cut.recovery {
            cut.level * (1.0 - self.share * (1.0 - since / cut.recovery).powi(3))
        } else {
            cut.level * (1.0 + ((since - cut.recovery) / DOUBLING_SECONDS).powi(3))
        }
    }

    /// Cuts, once for all requests that were under way together or met the same debt of the server. False when the refusal
    /// is passed over, since slowing does not help against such.
    pub fn cut(&mut self, throttled: Throttled, now: Duration) -> bool {
        if self.cut.as_ref().is_some_and(|cut| throttled.sent <= cut.at + SETTLING) {
            return !self.unmoved || throttled.many;
        }
        let paced = self.rate(now).min(throttled.allowed);
        // halved at most: what was delivered in a moment of trouble is less than what could be
        let level =
            if paced.is_finite() { paced.min(throttled.delivered.max(paced / 2.0)) } else { throttled.delivered };
        let level = level.max(floor(throttled.request));
        if throttled.many {
            self.highest = level;
            self.unmoved = false;
        } else if self.unmoved {
            return false;
        } else if level < self.highest * FEW_TAKE {
            // what they took is given back
            self.unmoved = true;
            self.cut = self.cut.take().map(|cut| Cut { at: now, level: self.highest, ..cut });
            return false;
        }
        self.highest = self.highest.max(level);
        let recovery = (RECOVERY_REQUESTS * throttled.request / level).clamp(RECOVERY_SECONDS, RECOVERY_SECONDS_MAX);
        self.cut = Some(Cut { at: now, level, recovery });
        true
    }

    /// The server's capacity changed by `factor`: so does what is believed of it.
    pub fn scale(&mut self, factor: f64) {
        self.highest *= factor;
        if let Some(cut) = &mut self.cut {
            cut.level *= factor;
        }
    }

    /// The level of the last cut; none before the first.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        self.cut.as_ref().map(|cut| cut.level)
    }

    /// Forgets the cut, once the pace has left `limit` behind and so no longer matters.
    pub fn forget_above(&mut self, limit: f64, now: Duration) {
        if self.rate(now) > limit * 2.0 {
            self.cut = None;
        }
    }
}

/// Never slower than one usual request in ten seconds, or a run would stand still.
fn floor(request: f64) -> f64 {
    (request / 10.0).max(0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn throttled(sent: f64, delivered: f64) -> Throttled {
        Throttled { sent: at(sent), allowed: f64::INFINITY, delivered, request: 1.0, many: true }
    }

    #[test]
    fn a_cut_is_recovered_fast_then_slowly_then_left_behind() {
        let mut pace = Pace::new(0.3);
        assert!(pace.rate(at(1.0)).is_infinite());
        pace.cut(throttled(1.0, 1000.0), at(2.0));
        let after = |seconds: f64| pace.rate(at(2.0 + seconds));
        assert!((after(0.0) - 700.0).abs() < 1.0);
        assert!(after(15.0) > 950.0 && after(15.0) < 1000.0);
        assert!((after(30.0) - 1000.0).abs() < 1e-6);
        assert!(after(35.0) < 1005.0, "it stays near the level of the throttle");
        assert!(after(60.0) > 1999.0, "and finds a capacity that has doubled");
    }

    #[test]
    fn requests_that_met_the_same_trouble_cut_once() {
        let mut pace = Pace::new(0.3);
        pace.cut(throttled(1.0, 1000.0), at(2.0));
        for sent in [1.5, 2.5, 3.9] {
            pace.cut(throttled(sent, 1.0), at(sent + 0.1));
        }
        assert!(pace.rate(at(4.1)) > 700.0);
        pace.cut(throttled(4.1, 1.0), at(4.2));
        assert!(pace.rate(at(4.3)) < 500.0);
    }

    #[test]
    fn a_level_that_does_not_hold_becomes_what_is_delivered_or_is_halved() {
        let mut pace = Pace::new(0.3);
        pace.cut(throttled(1.0, 100_000.0), at(1.0));
        for cut in 1..20 {
            let now = at(f64::from(cut) * 3.0);
            if pace.rate(now) > 2000.0 {
                pace.cut(Throttled { sent: now, ..throttled(0.0, 2000.0) }, now);
            }
        }
        let rate = pace.rate(at(60.0));
        assert!(rate > 1300.0 && rate < 2000.0, "{rate}");
    }

    #[test]
    fn a_cut_never_stops_the_flow() {
        let mut pace = Pace::new(0.3);
        for cut in 1..100 {
            let now = f64::from(cut) * 3.0;
            pace.cut(Throttled { request: 128.0, ..throttled(now, 1.0) }, at(now + 0.1));
        }
        assert!(pace.rate(at(300.0)) > 128.0 / 30.0, "a page within half a minute");
    }

    /// The lowest rate, in requests a second, of a server that refuses one request in `each`, however slowly they come.
    fn lowest(each: f64, many: bool) -> f64 {
        let (mut pace, mut now, mut lowest) = (Pace::new(0.3), 1.0, 1000.0_f64);
        for _ in 0..500 {
            let delivered = pace.rate(at(now)).min(1000.0);
            lowest = lowest.min(delivered);
            pace.cut(Throttled { many, ..throttled(now, delivered) }, at(now + 0.01));
            now += each / pace.rate(at(now + 0.01)).min(1000.0);
        }
        lowest
    }

    #[test]
    fn few_refusals_that_do_not_depend_on_the_rate_halve_it_at_most_and_many_cut_on() {
        assert!(lowest(500.0, false) > 1000.0 * FEW_TAKE * 0.65, "{}", lowest(500.0, false));
        assert!(lowest(500.0, true) < 100.0, "{}", lowest(500.0, true));
    }

    #[test]
    fn what_few_refusals_took_is_given_back_and_many_are_heeded_again() {
        let mut pace = Pace::new(0.3);
        let meet = |pace: &mut Pace, now: f64, many| {
            let delivered = pace.rate(at(now)).min(1000.0);
            pace.cut(Throttled { many, ..throttled(now, delivered) }, at(now))
        };
        assert!(meet(&mut pace, 1.0, true));
        let mut now = 4.0;
        while meet(&mut pace, now, false) {
            now += 3.0;
        }
        assert!(now < 60.0 && pace.rate(at(now)) > 650.0, "{now} {}", pace.rate(at(now)));
        assert!(!meet(&mut pace, now + 3.0, false), "slowing has not helped");
        let before = pace.rate(at(now + 40.0));
        assert!(before > 990.0);
        assert!(meet(&mut pace, now + 40.0, true));
        assert!(pace.rate(at(now + 40.1)) < before * 0.75);
        assert!(meet(&mut pace, now + 43.0, false), "and now it may");
    }

    #[test]
    fn few_requests_a_second_recover_over_as_many_requests() {
        let mut pace = Pace::new(0.3);
        pace.cut(Throttled { request: 1.0, ..throttled(0.5, 2.0) }, at(1.0));
        assert!(pace.rate(at(61.0)) < 2.0);
        assert!(pace.rate(at(102.0)) >= 2.0);
    }
}
