//! What this process believes of the units it owns: acknowledged items, and what to do next about the ledger.
//!
//! Pure and in memory. Its beliefs are checked against the database after every lost connection (see
//! [`audit`](super::audit)); nothing is reported from here.

use super::ledger::UnitLedger;
use super::units::Claim;
use crate::model::batch::Fence;
use crate::model::page::{Span, UnitId, Wanted};
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
    /// How many items the unit has: declared, or found by reading to its end.
    items: Option<u64>,
    /// Its items cannot be read twice alike: after a loss it is read anew from where the ledger ends.
    live: bool,
    /// How often it was read anew: pages of an earlier reading are void.
    reading: u32,
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
    /// Takes on a claimed unit of `items` items (none: a live unit); returns what of it must still be read.
    pub fn take_on(&mut self, claim: Claim, items: Option<u64>, ledger: &UnitLedger) -> Wanted {
        let (acknowledged, live) = (ledger.durable(), items.is_none());
        let wanted = Wanted { items: acknowledged.gaps(0..items.unwrap_or(u64::MAX)), after: ledger.reached.clone() };
        let (unfolded, verified, done) = (0, false, false);
        let unit = Owned { claim, items, live, reading: 0, acknowledged, unfolded, verified, done };
        self.units.insert(claim.unit, unit);
        wanted
    }

    /// Which reading of the unit is the current one; none when the unit is not ours.
    #[must_use]
    pub fn reading(&self, unit: UnitId) -> Option<u32> {
        self.units.get(&unit).map(|unit| unit.reading)
    }

    /// The item up to which a unit is acknowledged without a gap.
    #[must_use]
    pub fn contiguous(&self, unit: UnitId) -> u64 {
        self.units.get(&unit).map_or(0, |unit| unit.acknowledged.contiguous())
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

    /// A reading of the unit has come to its end, after item `end`, and the end was right.
    pub fn verified(&mut self, unit: UnitId, reading: u32, end: u64) -> Next {
        let Some(unit) = self.units.get_mut(&unit) else { return Next::Nothing };
        if unit.reading != reading {
            return Next::Nothing;
        }
        unit.items.get_or_insert(end);
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

    /// The database does not hold `lost`, though it had said so: those items are open again. Returns what to read:
    /// of a live unit, all that comes after what is left, which `reached` tells.
    pub fn forget(&mut self, unit: UnitId, lost: &[Range<u64>], reached: Option<&str>) -> Wanted {
        let Some(unit) = self.units.get_mut(&unit) else { return Wanted::default() };
        let mut kept = Ranges::default();
        let all: Vec<_> = unit.acknowledged.iter().collect();
        let mut holes = Ranges::default();
        lost.iter().for_each(|range| holes.add(range.clone()));
        for range in all {
            holes.gaps(range).into_iter().for_each(|rest| kept.add(rest));
        }
        unit.acknowledged = kept;
        unit.done = false;
        if !unit.live {
            return Wanted { items: lost.to_vec(), after: None };
        }
        let end = unit.acknowledged.contiguous();
        unit.acknowledged = Ranges::default();
        unit.acknowledged.add(0..end);
        (unit.reading, unit.verified, unit.items) = (unit.reading + 1, false, None);
        Wanted { items: std::iter::once(end..u64::MAX).collect(), after: reached.map(str::to_owned) }
    }
}

impl Owned {
    fn next(&mut self) -> Next {
        let fence = Fence { unit: self.claim.unit, epoch: self.claim.epoch };
        let contiguous = self.acknowledged.contiguous();
        if self.done {
            Next::Nothing
        } else if self.verified && self.items == Some(contiguous) {
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
        assert_eq!(tracker.take_on(claim, Some(10), &ledger).items, [2..4, 6..10]);
        let fence = Fence { unit: 3, epoch: 7 };
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 2, to: 4 }), Next::Nothing);
        assert_eq!(tracker.verified(3, 0, 10), Next::Nothing);
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 6, to: 10 }), Next::Finish(fence, 10));
        tracker.finished(3);
        assert_eq!(tracker.open(), 0);
        assert_eq!(tracker.forget(3, &[5..8, 9..20], None).items, [5..8, 9..20]);
        assert_eq!(tracker.open(), 1);
        assert_eq!(tracker.believed()[0].1, ranges(&[0..5, 8..9]));
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 5, to: 8 }), Next::Nothing);
        assert_eq!(tracker.acknowledge(Span { unit: 3, from: 9, to: 10 }), Next::Finish(fence, 10));
    }

    #[test]
    fn a_live_unit_ends_where_its_reading_ends_and_is_read_anew_after_a_loss() {
        let mut tracker = Tracker::default();
        let claim = Claim { unit: 3, epoch: 7, before: 1 };
        let ledger = UnitLedger { watermark: 20, reached: Some("there".into()), ..UnitLedger::default() };
        let wanted = tracker.take_on(claim, None, &ledger);
        assert_eq!(wanted, Wanted { items: std::iter::once(20..u64::MAX).collect(), after: Some("there".into()) });
        tracker.acknowledge(Span { unit: 3, from: 20, to: 30 });
        assert_eq!(tracker.verified(3, 0, 40), Next::Nothing);
        let wanted = tracker.forget(3, std::slice::from_ref(&(25..30)), Some("here"));
        assert_eq!(wanted, Wanted { items: std::iter::once(25..u64::MAX).collect(), after: Some("here".into()) });
        assert_eq!((tracker.reading(3), tracker.contiguous(3)), (Some(1), 25));
        assert_eq!(tracker.verified(3, 0, 25), Next::Nothing, "the end of a void reading is no end");
        let fence = Fence { unit: 3, epoch: 7 };
        assert_eq!(tracker.verified(3, 1, 25), Next::Finish(fence, 25));
    }

    #[test]
    fn the_ledger_is_folded_now_and_then() {
        let mut tracker = Tracker::default();
        tracker.take_on(Claim { unit: 0, epoch: 1, before: 0 }, Some(1000), &UnitLedger::default());
        let folds = (0..256).filter(|at| {
            matches!(tracker.acknowledge(Span { unit: 0, from: *at, to: at + 1 }), Next::Fold(_, to) if to == at + 1)
        });
        assert_eq!(folds.count(), 2);
    }
}
