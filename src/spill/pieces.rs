//! The key range of a table, cut into pieces of about as many rows.

use super::run::Run;
use std::ops::Bound;
use std::sync::Arc;

/// One piece of a table's key range: the keys from `from` up to, but without, `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first key; none for the first piece.
    pub from: Option<Vec<u8>>,
    /// The key at which the next piece begins; none for the last.
    pub to: Option<Vec<u8>>,
    /// About how many rows: wrong by no more than a block of each run.
    pub rows: u64,
}

/// A range of sort keys, as [`Merge::new`](super::merge::Merge::new) takes it.
pub type KeyRange<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

impl Piece {
    /// The whole piece, or what of it comes after the key `last`.
    #[must_use]
    pub fn range<'k>(&'k self, last: Option<&'k [u8]>) -> KeyRange<'k> {
        todo!()
    }
}

/// Cuts the keys of `table` in all `runs` into pieces of about `rows` rows each: disjoint, in key order, and together all
/// keys there can be. None at all when no run has a row of the table. The same runs give the same pieces.
#[must_use]
pub fn cut(runs: &[Arc<Run>], table: usize, rows: u64) -> Vec<Piece> {
    todo!()
}
