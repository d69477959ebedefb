//! How many writers at once: as many as were given, fewer while commits take many times longer than they did.
//!
//! A database that is short of something (a checkpoint, a backup, another load) answers late, and more writers only make
//! it later, for the application too. The width is cut by a third at a time, not more often than the cut can be felt,
//! and grows back by one writer a round.

use std::time::Duration;

/// Commits that take less are nobody's trouble.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many times the calm latency is slow. Writers of one server queue for each other: four of them alone may make four.
const SLOW: f64 = 5.0;
/// How much a new commit counts beside the old ones.
const NEW: f64 = 0.2;
/// How much the calm latency may rise with each commit: rows may have become larger for good.
const DRIFT: f64 = 1.001;

/// The width of a sink.
#[derive(Debug)]
pub struct Width {
    most: f64,
    allowed: f64,
    /// Seconds that a commit takes now, and took when it was quickest.
    smooth: Option<f64>,
    calm: f64,
    cut: Duration,
}

impl Width {
    /// At most `most` writers, and that many at first.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Width { most, allowed: most, smooth: None, calm: f64::INFINITY, cut: Duration::ZERO }
    }

    /// A commit took so long, statements included.
    pub fn committed(&mut self, took: Duration, now: Duration) {
        let took = took.as_secs_f64();
        let smooth = self.smooth.map_or(took, |smooth| smooth * (1.0 - NEW) + took * NEW);
        self.smooth = Some(smooth);
        self.calm = (self.calm * DRIFT).min(smooth);
        if smooth > PATIENCE.as_secs_f64() && smooth > self.calm * SLOW {
            if now.saturating_sub(self.cut).as_secs_f64() > smooth * 2.0 {
                self.allowed = (self.allowed * 0.67).max(1.0);
                self.cut = now;
            }
        } else {
            self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most);
        }
    }

    /// How many may write now.
    #[must_use]
    pub fn allowed(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to a u32's most")]
        let allowed = self.allowed as u32;
        allowed
    }

    /// Whether fewer may write than were given.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        f64::from(self.allowed()) < self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits one after the other, each taking `millis`, for `seconds`.
    fn run(width: &mut Width, now: &mut Duration, millis: u64, seconds: u64) {
        let (end, took) = (*now + Duration::from_secs(seconds), Duration::from_millis(millis));
        while *now < end {
            *now += took;
            width.committed(took, *now);
        }
    }

    #[test]
    fn a_calm_server_keeps_all_writers_and_a_troubled_one_few() {
        let (mut width, mut now) = (Width::new(8), Duration::ZERO);
        run(&mut width, &mut now, 60, 60);
        assert_eq!(width.allowed(), 8);
        run(&mut width, &mut now, 200, 60);
        assert_eq!(width.allowed(), 8, "a fifth of a second is nobody's trouble");
        run(&mut width, &mut now, 3000, 60);
        assert!(width.allowed() <= 2, "{}", width.allowed());
        assert!(width.is_narrowed());
        run(&mut width, &mut now, 60, 60);
        assert_eq!(width.allowed(), 8);
    }

    #[test]
    fn a_server_that_is_always_slow_is_not_troubled() {
        let (mut width, mut now) = (Width::new(4), Duration::ZERO);
        run(&mut width, &mut now, 2000, 600);
        assert_eq!(width.allowed(), 4);
    }

    #[test]
    fn one_writer_is_left_whatever_happens() {
        let (mut width, mut now) = (Width::new(4), Duration::ZERO);
        run(&mut width, &mut now, 10, 10);
        run(&mut width, &mut now, 60_000, 1200);
        assert_eq!(width.allowed(), 1);
    }
}
