//! A capture: where following a stream begins, fixed before the table is read. Pure; kept with the run as JSON.
//!
//! Promises: every change made after the capture began is in what it covers. Its *lineages* are the leaves of the shard
//! tree, open or not, each with all that will continue it: what is written after the listing goes to a leaf of it, to a
//! descendant of one, or to a shard that the listing lacked although its sibling was there ([`Capture::heir_of`]). A leaf
//! begins with the first sequence number of its shard, so a capture covers earlier changes too, those of the open shards:
//! hours at most, since shards are rolled over. LATEST would be no position: nothing keeps it for longer than an iterator
//! lives, and TRIM_HORIZON moves silently past what was trimmed, which a sequence number does not.

use super::hand_over::HandOver;
use super::tree::Tree;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where in a shard reading goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The sequence number of the last record that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// The shard's first sequence number, while none was read; none where a server does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// In seconds since 1970: when that record was made; of a shard of which none was read, a time before its first record
    /// that is not long before: that of the capture, or when all was read that its parent had.
    pub since: u64,
}

/// Where following begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The stream's ARN.
    pub stream: String,
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// The first shard of each lineage, in the order of units.
    pub lineages: Vec<Root>,
    /// Shards that are not read, since all of them is older, each with the lineage that inherits what may still turn up
    /// as their children.
    pub passed: BTreeMap<String, u32>,
    /// Where it joins on to a copy that was made without a capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOver>,
    /// There: which shard each of the others continues. By the time that they are read some of them may be forgotten, and
    /// what continues them must be found all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub continues: BTreeMap<String, String>,
}

/// The first shard of a lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its id.
    pub shard: String,
    /// Where reading begins.
    pub position: Position,
}

/// For how long a stream keeps a change, in seconds.
pub const KEPT: u64 = 24 * 3600;

/// For so long, in seconds, nothing is trimmed that comes after a place that is no change's: a captured shard, which is read
/// from its first change, may have been open for some four hours before the capture; and of the oldest change that is kept
/// nobody could tell whether another was the oldest.
pub const PLACE_KEPT: u64 = KEPT * 5 / 6;

impl Capture {
    /// Until when, in seconds since 1970, the stream keeps what comes at this position in a shard.
    #[must_use]
    pub fn kept_until(&self, shard: &str, position: &Position) -> u64 {
        let is_change = position.read.is_some() || position.start.is_some() && !self.knows(shard);
        position.since + if is_change { KEPT } else { PLACE_KEPT }
    }

    /// Captures the leaves of a listing that was complete before `now`.
    ///
    /// # Errors
    /// `Config` for a stream without shards; `Corrupt` for one whose shards continue each other in a circle.
    pub fn of_leaves(stream: &str, tree: &Tree, now: u64) -> Result<Capture> {
        Capture::of(stream, tree, now, |id| !tree.is_continued(id))
    }

    /// Captures all that a listing holds: each shard whose parent it lacks, with all that continues it.
    ///
    /// # Errors
    /// As [`Capture::of_leaves`].
    pub fn of_horizon(stream: &str, tree: &Tree, now: u64) -> Result<Capture> {
        let is_root = |id: &str| tree.ancestors(id).next().is_none();
        let mut capture = Capture::of(stream, tree, now, is_root)?;
        // what they lack already is not asked for
        capture.lineages.iter_mut().for_each(|root| root.position.start = None);
        Ok(Capture { passed: BTreeMap::new(), ..capture })
    }

    /// Captures all that a listing holds, to join on to a copy: what lies before the hand-over is in the target.
    ///
    /// # Errors
    /// As [`Capture::of_leaves`].
    pub fn joining(stream: &str, tree: &Tree, now: u64, hand_over: HandOver) -> Result<Capture> {
        let mut capture = Capture::of_horizon(stream, tree, now)?;
        capture.lineages.iter_mut().for_each(|root| root.position.since = hand_over.from);
        let parent = |(id, shard): (&str, &super::tree::Shard)| {
            let parent = shard.parent.as_ref().filter(|parent| tree.get(parent).is_some())?;
            Some((id.to_owned(), parent.clone()))
        };
        capture.continues = tree.iter().filter_map(parent).collect();
        Ok(Capture { hand_over: Some(hand_over), ..capture })
    }

    fn of(stream: &str, tree: &Tree, now: u64, is_root: impl Fn(&str) -> bool) -> Result<Capture> {
        let roots: Vec<_> = tree.iter().filter(|(id, _)| is_root(id)).collect();
        let mut passed = BTreeMap::new();
        for (unit, (id, _)) in (0_u32..).zip(&roots) {
            for ancestor in tree.ancestors(id) {
                passed.entry(ancestor.to_owned()).or_insert(unit);
            }
        }
        if tree.is_empty() {
            return Err(Error::config(format!("stream {stream} has no shard yet: wait a moment, then try again")));
        }
        if roots.is_empty() {
            return Err(Error::corrupt(format!("the shards of stream {stream} continue each other in a circle")));
        }
        let root = |(id, shard): &(&str, &super::tree::Shard)| Root {
            shard: (*id).to_owned(),
            position: Position { read: None, start: shard.start.clone(), since: now },
        };
        let lineages = roots.iter().map(root).collect();
        Ok(Capture {
            stream: stream.to_owned(),
            taken: now,
            lineages,
            passed,
            hand_over: None,
            continues: BTreeMap::new(),
        })
    }

    /// Whether the capture knows the shard already, as one to be read or one that is not.
    #[must_use]
    pub fn knows(&self, shard: &str) -> bool {
        self.passed.contains_key(shard) || self.lineages.iter().any(|root| root.shard == shard)
    }

    /// Which lineage a child of this shard belongs to that was not listed beside its siblings: it is younger than the
    /// capture or open at that moment, so it must be read, and everybody must agree by whom.
    #[must_use]
    pub fn heir_of(&self, shard: &str) -> Option<u32> {
        self.passed.get(shard).copied()
    }

    /// The text that is kept with the run.
    ///
    /// # Errors
    /// None that could happen: it holds text and numbers.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::internal("writing a capture").because(error))
    }

    /// Reads the text that was kept with a run.
    ///
    /// # Errors
    /// `Internal` when it is none.
    pub fn parse(text: &str) -> Result<Capture> {
        serde_json::from_str(text).map_err(|error| Error::internal("the run's capture is not readable").because(error))
    }
}
