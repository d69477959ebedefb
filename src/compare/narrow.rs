//! Narrow rows: a row's key and digests, which is all that is kept of it until it is compared.
//!
//! Cells: those of the key in its order, then the digest (16 bytes), then the digest that a server can compute as well
//! (16 bytes): as many of them as the level needs.

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
    /// The digest.
    Own,
    /// The digest, and by table what the server computes from texts like these, if it can.
    Both(Vec<Option<ServerText>>),
}

/// Makes rows of a mapping's tables narrow.
pub struct Narrow {
    mapping: Arc<Mapping>,
    digests: Digests,
}

/// The digests of a narrow row, as far as it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowDigests {
    /// Of its canonical cells.
    pub own: Digest,
    /// Of its texts on the server.
    pub server: Digest,
}

impl Narrow {
    /// For the tables of `mapping`.
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, digests: Digests) -> Self {
        Narrow { mapping, digests }
    }

    /// Cells of a narrow row of a table.
    #[must_use]
    pub fn columns(&self, table: usize) -> usize {
        let digests = match self.digests {
            Digests::None => 0,
            Digests::Own => 1,
            Digests::Both(_) => 2,
        };
        self.key(table).len() + digests
    }

    fn key(&self, table: usize) -> &[usize] {
        self.mapping.tables().get(table).map(|table| table.key.as_slice()).unwrap_or_default()
    }

    /// Scratch space for a thread that narrows.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        Comparison::new(&self.mapping)
    }

    /// The rows of table `table`, narrow, in their order.
    #[must_use]
    pub fn narrow(&self, comparison: &mut Comparison, table: usize, rows: &Rows) -> Rows {
        let mut narrow = Rows::with_capacity(self.columns(table), rows.len(), rows.len() * 64);
        let mut text = Vec::new();
        for row in 0..rows.len() {
            for column in self.key(table) {
                narrow.cell_of(rows.cell(row, *column));
            }
            if !matches!(self.digests, Digests::None) {
                narrow.cell_of(CellRef::Bytes(&comparison.digest(table, rows, row).bytes()));
            }
            if let Digests::Both(texts) = &self.digests {
                let server = texts.get(table).and_then(Option::as_ref);
                let digest = server.map(|server| server.digest(rows.row(row), &mut text)).unwrap_or_default();
                narrow.cell_of(CellRef::Bytes(&digest.bytes()));
            }
            narrow.end_row(rows.position(row));
        }
        narrow
    }

    /// The digests of a narrow row of table `table`.
    #[must_use]
    pub fn digests(&self, table: usize, rows: &Rows, row: usize) -> RowDigests {
        let first = self.key(table).len();
        let digest = |column: usize| match rows.row(row).nth(column) {
            Some(CellRef::Bytes(bytes)) => <[u8; 16]>::try_from(bytes).map(Digest::from).unwrap_or_default(),
            _ => Digest::default(),
        };
        RowDigests { own: digest(first), server: digest(first + 1) }
    }
}
