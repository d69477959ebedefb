//! What an instance has done, counted.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an instance has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Writes that were made and acknowledged.
    pub acknowledged: u64,
    /// Writes that were not made, since a condition did not hold.
    pub unmet: u64,
    /// Writes that were not acknowledged and may or may not have been made.
    pub unknown: u64,
    /// Of the acknowledged: the second store did not have them at once.
    pub pending: u64,
    /// Writes left behind, of this instance and others, that it has mended.
    pub mended: u64,
    /// Items written to the new store because they were read.
    pub fills: u64,
    /// Reads that were compared with the other store.
    pub shadow_reads: u64,
    /// Of them, that differed, with no write under way.
    pub shadow_differs: u64,
    /// Faults met.
    pub faults: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: AtomicU64,
    pub(super) unmet: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) pending: AtomicU64,
    pub(super) mended: AtomicU64,
    pub(super) fills: AtomicU64,
    pub(super) shadow_reads: AtomicU64,
    pub(super) shadow_differs: AtomicU64,
    pub(super) faults: AtomicU64,
}

/// One more.
pub(super) fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// As it is now.
    pub(super) fn snapshot(&self) -> Counts {
        let read = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Counts {
            acknowledged: read(&self.acknowledged),
            unmet: read(&self.unmet),
            unknown: read(&self.unknown),
            pending: read(&self.pending),
            mended: read(&self.mended),
            fills: read(&self.fills),
            shadow_reads: read(&self.shadow_reads),
            shadow_differs: read(&self.shadow_differs),
            faults: read(&self.faults),
        }
    }
}
