//! Exports for tests, benches and trying things out: seeded, in the layout AWS uses, of any size.
//!
//! Tests and benches include this folder with `#[path]`; it needs nothing of the engine, so that what it makes is an
//! independent witness. [`export::write`] writes a tree and says what it wrote; [`items::Items`] makes any item alone.

pub(crate) mod awkward;
pub(crate) mod awkward_values;
pub(crate) mod export;
pub(crate) mod items;
pub(crate) mod orders;
pub(crate) mod random;
pub(crate) mod rng;
pub(crate) mod shapes;
pub(crate) mod single_table;
pub(crate) mod value;
