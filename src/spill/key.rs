//! The sort key of a row: bytes that compare as its key cells do.

use crate::model::rows::CellRef;

/// How the cells of a key column compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// As [`Rows::compare`](crate::model::rows::Rows::compare) has it: integers as numbers, text and bytes as bytes.
    AsIs,
    /// Text that is a decimal number, for a numeric column: as numbers. Two spellings of one number are one key.
    Decimal,
}

/// Appends the sort key of one row: its key cells in the order of the key, with a kind for each.
pub fn encode<'a>(cells: impl Iterator<Item = CellRef<'a>>, kinds: &[KeyKind], out: &mut Vec<u8>) {
    todo!()
}
