//! A sample of a source: pages from many units, and what they say of the whole.

use serde::Serialize;

/// What was read, and what it says of the whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The DynamoDB table.
    pub table: String,
    /// Whether it was a live table, rather than an export.
    pub live: bool,
    /// Data files or segments that something was read of.
    pub units: u64,
    /// Those that were read to their end.
    pub units_ended: u64,
    /// Data files that hold items, or segments.
    pub units_in_all: u64,
    /// Items read.
    pub items: u64,
    /// Bytes of them as DynamoDB counts (names and values, without the 100 bytes that storage bills).
    pub item_bytes: u64,
    /// Bytes of their DynamoDB JSON lines.
    pub line_bytes: u64,
    /// Read units that it took.
    pub read_units: f64,
    /// What decided which units were read.
    pub seed: u64,
    /// What it says of the whole.
    pub whole: Whole,
    /// How unevenly items lie in units.
    pub skew: Skew,
}

/// What the sample says of all of the source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Whole {
    /// Items.
    pub items: u64,
    /// Whether that is counted, rather than estimated.
    pub items_exact: bool,
    /// Whether every item was in the sample.
    pub complete: bool,
    /// Bytes as DynamoDB counts.
    pub item_bytes: u64,
    /// Bytes of DynamoDB JSON lines.
    pub line_bytes: u64,
    /// What they were estimated from, in words.
    pub basis: String,
}

/// How unevenly items lie in units: of an export in all, of a live table in those that were read to their end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Skew {
    /// Units whose items are known.
    pub units: u64,
    /// Items of the largest.
    pub largest: u64,
    /// Items of the middle one.
    pub median: u64,
    /// The name of the largest.
    pub largest_name: String,
}
