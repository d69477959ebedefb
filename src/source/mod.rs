//! Where items come from: units that can be read apart, each a sequence of items with fixed positions.

use crate::error::Result;
use crate::model::page::{Page, Unit, UnitId};
use std::ops::Range;

pub mod dynamodb_export;

/// What a source is, for the run's fingerprint and the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The DynamoDB table's name.
    pub table: String,
    /// The identity that must not change between a run and its resume: for an export its ARN and a digest of its manifest.
    pub identity: String,
    /// Every unit with items, in the source's order.
    pub units: Vec<Unit>,
    /// Items in all units, as the source declares.
    pub items: u64,
}

/// A source of items. Reads are repeatable: the same positions give the same items.
pub trait Source: Send + Sync {
    /// What it is.
    fn description(&self) -> &Description;

    /// Opens a unit to read the items at `wanted` (ascending, disjoint, not empty). Blocks. Nothing of a unit is
    /// handed out before its integrity has been proved.
    ///
    /// # Errors
    /// `Corrupt` names the unit and what is wrong with it; `Transient` when it could not be read after retries.
    fn open(&self, unit: UnitId, wanted: &[Range<u64>]) -> Result<Box<dyn UnitReader>>;

    /// Requests that had to be made again so far.
    fn retries(&self) -> u64;
}

/// Reads one unit, page by page.
pub trait UnitReader: Send {
    /// The next page, or none when all that was wanted has been handed out and the unit's end has been checked.
    /// A page never spans the end of a wanted range. Blocks.
    ///
    /// # Errors
    /// `Corrupt` with the unit's name and the position reached.
    fn next(&mut self) -> Result<Option<Page>>;
}
