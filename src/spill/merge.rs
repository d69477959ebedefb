//! The rows of a key range from all runs, in key order.

use super::Fault;
use super::pieces::KeyRange;
use super::run::Run;
use crate::model::rows::Rows;
use std::sync::Arc;

/// A merge that is under way. Holds about one block of each run in memory.
#[derive(Debug)]
pub struct Merge;

impl Merge {
    /// Begins at the start of `range` of the keys of `table`.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when a block is damaged; `Twins`.
    pub fn new(runs: &[Arc<Run>], table: usize, range: KeyRange<'_>) -> Result<Merge, Fault> {
        todo!()
    }

    /// Appends rows in key order to `rows`, with their origins, until there are `rows_max` more or they pass `bytes_max`
    /// bytes: at least one, unless none is left. Gives their number, 0 at the end; the sort key of the last is put into
    /// `last`, which is left alone when there is none.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when a block is damaged; `Twins` when two rows have one key. Then `rows` may have some
    /// rows of the merge, all true, and the merge is to be dropped.
    pub fn next(
        &mut self,
        rows: &mut Rows,
        rows_max: usize,
        bytes_max: usize,
        last: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        todo!()
    }
}
