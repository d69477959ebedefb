//! What a verification finds: a key of a target table at which source and target do not agree.

use super::counts::KeyCell;
use super::page::UnitId;
use serde::{Deserialize, Serialize};

/// How source and target disagree about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The source has an item, the target no row.
    Missing,
    /// The target has a row, the source no item.
    Extra,
    /// Both are there and are not the same.
    Different,
}

/// A key at which source and target seemed to disagree when they were compared. It is a difference only once it was seen
/// again: either side may have been written to in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The target table, in the mapping's order.
    pub table: usize,
    /// The target key's cells, in the key's order.
    pub key: Vec<KeyCell>,
    /// How they disagreed.
    pub kind: Kind,
    /// The item, of a repeatable source; none for extras.
    pub origin: Option<(UnitId, u64)>,
}

/// What became of a candidate when it was looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Not looked at yet.
    Open,
    /// Source and target agree after all.
    Settled,
    /// They disagree, again and again, and nobody wrote to either meanwhile.
    Confirmed,
    /// One of them was written to at every look, so nothing can be said.
    Unsettled,
    /// The target has no row because a run rejected the item, and holds the reject.
    Rejected,
    /// It was a difference, and was mended.
    Repaired,
}
