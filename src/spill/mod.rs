//! Rows in any order in, rows in key order out: sorted runs on local disk, for a load that outgrows memory.
//!
//! 1. [`gather`]: batches are packed (in parallel), gather in memory and become one sorted run file with the rows of all
//!    target tables. A file that has its name is whole and durable.
//! 2. [`run`]: a run file, proved: every byte of it is under a checksum that the run's [`RunInfo`] vouches for.
//! 3. [`pieces`]: the key range of a table, cut into pieces of about as many rows by the block indexes of all runs.
//! 4. [`merge`]: the rows of a piece from all runs, in key order; it goes on after any key.
//! 5. [`key`]: what "key order" is: bytes that compare as the target stores its rows.
//!
//! The room promises that no row is lost, doubled or altered between 1 and 4: a damaged file gives an error, never a row,
//! and two rows of one key are reported, never merged. It must not know stores, sources, tasks or the clock; which runs
//! there are is the caller's memory.

use crate::error::{Error, ErrorKind};
use crate::model::page::UnitId;
use serde::{Deserialize, Serialize};

mod cursor;
pub mod dir;
pub mod gather;
mod index;
pub mod key;
pub mod merge;
pub mod pieces;
mod record;
pub mod run;
mod sort;
#[cfg(test)]
mod tests;
mod write;

pub use write::Compression;

/// What the caller remembers of a run: enough to find its file and to prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The file's name in the spill folder.
    pub name: String,
    /// The file's length.
    pub bytes: u64,
    /// CRC-32 of the file's index, which holds those of its blocks.
    pub checksum: u32,
    /// Rows by target table.
    pub rows: Vec<u64>,
}

/// The item that gave a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The unit.
    pub unit: UnitId,
    /// The item's position in it.
    pub position: u64,
}

/// Two rows of one table that have the same target key: the mapping's key is wrong, or an item was spilled twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twins {
    /// The target table, in the mapping's order.
    pub table: usize,
    /// One of the items.
    pub first: Origin,
    /// The other.
    pub second: Origin,
}

/// Why rows could not be sorted, written or merged.
#[derive(Debug)]
pub enum Fault {
    /// The world: disk, file, limit.
    Failed(Error),
    /// The rows. The caller knows what tables and units are called: see [`Twins::refused`].
    Twins(Twins),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Failed(error)
    }
}

impl Twins {
    /// The error that stops the run, where the table is called `table` and the units are `first` and `second`.
    #[must_use]
    pub fn refused(&self, table: &str, first: &str, second: &str) -> Error {
        let (a, b) = (self.first.position, self.second.position);
        if self.first == self.second {
            return Error::internal(format!("table {table}: item {a} of {first} is in the spilled runs twice"));
        }
        Error::new(
            ErrorKind::Refused,
            format!(
                "table {table}: item {a} of {first} and item {b} of {second} have the same target key, so one would \
                 replace the other; give the table's whole primary key (--key PARTITION:TYPE,SORT:TYPE), or mend the \
                 mapping's key"
            ),
        )
    }
}
