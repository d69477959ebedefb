//! The digest of a row that a server computes as well: 128 bits of the SHA-256 of its columns' texts, as MySQL and MariaDB
//! print them.
//!
//! Both spellings of one definition stand here: as SQL, and as what is made of a row's cells. A column's text is itself and
//! a colon, behind its length in bytes and a colon where it could hold anything; of NULL it is `N`. A value of the
//! application's that is spelled in another way, such as a set in another order, has another digest, though it is the same
//! value: equal digests prove that rows agree, different ones say that somebody should look.

use crate::mapping::ddl::quote;
use crate::mapping::{ColumnType, Mapping};
use crate::model::counts::Digest;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use sha2::{Digest as _, Sha256};
use std::fmt::Arguments;
use std::io::Write as _;

mod json;

/// How a column's text comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// The value itself, behind its length.
    Any,
    /// A number or a date, which holds no colon at its end.
    Plain,
    /// A decimal, without the zeros that a column pads it with.
    Decimal,
    /// JSON that the server keeps parsed and prints in its own way.
    Json,
}

/// The texts of a table's columns on a server.
#[derive(Clone, Debug)]
pub struct ServerText {
    columns: Vec<Text>,
    sql: String,
    dialect: Dialect,
}

impl ServerText {
    /// For table `table` of `mapping` on a server of `dialect`. None where the server cannot compute what is wanted: SQLite
    /// has no such function, and a double has more spellings than one.
    #[must_use]
    pub fn new(mapping: &Mapping, table: usize, dialect: Dialect) -> Option<Self> {
        let target = mapping.tables().get(table)?;
        if dialect == Dialect::Sqlite {
            return None;
        }
        let (mut columns, mut parts) = (Vec::new(), Vec::new());
        for (index, column) in target.columns.iter().enumerate() {
            let name = quote(&column.name, dialect);
            let is_parsed = mapping.json_text(table, index).is_some() && dialect == Dialect::MySql;
            let (text, sql) = match column.ty {
                ColumnType::Double => return None,
                ColumnType::Decimal { scale, .. } => (Text::Decimal, decimal_sql(&name, scale)),
                ColumnType::Json if is_parsed => (Text::Json, format!("CAST({name} AS CHAR)")),
                ColumnType::BigInt
                | ColumnType::Int
                | ColumnType::Boolean
                | ColumnType::Date
                | ColumnType::DateTime => (Text::Plain, format!("CAST({name} AS CHAR)")),
                _ => (Text::Any, format!("LENGTH({name}), ':', {name}")),
            };
            columns.push(text);
            parts.push(match column.nullable {
                true => format!("IFNULL(CONCAT({sql}, ':'), 'N')"),
                false => format!("{sql}, ':'"),
            });
        }
        Some(ServerText { columns, sql: format!("SHA2(CONCAT({}), 256)", parts.join(", ")), dialect })
    }

    /// Two columns for a query that aggregates: how many rows, and the exclusive or of their digests in hex.
    #[must_use]
    pub fn aggregate(&self) -> String {
        match self.dialect {
            Dialect::MySql => format!("COUNT(*), LEFT(HEX(BIT_XOR(UNHEX({}))), 32)", self.sql),
            // MariaDB's BIT_XOR has 64 bits, so there are two. A variable for the digest would spare it half of the work, but
            // when it is read is the server's choice.
            _ => {
                let half = |from: u32| {
                    let digits = format!("SUBSTR({}, {from}, 16)", self.sql);
                    format!("LPAD(HEX(BIT_XOR(CAST(CONV({digits}, 16, 10) AS UNSIGNED))), 16, '0')")
                };
                format!("COUNT(*), CONCAT({}, {})", half(1), half(17))
            }
        }
    }

    /// The same digest of a row, mapped or read back; `text` is room to work in. None when nobody knows here how the server
    /// would print it.
    pub(super) fn digest<'a>(&self, row: impl Iterator<Item = CellRef<'a>>, text: &mut Vec<u8>) -> Option<Digest> {
        text.clear();
        for (cell, column) in row.zip(&self.columns) {
            match (cell, column) {
                (CellRef::Null, _) => {
                    text.push(b'N');
                    continue;
                }
                (CellRef::Int(value), _) => write(text, format_args!("{value}")),
                (CellRef::Double(value), _) => write(text, format_args!("{value}")),
                (CellRef::Text(json), Text::Json) => json::write(json, text).then_some(())?,
                (CellRef::Text(number), Text::Decimal) => text.extend_from_slice(unpadded(number)),
                (CellRef::Text(bytes) | CellRef::Bytes(bytes), Text::Any) => {
                    write(text, format_args!("{}:", bytes.len()));
                    text.extend_from_slice(bytes);
                }
                (CellRef::Text(bytes) | CellRef::Bytes(bytes), _) => text.extend_from_slice(bytes),
            }
            text.push(b':');
        }
        let hash = Sha256::digest(&text);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Some(Digest::from(bytes))
    }
}

/// A decimal without the zeros after its last digit, and without a point after which nothing stands.
fn decimal_sql(name: &str, scale: u8) -> String {
    match scale {
        0 => format!("CAST({name} AS CHAR)"),
        _ => format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({name} AS CHAR)))"),
    }
}

/// A decimal as [`decimal_sql`] prints it.
fn unpadded(number: &[u8]) -> &[u8] {
    if !number.contains(&b'.') {
        return number;
    }
    let end = number.iter().rposition(|byte| *byte != b'0').unwrap_or(0);
    if number[end] == b'.' { &number[..end] } else { &number[..=end] }
}

/// Writing to memory does not fail.
fn write(text: &mut Vec<u8>, value: Arguments<'_>) {
    drop(text.write_fmt(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_unpadded() {
        for (number, expected) in [("1.50", "1.5"), ("-2.00", "-2"), ("100", "100"), ("0.00", "0"), ("0.05", "0.05")] {
            assert_eq!(unpadded(number.as_bytes()), expected.as_bytes());
        }
    }
}
