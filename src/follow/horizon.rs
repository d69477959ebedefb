//! The watchdog of the trim horizon: when to warn that a stream is about to drop what the target lacks, and what to say.
//! Pure: times are arguments, in seconds.
//!
//! Promises: each level is warned of once on the way down, and again only after the distance has grown by an hour beyond it;
//! each warning names the way out. Must not know: streams, clocks, screens.

use std::collections::VecDeque;

const HOUR: u64 = 3600;

/// Warned of when no more is left. Half of what a stream keeps: whoever reads it in the evening need not get up at night;
/// then half of that each time, down to the hour in which something faster can just be set up; and when all is too late.
const LEVELS: [u64; 5] = [12 * HOUR, 6 * HOUR, 3 * HOUR, HOUR, 0];

/// Whether it catches up is judged by so much: longer than a pause of the target, shorter than a level.
const TREND: u64 = 600;

/// From less than this nothing is concluded: neither a trend nor when a copy will end.
const TREND_LEAST: u64 = 60;

/// A copy that ends with less to spare than this is late.
const TO_SPARE: u64 = HOUR;

/// What a look at a follower finds.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When, by any clock.
    pub now: u64,
    /// How long the stream keeps what comes next.
    pub left: u64,
    /// How far behind it is.
    pub lag: u64,
    /// Records read so far.
    pub records: u64,
    /// The shard that is nearest to the horizon.
    pub shard: &'a str,
}

/// What a look at a copy finds that changes are captured for.
#[derive(Clone, Copy, Debug)]
pub struct CopyLook {
    /// How long the stream keeps the first of them.
    pub left: u64,
    /// Since when this process copies.
    pub running: u64,
    /// How long it will, if that is known.
    pub eta: Option<u64>,
}

/// What was warned of.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// Levels that were passed on the way down.
    passed: usize,
    /// It was said that the copy is late, and it has not been in good time since.
    late: bool,
    looks: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    now: u64,
    lag: u64,
    records: u64,
}

impl Watchdog {
    /// What to say of a follower, if anything.
    pub fn follower(&mut self, look: &Look<'_>) -> Option<String> {
        let Look { now, left, lag, records, shard } = *look;
        self.looks.push_back(Sample { now, lag, records });
        while self.looks.len() > 1 && self.looks.front().is_some_and(|first| first.now + TREND < now) {
            self.looks.pop_front();
        }
        if !self.passes(left) {
            return None;
        }
        if left == 0 {
            return Some(format!(
                "warning: shard {shard} is {} behind: what comes next is being dropped. It goes on for as long as the stream \
                 holds it, and stops where it does not: then copy the table anew, with backfill --capture --restart",
                hours(lag)
            ));
        }
        Some(format!(
            "warning: {} until the stream drops what this target lacks: shard {shard} is {} behind{}. Give it more --writers, a \
             faster target or less other work there; what is dropped is not to be had again, and the table must then be copied \
             anew",
            hours(left),
            hours(lag),
            self.trend(left)
        ))
    }

    /// What to say of a copy that changes are captured for, if anything.
    pub fn copy(&mut self, look: &CopyLook, table: &str) -> Option<String> {
        let CopyLook { left, running, eta } = *look;
        let eta = eta.filter(|_| running >= TREND_LEAST);
        let is_late = eta.is_some_and(|eta| eta + TO_SPARE > left);
        let passes = self.passes(left);
        let is_newly_late = is_late && !self.late;
        self.late = is_late || self.late && eta.is_none_or(|eta| eta + 2 * TO_SPARE > left);
        if !(passes && (is_late || eta.is_none()) || is_newly_late) {
            return None;
        }
        if left == 0 {
            return Some(format!(
                "warning: the stream no longer keeps all that changed since table {table} was captured: unless a follower \
                 has it, begin the copy anew with backfill --capture --restart, and run `transvase follow --from \
                 streams://{table} --spool DIR` beside it"
            ));
        }
        let ends = match eta {
            Some(eta) => format!("the copy needs {} more", hours(eta)),
            None => "when the copy ends is not known yet".to_owned(),
        };
        Some(format!(
            "warning: what changes while table {table} is copied is kept for {} more, and {ends}. Run `transvase follow --from \
             streams://{table} --spool DIR` beside it, which keeps the changes on disk; or have more --read-capacity and \
             --writers; of a copy begun with --live-target the changes can be followed beside it at once",
            hours(left)
        ))
    }

    /// Whether a level is passed that was not.
    fn passes(&mut self, left: u64) -> bool {
        let below = |spare: u64| LEVELS.iter().filter(|level| left <= **level + spare).count();
        let passed = below(0);
        let is_new = passed > self.passed;
        self.passed = if is_new { passed } else { self.passed.min(below(HOUR)) };
        is_new
    }

