//! One run's rows of a key range, one after the other, with one block in memory.

use super::index::TableIndex;
use super::pieces::KeyRange;
use super::record::Record;
use super::run::Run;
use crate::error::{Error, Result};
use std::ops::{Bound, Range};
use std::sync::Arc;

/// Stands on a row.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Arc<Run>,
    table: usize,
    /// The block that comes after the one in `raw`.
    next_block: usize,
    raw: Vec<u8>,
    /// Where the row's record and its key lie in `raw`.
    record: Range<usize>,
    key: Range<usize>,
    /// Whether the whole block lies before the end of the range, so that its rows need not be asked.
    is_inside: bool,
}

impl Cursor {
    /// The first row of `range`; none when the run has none there. `stored` is room to work in.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    pub(super) fn new(
        run: &Arc<Run>,
        table: usize,
        range: KeyRange<'_>,
        stored: &mut Vec<u8>,
    ) -> Result<Option<Cursor>> {
        let Some(index) = run.index(table) else { return Ok(None) };
        let (start, end) = range;
        let next_block = match start {
            Bound::Unbounded => 0,
            // the block before the first that begins behind the key is where the key would be
            Bound::Included(key) | Bound::Excluded(key) => first_block_behind(index, key).saturating_sub(1),
        };
        let (run, raw) = (Arc::clone(run), Vec::new());
        let mut cursor = Cursor { run, table, next_block, raw, record: 0..0, key: 0..0, is_inside: false };
        while cursor.advance(end, stored)? {
            let is_reached = match start {
                Bound::Unbounded => true,
                Bound::Included(start) => cursor.key() >= start,
                Bound::Excluded(start) => cursor.key() > start,
            };
            if is_reached {
                return Ok(Some(cursor));
            }
        }
        Ok(None)
    }

    /// The row's key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.raw[self.key.clone()]
    }

    /// The row.
    ///
    /// # Errors
    /// `Corrupt`, naming the file: cannot happen, since its block was proved.
    pub(super) fn record(&self) -> Result<Record<'_>> {
        Record::first(&self.raw[self.record.clone()]).ok_or_else(|| self.run.nonsense())
    }

    /// The last key that the run has of the table.
    pub(super) fn last_key(&self) -> &[u8] {
        self.run.index(self.table).map_or(&[], TableIndex::last_key)
    }

    /// The error of a row that its own block denies.
    pub(super) fn nonsense(&self) -> Error {
        self.run.nonsense()
    }

    /// Goes on to the next row before `end`. False when there is none; then the cursor is of no more use.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    #[inline]
    pub(super) fn advance(&mut self, end: Bound<&[u8]>, stored: &mut Vec<u8>) -> Result<bool> {
        if self.record.end == self.raw.len() && !self.next(end, stored)? {
            return Ok(false);
        }
        let start = self.record.end;
        let record = Record::first(&self.raw[start..]).ok_or_else(|| self.run.nonsense())?;
        let key = record.key_range();
        self.record = start..start + record.bytes.len();
        self.key = start + key.start..start + key.end;
        Ok(self.is_inside || is_before(self.key(), end))
    }

    /// Reads the next block, unless there is none that begins before `end`.
    fn next(&mut self, end: Bound<&[u8]>, stored: &mut Vec<u8>) -> Result<bool> {
        let Some(index) = self.run.index(self.table) else { return Ok(false) };
        let Some(block) = index.blocks().get(self.next_block) else { return Ok(false) };
        if !is_before(index.first_key(self.next_block), end) {
            return Ok(false);
        }
        self.run.read(block, stored, &mut self.raw)?;
        self.next_block += 1;
        self.record = 0..0;
        let is_last = self.next_block == index.blocks().len();
        self.is_inside = is_before(if is_last { index.last_key() } else { index.first_key(self.next_block) }, end);
        Ok(true)
    }
}

/// The first block of which all keys are greater than `key`; the number of blocks when there is none.
fn first_block_behind(index: &TableIndex, key: &[u8]) -> usize {
    let (mut low, mut high) = (0, index.blocks().len());
    while low < high {
        let middle = low + (high - low) / 2;
        if index.first_key(middle) <= key { low = middle + 1 } else { high = middle }
    }
    low
}

fn is_before(key: &[u8], end: Bound<&[u8]>) -> bool {
    match end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
    }
}
