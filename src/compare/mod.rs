//! Whether two rows are one: what the mapping made of an item, and what the target holds. Pure.
//!
//! A row is compared by its *canonical cells*, which are the same for every spelling of one value and differ whenever two
//! values do:
//! - a number of a decimal column by its value: `1.50` is `1.5`, and the 38th digit counts;
//! - DynamoDB JSON by the item it spells: sets have no order, numbers are decimals, members have no order;
//! - plain JSON by its values: members have no order, lists do, numbers are exact, so that one which a server has rounded
//!   is another one;
//! - everything else as it is: text to the last byte (space, case, composition), bytes, integers, doubles, booleans as 0
//!   and 1, dates as the mapping writes them. NULL is not empty.
//!
//! A row's *digest* is 128 bits of the SHA-256 of its canonical cells. The room must not know where rows come from.

use crate::mapping::{ColumnType, JsonText, Mapping};
use crate::model::canonical::write_canonical;
use crate::model::counts::Digest;
use crate::model::decode::Decoder;
use crate::model::rows::{CellRef, Rows};
use sha2::{Digest as _, Sha256};

mod decimal;
pub mod narrow;
mod plain;
pub mod server;
#[cfg(test)]
mod tests;

/// How the cells of a column are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As they are.
    Exact,
    /// As decimal numbers.
    Decimal,
    /// As JSON.
    Json(JsonText),
}

/// Compares rows of the tables of one mapping. Holds scratch space: one for each thread.
pub struct Comparison {
    forms: Vec<Vec<Form>>,
    scratch: Scratch,
    left: Vec<u8>,
    right: Vec<u8>,
}

#[derive(Default)]
struct Scratch {
    decoder: Decoder,
    line: Vec<u8>,
}

/// What a canonical cell begins with.
#[derive(Clone, Copy)]
enum Tag {
    Null,
    Int,
    Double,
    Text,
    Bytes,
    Decimal,
    /// An item, or an attribute's value.
    Item,
    Plain,
}

impl Comparison {
    /// For the tables of `mapping`.
    #[must_use]
    pub fn new(mapping: &Mapping) -> Self {
        let form = |table: usize, column: usize, ty: ColumnType| match (mapping.json_text(table, column), ty) {
            (Some(text), _) => Form::Json(text),
            (None, ColumnType::Decimal { .. }) => Form::Decimal,
            _ => Form::Exact,
        };
        let tables = mapping.tables().iter().enumerate();
        let forms = tables.map(|(table, target)| {
            target.columns.iter().enumerate().map(|(column, found)| form(table, column, found.ty)).collect()
        });
        Comparison { forms: forms.collect(), scratch: Scratch::default(), left: Vec::new(), right: Vec::new() }
    }

    /// The digest of row `row` of `rows`, which are of the mapping's table `table`, with all its columns in its order.
    pub fn digest(&mut self, table: usize, rows: &Rows, row: usize) -> Digest {
        let Comparison { forms, scratch, left, .. } = self;
        left.clear();
        for (form, cell) in forms.get(table).into_iter().flatten().zip(rows.row(row)) {
            write_cell(*form, cell, scratch, left);
        }
        let hash = Sha256::digest(&left);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Digest::from(bytes)
    }

    /// The columns in which two rows of table `table` differ, as indexes into its columns; each row is given by its rows
    /// and its number among them.
    pub fn differing(&mut self, table: usize, mapped: (&Rows, usize), stored: (&Rows, usize)) -> Vec<usize> {
        let Comparison { forms, scratch, left, right } = self;
        let forms = forms.get(table).map(Vec::as_slice).unwrap_or_default();
        let cells = forms.iter().zip(mapped.0.row(mapped.1).zip(stored.0.row(stored.1))).enumerate();
        let differ = cells.filter(|(_, (form, (mapped, stored)))| {
            if mapped == stored {
                return false;
            }
            left.clear();
            write_cell(**form, *mapped, scratch, left);
            right.clear();
            write_cell(**form, *stored, scratch, right);
            left != right
        });
        differ.map(|(column, _)| column).collect()
    }
}

/// Appends a canonical cell: its tag, its length and what it holds, so that cells cannot run into each other.
fn write_cell(form: Form, cell: CellRef<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 5]);
    let tag = match (form, cell) {
        (_, CellRef::Null) => Tag::Null,
        (_, CellRef::Int(value)) => {
            out.extend_from_slice(&value.to_be_bytes());
            Tag::Int
        }
        (_, CellRef::Double(value)) => {
            // a zero has two signs and one value
            let value = if value == 0.0 { 0.0 } else { value };
            out.extend_from_slice(&value.to_bits().to_be_bytes());
            Tag::Double
        }
        (Form::Decimal, CellRef::Text(text)) if decimal::write(text, out) => Tag::Decimal,
        (Form::Json(json), CellRef::Text(text)) => write_json(json, text, scratch, out),
        (_, CellRef::Text(text)) => {
            out.extend_from_slice(text);
            Tag::Text
        }
        (_, CellRef::Bytes(bytes)) => {
            out.extend_from_slice(bytes);
            Tag::Bytes
        }
    };
    // rows in memory are below 4 GiB
    let length = u32::try_from(out.len() - start - 5).unwrap_or(u32::MAX);
    out[start] = tag as u8;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

/// Appends what a JSON text means. One that is not what the column should hold is compared by its plain values, and one
/// that is no JSON at all as it is: neither is ever like an item.
fn write_json(json: JsonText, text: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) -> Tag {
    let around: Option<(&[u8], &[u8])> = match json {
        JsonText::Item => Some((b"{\"Item\":", b"}")),
        JsonText::Value => Some((b"{\"Item\":{\"v\":", b"}}")),
        JsonText::Plain => None,
    };
    if let Some((before, after)) = around {
        let Scratch { decoder, line } = scratch;
        line.clear();
        for part in [before, text, after] {
            line.extend_from_slice(part);
        }
        if decoder.decode(line, |item| write_canonical(item, out)).is_ok() {
            return Tag::Item;
        }
    }
    if plain::write(text, out) {
        return Tag::Plain;
    }
    out.extend_from_slice(text);
    Tag::Text
}
