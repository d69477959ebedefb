//! The key range of a table, cut into pieces of about as many rows.
//!
//! Each block's first key says where its rows begin, so the blocks of all runs together tell how many rows lie between any
//! two keys, exact to a block of each run. However skewed the keys are, the pieces are even.

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
    /// About how many rows: wrong by no more than a block of each run at either end.
    pub rows: u64,
}

/// A range of sort keys, as [`Merge::new`](super::merge::Merge::new) takes it.
pub type KeyRange<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

impl Piece {
    /// The whole piece, or what of it comes after the key `last`.
    #[must_use]
    pub fn range<'k>(&'k self, last: Option<&'k [u8]>) -> KeyRange<'k> {
        let from = match (last, &self.from) {
            (Some(last), _) => Bound::Excluded(last),
            (None, Some(from)) => Bound::Included(from.as_slice()),
            (None, None) => Bound::Unbounded,
        };
        (from, self.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// Cuts the keys of `table` in all `runs` into pieces of about `rows` rows each: disjoint, in key order, and together all
/// keys there can be. None at all when no run has a row of the table. The same runs give the same pieces.
#[must_use]
pub fn cut(runs: &[Arc<Run>], table: usize, rows: u64) -> Vec<Piece> {
    let indexes = runs.iter().filter_map(|run| run.index(table));
    let mut blocks: Vec<(&[u8], u32)> = indexes
        .flat_map(|index| index.blocks().iter().enumerate().map(|(at, block)| (index.first_key(at), block.rows)))
        .collect();
    blocks.sort_unstable();
    let Some((first, _)) = blocks.first() else { return Vec::new() };
    let mut pieces = Vec::new();
    let mut piece = Piece { from: None, to: None, rows: 0 };
    let mut begins: &[u8] = first;
    for (key, count) in blocks {
        if piece.rows >= rows && key > begins {
            let next = Piece { from: Some(key.to_vec()), to: None, rows: 0 };
            piece.to = Some(key.to_vec());
            pieces.push(std::mem::replace(&mut piece, next));
            begins = key;
        }
        piece.rows += u64::from(count);
    }
    pieces.push(piece);
    pieces
}
