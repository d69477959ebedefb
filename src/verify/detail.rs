//! What is kept of a difference beside its key: which columns differ and, redacted unless they were asked for, the values.
//!
//! A redacted value is its type, its length in bytes and the beginning of its SHA-256: enough to see that one side is
//! longer, or that many rows have the same wrong value, and not to read it.

use super::sides::{Row, Seen};
use crate::mapping::Table;
use crate::model::counts::{Digest, KeyCell};
use crate::model::difference::Kind;
use crate::model::hex;
use crate::model::rows::CellRef;
use crate::sink::dynamodb::conditional::{Attributes, differing};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Bytes of a value's SHA-256 that are shown.
const SHOWN_BYTES: usize = 4;

/// What is noted of a difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The columns that differ, where there are two rows; the attributes, of two items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnDetail>,
    /// The one row, where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Value>,
    /// The digest of the row that mending was about to insert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inserted: Option<Digest>,
    /// Why it could not be mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One column that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDetail {
    /// Its name.
    pub column: String,
    /// What it should hold.
    pub source: Value,
    /// What it holds.
    pub target: Value,
}

impl Detail {
    /// Of what was seen in rows of `table`, or in items, if that is what its rows are; with values when `show_values` says so.
    #[must_use]
    pub fn of(seen: &Seen, table: &Table, is_items: bool, show_values: bool) -> Self {
        let show = |row: &Row, column: usize| shown(row.rows.cell(row.at, column), show_values);
        let whole = |row: &Row| match show_values {
            true => {
                let cell = |column: usize| (table.columns[column].name.clone(), show(row, column));
                Value::Object((0..table.columns.len()).map(cell).collect())
            }
            false => {
                let digest = hex::lower(&row.digest.bytes()[..SHOWN_BYTES]);
                json!({"type": "row", "length": row.rows.row_bytes(row.at), "sha256": digest})
            }
        };
        match (&seen.source, &seen.target) {
            (Some(source), Some(target)) if is_items => {
                Detail { columns: attributes(source, target, show_values), ..Detail::default() }
            }
            (Some(source), Some(target)) => Detail {
                columns: seen
                    .differing
                    .iter()
                    .map(|column| ColumnDetail {
                        column: table.columns[*column].name.clone(),
                        source: show(source, *column),
                        target: show(target, *column),
                    })
                    .collect(),
                ..Detail::default()
            },
            (Some(row), None) | (None, Some(row)) => Detail { row: Some(whole(row)), ..Detail::default() },
            (None, None) => Detail::default(),
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// As it was stored.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// The attributes in which two items differ, each item being the last cell of its row.
fn attributes(source: &Row, target: &Row, show_values: bool) -> Vec<ColumnDetail> {
    let item = |row: &Row| match row.rows.columns().checked_sub(1).map(|last| row.rows.cell(row.at, last)) {
        Some(CellRef::Text(item)) => serde_json::from_slice::<Attributes>(item).unwrap_or_default(),
        _ => Attributes::default(),
    };
    let (source, target) = (item(source), item(target));
    let shown = |item: &Attributes, name: &str| match item.get(name) {
        None if show_values => Value::Null,
        None => json!({"type": "absent"}),
        Some(value) if show_values => value.clone(),
        Some(value) => {
            let tag = value.as_object().and_then(|value| value.keys().next().cloned()).unwrap_or_default();
            redacted(&tag, value.to_string().as_bytes())
        }
    };
    let of_name = |name: &str| ColumnDetail {
        column: name.to_owned(),
        source: shown(&source, name),
        target: shown(&target, name),
    };
    differing(&source, &target).into_iter().map(of_name).collect()
}

/// What may be told of a value.
fn redacted(ty: &str, bytes: &[u8]) -> Value {
    let digest = hex::lower(&Sha256::digest(bytes)[..SHOWN_BYTES]);
    json!({"type": ty, "length": bytes.len(), "sha256": digest})
}

/// A cell, or what may be told of it.
fn shown(cell: CellRef<'_>, show_values: bool) -> Value {
    let (ty, bytes): (&str, Vec<u8>) = match cell {
        CellRef::Null => return if show_values { Value::Null } else { json!({"type": "null"}) },
        CellRef::Int(value) if show_values => return Value::from(value),
        CellRef::Int(value) => ("integer", value.to_string().into_bytes()),
        CellRef::Double(value) => ("double", value.to_string().into_bytes()),
        CellRef::Text(text) => ("text", text.to_vec()),
        CellRef::Bytes(bytes) => ("binary", bytes.to_vec()),
    };
    match (show_values, ty) {
        (true, "binary") => json!({"base64": STANDARD.encode(bytes)}),
        (true, _) => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
        (false, _) => redacted(ty, &bytes),
    }
}

/// A target key as JSON: its columns by name.
#[must_use]
pub fn key(table: &Table, key: &[KeyCell]) -> Value {
    let cell = |(column, cell): (&usize, &KeyCell)| {
        let value = match cell {
            KeyCell::Int(value) => Value::from(*value),
            KeyCell::Text(text) => Value::from(text.as_str()),
            KeyCell::Bytes(bytes) => json!({"base64": STANDARD.encode(bytes)}),
        };
        (table.columns[*column].name.clone(), value)
    };
    Value::Object(table.key.iter().zip(key).map(cell).collect::<Map<_, _>>())
}

/// The word for a kind.
#[must_use]
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Missing => "missing",
        Kind::Extra => "extra",
        Kind::Different => "different",
    }
}
