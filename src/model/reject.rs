//! A bad item is a value with a reason, never an error.

use super::page::UnitId;
use serde::Serialize;

/// How the reason of a row begins that the server refused. What follows may quote the value.
pub const REFUSED_BY_SERVER: &str = "the server refused the row: ";

/// Why one item is not in the target. The item itself is quoted from the page when the reject is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The unit, where it is not that of the batch's page: a row of a sorted run may be of any.
    pub unit: Option<UnitId>,
    /// The item's position in its unit, from zero.
    pub position: u64,
    /// The target table, by index into the mapping's tables; none when no table was chosen.
    pub table: Option<usize>,
    /// The column that cannot take its value.
    pub column: Option<String>,
    /// What is wrong, without the value.
    pub reason: String,
}

/// What has become of a run's rejects since. Together they are all that the run rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RejectStates {
    /// A retry wrote its row.
    pub written: u64,
    /// A retry found a row with its key, and left it.
    pub present: u64,
    /// A retry found that a live writer has removed it since, and left it so.
    pub tombstoned: u64,
    /// The mapping of a retry says to skip it.
    pub skipped: u64,
    /// Somebody answers for it.
    pub signed_off: u64,
    /// None of these: somebody has to look.
    pub open: u64,
}

impl RejectStates {
    /// All rejects.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.settled() + self.signed_off + self.open
    }

    /// Those that are rejects no more.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.written + self.present + self.tombstoned + self.skipped
    }
}
