//! How far behind the readers are: lag, distance to the horizon, and whether all are caught up. Pure: times are arguments.

use super::capture::KEPT;
use crate::model::page::UnitId;
use crate::report::StreamUsage;
use std::collections::{BTreeMap, BTreeSet};

/// A shard that had nothing more so few seconds ago has nothing now: it is asked about once a second. Later the readers
/// are held up, and it is behind since then.
const QUIET: u64 = 60;

/// A shard that had nothing more so few seconds ago is one that the reader is abreast of.
const ABREAST: u64 = 5;

/// What the readers of all lineages tell of themselves.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Open shards, by lineage and id.
    shards: BTreeMap<(UnitId, String), Seen>,
    /// Lineages that are caught up, or at their end.
    caught_up: BTreeSet<UnitId>,
    /// Lineages of which all is read that was made before the moment up to which one follows.
    passed: BTreeSet<UnitId>,
    /// Lineages of which a shard has ended, and what continues it is not read yet.
    awaiting: BTreeSet<UnitId>,
    /// Lineages that were opened.
    opened: BTreeSet<UnitId>,
    /// By lineage: how many changes were handed out.
    ends: BTreeMap<UnitId, u64>,
    ended: u64,
    records: u64,
}

/// What is known of a shard that is being read; times in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// All of it that was made before has been read.
    pub(super) since: u64,
    /// Until when the stream keeps what comes next.
    pub(super) until: u64,
    /// Whether there may be more to read at once.
    pub(super) behind: bool,
}

impl Seen {
    fn is_behind(&self, now: u64) -> bool {
        self.behind || now.saturating_sub(self.since) > QUIET
    }

    fn lag(&self, now: u64) -> u64 {
        if self.is_behind(now) { now.saturating_sub(self.since) } else { 0 }
    }

    fn left(&self, now: u64) -> u64 {
        if self.is_behind(now) { self.until.saturating_sub(now) } else { KEPT }
    }
}

impl Watch {
    /// A shard is being read.
    pub(super) fn reads(&mut self, unit: UnitId, shard: &str, seen: Seen) {
        self.shards.insert((unit, shard.to_owned()), seen);
    }

    /// So many records came.
    pub(super) fn records(&mut self, unit: UnitId, records: u64) {
        self.records += records;
        if records > 0 {
            self.caught_up.remove(&unit);
        }
    }

    /// A lineage has handed out so many changes.
    pub(super) fn hands_out(&mut self, unit: UnitId, end: u64) {
        self.ends.insert(unit, end);
    }

    /// Whether something continues a shard of the lineage that has ended, and is not known yet.
    pub(super) fn awaits(&mut self, unit: UnitId, awaits: bool) {
        if awaits {
            self.awaiting.insert(unit);
        } else {
            self.awaiting.remove(&unit);
        }
    }

    /// A shard was read to its end.
    pub(super) fn ends(&mut self, unit: UnitId, shard: &str) {
        self.awaiting.insert(unit);
        self.shards.remove(&(unit, shard.to_owned()));
        self.caught_up.remove(&unit);
        self.ended += 1;
    }

    /// A lineage is opened, at what an earlier reading had or before it.
    pub(super) fn opens(&mut self, unit: UnitId) {
        self.shards.retain(|(of, _), _| *of != unit);
        self.caught_up.remove(&unit);
        self.passed.remove(&unit);
        self.ends.remove(&unit);
        self.opened.insert(unit);
        self.awaiting.insert(unit);
    }

    /// A lineage has nothing more to read.
    pub(super) fn catches_up(&mut self, unit: UnitId) {
        self.caught_up.insert(unit);
    }

    /// Of a lineage all is read that was made before the moment up to which one follows; more of it may come still.
    pub(super) fn passes(&mut self, unit: UnitId) {
        self.passed.insert(unit);
    }

    /// Whether so many lineages are caught up, or have passed the moment up to which one follows.
    pub(super) fn are_caught_up(&self, lineages: usize) -> bool {
        self.caught_up.union(&self.passed).count() >= lineages
    }

    /// The figures at `now`.
    pub(super) fn usage(&self, now: u64, lineages: usize) -> StreamUsage {
        let nearest = self.shards.iter().min_by_key(|(_, seen)| seen.left(now));
        StreamUsage {
            shards: self.shards.len() as u64,
            shards_ended: self.ended,
            records: self.records,
            lag_seconds: self.shards.values().map(|seen| seen.lag(now)).max().unwrap_or(0),
            horizon_seconds: nearest.map_or(KEPT, |(_, seen)| seen.left(now)),
            nearest_shard: nearest.map(|((_, shard), _)| shard.clone()),
            caught_up: self.are_caught_up(lineages),
            abreast: self.are_abreast(now, lineages),
            asked_seconds: self.shards.values().map(|seen| now.saturating_sub(seen.since)).max().unwrap_or(0),
            ends: self.ends.clone(),
        }
    }

