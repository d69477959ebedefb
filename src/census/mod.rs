//! What items look like: counted, mergeable, in bounded memory whatever they hold. Pure.

use serde::Serialize;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Census {
    /// Items.
    pub items: u64,
    /// Bytes of the largest, as DynamoDB counts.
    pub largest_item: u64,
}
