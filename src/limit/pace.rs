//! What a congested server is believed to give: cut at a throttle, recovered slowly, slowest near the level of the cut.
//!
//! After a cut the pace follows a cubic curve in time: fast up from the cut, flat around the level at which the throttle
//! came (where most of the time is spent, just below what the server can give), then faster and faster, since a throttle
//! that does not come back means that the level is out of date. The shape is that of CUBIC (RFC 9438), with units per
//! second in place of a window.

use std::time::Duration;

/// The share that a throttle takes off at a level that had held.
const CUT: f64 = 0.15;
/// The share that a throttle takes off before the level of the last one was reached again: that level was too high.
const CUT_AGAIN: f64 = 0.5;
/// Back at the level of the cut after this many seconds, at least,
const RECOVERY_SECONDS: f64 = 30.0;
/// after this many requests, so that one throttle in a recovery is well under one in a hundred,
const RECOVERY_REQUESTS: f64 = 200.0;
/// and not later than this.
const RECOVERY_SECONDS_MAX: f64 = 900.0;

/// Units per second that seem safe; no limit until the first cut.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    cut: Option<Cut>,
}

#[derive(Clone, Debug)]
struct Cut {
    at: Duration,
    level: f64,
    share: f64,
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
}

impl Pace {
    /// Units per second; infinite until the first cut.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        let Some(cut) = &self.cut else { return f64::INFINITY };
        let progress = now.saturating_sub(cut.at).as_secs_f64() / cut.recovery;
        cut.level * (1.0 - cut.share * (1.0 - progress).powi(3))
    }

    /// Cuts, once for all requests that were under way together: what was sent before the last cut says nothing new.
    /// Whether it did.
    pub fn cut(&mut self, throttled: Throttled, now: Duration) -> bool {
        if self.cut.as_ref().is_some_and(|cut| throttled.sent <= cut.at) {
            return false;
        }
        let paced = self.rate(now).min(throttled.allowed);
        // a pace that nobody could fill is cut from what was really used, or the cut would change nothing
        let level =
            if paced.is_finite() { paced.min(throttled.delivered.max(paced / 2.0)) } else { throttled.delivered };
        let level = level.max(floor(throttled.request));
        let again = self.cut.as_ref().is_some_and(|cut| paced < cut.level * 0.97);
        let recovery = (RECOVERY_REQUESTS * throttled.request / level).clamp(RECOVERY_SECONDS, RECOVERY_SECONDS_MAX);
        self.cut = Some(Cut { at: now, level, share: if again { CUT_AGAIN } else { CUT }, recovery });
        true
    }

    /// The server's capacity changed by `factor`: so does what is believed of it.
    pub fn scale(&mut self, factor: f64) {
        if let Some(cut) = &mut self.cut {
            cut.level *= factor;
        }
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
        Throttled { sent: at(sent), allowed: f64::INFINITY, delivered, request: 1.0 }
    }

    #[test]
    fn a_cut_is_recovered_fast_then_slowly_then_left_behind() {
        let mut pace = Pace::default();
        assert!(pace.rate(at(1.0)).is_infinite());
        assert!(pace.cut(throttled(1.0, 1000.0), at(2.0)));
        let after = |seconds: f64| pace.rate(at(2.0 + seconds));
        assert!((after(0.0) - 850.0).abs() < 1.0);
        assert!(after(15.0) > 980.0 && after(15.0) < 1000.0);
        assert!((after(30.0) - 1000.0).abs() < 1e-6);
        assert!(after(36.0) < 1005.0, "it stays near the level of the throttle");
        assert!(after(90.0) > 2000.0, "and finds a capacity that has doubled");
    }

    #[test]
    fn requests_under_way_together_cut_once() {
        let mut pace = Pace::default();
        assert!(pace.cut(throttled(1.0, 1000.0), at(2.0)));
        assert!(!pace.cut(throttled(1.5, 1000.0), at(2.1)));
        assert!(pace.cut(throttled(2.05, 1000.0), at(2.1)));
    }

    #[test]
    fn a_level_that_does_not_hold_is_halved_until_it_does() {
        let mut pace = Pace::default();
        let mut now = 0.0;
        for _ in 0..8 {
            now += 1.0;
            pace.cut(throttled(now - 0.1, 100_000.0), at(now));
        }
        assert!(pace.rate(at(now)) < 2000.0);
    }

    #[test]
    fn a_cut_never_stops_the_flow() {
        let mut pace = Pace::default();
        for second in 1..100 {
            let now = f64::from(second);
            pace.cut(Throttled { request: 128.0, ..throttled(now - 0.1, 1.0) }, at(now));
        }
        assert!(pace.rate(at(100.0)) > 128.0 / 30.0, "a page within half a minute");
    }

    #[test]
    fn few_requests_a_second_recover_over_as_many_requests() {
        let mut pace = Pace::default();
        pace.cut(Throttled { request: 1.0, ..throttled(0.5, 2.0) }, at(1.0));
        assert!(pace.rate(at(61.0)) < 2.0);
        assert!(pace.rate(at(102.0)) >= 2.0);
    }
}
