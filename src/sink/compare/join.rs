//! The join of two sides that both come in key order: which keys are on one side only, and which differ.

use super::page::Page;
use crate::compare::narrow::Narrow;
use crate::error::{Error, Result};
use crate::model::batch::Batch;
use crate::model::counts::{Compared, Digest, KeyCell};
use crate::model::difference::{Candidate, Kind};
use crate::model::page::UnitId;
use crate::model::rows::CellRef;
use crate::sink::scan::ScannedTable;
use crate::spill::key::{self, KeyKind};
use std::cmp::Ordering;

/// Candidates that are kept in memory: more become durable before the rest of their span is compared.
pub(super) const CANDIDATES_MAX: usize = 4096;

/// One table of the target.
pub(super) struct Side {
    pub(super) stored: ScannedTable,
    /// The key's columns in a whole row.
    pub(super) key: Vec<usize>,
    pub(super) kinds: Vec<KeyKind>,
    /// Which of them hold text.
    pub(super) texts: Vec<bool>,
    /// What the server is asked of a range, if it is asked.
    pub(super) asked: Option<Asked>,
}

/// What a server is asked of a range of its rows: made of a table and its conditions.
pub(super) type Asked = Box<dyn Fn(&str) -> String + Send + Sync>;

/// What was found of one stretch.
pub(super) struct Found {
    pub(super) table: usize,
    pub(super) compared: Compared,
    pub(super) candidates: Vec<Candidate>,
    /// What the server should say of the source's rows.
    pub(super) range_digest: Digest,
    digests: Vec<Digest>,
    /// Whether an item is found again by its unit and position.
    repeatable: bool,
}

impl Found {
    /// Nothing yet: the source's rows are those of `batch`.
    pub(super) fn new(table: usize, batch: &Batch, narrow: &Narrow, repeatable: bool) -> Self {
        let rows = &batch.tables[table].rows;
        let digests: Vec<Digest> = (0..rows.len()).map(|row| narrow.digest(table, rows, row)).collect();
        let mut compared = Compared { source: rows.len() as u64, ..Compared::default() };
        digests.iter().for_each(|digest| compared.source_digest.add(*digest));
        let range_digest = narrow.range_digest(table, rows).unwrap_or(compared.source_digest);
        Found { table, compared, candidates: Vec::new(), range_digest, digests, repeatable }
    }

    /// The target has what the source has, as far as anybody has looked.
    pub(super) fn all_agree(&mut self) {
        self.compared.target = self.compared.source;
        self.compared.equal = self.compared.source;
        self.compared.target_digest = self.compared.source_digest;
    }

    pub(super) fn take_candidates(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.candidates)
    }

    fn add(&mut self, kind: Kind, key: Vec<KeyCell>, origin: Option<(UnitId, u64)>) {
        let origin = origin.filter(|_| self.repeatable);
        match kind {
            Kind::Missing => self.compared.missing += 1,
            Kind::Extra => self.compared.extra += 1,
            Kind::Different => self.compared.different += 1,
        }
        self.candidates.push(Candidate { table: self.table, key, kind, origin });
    }
}

/// A join that is under way.
pub(super) struct Join<'b> {
    batch: &'b Batch,
    side: &'b Side,
    table: usize,
    /// The source's rows that no row of the target has met yet.
    left: &'b [u32],
    /// The sort key of the first of them.
    next: Vec<u8>,
}

impl<'b> Join<'b> {
    /// Of all the batch's rows.
    pub(super) fn new(batch: &'b Batch, side: &'b Side, table: usize) -> Self {
        Join::of(batch, side, table, &batch.tables[table].order)
    }

    /// Of some of the batch's rows, in key order.
    pub(super) fn of(batch: &'b Batch, side: &'b Side, table: usize, rows: &'b [u32]) -> Self {
        let mut join = Join { batch, side, table, left: rows, next: Vec::new() };
        join.look();
        join
    }

    fn look(&mut self) {
        self.next.clear();
        if let Some(row) = self.left.first() {
            key::encode(self.batch.tables[self.table].key_of(*row), &self.side.kinds, &mut self.next);
        }
    }

    fn pass(&mut self) -> Option<u32> {
        let (row, rest) = self.left.split_first()?;
        self.left = rest;
        self.look();
        Some(*row)
    }

    /// The next of the target's rows.
    pub(super) fn stored(&mut self, page: &Page, row: usize, found: &mut Found) -> Result<()> {
        found.compared.target += 1;
        found.compared.walked += 1;
        let digest = page.digests.get(row).copied();
        found.compared.target_digest.add(digest.unwrap_or_default());
        loop {
            let order = if self.left.is_empty() { Ordering::Greater } else { self.next.as_slice().cmp(page.key(row)) };
            match order {
                Ordering::Less => self.is_missing(found)?,
                Ordering::Equal => {
                    let Some(own) = self.pass() else { return Ok(()) };
                    // without a digest only keys are compared
                    let is_same = digest.is_none_or(|digest| digest == found.digests[own as usize]);
                    if is_same {
                        found.compared.equal += 1;
                    } else {
                        let key = key_of(self.batch.tables[self.table].key_of(own))?;
                        found.add(Kind::Different, key, Some(self.batch.item_of(self.table, own)));
                    }
                    return Ok(());
                }
                Ordering::Greater => {
                    let key = key::decode(page.key(row), &self.side.kinds, &self.side.texts);
                    let key = key.ok_or_else(|| Error::refused("the target has a row without a key"))?;
                    found.add(Kind::Extra, key, None);
                    return Ok(());
                }
            }
        }
    }

    /// The target has no more rows.
    pub(super) fn rest(mut self, found: &mut Found) -> Result<()> {
        while !self.left.is_empty() {
            self.is_missing(found)?;
        }
        Ok(())
    }

    fn is_missing(&mut self, found: &mut Found) -> Result<()> {
        if let Some(row) = self.pass() {
            let key = key_of(self.batch.tables[self.table].key_of(row))?;
            found.add(Kind::Missing, key, Some(self.batch.item_of(self.table, row)));
        }
        Ok(())
    }
}

/// A row's key, to be kept.
pub(super) fn key_of<'c>(cells: impl Iterator<Item = CellRef<'c>>) -> Result<Vec<KeyCell>> {
    cells.map(KeyCell::of).collect::<Option<_>>().ok_or_else(|| Error::internal("a key has a cell that no key has"))
}
