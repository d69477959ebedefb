//! What a copy takes and costs, from what the sample says of the whole.

use serde::Serialize;

/// What a copy takes and costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {}
