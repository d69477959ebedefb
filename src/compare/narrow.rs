//! Narrow rows: a row's key and digests, which is all that is kept of it until it is compared.
//!
//! Cells: those of the key in its order, then 16 bytes of the digest that rows are compared by, unless only keys are, and
//! then 16 bytes of the one that ranges are compared by, if that is another.

use super::Comparison;
use super::server::ServerText;
use crate::mapping::Mapping;
use crate::model::counts::Digest;
use crate::model::rows::{CellRef, Rows};
use std::sync::Arc;

/// What a narrow row has beside its key.
#[derive(Clone, Debug)]
pub enum Digests {
    /// Nothing.
    None,
    /// The digest of its canonical cells.
    Canonical,
    /// By table, the digest that the server computes as well; where it cannot, that of the canonical cells. For a source
    /// that spells a value in one way always, as what was made of it does.
    Server(Vec<Option<ServerText>>),
    /// Both: what the server computes tells of ranges, and canonical cells of rows.
    Both(Vec<Option<ServerText>>),
}

/// Makes rows of a mapping's tables narrow.
pub struct Narrow {
    mapping: Arc<Mapping>,
    digests: Digests,
}

/// Digests rows; holds scratch space: one for each thread.
pub struct Digester<'n> {
    narrow: &'n Narrow,
    comparison: Comparison,
    text: Vec<u8>,
}

impl Narrow {
    /// For the tables of `mapping`.
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, digests: Digests) -> Self {
        Narrow { mapping, digests }
    }

    /// How items become the rows that are made narrow.
    #[must_use]
    pub fn mapping(&self) -> Arc<Mapping> {
        Arc::clone(&self.mapping)
    }

    /// Cells of a narrow row of a table.
    #[must_use]
    pub fn columns(&self, table: usize) -> usize {
        let digests = match self.digests {
            Digests::None => 0,
            Digests::Canonical | Digests::Server(_) => 1,
            Digests::Both(_) => 2,
        };
        self.key(table).len() + digests
    }

    fn key(&self, table: usize) -> &[usize] {
        self.mapping.tables().get(table).map(|table| table.key.as_slice()).unwrap_or_default()
    }

    /// What the server computes of a table's rows, where their digest is one that it can compute.
    #[must_use]
    pub fn server(&self, table: usize) -> Option<&ServerText> {
        match &self.digests {
            Digests::Server(texts) | Digests::Both(texts) => texts.get(table)?.as_ref(),
            Digests::None | Digests::Canonical => None,
        }
    }

    /// Digests whole rows.
    #[must_use]
    pub fn digester(&self) -> Digester<'_> {
        Digester { narrow: self, comparison: Comparison::new(&self.mapping), text: Vec::new() }
    }

    /// The digest of a narrow row of table `table`, by which it is compared with another row.
    #[must_use]
    pub fn digest(&self, table: usize, rows: &Rows, row: usize) -> Digest {
        digest_at(self.key(table).len(), rows, row)
    }

    /// What the server should say of all of some narrow rows of table `table` together; none where that is the digest of
    /// the same digests that they are compared by.
    #[must_use]
    pub fn range_digest(&self, table: usize, rows: &Rows) -> Option<Digest> {
        let Digests::Both(_) = self.digests else { return None };
        let column = self.key(table).len() + 1;
        let mut all = Digest::default();
        (0..rows.len()).for_each(|row| all.add(digest_at(column, rows, row)));
        Some(all)
    }
}

impl Digester<'_> {
    /// The digest of a whole row of table `table`, by which it is compared with another row.
    pub fn digest(&mut self, table: usize, rows: &Rows, row: usize) -> Digest {
        match self.narrow.digests {
            Digests::Server(_) => self.range_digest(table, rows, row),
            _ => self.comparison.digest(table, rows, row),
        }
    }

    /// The digest of a whole row that counts among those of its range.
    fn range_digest(&mut self, table: usize, rows: &Rows, row: usize) -> Digest {
        let server = self.narrow.server(table);
        let digest = server.and_then(|server| server.digest(rows.row(row), &mut self.text));
        digest.unwrap_or_else(|| self.comparison.digest(table, rows, row))
    }

    /// The rows of table `table`, narrow, in their order.
    #[must_use]
    pub fn narrow(&mut self, table: usize, rows: &Rows) -> Rows {
        let Narrow { digests, .. } = self.narrow;
        let mut narrow = Rows::with_capacity(self.narrow.columns(table), rows.len(), rows.len() * 64);
        for row in 0..rows.len() {
            for column in self.narrow.key(table) {
                narrow.cell_of(rows.cell(row, *column));
            }
            if !matches!(digests, Digests::None) {
                narrow.cell_of(CellRef::Bytes(&self.digest(table, rows, row).bytes()));
            }
            if matches!(digests, Digests::Both(_)) {
                narrow.cell_of(CellRef::Bytes(&self.range_digest(table, rows, row).bytes()));
            }
            narrow.end_row(rows.position(row));
        }
        narrow
    }
}

fn digest_at(column: usize, rows: &Rows, row: usize) -> Digest {
    match rows.row(row).nth(column) {
        Some(CellRef::Bytes(bytes)) => <[u8; 16]>::try_from(bytes).map(Digest::from).unwrap_or_default(),
        _ => Digest::default(),
    }
}
