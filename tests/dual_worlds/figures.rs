//! What a world has seen of what is meant to happen in it.

use crate::dual_simulation::totals::Moves;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Figures {
    pub(super) deaths: AtomicU64,
    pub(super) sleeps: AtomicU64,
    pub(super) away: AtomicU64,
    pub(super) copies: AtomicU64,
    pub(super) loaders_died: AtomicU64,
    pub(super) loaders_slept: AtomicU64,
    pub(super) loaders_refused: AtomicU64,
    pub(super) withdrawn: AtomicU64,
    pub(super) operators_died: AtomicU64,
    pub(super) looks: AtomicU64,
    pub(super) moves: Mutex<Moves>,
}

impl Figures {
    /// What went wrong, by its name.
    pub(super) fn named(&self) -> [(&'static str, u64); 11] {
        let now = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [
            ("deaths", now(&self.deaths)),
            ("sleeps", now(&self.sleeps)),
            ("databases lost", now(&self.away)),
            ("copies", now(&self.copies)),
            ("loaders died", now(&self.loaders_died)),
            ("loaders put to sleep and woken", now(&self.loaders_slept)),
            ("loaders refused", now(&self.loaders_refused)),
            ("barriers withdrawn", now(&self.withdrawn)),
            ("operators died amid a barrier", now(&self.operators_died)),
            ("looks", now(&self.looks)),
            ("worlds", 1),
        ]
    }
}
