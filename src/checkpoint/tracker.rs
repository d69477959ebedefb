//! What this process believes of the units it owns: acknowledged items, and what to do next about the ledger.
//!
//! Pure and in memory. Its beliefs are checked against the database after every lost connection (see
//! [`audit`](super::audit)); nothing is reported from here.

use super::ledger::UnitLedger;
use super::units::Claim;
use crate::model::batch::Fence;
use crate::model::page::{Span, UnitId};
use std::collections::BTreeMap;
use std::ops::Range;

/// Acknowledged spans of one unit before its ledger is folded: keeps the ledger a few hundred rows a unit.
const SPANS_PER_FOLD: u32 = 128;

/// Disjoint, merged ranges of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `range`, joining what it touches.
    pub fn add(&mut self, range: Range<u64>) {
        let (mut from, mut to) = (range.start, range.end);
        if from >= to {
            return;
        }
        while let Some((start, end)) = self.0.range(..=to).next_back().map(|(start, end)| (*start, *end)) {
            if end < from {
                break;
            }
            self.0.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// What of `within` is not covered.
    #[must_use]
    pub fn gaps(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut next = within.start;
        for (from, to) in &self.0 {
            if *from > next && next < within.end {
                gaps.push(next..(*from).min(within.end));
            }
            next = next.max(*to);
        }
        if next < within.end {
            gaps.push(next..within.end);
        }
        gaps
    }

    /// The end of the run that begins at zero.
    #[must_use]
    pub fn contiguous(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(from, to)| *from..*to)
    }
}

impl UnitLedger {
    /// The items that the database holds.
    #[must_use]
    pub fn durable(&self) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.add(0..self.watermark);
        for (from, to) in &self.spans {
            ranges.add(*from..*to);
        }
        ranges
    }
}

/// What to do about a unit's ledger now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Fold it up to this item.
    Fold(Fence, u64),
    /// All is acknowledged and the end was checked: fold it all and finish the unit.
    Finish(Fence, u64),
}

#[derive(Debug)]
struct Owned {
    claim: Claim,
    items: u64,
    acknowledged: Ranges,
    unfolded: u32,
    verified: bool,
    done: bool,
}

/// The units that this process owns.
#[derive(Debug, Default)]
pub struct Tracker {
    units: BTreeMap<UnitId, Owned>,
}

impl Tracker {
    /// Takes on a claimed unit of `items` items; returns what of it must still be read, perhaps nothing.
    pub fn take_on(&mut self, claim: Claim, items: u64, ledger: &UnitLedger) -> Vec<Range<u64>> {
        let acknowledged = ledger.durable();
        let wanted = acknowledged.gaps(0..items);
        let unit = Owned { claim, items, acknowledged, unfolded: 0, verified: false, done: false };
        self.units.insert(claim.unit, unit);
        wanted
    }

    /// The claim of a unit.
    #[must_use]
    pub fn claim(&self, unit: UnitId) -> Option<Claim> {
        self.units.get(&unit).map(|unit| unit.claim)
    }

    /// The unit is ours anew, by another claim: its pages in flight go on under that one.
    pub fn renew(&mut self, claim: Claim) {
        if let Some(unit) = self.units.get_mut(&claim.unit) {
            unit.claim = claim;
        }
    }

    /// What there is to do about a unit's ledger, when an earlier answer could not be carried out.
    pub fn next(&mut self, unit: UnitId) -> Next {
        self.units.get_mut(&unit).map_or(Next::Nothing, Owned::next)
    }

    /// A span is durable.
    pub fn acknowledge(&mut self, span: Span) -> Next {
        let Some(unit) = self.units.get_mut(&span.unit) else { return Next::Nothing };
        unit.acknowledged.add(span.from..span.to);
        unit.unfolded += 1;
        unit.next()
    }

    /// The unit was read to its end, and its end was right.
    pub fn verified(&mut self, unit: UnitId) -> Next {
        let Some(unit) = self.units.get_mut(&unit) else { return Next::Nothing };
        unit.verified = true;
        unit.next()
    }

    /// The unit is done, durably.
    pub fn finished(&mut self, unit: UnitId) {
        if let Some(unit) = self.units.get_mut(&unit) {
            unit.done = true;
        }
    }

