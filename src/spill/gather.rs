//! Batches gather in memory until they are sorted, and loaded or written as one run.

use super::key::KeyKind;
use super::{Fault, RunInfo};
use crate::model::batch::Batch;
use crate::model::rows::Rows;
use std::path::Path;

/// The rows of one batch, encoded: the part of the work that needs no lock.
#[derive(Debug)]
pub struct Packed;

/// The rows of many batches.
#[derive(Debug)]
pub struct Gathered;

/// Gathered rows, sorted by table and key.
#[derive(Debug)]
pub struct Sorted;

impl Packed {
    /// Encodes all rows of `batch`. `kinds` has the kinds of each table's key columns.
    #[must_use]
    pub fn new(batch: &Batch, kinds: &[Vec<KeyKind>]) -> Packed {
        todo!()
    }
}

impl Gathered {
    /// Nothing yet, of `tables` tables.
    #[must_use]
    pub fn new(tables: usize) -> Gathered {
        todo!()
    }

    /// Adds a batch: cheap, whatever its size.
    pub fn add(&mut self, packed: Packed) {
        todo!()
    }

    /// Bytes of memory that the rows hold, and that sorting will add.
    #[must_use]
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// Sorts.
    ///
    /// # Errors
    /// `Twins` when two rows have one key.
    pub fn sort(self) -> Result<Sorted, Fault> {
        todo!()
    }
}

impl Sorted {
    /// How many rows there are of `table`.
    #[must_use]
    pub fn rows(&self, table: usize) -> usize {
        todo!()
    }

    /// Appends rows of `table` in key order, beginning with row `from` of that order, until there are `rows_max` or they
    /// pass `bytes_max`: at least one, unless none is left. Gives their number. For a load without a file.
    ///
    /// # Errors
    /// `Internal`.
    pub fn append(
        &self,
        table: usize,
        from: usize,
        rows: &mut Rows,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<usize, Fault> {
        todo!()
    }

    /// Writes all rows as the run `name` in the folder `dir`: a file that has this name is whole and durable. A file of
    /// this name is replaced. `room` is the number of bytes that it may take.
    ///
    /// # Errors
    /// `Blocked` when the disk is full or `room` too small, `Config` when the folder cannot be used; no file is left.
    pub fn write(&self, dir: &Path, name: &str, room: Option<u64>) -> Result<RunInfo, Fault> {
        todo!()
    }
}