    /// Whether all lineages are open, and each of their shards was found to have nothing more a moment ago.
    fn are_abreast(&self, now: u64, lineages: usize) -> bool {
        let is_abreast = |seen: &Seen| !seen.behind && now.saturating_sub(seen.since) <= ABREAST;
        self.opened.len() >= lineages && self.awaiting.is_empty() && self.shards.values().all(is_abreast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(since: u64, behind: bool) -> Seen {
        Seen { since, until: since + KEPT, behind }
    }

    #[test]
    fn lag_and_horizon_are_those_of_the_shard_that_is_furthest_behind() {
        let mut watch = Watch::default();
        watch.reads(0, "a", at(1000, true));
        watch.reads(1, "b", at(4000, true));
        watch.reads(1, "c", at(4570, false));
        let usage = watch.usage(4600, 2);
        assert_eq!((usage.shards, usage.lag_seconds, usage.horizon_seconds), (3, 3600, 23 * 3600));
        assert_eq!(usage.nearest_shard.as_deref(), Some("a"));
        watch.ends(0, "a");
        assert_eq!(watch.usage(4600, 2).lag_seconds, 600);
        watch.reads(1, "b", at(4600, false));
        let usage = watch.usage(4601, 2);
        assert_eq!((usage.lag_seconds, usage.horizon_seconds, usage.shards_ended), (0, KEPT, 1));
    }

    #[test]
    fn a_shard_that_had_nothing_more_is_behind_when_it_is_not_asked_any_more() {
        let mut watch = Watch::default();
        watch.reads(0, "a", at(1000, false));
        assert_eq!(watch.usage(1060, 1).lag_seconds, 0);
        let usage = watch.usage(1000 + 7200, 1);
        assert_eq!((usage.lag_seconds, usage.horizon_seconds), (7200, KEPT - 7200));
    }

    #[test]
    fn what_has_no_number_is_kept_for_a_shorter_time() {
        let mut watch = Watch::default();
        watch.reads(0, "a", Seen { since: 1000, until: 1000 + 7200, behind: true });
        watch.reads(1, "b", at(900, true));
        let usage = watch.usage(1000, 2);
        assert_eq!((usage.lag_seconds, usage.horizon_seconds), (100, 7200));
        assert_eq!(usage.nearest_shard.as_deref(), Some("a"));
        assert_eq!(watch.usage(9000, 2).horizon_seconds, 0);
    }

    #[test]
    fn a_reader_is_abreast_when_every_shard_was_empty_a_moment_ago_and_nothing_is_awaited() {
        let mut watch = Watch::default();
        watch.opens(0);
        watch.reads(0, "a", at(1000, false));
        assert!(!watch.usage(1000, 1).abreast, "what continues an earlier shard may not be known");
        watch.awaits(0, false);
        assert!(watch.usage(1000 + ABREAST, 1).abreast);
        assert!(!watch.usage(1001 + ABREAST, 1).abreast, "too long ago");
        assert!(!watch.usage(1000, 2).abreast, "a lineage is not open");
        watch.reads(0, "b", at(1000, true));
        assert!(!watch.usage(1000, 1).abreast, "there may be more");
        watch.ends(0, "b");
        assert!(!watch.usage(1000, 1).abreast, "its child is awaited");
        watch.awaits(0, false);
        watch.hands_out(0, 7);
        assert!(watch.usage(1000, 1).abreast && watch.usage(1000, 1).ends == [(0, 7)].into());
    }

    #[test]
    fn all_are_caught_up_until_one_reads_again() {
        let mut watch = Watch::default();
        watch.catches_up(0);
        assert!(!watch.are_caught_up(2));
        watch.catches_up(1);
        assert!(watch.are_caught_up(2));
        watch.records(0, 3);
        assert!(!watch.are_caught_up(2) && watch.usage(0, 2).records == 3);
        watch.catches_up(0);
        watch.opens(1);
        assert!(!watch.are_caught_up(2));
    }

    #[test]
    fn a_lineage_that_has_passed_a_moment_has_passed_it_whatever_comes_until_it_is_read_anew() {
        let mut watch = Watch::default();
        watch.passes(0);
        watch.records(0, 3);
        watch.ends(0, "a");
        assert!(watch.are_caught_up(1) && !watch.are_caught_up(2));
        watch.catches_up(1);
        assert!(watch.are_caught_up(2));
        watch.opens(0);
        assert!(!watch.are_caught_up(2));
    }
}
