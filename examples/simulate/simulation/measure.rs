//! Looks on at the server: what passed, what was refused, what would have been possible.

use std::time::Duration;

/// The first minute is for learning.
const LEARNING: usize = 60;
/// Use is compared minute by minute: what was missed in one is not made up for by a burst in another.
const WINDOW: usize = 60;
const TICKS: usize = 10;
/// Seconds over which the mean must not exceed the budget.
const PEAK: usize = 10;

#[derive(Default)]
pub(crate) struct Measure {
    /// Units in each tenth of a second, and what the budget allows in it.
    ticks: Vec<(f64, f64)>,
    /// Units in each second that would have been possible.
    possible: Vec<f64>,
    requests: u64,
    refused: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Share of the possible that was used after the first minute.
    pub(crate) used: f64,
    /// Share of requests that were refused.
    pub(crate) refused: f64,
    /// The busiest ten seconds, as a share of what is allowed in them.
    pub(crate) peak: f64,
    /// Units of the foreground refused beyond what is refused without us, as a share of what it asked.
    pub(crate) harm: f64,
    /// Time taken over the ideal time; none when the run was cut off.
    pub(crate) time: Option<f64>,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
}

impl Measure {
    /// Units passed at the server.
    pub(crate) fn passed(&mut self, units: f64, now: Duration) {
        let tick = now.as_millis() as usize / (1000 / TICKS);
        if let Some(tick) = self.ticks.get_mut(tick) {
            tick.0 += units;
        }
    }

    /// A request was answered; whether all of it passed.
    pub(crate) fn answered(&mut self, passed: bool) {
        self.requests += 1;
        self.refused += u64::from(!passed);
    }

    /// A second begins in which the budget allows `budget` units, and all limits together `possible`.
    pub(crate) fn second(&mut self, budget: f64, possible: f64) {
        self.possible.push(possible);
        self.ticks.extend(std::iter::repeat_n((0.0, budget / TICKS as f64), TICKS));
    }

    /// The figures. `item` is the largest item in units, `ideal` the seconds of an ideal run if this one ended.
    pub(crate) fn outcome(&self, item: f64, ideal: Option<f64>, harm: f64, now: Duration) -> Outcome {
        Outcome {
            used: self.used(),
            refused: self.refused as f64 / self.requests.max(1) as f64,
            peak: self.peak(item),
            harm,
            time: ideal.map(|ideal| now.as_secs_f64() / ideal),
            requests: self.requests,
            seconds: now.as_secs_f64(),
        }
    }

    fn used(&self) -> f64 {
        let seconds: Vec<f64> = self.ticks.chunks(TICKS).map(|ticks| ticks.iter().map(|tick| tick.0).sum()).collect();
        let (mut used, mut possible) = (0.0, 0.0);
        // the last second is not a whole one
        let end = seconds.len().saturating_sub(1);
        for from in (LEARNING..end).step_by(WINDOW) {
            let window = from..(from + WINDOW).min(end);
            let could: f64 = self.possible[window.clone()].iter().sum();
            used += seconds[window].iter().sum::<f64>().min(could);
            possible += could;
        }
        if possible > 0.0 { used / possible } else { 1.0 }
    }

    fn peak(&self, item: f64) -> f64 {
        let windows = self.ticks.windows(PEAK * TICKS).map(|window| {
            let (used, allowed) = window.iter().fold((0.0, 0.0), |sum, tick| (sum.0 + tick.0, sum.1 + tick.1));
            used / allowed.max(item / 1.1)
        });
        windows.fold(0.0, f64::max)
    }
}