    /// The unit failed or was taken away: it is no longer ours to finish.
    pub fn give_up(&mut self, unit: UnitId) {
        self.units.remove(&unit);
    }

    /// How many units are ours and not done.
    #[must_use]
    pub fn open(&self) -> usize {
        self.units.values().filter(|unit| !unit.done).count()
    }

    /// What was acknowledged, unit by unit, to be compared with a ledger that is read *afterwards*.
    #[must_use]
    pub fn believed(&self) -> Vec<(Claim, Ranges, bool)> {
        self.units.values().map(|unit| (unit.claim, unit.acknowledged.clone(), unit.done)).collect()
    }

    /// The database does not hold `lost`, though it had said so: those items are open again.
    pub fn forget(&mut self, unit: UnitId, lost: &[Range<u64>]) {
        let Some(unit) = self.units.get_mut(&unit) else { return };
        let mut kept = Ranges::default();
        let all: Vec<_> = unit.acknowledged.iter().collect();
        let mut holes = Ranges::default();
        lost.iter().for_each(|range| holes.add(range.clone()));
        for range in all {
            holes.gaps(range).into_iter().for_each(|rest| kept.add(rest));
        }
        unit.acknowledged = kept;
        unit.done = false;
    }
}

impl Owned {
    fn next(&mut self) -> Next {
        let fence = Fence { unit: self.claim.unit, epoch: self.claim.epoch };
        let contiguous = self.acknowledged.contiguous();
        if self.done {
            Next::Nothing
        } else if self.verified && contiguous == self.items {
            Next::Finish(fence, contiguous)
        } else if self.unfolded >= SPANS_PER_FOLD {
            self.unfolded = 0;
            Next::Fold(fence, contiguous)
        } else {
            Next::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(parts: &[Range<u64>]) -> Ranges {
        let mut ranges = Ranges::default();
        parts.iter().for_each(|part| ranges.add(part.clone()));
        ranges
    }

    #[test]
    fn ranges_join_and_tell_their_gaps() {
        let found = ranges(&[5..7, 0..2, 2..3, 9..9, 7..8, 20..30, 22..25]);
        assert_eq!(found.iter().collect::<Vec<_>>(), [0..3, 5..8, 20..30]);
        assert_eq!(found.gaps(0..25), [3..5, 8..20]);
        assert_eq!(found.gaps(6..40), [8..20, 30..40]);
        assert_eq!(found.contiguous(), 3);
        assert_eq!(Ranges::default().gaps(0..4), std::slice::from_ref(&(0..4)));
    }

    #[test]
    fn a_unit_is_finished_only_when_all_is_durable_and_its_end_was_checked() {
        let mut tracker = Tracker::default();
        let claim = Claim { unit: 3, epoch: 7, before: 1 };
        let ledger = UnitLedger { watermark: 2, spans: [(4, 6)].into(), ..UnitLedger::default() };
        assert_eq!(tracker.take_on(claim, 10, &ledger), [2..4, 6..10]);
        let fence = Fence { unit: 3, epoch: 7 };
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 2, to: 4 }), Next::Nothing);
        assert_eq!(tracker.verified(3), Next::Nothing);
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 6, to: 10 }), Next::Finish(fence, 10));
        tracker.finished(3);
        assert_eq!(tracker.open(), 0);
        tracker.forget(3, &[5..8, 9..20]);
        assert_eq!(tracker.open(), 1);
        assert_eq!(tracker.believed()[0].1, ranges(&[0..5, 8..9]));
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 5, to: 8 }), Next::Nothing);
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 9, to: 10 }), Next::Finish(fence, 10));
    }

    #[test]
    fn the_ledger_is_folded_now_and_then() {
        let mut tracker = Tracker::default();
        tracker.take_on(Claim { unit: 0, epoch: 1, before: 0 }, 1000, &UnitLedger::default());
        let folds = (0..256).filter(|at| {
            matches!(tracker.acknowledge(Span { unit: 0, from: *at, to: at + 1 }), Next::Fold(_, to) if to == at + 1)
        });
        assert_eq!(folds.count(), 2);
    }
}
