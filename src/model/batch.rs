//! A batch: what one page became, until it is durable. And what its transaction must prove and record.

use super::counts::{Canary, Counts, KeyCell};
use super::page::{Page, Span, UnitId};
use super::reject::Reject;
use super::rows::{CellRef, Rows};
use std::ops::Bound;

/// The rows and rejects of one page. The page stays until the batch is durable, so that a reject quotes its exact item.
#[derive(Debug)]
pub struct Batch {
    /// The page.
    pub page: Page,
    /// Rows by target table, in the mapping's order.
    pub tables: Vec<TableRows>,
    /// Items that cannot be stored.
    pub rejects: Vec<Reject>,
    /// Items that no table takes and that the mapping says to skip.
    pub skipped: u64,
    /// Where the rows come from.
    pub feed: Feed,
    /// What its page takes away, when its lines are changes: then its rows replace what is there.
    pub changes: Option<Changes>,
}

/// What a page of changes does beside putting rows. Of several changes of one key only the last is in the batch.
#[derive(Debug, Default)]
pub struct Changes {
    /// Keys of rows that must not be there any more, by target table: rows of the key's cells and no others, except that of
    /// items that stay items a last cell holds the key as a JSON object. No key is among the batch's rows of the same table.
    pub removals: Vec<TableRows>,
    /// Changes that are deletes.
    pub removed: u64,
    /// Changes that a later one of the same key and page has overtaken.
    pub superseded: u64,
}

/// Where a batch's rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// From its page, whose items count as read.
    Page,
    /// From sorted runs: the items were read before, their lines are not at hand, and the page is empty.
    Runs(Stretch),
}

/// The part of a table's keys that a batch from sorted runs stands for: it has all rows there are between its ends, which
/// are sort keys. The stretches of a piece follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The table, in the mapping's order.
    pub table: usize,
    /// Where it begins.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub to: Bound<Vec<u8>>,
}

/// One table's rows and the order in which to write them.
#[derive(Debug, Default)]
pub struct TableRows {
    /// The rows, in the order of the page.
    pub rows: Rows,
    /// Row numbers sorted by target key, all distinct keys; those of a page of changes without the rows that a later change
    /// has overtaken. Of narrow rows in the order of the page: they are sorted with those of other pages, and their twins found.
    pub order: Vec<u32>,
    /// The key's columns.
    pub key: Vec<usize>,
}

impl TableRows {
    /// The key cells of a row.
    pub fn key_of(&self, row: u32) -> impl Iterator<Item = CellRef<'_>> {
        self.key.iter().map(move |column| self.rows.cell(row as usize, *column))
    }
}

impl Batch {
    /// Bytes of memory held: the page and its rows.
    #[must_use]
    pub fn memory(&self) -> usize {
        let removals = self.changes.iter().flat_map(|changes| &changes.removals);
        let rows: usize =
            self.tables.iter().chain(removals).map(|table| table.rows.memory() + table.order.capacity() * 4).sum();
        self.page.bytes.capacity() + rows
    }

    /// The unit and the position of the item that gave a row.
    #[must_use]
    pub fn item_of(&self, table: usize, row: u32) -> (UnitId, u64) {
        let rows = &self.tables[table].rows;
        (rows.unit(row as usize, self.page.span.unit), rows.position(row as usize))
    }

    /// The line of the item at `position`, exactly as it was read; empty when the rows come from sorted runs.
    #[must_use]
    pub fn line(&self, position: u64) -> &[u8] {
        self.page.lines().find(|(at, _)| *at == position).map(|(_, line)| line).unwrap_or_default()
    }

    /// The key of a row that was written, to be looked for later: of the first table that has rows, the first of which
    /// `left_out` does not say that it was not.
    #[must_use]
    pub fn canary(&self, left_out: impl Fn(usize, u32) -> bool) -> Option<Canary> {
        let (table, rows) = self.tables.iter().enumerate().find(|(_, table)| !table.order.is_empty())?;
        let row = rows.order.iter().find(|row| !left_out(table, **row))?;
        let key = rows.key_of(*row).map(KeyCell::of);
        Some(Canary { table, key: key.collect::<Option<_>>()?, at: 0 })
    }

    /// The counts if every row is newly written: the start for a sink, which moves present and refused rows.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new(self.tables.len());
        match self.feed {
            Feed::Page => counts.read = self.page.span.items(),
            Feed::Runs(_) => counts.loaded = self.tables.iter().map(|table| table.rows.len() as u64).sum(),
        }
        counts.bytes = self.page.bytes.len() as u64;
        counts.half_units = self.page.half_units;
        counts.skipped = self.skipped;
        if let Some(changes) = &self.changes {
            (counts.removed, counts.superseded) = (changes.removed, changes.superseded);
        }
        for (table, outcomes) in self.tables.iter().zip(&mut counts.tables) {
            outcomes.written = table.order.len() as u64;
        }
        for reject in &self.rejects {
            match reject.table {
                Some(table) => counts.tables[table].rejected += 1,
                None => counts.rejected += 1,
            }
        }
        counts
    }
}

/// What a data transaction must prove: this process still owns the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The unit.
    pub unit: UnitId,
    /// The epoch of the claim.
    pub epoch: u64,
}

/// What a data transaction proves and records, beside its rows.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// The claim that must still hold.
    pub fence: Fence,
    /// The span that becomes durable.
    pub span: Span,
    /// The ledger must end where the span begins: pages of a live unit leave no gap that could not be read again.
    pub in_order: bool,
}
