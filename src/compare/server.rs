//! The digest of a row that a server computes as well: the MD5 of its columns' texts, as MySQL and MariaDB print them.
//!
//! Both spellings of one definition stand here: as SQL, and as what is made of a mapped row. A column's text is its length
//! in bytes, a colon and itself, or `N` for NULL. Where this room guesses a text wrong (a value of the application's that
//! is spelled in another way, a set in another order) the digests differ, and rows are looked at one by one: equal
//! digests prove that rows agree, different ones prove nothing.

use crate::mapping::ddl::quote;
use crate::mapping::{ColumnType, Mapping};
use crate::model::counts::Digest;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use md5::{Digest as _, Md5};
use std::io::Write as _;

mod json;

/// How a column's text comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// The value itself.
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
    /// has no MD5, and a double has more spellings than one.
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
                _ => (Text::Plain, name),
            };
            columns.push(text);
            // in bytes, so that texts of whatever character set can stand side by side
            parts.push(format!("IFNULL(CONCAT(LENGTH({sql}), ':', CAST({sql} AS BINARY)), 'N')"));
        }
        Some(ServerText { columns, sql: format!("MD5(CONCAT({}))", parts.join(", ")), dialect })
    }

    /// Two columns for a query that aggregates: how many rows, and the exclusive or of their digests in hex.
    #[must_use]
    pub fn aggregate(&self) -> String {
        match self.dialect {
            Dialect::MySql => format!("COUNT(*), HEX(BIT_XOR(UNHEX({})))", self.sql),
            _ => {
                let half =
                    |from: u32| format!("BIT_XOR(CAST(CONV(SUBSTR({}, {from}, 16), 16, 10) AS UNSIGNED))", self.sql);
                format!("COUNT(*), CONCAT(LPAD(HEX({}), 16, '0'), LPAD(HEX({}), 16, '0'))", half(1), half(17))
            }
        }
    }

    /// The same digest of a mapped row; `text` is room to work in.
    pub(super) fn digest<'a>(&self, row: impl Iterator<Item = CellRef<'a>>, text: &mut Vec<u8>) -> Digest {
        let mut hash = Md5::new();
        for (cell, column) in row.zip(&self.columns) {
            text.clear();
            match (cell, column) {
                (CellRef::Null, _) => {
                    hash.update(b"N");
                    continue;
                }
                (CellRef::Int(value), _) => write(text, value),
                (CellRef::Double(value), _) => write(text, value),
                (CellRef::Text(json), Text::Json) if json::write(json, text) => {}
                (CellRef::Text(bytes) | CellRef::Bytes(bytes), _) => text.extend_from_slice(bytes),
            }
            hash.update(text.len().to_string().as_bytes());
            hash.update(b":");
            hash.update(&text);
        }
        Digest::from(<[u8; 16]>::from(hash.finalize()))
    }
}

/// A decimal without the zeros after its last digit, and without a point after which nothing stands.
fn decimal_sql(name: &str, scale: u8) -> String {
    match scale {
        0 => format!("CAST({name} AS CHAR)"),
        _ => format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({name} AS CHAR)))"),
    }
}

/// Writing to memory does not fail.
fn write(text: &mut Vec<u8>, value: impl std::fmt::Display) {
    drop(write!(text, "{value}"));
}
