//! A bad item is a value with a reason, never an error.

use super::page::UnitId;

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
