//! The order of gathered records: entries are sorted, records stay where they are.
//!
//! An entry has eight bytes of its record's key, taken after what all keys begin with, so that nearly all comparisons are
//! of integers that lie side by side. Records that agree in them are then sorted among themselves by their whole keys.

use super::gather::Chunk;
use super::record::Record;
use super::{Fault, Twins, key};
use crate::error::{Error, Result};

/// A record's place, and the eight bytes of its key that differ first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    head: u64,
    chunk: u32,
    at: u32,
}

impl Entry {
    /// Its record.
    pub(super) fn record<'c>(&self, chunks: &'c [Chunk]) -> Result<Record<'c>> {
        let record = chunks.get(self.chunk as usize).and_then(|chunk| chunk.record(self.at));
        record.ok_or_else(|| Error::internal("a gathered row is not where it was put"))
    }

    /// Its record's key; empty when there is none, which [`Entry::record`] will say.
    fn key<'c>(&self, chunks: &'c [Chunk]) -> &'c [u8] {
        self.record(chunks).map_or(&[], |record| record.key)
    }
}

/// An entry for each record of `chunks`, which are all of `table`, in key order.
///
/// # Errors
/// `Twins` when two have one key.
pub(super) fn sort(table: usize, chunks: &[Chunk]) -> Result<Vec<Entry>, Fault> {
    let skip = skip(chunks);
    let mut entries = Vec::with_capacity(chunks.iter().map(Chunk::rows).sum());
    for (number, chunk) in (0..).zip(chunks) {
        let mut at = 0;
        for _ in 0..chunk.rows() {
            let record = chunk.record(at).ok_or_else(|| Error::internal("a gathered row is not where it was put"))?;
            entries.push(Entry { head: key::head(record.key, skip), chunk: number, at });
            // a chunk has the rows of one page, whose arena is below 4 GiB; if it were not, the next record is not found
            at = at.saturating_add(u32::try_from(record.bytes.len()).unwrap_or(u32::MAX));
        }
    }
    entries.sort_unstable_by_key(|entry| entry.head);
    for alike in entries.chunk_by_mut(|a, b| a.head == b.head).filter(|alike| alike.len() > 1) {
        alike.sort_unstable_by(|a, b| a.key(chunks).cmp(b.key(chunks)));
        if let Some(pair) = alike.windows(2).find(|pair| pair[0].key(chunks) == pair[1].key(chunks)) {
            return Err(twins(table, pair[0].record(chunks)?, pair[1].record(chunks)?));
        }
    }
    Ok(entries)
}

/// How many bytes the keys of all chunks have in common at their beginning.
fn skip(chunks: &[Chunk]) -> usize {
    let Some((first, others)) = chunks.split_first() else { return 0 };
    others.iter().map(|chunk| key::common(first.prefix(), chunk.prefix())).min().unwrap_or(first.prefix().len())
}

/// Two records of one key.
pub(super) fn twins(table: usize, first: Record<'_>, second: Record<'_>) -> Fault {
    match (first.origin(), second.origin()) {
        (Some(first), Some(second)) => Fault::Twins(Twins { table, first, second }),
        _ => Fault::Failed(Error::internal("two rows of one key do not say where they are from")),
    }
}
