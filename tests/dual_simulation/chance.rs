//! Chances of one seed, and how rough its weather is.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

/// A sequence of chances: the same for the same seed.
pub(crate) struct Chance(Mutex<StdRng>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// One of `range`.
    pub(crate) fn of(&self, range: Range<u64>) -> u64 {
        self.0.lock().unwrap().random_range(range)
    }

    /// Whether it comes about, that many times in a thousand.
    pub(crate) fn hits(&self, in_a_thousand: u64) -> bool {
        self.of(0..1000) < in_a_thousand
    }

    /// A time within this range of milliseconds.
    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.of(range))
    }

    /// One of some.
    pub(crate) fn one<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.of(0..of.len() as u64)).unwrap()]
    }
}

/// What goes wrong in a run, in a thousand calls each; a run is rough in some ways and calm in others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// A call that takes long.
    pub(crate) slow: u64,
    /// A request to DynamoDB whose answer is lost: made or not, sooner or later.
    pub(crate) items_lost: u64,
    /// A statement that fails, or a commit whose answer is lost.
    pub(crate) rows_lost: u64,
    /// An instance that dies, a second.
    pub(crate) deaths: u64,
    /// An instance that stands still for a while, a second.
    pub(crate) sleeps: u64,
    /// An instance that the database is away for, a second.
    pub(crate) away: u64,
    /// An operator that stands still before a look.
    pub(crate) stalls: u64,
    /// Between heartbeats, in milliseconds.
    pub(crate) heartbeat: u64,
    /// The longest that an operator rests between moves, and that a barrier stands, in milliseconds.
    pub(crate) haste: [u64; 2],
    /// Whether operators often go back to the beginning.
    pub(crate) fickle: bool,
}

impl Weather {
    /// Of a run.
    pub(crate) fn of(chance: &Chance) -> Weather {
        let rough = |most: u64| if chance.hits(500) { chance.of(0..most) } else { 0 };
        Weather {
            slow: 5 + rough(if chance.hits(300) { 400 } else { 60 }),
            items_lost: rough(if chance.hits(400) { 300 } else { 60 }),
            rows_lost: rough(30),
            deaths: rough(120),
            sleeps: rough(if chance.hits(300) { 600 } else { 200 }),
            away: rough(150),
            stalls: rough(300),
            heartbeat: *chance.one(&[100, 300]),
            haste: *chance.one(&[[600, 3_000], [20, 600]]),
            fickle: chance.hits(300),
        }
    }

    /// When all is well.
    pub(crate) const CALM: Weather = Weather {
        slow: 0,
        items_lost: 0,
        rows_lost: 0,
        deaths: 0,
        sleeps: 0,
        away: 0,
        stalls: 0,
        heartbeat: 100,
        haste: [600, 3_000],
        fickle: false,
    };
}
