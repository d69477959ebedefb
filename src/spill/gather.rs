//! Batches gather in memory until they are enough to be sorted, and loaded or written as one run.
//!
//! A row is encoded once, as its batch is packed, and copied from there into a block or into rows. Only small entries are
//! sorted. Memory is a record for each row, about as large as its values, and 16 bytes.

use super::key::{self, KeyKind};
use super::record::{self, Record};
use super::sort::{self, Entry};
use super::write::{Compression, RunWriter};
use super::{Fault, Origin, RunInfo};
use crate::error::{Error, Result};
use crate::model::batch::{Batch, TableRows};
use crate::model::page::UnitId;
use crate::model::rows::Rows;
use std::path::Path;

/// The rows of one batch, encoded: the part of the work that needs no lock.
#[derive(Debug, Default)]
pub struct Packed {
    tables: Vec<Chunk>,
}

/// Records of one table, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    rows: usize,
    /// The first record's key, as far as all of the chunk begin like it.
    prefix: Vec<u8>,
}

/// The rows of many batches.
#[derive(Debug)]
pub struct Gathered {
    tables: Vec<Vec<Chunk>>,
    bytes: usize,
}

/// Gathered rows, sorted by table and key.
#[derive(Debug)]
pub struct Sorted {
    tables: Vec<SortedTable>,
}

#[derive(Debug)]
struct SortedTable {
    chunks: Vec<Chunk>,
    order: Vec<Entry>,
}

impl Packed {
    /// Encodes all rows of `batch`. `kinds` has the kinds of each table's key columns, in the order of the key.
    #[must_use]
    pub fn new(batch: &Batch, kinds: &[Vec<KeyKind>]) -> Packed {
        let unit = batch.page.span.unit;
        Packed { tables: batch.tables.iter().zip(kinds).map(|(table, kinds)| Chunk::new(table, unit, kinds)).collect() }
    }

    /// Bytes of memory that the rows hold, and that sorting will add.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(Chunk::memory).sum()
    }
}

impl Chunk {
    fn new(table: &TableRows, unit: UnitId, kinds: &[KeyKind]) -> Self {
        let rows = &table.rows;
        let mut chunk = Chunk { bytes: Vec::with_capacity(rows.memory()), rows: rows.len(), prefix: Vec::new() };
        let mut key = Vec::new();
        let mut places = vec![None; rows.columns()];
        for (at, row) in table.order.iter().enumerate() {
            key.clear();
            table.key.iter().for_each(|column| places[*column] = None);
            key::encode_noting(table.key_of(*row), kinds, &mut key, |at, start| places[table.key[at]] = Some(start));
            if at == 0 {
                chunk.prefix.extend_from_slice(&key);
            } else if !key.starts_with(&chunk.prefix) {
                chunk.prefix.truncate(key::common(&chunk.prefix, &key));
            }
            let row = *row as usize;
            let origin = Origin { unit: rows.unit(row, unit), position: rows.position(row) };
            record::append(&key, origin, rows.row(row).zip(places.iter().copied()), &mut chunk.bytes);
        }
        chunk.bytes.shrink_to_fit();
        chunk
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.rows * size_of::<Entry>()
    }

    /// What the keys of all its records begin with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// How many records it has.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The record at `at`.
    pub(super) fn record(&self, at: u32) -> Option<Record<'_>> {
        Record::first(self.bytes.get(at as usize..)?)
    }
}

impl Gathered {
    /// Nothing yet, of `tables` tables.
    #[must_use]
    pub fn new(tables: usize) -> Gathered {
        Gathered { tables: (0..tables).map(|_| Vec::new()).collect(), bytes: 0 }
    }

    /// Adds a batch: cheap, whatever its size.
    pub fn add(&mut self, packed: Packed) {
        for (chunks, chunk) in self.tables.iter_mut().zip(packed.tables) {
            if chunk.rows > 0 {
                self.bytes += chunk.memory();
                chunks.push(chunk);
            }
        }
    }

    /// Bytes of memory that the rows hold, and that sorting will add.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows there are, of all tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.iter().flatten().map(|chunk| chunk.rows).sum()
    }

    /// Sorts.
    ///
    /// # Errors
    /// `Twins` when two rows have one key.
    pub fn sort(self) -> Result<Sorted, Fault> {
        let sorted = self.tables.into_iter().enumerate().map(|(table, chunks)| {
            let order = sort::sort(table, &chunks)?;
            Ok(SortedTable { chunks, order })
        });
        Ok(Sorted { tables: sorted.collect::<Result<_, Fault>>()? })
    }
}

impl SortedTable {
    fn records(&self, from: usize) -> impl Iterator<Item = Result<Record<'_>>> {
        let order = self.order.get(from..).unwrap_or_default();
        order.iter().map(|entry| entry.record(&self.chunks))
    }
}

impl Sorted {
    /// How many rows there are of `table`.
    #[must_use]
    pub fn rows(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, |table| table.order.len())
    }

    /// Appends rows of `table` in key order, beginning with row `from` of that order, until there are `rows_max` or they
    /// pass `bytes_max` bytes: at least one, unless none is left. Gives their number. For a load without a file.
    ///
    /// # Errors
    /// `Internal`: `rows` has not the table's columns.
    pub fn append(
        &self,
        table: usize,
        from: usize,
        rows: &mut Rows,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<usize> {
        let (mut count, mut bytes) = (0, 0);
        let Some(table) = self.tables.get(table) else { return Ok(0) };
        for record in table.records(from).take(rows_max) {
            let record = record?;
            record.append_to(rows).ok_or_else(|| Error::internal("a gathered row has not its table's columns"))?;
            count += 1;
            bytes += record.bytes.len();
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(count)
    }

    /// Writes all rows as the run `name` in the folder `dir`: a file that has this name is whole and durable. A file of
    /// this name is replaced. `room` is the number of bytes that it may take; [`Compression`] says what that costs.
    ///
    /// # Errors
    /// `Blocked` when the disk is full or `room` too small, `Config` when the folder cannot be used; no file is left.
    pub fn write(&self, dir: &Path, name: &str, compression: Compression, room: Option<u64>) -> Result<RunInfo> {
        let mut writer = RunWriter::create(dir, name, compression, room)?;
        for table in &self.tables {
            for record in table.records(0) {
                writer.push(&record?)?;
            }
            writer.end_table()?;
        }
        writer.finish()
    }
}