    /// Whether it catches up, at which rate and when all will be lost, as far as that can be told.
    fn trend(&self, left: u64) -> String {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else { return String::new() };
        let span = last.now.saturating_sub(first.now);
        if span < TREND_LEAST {
            return String::new();
        }
        // so many seconds of the stream were read meanwhile
        let read = (span + first.lag).saturating_sub(last.lag);
        let made = last.records.saturating_sub(first.records);
        let rates = match made.checked_div(read) {
            Some(table) => format!("{} changes/s done, about {table} made", made / span),
            None => format!("{} changes/s done", made / span),
        };
        // a hundredth is noise: times are told in whole seconds
        if read > span + span / 100 {
            return format!("; it catches up ({rates})");
        }
        match left.saturating_mul(span).checked_div(span.saturating_sub(read)) {
            Some(out) if read + span / 100 < span => {
                format!("; it falls behind ({rates}), and at this rate the first change is lost in {}", hours(out))
            }
            _ => format!("; it neither catches up nor falls behind ({rates})"),
        }
    }
}

/// A time as people say it.
#[must_use]
pub fn hours(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", seconds as f64 / HOUR as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(now: u64, left: u64, records: u64) -> Look<'static> {
        Look { now, left, lag: 24 * HOUR - left, records, shard: "shardId-7" }
    }

    #[test]
    fn each_level_is_warned_of_once_until_there_is_an_hour_more() {
        let mut dog = Watchdog::default();
        let cases = [
            (24 * HOUR, false),
            (12 * HOUR + 1, false),
            (12 * HOUR, true),
            (11 * HOUR, false),
            // an hour beyond it is not passed, and then it is
            (13 * HOUR, false),
            (12 * HOUR, false),
            (13 * HOUR + 1, false),
            (12 * HOUR, true),
            // several at once are one
            (2 * HOUR, true),
            (2 * HOUR, false),
            (3 * HOUR, false),
            (HOUR, true),
            (1, false),
            (0, true),
            (0, false),
        ];
        for (at, (left, warns)) in cases.into_iter().enumerate() {
            let said = dog.follower(&look(at as u64, left, 0));
            assert_eq!(said.is_some(), warns, "case {at}: {said:?}");
            assert!(said.is_none_or(|said| said.contains("shardId-7") && said.contains("cop")), "case {at}");
        }
    }

    #[test]
    fn a_warning_tells_whether_it_catches_up_and_when_all_is_lost() {
        // in 600 s: records, and how far the horizon came nearer
        let said = |records: u64, nearer: i64| {
            let mut dog = Watchdog::default();
            let (first, last) = (6 * HOUR + 900, 6 * HOUR);
            let before = last.checked_add_signed(nearer).unwrap();
            assert!(dog.follower(&look(0, first, 0)).is_some(), "the first look passes a level");
            dog.looks.clear();
            assert!(dog.follower(&look(1000, before.max(last + 1), 0)).is_none());
            dog.looks[0].lag = 24 * HOUR - before;
            dog.follower(&look(1600, last, records)).unwrap()
        };
        let falls = said(60_000, 300);
        for part in ["6.0 h until", "18.0 h behind", "falls behind (100 changes/s done, about 200 made)", "in 12.0 h"] {
            assert!(falls.contains(part), "{part}: {falls}");
        }
        let stands = said(0, 600);
        assert!(
            stands.contains("falls behind (0 changes/s done), and at this rate the first change is lost in 6.0 h"),
            "{stands}"
        );
        let catches = said(60_000, -600);
        assert!(catches.contains("it catches up (100 changes/s done, about 50 made)"), "{catches}");
        let keeps = said(60_000, 3);
        assert!(keeps.contains("neither catches up nor falls behind"), "{keeps}");
    }

    #[test]
    fn nothing_is_concluded_from_a_moment_and_old_looks_are_forgotten() {
        let mut dog = Watchdog::default();
        let said = dog.follower(&look(0, 5 * HOUR, 9)).unwrap();
        assert!(said.contains("19.0 h behind. Give"), "{said}");
        for now in 1..5000 {
            assert!(dog.follower(&look(now, 5 * HOUR, 9)).is_none());
        }
        assert_eq!(dog.looks.len(), 601);
    }

    #[test]
    fn a_copy_is_warned_of_when_it_will_be_late_and_at_each_level_that_it_does_not_clear() {
        let mut dog = Watchdog::default();
        let cases = [
            // too early to tell
            (20 * HOUR, 30, Some(90 * HOUR), false),
            (20 * HOUR, 60, Some(19 * HOUR), false),
            (20 * HOUR, 90, Some(19 * HOUR + 1), true),
            (19 * HOUR, 3690, Some(19 * HOUR), false),
            // in time after all, and late again
            (18 * HOUR, 9000, Some(HOUR), false),
            (17 * HOUR, 9000, Some(16 * HOUR + 1), true),
            (12 * HOUR, 9000, Some(16 * HOUR), true),
            (6 * HOUR, 9000, Some(2 * HOUR), false),
            (3 * HOUR, 9000, None, true),
            (0, 9000, Some(1), true),
            (0, 9999, Some(1), false),
        ];
        for (at, (left, running, eta, warns)) in cases.into_iter().enumerate() {
            let said = dog.copy(&CopyLook { left, running, eta }, "orders");
            assert_eq!(said.is_some(), warns, "case {at}: {said:?}");
            assert!(said.is_none_or(|said| said.contains("follow --from streams://orders --spool DIR")), "case {at}");
        }
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        assert_eq!(
            [0, 119, 120, 7199, 7200, 86_400].map(hours),
            ["0 s", "119 s", "2 min", "119 min", "2.0 h", "24.0 h"]
        );
    }
}
