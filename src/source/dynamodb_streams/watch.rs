//! How far behind the readers are: lag, distance to the horizon, and whether all are caught up. Pure: times are arguments.

use crate::model::page::UnitId;
use crate::report::StreamUsage;
use std::collections::{BTreeMap, BTreeSet};

/// For how long a stream keeps a change, in seconds.
pub(super) const KEPT: u64 = 24 * 3600;

/// What the readers of all lineages tell of themselves.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Open shards, by lineage and id.
    shards: BTreeMap<(UnitId, String), Seen>,
    /// Lineages that are caught up, or at their end.
    caught_up: BTreeSet<UnitId>,
    ended: u64,
    records: u64,
}

/// What is known of a shard that is being read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When the last record read was made, or the shard was met.
    since: u64,
    /// Whether there may be more to read at once.
    behind: bool,
}

impl Watch {
    /// A shard is being read: its last record was made then, and perhaps more is there.
    pub(super) fn reads(&mut self, unit: UnitId, shard: &str, since: u64, behind: bool) {
        self.shards.insert((unit, shard.to_owned()), Seen { since, behind });
    }

    /// So many records came.
    pub(super) fn records(&mut self, unit: UnitId, records: u64) {
        self.records += records;
        if records > 0 {
            self.caught_up.remove(&unit);
        }
    }

    /// A shard was read to its end.
    pub(super) fn ends(&mut self, unit: UnitId, shard: &str) {
        self.shards.remove(&(unit, shard.to_owned()));
        self.caught_up.remove(&unit);
        self.ended += 1;
    }

    /// A lineage is opened, at what an earlier reading had or before it.
    pub(super) fn opens(&mut self, unit: UnitId) {
        self.shards.retain(|(of, _), _| *of != unit);
        self.caught_up.remove(&unit);
    }

    /// A lineage has nothing more to read.
    pub(super) fn catches_up(&mut self, unit: UnitId) {
        self.caught_up.insert(unit);
    }

    /// Whether so many lineages are caught up.
    pub(super) fn are_caught_up(&self, lineages: usize) -> bool {
        self.caught_up.len() >= lineages
    }

    /// The figures at `now`.
    pub(super) fn usage(&self, now: u64, lineages: usize) -> StreamUsage {
        let behind = self.shards.values().filter(|seen| seen.behind);
        let lag = behind.map(|seen| now.saturating_sub(seen.since)).max().unwrap_or(0);
        StreamUsage {
            shards: self.shards.len() as u64,
            shards_ended: self.ended,
            records: self.records,
            lag_seconds: lag,
            horizon_seconds: KEPT.saturating_sub(lag),
            caught_up: self.are_caught_up(lineages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_and_horizon_are_those_of_the_shard_that_is_furthest_behind() {
        let mut watch = Watch::default();
        watch.reads(0, "a", 1000, true);
        watch.reads(1, "b", 4000, true);
        watch.reads(1, "c", 10, false);
        let usage = watch.usage(4600, 2);
        assert_eq!((usage.shards, usage.lag_seconds, usage.horizon_seconds), (3, 3600, 23 * 3600));
        watch.ends(0, "a");
        assert_eq!(watch.usage(4600, 2).lag_seconds, 600);
        watch.reads(1, "b", 4000, false);
        let usage = watch.usage(1_000_000, 2);
        assert_eq!((usage.lag_seconds, usage.horizon_seconds, usage.shards_ended), (0, KEPT, 1));
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
}
