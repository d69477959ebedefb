//! From a census to a mapping file: a type for each attribute that a later item is unlikely to break, and the rest into
//! the lossless `rest` column. Pure.
//!
//! In two steps, since kinds of items are told apart by the census of all and then looked at one by one:
//! [`kind::kinds`], a census of each kind, [`kind::refined`], [`Draft::new`]. Whoever has the items then maps them by
//! [`Draft::text`] and lets [`Draft::leave_out`] what rejects one: a mapping is proved, not believed.

mod column;
mod draft;
pub mod evidence;
mod fit;
pub mod kind;
mod naming;
#[cfg(test)]
mod tests;
mod write;

pub use draft::{Draft, Facts};

use serde::Serialize;

/// A mapping, as it was inferred and proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferredMapping {
    /// The mapping file, TOML with the evidence as comments; it loads as it is.
    pub text: String,
    /// Its tables, in the file's order.
    pub tables: Vec<InferredTable>,
    /// Sampled items that were mapped by it.
    pub proved: u64,
    /// How many of them it rejects: those that are no items at all.
    pub rejected: u64,
    /// What an engineer should know of it.
    pub notes: Vec<String>,
}

/// A table of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InferredTable {
    /// Its name.
    pub name: String,
    /// Sampled items that became its rows.
    pub items: u64,
}
