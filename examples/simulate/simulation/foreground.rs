//! The traffic of others: small requests all over the key space, refused when capacity is short.

use super::capacity::{Direction, Table, Touch};
use super::scenario::Foreground;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Sends the traffic of so long at once, to one partition.
pub(crate) const TICK: Duration = Duration::from_millis(4);

pub(crate) struct Others {
    foreground: Option<Foreground>,
    rng: StdRng,
    /// Factor of this second.
    noise: (u64, f64),
    pub(crate) asked: f64,
    pub(crate) refused: f64,
    /// Units asked in this minute and in the one before.
    minute: (u64, f64),
    before: f64,
}

impl Others {
    /// The same seed gives the same traffic, whoever else uses the table.
    pub(crate) fn new(foreground: Option<Foreground>, seed: u64) -> Others {
        let rng = StdRng::seed_from_u64(seed ^ 0x00f0_0e60);
        Others { foreground, rng, noise: (u64::MAX, 1.0), asked: 0.0, refused: 0.0, minute: (0, 0.0), before: 0.0 }
    }

    pub(crate) fn set_units(&mut self, units: f64) {
        if let Some(foreground) = &mut self.foreground {
            foreground.units = units;
        }
    }

    /// Units per second at `now`, without the noise.
    pub(crate) fn mean(&self, now: Duration) -> f64 {
        self.foreground.map_or(0.0, |foreground| {
            let turns = now.as_secs_f64() / 60.0 / foreground.wave_minutes;
            foreground.units * (1.0 + foreground.wave * (turns * std::f64::consts::TAU).sin())
        })
    }

    /// Units per second of the last whole minute, as monitoring would tell it; none without traffic to measure.
    pub(crate) fn measured(&self) -> Option<f64> {
        self.foreground.map(|_| self.before)
    }

    /// Sends one tick's requests.
    pub(crate) fn tick(&mut self, table: &mut Table, direction: Direction, now: Duration) {
        let Some(foreground) = self.foreground else { return };
        if self.noise.0 != now.as_secs() {
            self.noise = (now.as_secs(), 1.0 + foreground.noise * self.rng.random_range(-1.0..1.0));
        }
        let units = self.mean(now) * self.noise.1 * TICK.as_secs_f64();
        let minute = now.as_secs() / 60;
        if self.minute.0 != minute {
            self.before = self.minute.1 / 60.0;
            self.minute = (minute, 0.0);
        }
        self.minute.1 += units;
        let position = self.rng.random_range(0.0..1.0);
        self.asked += units;
        if table.ask(&Touch { direction, position, units, indexes: Vec::new() }, now).is_err() {
            self.refused += units;
        }
    }
}
