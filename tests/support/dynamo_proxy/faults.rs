//! Which faults there are, how often, and which of them a request meets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often what goes wrong: shares of requests from 0 to 1, drawn independently.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Chooses requests.
    pub(crate) seed: u64,
    /// Throttled, with one of the 16 reasons in turn and one of the three exceptions in turn.
    pub(crate) throttle: f64,
    /// Of the items of a batch, those held back as unprocessed.
    pub(crate) hold: f64,
    /// Answered 500 or 503, not executed.
    pub(crate) fail: f64,
    /// Of the writes, those answered so.
    pub(crate) fail_writes: f64,
    /// Never answered, not executed.
    pub(crate) silent: f64,
    /// Executed, and the connection cut in the place of an answer.
    pub(crate) lose: f64,
    /// Executed, and a byte of the answer changed, which its CRC-32 tells.
    pub(crate) damage: f64,
    /// Of the pages that go on from a key: answered without items and with that same key, as a page of deleted items is.
    pub(crate) empty: f64,
    /// Segments answered late, and by how much.
    pub(crate) slow: Vec<(u64, Duration)>,
}

/// What one request meets.
#[derive(Debug)]
pub(super) struct Draw {
    pub(super) number: u64,
    pub(super) throttle: bool,
    pub(super) fail: bool,
    pub(super) fail_write: bool,
    pub(super) silent: bool,
    pub(super) lose: bool,
    pub(super) damage: bool,
    pub(super) empty: bool,
    hold: f64,
    seed: u64,
}

impl Faults {
    pub(super) fn draw(&self, number: u64) -> Draw {
        let meets = |share: f64, kind: u64| fraction(&[self.seed, number, kind]) < share;
        Draw {
            number,
            throttle: meets(self.throttle, 1),
            fail: meets(self.fail, 2),
            fail_write: meets(self.fail_writes, 8),
            silent: meets(self.silent, 3),
            lose: meets(self.lose, 4),
            damage: meets(self.damage, 5),
            empty: meets(self.empty, 6),
            hold: self.hold,
            seed: self.seed,
        }
    }

    pub(super) fn slowness(&self, segment: Option<u64>) -> Duration {
        let slow = self.slow.iter().find(|(slow, _)| Some(*slow) == segment);
        slow.map_or(Duration::ZERO, |(_, wait)| *wait)
    }
}

impl Draw {
    /// Whether item `position` of the request's batch is held back.
    pub(super) fn holds(&self, position: usize) -> bool {
        fraction(&[self.seed, self.number, 7, position as u64]) < self.hold
    }
}

/// A number from 0 to 1 that follows from `parts`.
fn fraction(parts: &[u64]) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = (state ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
        state = state.wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    (state >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a request, or an item of a batch, asks of the table.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// Write units, or else read units.
    pub(crate) write: bool,
    /// How many.
    pub(crate) units: f64,
    /// Where in the space of hashed partition keys, from 0 to 1: which partition.
    pub(crate) place: f64,
}

/// Decides by a table's capacity: the time since the proxy began, what is asked; the reasons when it is too much.
pub(crate) type Admit = Box<dyn FnMut(Duration, &Demand) -> Result<(), Vec<Reason>> + Send>;

/// Why a request is throttled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reason {
    /// One of the 16, such as `TableReadKeyRangeThroughputExceeded`.
    pub(crate) reason: String,
    /// The ARN of the table or index.
    pub(crate) resource: String,
}

impl Reason {
    /// One of the eight of a direction, in turn.
    pub(super) fn any(number: u64, write: bool, table: &str) -> Reason {
        const LIMITS: [&str; 4] =
            ["ProvisionedThroughput", "KeyRangeThroughput", "MaxOnDemandThroughput", "AccountLimit"];
        let limit = LIMITS[usize::try_from(number % 4).unwrap()];
        let of_index = number / 4 % 2 == 1;
        let (of, at) = if of_index { ("Index", "/index/by-other") } else { ("Table", "") };
        let direction = if write { "Write" } else { "Read" };
        Reason {
            reason: format!("{of}{direction}{limit}Exceeded"),
            resource: format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}{at}"),
        }
    }
}

/// What a proxy did so far.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    /// Requests throttled, by share or by capacity.
    pub(crate) throttled: AtomicU64,
    /// Items held back.
    pub(crate) held: AtomicU64,
    /// Requests answered 5xx.
    pub(crate) failed: AtomicU64,
    /// Requests never answered.
    pub(crate) silent: AtomicU64,
    /// Answers lost after the request was executed.
    pub(crate) lost: AtomicU64,
    /// Answers damaged.
    pub(crate) damaged: AtomicU64,
    /// Empty pages.
    pub(crate) emptied: AtomicU64,
    /// Late answers.
    pub(crate) slowed: AtomicU64,
}

impl Injected {
    /// Counts one; gives the count before.
    pub(super) fn add(&self, which: impl Fn(&Injected) -> &AtomicU64) -> u64 {
        which(self).fetch_add(1, Ordering::SeqCst)
    }

    /// One of the counts.
    pub(crate) fn count(&self, which: impl Fn(&Injected) -> &AtomicU64) -> u64 {
        which(self).load(Ordering::SeqCst)
    }
}
